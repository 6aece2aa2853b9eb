"""Tune CG-SENSE, L1-wavelet and total variation on the validation slab, 16 trials each.

At 2 mm with R = 4, 8 and 12, at 1 mm with R = 8 and 12; the central 32 voxels of the readout, eight coils, noise 0.01.
"""

import numpy as np

from .scans import SLAB, reconstruction
from .tuning_solver import CG

RESULTS = ["tuning_classical.json"]
NEEDS = []
TRIALS = {
    "cg_sense": [dict(setting, tolerance=0) for setting in CG],
    "l1_wavelet": [dict(weight=float(w), wavelet=name) for w in np.geomspace(3e-4, 6e-3, 8).round(6)
                   for name in ("db4", "db6")],
    "total_variation": [dict(weight=float(w)) for w in np.geomspace(1e-4, 3e-3, 16).round(6)],
}
SCANS = [(2, 8), (2, 12), (2, 4), (1, 8), (1, 12)]


def study(run):
    trials = run.rows(reconstruction, [
        dict(volume=SLAB, voxel_size=d, acceleration=r, block=(-16, 16), method=m, settings=s)
        for d, r in SCANS for m in TRIALS for s in TRIALS[m]],
        columns=("method", "voxel_size", "acceleration", "settings", "psnr", "seconds"))
    best = {f"{t['method']} {t['voxel_size']} mm R {t['acceleration']}": t["settings"]
            for t in sorted(trials, key=lambda t: t["psnr"])}
    return dict(volume=SLAB, best=best, trials=trials)
