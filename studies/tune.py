"""Tune CG-SENSE and the solver on the validation slab, with the same number of trials for each prior.

    python data/tune.py        # writes data/results/tuning.json

At 1 mm the central 32 mm of the readout are used, at 2 and 3 mm the whole slab; R = 8, eight coils, noise 0.01.
"""

import datetime
import itertools
import json
from pathlib import Path

from tqdm import tqdm

from mrilab.classical import cg_sense
from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from mrilab.metrics import psnr
from mrilab.simulate import simulate_acquisition
from mrilab.processes import hardware
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

CG = [dict(regularization=w, iterations=n) for w in (0.001, 0.003, 0.01, 0.03) for n in (5, 10, 20, 40)]
SOLVER = [dict(weight=w, sigma=(0.1, s)) for w in (0.2, 0.35, 0.6) for s in (0.005, 0.01, 0.02)]
PRIORS = ("fixed_1mm", "diverse")


def scan(name, voxel_size, width, seed=0, acceleration=8):
    """Acquisition of a volume at a voxel size, and the truth; at 1 mm ``width`` voxels about the middle of x."""
    acquisition, truth = simulate_acquisition(load_volume(name).resample((voxel_size,) * 3), acceleration, seed=seed)
    if voxel_size == 1:
        start = truth.shape[2] // 2 - width // 2
        return acquisition.readout_block(start, start + width), truth[:, :, start : start + width]
    return acquisition, truth


if __name__ == "__main__":
    trials = []
    for d in (1, 2, 3):
        acquisition, truth = scan("colin27_ch2_slab", d, width=32)
        for setting in tqdm(CG, desc=f"CG-SENSE, {d} mm"):
            image = cg_sense(acquisition, tolerance=0, progress=False, **setting).image
            trials.append(dict(method="cg_sense", voxel_size=d, setting=setting, psnr=psnr(image, truth)))
        for name, setting in tqdm(list(itertools.product(PRIORS, SOLVER)), desc=f"priors, {d} mm"):
            image = reconstruct(acquisition, load_prior(name), progress=False, **setting).image
            trials.append(dict(method=name, voxel_size=d, setting=setting, psnr=psnr(image, truth)))
    best = {}
    for trial in sorted(trials, key=lambda t: t["psnr"]):
        best[f"{trial['method']} {trial['voxel_size']} mm"] = trial["setting"]
    weights = {name: sha256(locate(name, "prior")) for name in PRIORS}
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), volume="colin27_ch2_slab",
                   acceleration=8, weights=weights, best=best, trials=trials)
    with atomic_path(Path(__file__).parent / "results" / "tuning.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(best, indent=1))
