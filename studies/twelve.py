"""R = 12, every method tuned there: CG-SENSE, L1-wavelet, total variation and the variational solver.

The solver has nine trials on the validation slab for each voxel size; the other methods had sixteen
(`tuning_classical`). Then each runs once on the test head, 1 and 2 mm, eight coils, noise 0.01, the middle 24 voxels of
the readout.
"""

import itertools

from .scans import HEAD, SLAB, reconstruction

RESULTS = ["twelve.json"]
NEEDS = ["tuning_classical"]
TRIALS = [dict(weight=w, iterations=n) for w, n in itertools.product((0.2, 0.35, 0.6), (16, 32, 64))]
METHODS = ("cg_sense", "l1_wavelet", "total_variation", "variational")


def study(run):
    def rows(asked, volume):
        """Of ``(voxel_size, method, settings)``."""
        return run.rows(reconstruction, [
            dict(volume=volume, voxel_size=d, acceleration=12, block=(-12, 12), method=m, settings=s,
                 prior="diverse" if m == "variational" else None) for d, m, s in asked],
            columns=("volume", "voxel_size", "method", "settings", "psnr", "psnr_head", "ssim", "seconds",
                     "network_evaluations"))

    trials = rows([(d, "variational", s) for d in (2, 1) for s in TRIALS], SLAB)
    best = {t["voxel_size"]: t["settings"] for t in sorted(trials, key=lambda t: t["psnr"])}
    classical = run.load("tuning_classical")["best"]
    tested = rows([(d, m, best[d] if m == "variational" else classical[f"{m} {d} mm R 12"])
                   for d in (2, 1) for m in METHODS], HEAD)
    return dict(acceleration=12, coils=8, noise=0.01, trials=trials, rows=tested)
