"""Tune CG-SENSE and the solver on the validation slab, with the same number of trials for each prior.

At 1 mm the central 32 mm of the readout are used, at 2 and 3 mm the whole slab; R = 8, eight coils, noise 0.01.
"""

from .scans import SLAB, reconstruction

RESULTS = ["tuning_solver.json"]
NEEDS = []
CG = [dict(regularization=w, iterations=n) for w in (0.001, 0.003, 0.01, 0.03) for n in (5, 10, 20, 40)]
SOLVER = [dict(weight=w, sigma=[0.1, s]) for w in (0.2, 0.35, 0.6) for s in (0.005, 0.01, 0.02)]
PRIORS = ("fixed_1mm", "diverse")


def study(run):
    tried = [(d, p, s) for d in (1, 2, 3) for p in (None, *PRIORS) for s in (SOLVER if p else CG)]
    found = run.rows(reconstruction, [
        dict(volume=SLAB, voxel_size=d, block=(-16, 16) if d == 1 else None, prior=prior)
        | (dict(method="variational", settings=s) if prior else dict(method="cg_sense", settings=s | dict(tolerance=0)))
        for d, prior, s in tried])
    trials = [dict(method=prior or "cg_sense", voxel_size=d, settings=s, psnr=row["psnr"])
              for (d, prior, s), row in zip(tried, found)]
    best = {f"{t['method']} {t['voxel_size']} mm": t["settings"] for t in sorted(trials, key=lambda t: t["psnr"])}
    return dict(volume=SLAB, acceleration=8, best=best, trials=trials)
