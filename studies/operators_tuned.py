"""The solver with each operator and interpolation of its kernels, R = 8, with the settings tuned for the comparison.

On the validation slab, at the voxel sizes where `comparison` tunes, beside the diverse prior: whether the choice that
`operators` made at the solver's defaults holds.
"""

from .operators import OPERATORS, WAYS, reconstruction
from .scans import SLAB

RESULTS = ["operators_tuned.json"]
NEEDS = ["comparison_settings"]


def study(run):
    settings = run.load("comparison_settings")
    rows = run.rows(reconstruction, [
        way | dict(voxel_size=d, settings=settings[scans]["best"][f"variational-{way['prior']}"]["settings"])
        for scans, d in (("fine", 1.5), ("coarse", 3)) for way in WAYS if way["prior"] in (*OPERATORS, "diverse")])
    return dict(volume=SLAB, rows=rows)
