"""Tune CG-SENSE and the solver on the validation slab, with the same number of trials for each prior.

At 1 mm the central 32 mm of the readout are used, at 2 and 3 mm the whole slab; R = 8, eight coils, noise 0.01.
"""

from mrilab.metrics import psnr

from .scans import SLAB, simulated, solve

RESULTS = ["tuning_solver.json"]
NEEDS = []
CG = [dict(regularization=w, iterations=n) for w in (0.001, 0.003, 0.01, 0.03) for n in (5, 10, 20, 40)]
SOLVER = [dict(weight=w, sigma=[0.1, s]) for w in (0.2, 0.35, 0.6) for s in (0.005, 0.01, 0.02)]
PRIORS = ("fixed_1mm", "diverse")


def trial(method, voxel_size, setting, device="cpu"):
    """Of CG-SENSE, or of the solver with the prior of this name."""
    acquisition, truth = simulated(SLAB, voxel_size, block=(-16, 16) if voxel_size == 1 else None)
    how = ("cg_sense", None, setting | {"tolerance": 0}) if method == "cg_sense" else ("variational", method, setting)
    return dict(psnr=psnr(solve(acquisition, *how, device=device)[0].image, truth))


def study(run):
    trials = run.rows(trial, [dict(method=m, voxel_size=d, setting=s) for d in (1, 2, 3)
                              for m, settings in (("cg_sense", CG), *((p, SOLVER) for p in PRIORS)) for s in settings])
    best = {f"{t['method']} {t['voxel_size']} mm": t["setting"] for t in sorted(trials, key=lambda t: t["psnr"])}
    return dict(volume=SLAB, acceleration=8, best=best, trials=trials)
