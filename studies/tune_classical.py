"""Tune CG-SENSE, L1-wavelet and total variation on the validation slab, 16 trials each.

    python data/tune_classical.py        # writes data/results/tuning_classical.json

At 2 mm with R = 4, 8 and 12, at 1 mm with R = 8 and 12; the central 32 voxels of the readout, eight coils, noise 0.01.
The file is written anew after each scan.
"""

import datetime
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tune import CG, scan

from mrilab.classical import cg_sense, l1_wavelet, total_variation
from mrilab.metrics import psnr
from mrilab.processes import hardware
from mrilab.writing import atomic_path

TRIALS = {
    cg_sense: [dict(setting, tolerance=0) for setting in CG],
    l1_wavelet: [dict(weight=float(w), wavelet=name) for w in np.geomspace(3e-4, 6e-3, 8).round(6)
                 for name in ("db4", "db6")],
    total_variation: [dict(weight=float(w)) for w in np.geomspace(1e-4, 3e-3, 16).round(6)],
}
SCANS = [(2, 8), (2, 12), (2, 4), (1, 8), (1, 12)]

if __name__ == "__main__":
    trials, best = [], {}
    for d, R in SCANS:
        acquisition, truth = scan("colin27_ch2_slab", d, width=32, acceleration=R)
        start = truth.shape[2] // 2 - 16
        acquisition, truth = acquisition.readout_block(start, start + 32), truth[:, :, start : start + 32]
        for method, settings in TRIALS.items():
            name = method.__name__
            for setting in tqdm(settings, desc=f"{name}, {d} mm, R = {R}"):
                result = method(acquisition, progress=False, **setting)
                trials.append(dict(method=name, voxel_size=d, acceleration=R, setting=setting,
                                   psnr=psnr(result.image, truth), seconds=round(result.seconds, 2)))
            tried = [t for t in trials if (t["method"], t["voxel_size"], t["acceleration"]) == (name, d, R)]
            best[f"{name} {d} mm R {R}"] = max(tried, key=lambda t: t["psnr"])["setting"]
        results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), volume="colin27_ch2_slab",
                       best=best, trials=trials)
        with atomic_path(Path(__file__).parent / "results" / "tuning_classical.json") as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(best, indent=1))
