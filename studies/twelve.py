"""R = 12, every method tuned there: CG-SENSE, L1-wavelet, total variation and the variational solver.

The solver has nine trials on the validation slab for each voxel size; the other methods had sixteen
(`tuning_classical`). Then each runs once on the test head, 1 and 2 mm, eight coils, noise 0.01, the middle 24 voxels of
the readout.
"""

import itertools

from mrilab.metrics import head_mask, psnr, ssim

from .scans import HEAD, SLAB, simulated, solve

RESULTS = ["twelve.json"]
NEEDS = ["tuning_classical"]
TRIALS = [dict(weight=w, iterations=n) for w, n in itertools.product((0.2, 0.35, 0.6), (16, 32, 64))]
CLASSICAL = ("cg_sense", "l1_wavelet", "total_variation")


def measure(volume, voxel_size, method, setting, prior=None, device="cpu"):
    acquisition, truth = simulated(volume, voxel_size, 12, (-12, 12))
    r, _ = solve(acquisition, method, prior, setting, device=device)
    return dict(psnr=psnr(r.image, truth), psnr_head=psnr(r.image, truth, head_mask(truth)), ssim=ssim(r.image, truth),
                seconds=round(r.seconds, 1), network_evaluations=r.network_evaluations)


def study(run):
    classical = run.load("tuning_classical")["best"]
    asked = [dict(volume=SLAB, voxel_size=d, method="variational", setting=s, prior="diverse") for d in (2, 1)
             for s in TRIALS]
    trials, chosen = run.rows(measure, asked), []
    for d in (2, 1):
        best = max((t for t in trials if t["voxel_size"] == d), key=lambda t: t["psnr"])
        chosen += [dict(volume=HEAD, voxel_size=d, method=m, setting=classical[f"{m} {d} mm R 12"]) for m in CLASSICAL]
        chosen += [dict(volume=HEAD, voxel_size=d, method="variational", setting=best["setting"], prior="diverse")]
    return dict(acceleration=12, coils=8, noise=0.01, trials=trials, rows=run.rows(measure, chosen))
