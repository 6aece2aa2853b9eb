"""How the best weight changes with the acceleration, on the validation slab.

The comparison (`comparison`) tunes at R = 8 and keeps those settings at every other R. Here, for scans of 3 mm, each
way of using a prior gets seven weights at each R, with 24 iterations; the prior of 1 mm, whose grid has 27 times the
voxels, at the ends only.
"""

from .comparison import interpolation_of
from .scans import SLAB, reconstruction

RESULTS = ["accelerations.json"]
NEEDS = ["operators"]
VOXEL_SIZE, BLOCK, ITERATIONS = 3, (-6, 6), 24
WAYS = [("diverse", "voxel"), ("fixed_2mm", "voxel"), ("fixed_2mm", "trilinear"), ("fixed_2mm", "fourier"),
        ("operator_2mm", "voxel"), ("fixed_1mm", "fourier")]
RATES = (4, 8, 12, 24, 36)
WEIGHTS = (0.1, 0.2, 0.316, 0.5, 0.795, 1.3, 2.0)


def study(run):
    chosen = interpolation_of(run, "coarse")
    found = run.rows(reconstruction, [
        dict(volume=SLAB, voxel_size=VOXEL_SIZE, block=BLOCK, method="variational", prior=prior, acceleration=rate,
             representation=representation, settings=dict(weight=weight, iterations=ITERATIONS),
             interpolation=chosen.get(prior))
        for prior, representation in WAYS for rate in ((4, 24) if prior == "fixed_1mm" else RATES)
        for weight in WEIGHTS])
    rows = {}
    for row in found:
        key = row["prior"], row["representation"], row["acceleration"]
        rows.setdefault(key, {})[row["settings"]["weight"]] = round(row["psnr"], 3)
    return dict(volume=SLAB, voxel_size=VOXEL_SIZE, block=BLOCK, iterations=ITERATIONS,
                rows=[dict(prior=p, representation=r, acceleration=a, psnr=psnr) for (p, r, a), psnr in rows.items()])
