"""Interpolation to a coarser prior at its best: how far each data step may go is tuned as well as the weight.

In `comparison` the data step goes on to convergence, and a finer image that a coarser prior sees interpolated falls
below CG-SENSE: what the prior's grid does not hold, noise included, is fitted to the samples, and nothing regularises
it. Few steps of conjugate gradients do. Here the prior of 3 mm gets that chance on scans of 1 to 2 mm, R = 8, beside
the same prior as it is, the diverse one and CG-SENSE. Tuned as in `comparison`, on the validation person at 1.5 mm.
"""

from .comparison import CLASSICAL, MIDDLE, TUNED_ON, WEIGHT, variational
from .scans import PEOPLE, SHARP, VALIDATION, here
from .sweep import check_sweep, rows_of
from .tuning import tune

RESULTS = ["coarser.json"]
STEPS = {"cg_iterations": [1, 20]}
METHODS = [CLASSICAL[0], variational(["diverse", "fixed_3mm"]),
           variational(["fixed_3mm"], ["nearest", "trilinear", "fourier"], tune=STEPS | WEIGHT)]
KEPT = ("label", "volume", "voxel_size", "acceleration", "block", "coils", "noise", "seed", "settings", "psnr",
        "network_evaluations")


def study(run):
    scans = dict(accelerations=[8], seeds=[0], methods=METHODS)
    found = tune(run, check_sweep(scans | dict(volumes=[VALIDATION], voxel_sizes=[1.5], blocks=[TUNED_ON[1.5]])))
    rows = []
    for people, sizes in ((here(SHARP), [1]), (here(PEOPLE), [1.5, 2])):
        if people:
            sweep = check_sweep(scans | dict(volumes=people, voxel_sizes=sizes, blocks=[MIDDLE]))
            rows += [{key: row[key] for key in KEPT} for row in rows_of(run, sweep | {"tuned": found["best"]})]
    return dict(tuned=found, rows=rows)
