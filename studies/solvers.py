"""The variational solver's two settings, tuned with equal effort, and its parts switched off one at a time.

    python data/solvers.py --jobs 2       # writes data/results/solvers.json; half an hour on two cores

Everything is tuned on the validation slab, 2 mm and R = 8: ten settings drawn at random, then four about the best.
At 1 mm four weights about that one are tried. Then each setting runs on the test head with eight coils and noise 0.01,
at R = 8 and 12, 1 and 2 mm, beside CG-SENSE. Blocks of the readout keep it short. What was computed stays in
`runs/solvers`, so an interrupted run goes on.
"""

import argparse
import datetime
import json
from pathlib import Path

import numpy as np
import torch
from joblib import Memory, Parallel, delayed
from tqdm import tqdm
from tune import CG

from mrilab.classical import cg_sense
from mrilab.datasets import sha256
from mrilab.priors import load_prior
from mrilab.metrics import psnr, ssim
from mrilab.simulate import simulate_acquisition
from mrilab.processes import hardware
from mrilab.variational import SETTINGS, reconstruct
from mrilab.checks import PLANES
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

HERE = Path(__file__).parent
PRIOR = HERE / "priors" / "diverse.safetensors"
WIDTH = {1: 20, 2: 24}                                  # of the block of the readout, in voxels
SEARCH = {                                              # logarithmic ranges, or choices
    "fast": dict(weight=(0.1, 1.0), sigma=((0.05, 0.3), (0.002, 0.02)), slab=[1]),
    "paper": dict(weight=(0.001, 0.1), learning_rate=(0.005, 0.1), power=[0.5, 1.0],
                  schedule=["uniform", "descending", "bounded"]),
}
ABLATIONS = (
    [dict(planes=planes) for planes in (["axial"], ["coronal"], ["sagittal"], ["axial", "coronal"],
                                        ["axial", "sagittal"], ["coronal", "sagittal"], list(PLANES))]
    + [dict(planes=[plane], fraction=1 / 3) for plane in PLANES]
    + [dict(fraction=f, iterations=16) for f in (1 / 24, 1 / 12, 1 / 6, 2 / 3, 1.0)]
    + [dict(fraction=1 / 3, iterations=n) for n in (4, 8, 32, 64)]
    + [dict(slab=n) for n in (2, 5, 10)]
    + [dict(sigma=s) for s in ((0.05, 0.005), (0.2, 0.005), (0.5, 0.005), (0.1, 0.05), (0.1, 0.02), (0.1, 0.002))]
    + [dict(weight=w) for w in (0.05, 0.1, 0.2, 0.7, 1.4)]
    + [dict(cg_iterations=n) for n in (1, 2, 10)]
    + [dict(discrepancy=c) for c in (0.7, 0.8, 0.9, 1.0)])
memory = Memory(HERE.parent / "runs" / "solvers", verbose=0)


def draw(setting, generator):
    """One setting of the numbers that are searched."""
    def one(choices):
        if isinstance(choices, list):
            return choices[generator.integers(len(choices))]
        if isinstance(choices[0], tuple):
            return [one(c) for c in choices]
        return float(np.exp(generator.uniform(*np.log(choices))).round(4))
    return {name: one(choices) for name, choices in SEARCH[setting].items()}


def around(setting, best):
    """Half and twice the weight; half and twice the last noise level, or the learning rate."""
    second = "sigma" if setting == "fast" else "learning_rate"
    for factor in (0.5, 2):
        yield best | dict(weight=best["weight"] * factor)
        value = best[second]
        yield best | {second: [value[0], value[1] * factor] if setting == "fast" else value * factor}


@memory.cache
def job(volume, voxel_size, acceleration, seed, method, options, weights):
    """One reconstruction: its quality and cost. ``weights``, the SHA-256 of the prior, tells the cache what changed."""
    torch.set_num_threads(1)
    acquisition, truth = simulate_acquisition(load_volume(volume).resample((voxel_size,) * 3), acceleration, seed=seed)
    start = truth.shape[2] // 2 - WIDTH[voxel_size] // 2
    stop = start + WIDTH[voxel_size]
    acquisition, truth = acquisition.readout_block(start, stop), truth[..., start:stop]
    if method == "cg_sense":
        result = cg_sense(acquisition, tolerance=0, progress=False, **options)
    else:
        result = reconstruct(acquisition, load_prior(PRIOR), setting=method, seed=seed, progress=False, **options)
    return dict(volume=volume, voxel_size=voxel_size, acceleration=acceleration, seed=seed, method=method,
                options=options, psnr=psnr(result.image, truth), ssim=ssim(result.image, truth), misfit=result.misfit,
                network_evaluations=result.network_evaluations, seconds=round(result.seconds, 2),
                operator_applications=result.operator_applications, matrix=list(truth.shape))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    weights = sha256(PRIOR)

    def run(what, jobs):
        pool = Parallel(n_jobs=options.jobs, return_as="generator")
        return list(tqdm(pool(delayed(job)(*j, weights) for j in jobs), desc=what, total=len(jobs)))

    def best(rows):
        return max(rows, key=lambda row: row["psnr"])["options"]

    slab, head = "colin27_ch2_slab", "qtim_MRHead"
    generator = np.random.default_rng(0)
    drawn = {s: [{}] + [draw(s, generator) for _ in range(9)] for s in SETTINGS}
    trials = run("coarse", [(slab, 2, 8, 0, s, d) for s in SETTINGS for d in drawn[s]])
    tuned = {s: best(row for row in trials if row["method"] == s) for s in SETTINGS}
    full = {s: {name: SETTINGS[s][name] for name in SEARCH[s]} | tuned[s] for s in SETTINGS}
    trials += run("fine", [(slab, 2, 8, 0, s, d) for s in SETTINGS for d in around(s, full[s])])
    tuned = {(s, 2): best(row for row in trials if row["method"] == s) for s in SETTINGS}
    more = run("1 mm", [(slab, 1, 8, 0, s, tuned[s, 2] | dict(weight=(SETTINGS[s] | tuned[s, 2])["weight"] * f))
                        for s in SETTINGS for f in (0.3, 1.0, 3.0)])
    tuned |= {(s, 1): best(row for row in more if row["method"] == s) for s in SETTINGS}
    classical = run("CG-SENSE", [(slab, d, 8, 0, "cg_sense", c) for d in (1, 2) for c in CG])
    tuned |= {("cg_sense", d): best(row for row in classical if row["voxel_size"] == d) for d in (1, 2)}
    rows = run("test", [(head, d, r, 0, m, tuned[m, d]) for d in (2, 1) for r in (8, 12)
                        for m in ("cg_sense", "fast", "paper")])
    ablations = run("ablations", [(slab, 2, 8, 0, "fast", tuned["fast", 2] | a) for a in ABLATIONS])
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), weights=weights,
                   trials=trials + more + classical, tuned={f"{m} {d} mm": o for (m, d), o in tuned.items()},
                   rows=rows, ablations=[a | dict(changed=c) for a, c in zip(ablations, ABLATIONS)])
    with atomic_path(HERE / "results" / "solvers.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
