"""Interpolation against diverse training over four test people; everything is tuned on the validation person.

Scans are simulated on each head's own voxels, with eight coils of a head array and a noise of 0.01 at 1 mm, and keep
the middle of that k-space. Every method gets ten coarse and four fine trials, and more where it ends at an edge, at
1.5 mm for the fine scans and at 3 mm for the coarse ones, R = 8. A person whose head is not at hand is left out, and
said. What comes first is wanted most: all columns at R = 8, three seeds; the most important ones at other
accelerations; with coil sensitivities estimated from the scan; and as the paper's authors make a coarse scan, by taking
every n-th voxel without noise.
"""

from mrilab import methods
from mrilab.variational import reconstruct

from .runner import check
from .scans import PEOPLE, SHARP, VALIDATION, here
from .sweep import check_sweep, make_jobs, measure
from .tuning import tune

RESULTS = ["comparison.csv", "comparison_slices.json", "comparison_settings.json"]
NEEDS = ["operators"]
FIXED = ["fixed_1mm", "fixed_2mm", "fixed_3mm"]
PRIORS = [*FIXED, "diverse", "diverse_conditioned"]
SOLVER = {"weight": [0.1, 3.0], "iterations": [16, 64]}
MIDDLE = [-16, 16]                                      # of the readout, voxels; coarse scans are whole
SCANS = {       # voxel sizes in mm: tuned at, tested at, the finer grid; block of the readout, whose heads
    "fine": dict(tuned=1.5, tested=[1, [4, 1, 1]], finer=None, block=MIDDLE, people=SHARP),
    "middle": dict(tuned=1.5, tested=[1.5, 2], finer=1, block=MIDDLE, people=PEOPLE),
    "coarse": dict(tuned=3, tested=[3, 4], finer=2, block=None, people=PEOPLE),
}
CLASSICAL = [
    {"method": "cg_sense", "tune": {"regularization": [0.0003, 0.03], "iterations": [5, 40]}},
    {"method": "l1_wavelet", "tune": {"weight": [0.0001, 0.01]}},
    {"method": "total_variation", "tune": {"weight": [0.00003, 0.003]}},
]
AS_IT_IS = [{"method": "variational", "priors": PRIORS, "tune": SOLVER}]
TWO_GRIDS = [{"method": "variational", "representations": ["trilinear", "fourier"], "priors": FIXED, "tune": SOLVER}]
PARTS = [
    dict(accelerations=[8], seeds=[0, 1, 2], every=True),
    dict(accelerations=[24, 4, 12], seeds=[0], every=False),
    dict(accelerations=[8], seeds=[0], every=False, scans=["middle", "coarse"], maps="espirit", note=", ESPIRiT"),
    dict(accelerations=[8], seeds=[0], every=False, scans=["decimated"], decimated=True, note=", decimated"),
]
DECIMATED = dict(tuned=3, tested=[2, 3, 4], finer=None, block=None, people=["allineate_arc2017", "brainchop_T1"])
SLICE = 128                                             # mm a side, of the slices that are kept


def function_space(acquisition, prior, seed, interpolation, **settings):
    """The solver with an operator whose kernels are brought to the scan's pixels in one of three ways."""
    prior.interpolation = interpolation
    return reconstruct(acquisition, prior, seed=seed, progress=False, **settings)


def interpolation_of(run, scans):
    """Of the kernels of each operator, the one that was best on the validation person."""
    return {row["prior"]: row["interpolation"] for row in run.load("operators")["chosen"]
            if row["voxel_size"] == scans["tuned"]}


KNOWN = methods.METHODS | {"function_space": function_space}


def compared(run, scans, every=True):
    """The entries of a sweep's methods."""
    every_one = TWO_GRIDS + on_a_finer_grid(scans) + operators(run, scans, SOLVER)
    return CLASSICAL + AS_IT_IS + (every_one if every else TWO_GRIDS[:1])


def on_a_finer_grid(scans):
    """The diverse prior on the grid that Fourier interpolation has for a finer prior: what the grid alone brings."""
    size = scans["finer"]
    return [{"name": "finer grid", "method": "variational", "representations": ["fourier"], "priors": ["diverse"],
             "settings": {"prior_voxel_size": [size] * 3}, "tune": SOLVER}] if size else []


def operators(run, scans, ranges):
    """The entries of the priors in function space, with these ranges to tune."""
    return [{"name": "variational", "method": "function_space", "priors": [name], "tune": ranges,
             "settings": {"interpolation": interpolation}}
            for name, interpolation in interpolation_of(run, scans).items()]


def slices(rows):
    """Labels, numbers and the slice across the readout, for chapter 10; the truth comes with the first of its cell."""
    keys, cells = ("label", "method", "voxel_size", "acceleration", "psnr", "ssim"), set()
    for row in rows:
        cell = (str(row["voxel_size"]), row["acceleration"])
        packed = {key: value for key, value in row["slices"]["sagittal"].items() if key != "truth" or cell not in cells}
        cells.add(cell)
        yield {key: row[key] for key in keys} | {"slices": {"sagittal": packed}}


def study(run):
    best = {}
    for size in (1.5, 3):
        scans = next(s for s in SCANS.values() if s["tuned"] == size and s["finer"])
        best[size] = tune(run, check_sweep(dict(
            volumes=[VALIDATION], voxel_sizes=[size], accelerations=[8], seeds=[0], blocks=[scans["block"]],
            methods=compared(run, scans)), KNOWN), KNOWN)
    rows = []
    for part in PARTS:
        for name in part.get("scans", SCANS):
            scans = SCANS.get(name, DECIMATED)
            people = here(scans["people"])
            if not people:
                continue
            sweep = check_sweep(dict(
                volumes=people, voxel_sizes=scans["tested"], accelerations=part["accelerations"],
                seeds=part["seeds"], blocks=[scans["block"]], methods=compared(run, scans, part["every"]),
                maps=part.get("maps", "true"), decimated=part.get("decimated", False), keep_slices=SLICE), KNOWN)
            jobs = make_jobs(sweep | {"tuned": best[scans["tuned"]]["best"]})
            found, failed = measure(run, jobs, KNOWN)
            check(failed, len(jobs))
            rows += [row | {"label": row["label"] + part.get("note", "")} for row in found]
    settings = {f"{size} mm": found for size, found in best.items()}
    shown = [row for row in rows if not row["seed"] and row["volume"] == PEOPLE[0] and "," not in row["label"]]
    return dict(zip(RESULTS, (rows, dict(rows=list(slices(shown))), settings)))
