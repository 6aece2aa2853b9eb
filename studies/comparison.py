"""The comparison: interpolation against diverse training. Tuned on the validation slab, run once on the test people.

The reduced form, for two CPU cores: eight coils, noise 0.01, a block about the middle of the readout. Every method gets
fourteen trials (ten coarse, four fine about the best) for the fine scans, tuned at 1.5 mm and tested at 1 and 1.5 mm,
and as many for the coarse ones, tuned at 3 mm and tested at 2 and 3 mm. The operators' kernels are
interpolated as was best on the same slab at that voxel size (`operators`). The two representations in
continuous space cost so much more that they are not tuned: they take the weight tuned for trilinear interpolation with
the same prior, and six iterations, on a narrower block, at R = 8; the voxel grid's rows on that block stand beside
them. For a GPU there is `python -m studies compare --config studies/configs/full.json` and its kin.
"""

import itertools

from mrilab import methods
from mrilab.variational import reconstruct

from .runner import check
from .scans import HEAD, KNEE, SLAB, TUMOUR
from .sweep import check_sweep, make_jobs, measure
from .tuning import tune

RESULTS = ["comparison.csv", "comparison_slices.json", "comparison_settings.json"]
NEEDS = ["operators"]
SCANS = {"fine": dict(tuned=[1.5], tested=[1, 1.5]), "coarse": dict(tuned=[3], tested=[2, 3])}      # voxel sizes, mm
PRIORS = ["fixed_1mm", "fixed_2mm", "diverse", "diverse_conditioned"]
FIXED = PRIORS[:2]
SOLVER = {"weight": [0.05, 2.0], "iterations": [6, 24]}


def function_space(acquisition, prior, seed, interpolation, **settings):
    """The solver with an operator whose kernels are brought to the scan's pixels in one of three ways."""
    prior.interpolation = interpolation
    return reconstruct(acquisition, prior, seed=seed, progress=False, **settings)


def interpolation_of(run, scans):
    """Of the kernels of each operator, the one that was best on the validation slab."""
    size, = SCANS[scans]["tuned"]
    return {row["prior"]: row["interpolation"] for row in run.load("operators")["chosen"] if row["voxel_size"] == size}


KNOWN = methods.METHODS | {"function_space": function_space}
METHODS = {
    "grids": [
        {"method": "cg_sense", "tune": {"regularization": [0.0003, 0.1], "iterations": [5, 40]}},
        {"method": "total_variation", "tune": {"weight": [0.00003, 0.01]}},
        {"method": "variational", "priors": PRIORS, "tune": SOLVER},
        {"method": "variational", "representations": ["trilinear", "fourier"], "priors": FIXED, "tune": SOLVER},
    ],
    "continuous": [
        {"method": "variational", "priors": PRIORS[:3]},
        {"method": "variational", "representations": ["gaussian"], "priors": FIXED,
         "settings": {"iterations": 6, "cg_iterations": 3, "representation_options": {"iterations": 30}}},
        {"method": "variational", "representations": ["neural_field"], "priors": FIXED,
         "settings": {"iterations": 6, "cg_iterations": 2,
                      "representation_options": {"width": 96, "iterations": 300, "batch": 2048, "steps": 2}}},
    ],
}
SLICE = 96                                                      # mm a side, of the slices that are kept
BLOCK = {"grids": [-10, 10], "continuous": [-4, 4]}             # of the readout, voxels from its middle
PARTS = [                                                       # in this order: what comes first is wanted most
    dict(family="grids", accelerations=[8, 24]),
    dict(family="continuous", accelerations=[8]),
    dict(family="grids", accelerations=[8], volumes=[TUMOUR]),
    dict(family="grids", accelerations=[8], volumes=[KNEE],
         voxel_sizes={"fine": [[4, 1, 1]], "coarse": [[4, 2, 2]]}),
    dict(family="grids", accelerations=[4, 12, 16, 36]),
]


def compared(run, family, scans):
    """The entries of a sweep's methods; the operators stand among the grids."""
    return METHODS[family] + (operators(run, scans, SOLVER) if family == "grids" else [])


def operators(run, scans, ranges):
    """The entries of the priors in function space, with these ranges to tune."""
    return [{"name": "variational", "method": "function_space", "priors": [name], "tune": ranges,
             "settings": {"interpolation": interpolation}}
            for name, interpolation in interpolation_of(run, scans).items()]


def to_tune(run, scans):
    return check_sweep(dict(volumes=[SLAB], voxel_sizes=SCANS[scans]["tuned"], accelerations=[8], seeds=[0],
                            blocks=[[-6, 6]], methods=compared(run, "grids", scans)), KNOWN)


def to_test(run, part, scans, best):
    """One part for the fine or the coarse scans, with the settings that were best."""
    family = part["family"]
    if family == "continuous":
        for name, prior in itertools.product(("gaussian", "neural_field"), FIXED):
            weight = best[f"variational-trilinear-{prior}"]["settings"]["weight"]
            best = best | {f"variational-{name}-{prior}": {"settings": {"weight": weight}}}
    voxel_sizes = part.get("voxel_sizes", {}).get(scans, SCANS[scans]["tested"])
    return check_sweep(dict(volumes=part.get("volumes", [HEAD]), voxel_sizes=voxel_sizes, seeds=[0, 1, 2],
                            accelerations=part["accelerations"], blocks=[BLOCK[family]],
                            methods=compared(run, family, scans), keep_slices=SLICE), KNOWN) | {"tuned": best}


def slices(rows):
    """Labels, numbers and the slice across the readout, for chapter 10; the truth comes with the first of its cell."""
    keys, cells = ("label", "method", "voxel_size", "acceleration", "psnr", "ssim"), set()
    for row in rows:
        cell = (str(row["voxel_size"]), row["acceleration"])
        packed = {key: value for key, value in row["slices"]["sagittal"].items() if key != "truth" or cell not in cells}
        cells.add(cell)
        yield {key: row[key] for key in keys} | {"slices": {"sagittal": packed}}


def study(run):
    settings = {scans: tune(run, to_tune(run, scans), KNOWN) for scans in SCANS}
    rows = []
    for part, scans in itertools.product(PARTS, SCANS):
        jobs = make_jobs(to_test(run, part, scans, settings[scans]["best"]))
        found, failed = measure(run, jobs, KNOWN)
        check(failed, len(jobs))
        rows += found
    kept = [row for row in rows if row["volume"] == HEAD and row["seed"] == 0
            and row["block"] == BLOCK["grids"] and row["acceleration"] in (8, 24)]
    return dict(zip(RESULTS, (rows, dict(rows=list(slices(kept))), settings)))
