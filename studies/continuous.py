"""What more effort brings the two representations in continuous space, on the validation slab.

In the comparison (`comparison`) the mixture of Gaussians and the neural field have a weight tuned for trilinear
interpolation and few steps. Here, at 3 mm and R = 8 with the prior of 2 mm, the weight is varied over two decades,
and steps, features and width up to tens of times the seconds.
"""

from .comparison import METHODS
from .scans import SLAB, reconstruction

RESULTS = ["continuous.json"]
NEEDS = ["comparison_settings"]
PRIOR, BLOCK = "fixed_2mm", (-4, 4)
CHANGES = {                                     # of the settings in the comparison; their own options stay
    "gaussian": [dict(representation_options=dict(iterations=90)),
                 dict(representation_options=dict(iterations=90, steps=8), iterations=12, cg_iterations=4),
                 dict(representation_options=dict(iterations=200, steps=8), iterations=24, cg_iterations=6)],
    "neural_field": [dict(representation_options=dict(bandwidth=0.2)),
                     dict(representation_options=dict(bandwidth=0.2, steps=4), iterations=24, cg_iterations=4),
                     dict(representation_options=dict(bandwidth=0.2, steps=4, width=192), iterations=24,
                          cg_iterations=4)],
}
FACTORS = (0.1, 0.3, 3, 10)                     # of the weight


def study(run):
    best = run.load("comparison_settings")["coarse"]["best"]
    trilinear = best[f"variational-trilinear-{PRIOR}"]["settings"]
    weight = trilinear["weight"]
    asked = [("voxel", "diverse", best["variational-diverse"]["settings"]), ("trilinear", PRIOR, trilinear)]
    for entry in METHODS["continuous"][1:]:
        (name,), base = entry["representations"], entry["settings"] | {"weight": weight}
        asked += [(name, PRIOR, base)] + [(name, PRIOR, base | {"weight": weight * factor}) for factor in FACTORS]
        asked += [(name, PRIOR, base | change | {
            "representation_options": base["representation_options"] | change["representation_options"]})
            for change in CHANGES[name]]
    rows = run.rows(reconstruction, [
        dict(volume=SLAB, voxel_size=3, block=BLOCK, method="variational", representation=r, prior=p, settings=s)
        for r, p, s in asked], columns=("representation", "prior", "settings", "psnr", "cpu_seconds"))
    return dict(volume=SLAB, voxel_size=3, acceleration=8, block=BLOCK, rows=rows)
