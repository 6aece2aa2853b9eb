"""R = 12, every method tuned there: CG-SENSE, L1-wavelet, total variation and the variational solver.

    python data/twelve.py        # writes data/results/twelve.json; five minutes on one core

The solver has nine trials on the validation slab for each voxel size; the other methods had sixteen
(`data/tune_classical.py`). Then each runs once on the test head, 1 and 2 mm, eight coils, noise 0.01, the middle 24
voxels of the readout.
"""

import datetime
import itertools
import json
from pathlib import Path

from tqdm import tqdm

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit, simulated
from mrilab.methods import reconstruct
from mrilab.metrics import head_mask, psnr, ssim
from mrilab.processes import hardware
from mrilab.writing import atomic_path

RESULTS = Path(__file__).parent / "results"
TRIALS = [dict(weight=w, iterations=n) for w, n in itertools.product((0.2, 0.35, 0.6), (16, 32, 64))]


def measure(volume, voxel_size, method, setting, prior):
    acquisition, truth = simulated(volume, voxel_size, 12, (-12, 12), 0, 8, 0.01)
    r = reconstruct(method, acquisition, prior, **setting)
    return dict(volume=volume, voxel_size=voxel_size, method=method, setting=setting, psnr=psnr(r.image, truth),
                psnr_head=psnr(r.image, truth, head_mask(truth)), ssim=ssim(r.image, truth),
                seconds=round(r.seconds, 1), network_evaluations=r.network_evaluations)


if __name__ == "__main__":
    prior = load_prior("diverse")
    classical = json.loads((RESULTS / "tuning_classical.json").read_text())["best"]
    trials, rows = [], []
    for d in (2, 1):
        mine = [measure("colin27_ch2_slab", d, "variational", setting, prior)
                for setting in tqdm(TRIALS, desc=f"tuning, {d} mm")]
        best = {method: classical[f"{method} {d} mm R 12"] for method in ("cg_sense", "l1_wavelet", "total_variation")}
        best["variational"] = max(mine, key=lambda row: row["psnr"])["setting"]
        trials += mine
        rows += [measure("qtim_MRHead", d, *setting, prior) for setting in tqdm(best.items(), desc=f"test, {d} mm")]
        for row in rows[-len(best):]:
            tqdm.write(f"{d} mm {row['method']:16s} {row['psnr']:.2f} dB {row['setting']}")
    weights = sha256(locate("diverse", "prior"))
    with atomic_path(RESULTS / "twelve.json") as temporary:
        temporary.write_text(json.dumps(dict(
            hardware=hardware(), commit=commit(), date=datetime.date.today().isoformat(), acceleration=12, coils=8,
            noise=0.01, weights=weights, trials=trials, rows=rows), indent=1) + "\n")
