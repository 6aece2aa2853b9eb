"""The solver with each operator and interpolation of its kernels, R = 8, with the settings tuned for the comparison.

On the validation slab, at the voxel sizes where `comparison` tunes, beside the diverse prior: whether the choice that
`operators` made at the solver's defaults holds.
"""

from .operators import solved
from .scans import SLAB

RESULTS = ["operators_tuned.json"]
NEEDS = ["comparison_settings"]


def study(run):
    tuned = run.load("comparison_settings")
    return dict(volume=SLAB, rows=solved(run, lambda prior, d: tuned["fine" if d == 1.5 else "coarse"]["best"][
        f"variational-{prior}"]["settings"]))
