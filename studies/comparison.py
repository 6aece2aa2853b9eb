"""Interpolation against diverse training over four test people; everything is tuned on the validation person.

Scans are simulated on each head's own voxels, with eight coils of a head array and a noise of 0.01 at 1 mm, and keep
the middle of that k-space; of the readout a block in the middle is reconstructed. Every method gets six coarse and four
fine trials of its weight, and more where it ends at an edge, at 1.5 mm for the fine scans, at 3 mm for the coarse ones
and again for those that are decimated, R = 8. Interpolation to a coarser prior has its data step's length tuned as
well: what that prior's grid does not hold, noise included, nothing regularises but stopping early. Where the grids are
equal, interpolation is the prior as it is. A person whose head is not at hand is left out, and said. What comes first
is wanted most: all columns at R = 8; the most important ones at other accelerations; with coil sensitivities estimated
from the scan; and as the paper's authors make a coarse scan, by taking every n-th voxel without noise.
"""

from .scans import PEOPLE, SHARP, VALIDATION, here
from .sweep import check_sweep, columns, rows_of
from .tuning import tune

RESULTS = ["comparison.csv", "comparison_slices.json", "comparison_settings.json"]
FIXED = ["fixed_1mm", "fixed_2mm", "fixed_3mm"]
PRIORS = [*FIXED, "diverse", "diverse_conditioned"]
WEIGHT, STEPS = {"weight": [0.1, 3.0]}, {"cg_iterations": [1, 20]}
TRIALS = 6                                              # coarse ones
MIDDLE = [-12, 12]                                      # of the readout, voxels
SCANS = {       # voxel sizes in mm: tested at, tuned at, the finer grid; whose heads
    "fine": dict(tested=[1], tuned=1.5, finer=None, people=SHARP),
    "thick": dict(tested=[[4, 1, 1]], tuned=1.5, finer=1, people=SHARP),
    "middle": dict(tested=[1.5, 2], tuned=1.5, finer=1, people=PEOPLE),
    "coarse": dict(tested=[3, 4], tuned=3, finer=2, people=PEOPLE),
    "decimated": dict(tested=[2], tuned=3, finer=None, people=PEOPLE[::2]),
    "decimated, coarse": dict(tested=[3, 4], tuned=3, finer=2, people=PEOPLE[::2]),
}
TUNED_ON = {"1.5 mm": dict(voxel_sizes=[1.5]), "3 mm": dict(voxel_sizes=[3]),
            "3 mm, decimated": dict(voxel_sizes=[3], decimated=True)}
BLOCK = [-8, 8]                                         # of the validation person's readout
CLASSICAL = [
    {"method": "cg_sense", "tune": {"regularization": [0.0003, 0.03]}},
    {"method": "l1_wavelet", "tune": {"weight": [0.0001, 0.01]}},
    {"method": "total_variation", "tune": {"weight": [0.00003, 0.003]}},
]
PARTS = [
    dict(scans=["fine", "thick", "middle", "coarse"], accelerations=[8], every=True, seeds=[0, 1, 2]),
    dict(scans=["middle", "coarse"], accelerations=[4, 24], every=False, leave_out=1.5),
    dict(scans=["middle", "coarse"], accelerations=[8], every=False, leave_out=1.5, maps="estimated",
         note=", estimated maps"),
    dict(scans=["decimated", "decimated, coarse"], accelerations=[8], every=False, decimated=True, note=", decimated"),
]
SLICE = 256                                             # mm a side, at most, of the slices that are kept


def variational(priors, representations=("voxel",), **more):
    """An entry of a sweep's methods."""
    return {"method": "variational", "priors": list(priors), "representations": list(representations),
            "tune": WEIGHT} | more


def compared(finer, tuned, every=True):
    """The entries: classical methods, priors as they are, on their own grids, and the diverse one on a finer grid.

    On scans tuned at 3 mm the grid of `fixed_1mm` has 27 times the voxels: one interpolation, Fourier's, has to do.

    Examples
    --------
    >>> [entry["method"] for entry in compared(2, 3, every=False)][-4:]
    ['total_variation', 'variational', 'variational', 'variational']
    """
    def interpolated(priors, way):
        return [variational([prior], [way], tune=WEIGHT | STEPS if own_size(prior) > tuned else WEIGHT)
                for prior in priors]

    entries = [*CLASSICAL, variational(PRIORS), *interpolated(["fixed_2mm"], "fourier")]
    if every:
        entries += interpolated(["fixed_1mm", "fixed_3mm"], "fourier")
        entries += interpolated(FIXED if tuned < 3 else FIXED[1:], "trilinear")
    if finer:
        # what the grid alone brings: that which Fourier interpolation has for a finer prior; told its size or not
        entries.append(variational(["diverse", "diverse_conditioned"] if every else ["diverse"], ["fourier"],
                                   name="finer grid", settings={"prior_voxel_size": [finer] * 3}))
    return entries


def own_size(prior):
    """The voxel size in mm that a prior of one size was trained at.

    Examples
    --------
    >>> own_size("fixed_2mm")
    2
    """
    return int(prior.removeprefix("fixed_").removesuffix("mm"))


def measured(run, sweep):
    """The rows of a sweep over one voxel size, its interpolations between equal grids copied from the prior as it is.

    Of such a prior its own trials would say only that another weight was tuned for it at another voxel size.
    """
    size, = sweep["voxel_sizes"]

    def between_equal_grids(entry):
        return "voxel" not in entry["representations"] and not entry["name"] and own_size(entry["priors"][0]) == size

    asked = [entry for entry in sweep["methods"] if not between_equal_grids(entry)]
    rows, found = rows_of(run, sweep | {"methods": asked}), []
    for column in columns(sweep):
        found += [row for row in rows if row["label"] == column["label"]] or [
            row | {key: column[key] for key in ("label", "representation")}
            for row in rows if row["label"] == f"variational-{column['prior']}"]
    return found


def slices(rows):
    """Labels, numbers and the slice across the readout, for chapter 9; the truth comes with the first of its cell."""
    keys, cells = ("label", "method", "voxel_size", "acceleration", "psnr", "ssim"), set()
    for row in rows:
        cell = (str(row["voxel_size"]), row["acceleration"])
        packed = {key: value for key, value in row["slices"]["sagittal"].items() if key != "truth" or cell not in cells}
        cells.add(cell)
        yield {key: row[key] for key in keys} | {"slices": {"sagittal": packed}}


def study(run):
    settings = {}
    for name, scan in TUNED_ON.items():
        size, = scan["voxel_sizes"]
        finer = next(scans["finer"] for scans in SCANS.values() if scans["tuned"] == size and scans["finer"])
        settings[name] = tune(run, check_sweep(scan | dict(
            volumes=[VALIDATION], accelerations=[8], seeds=[0], blocks=[BLOCK],
            methods=compared(finer, size, every="decimated" not in scan))), count=TRIALS)
    rows = []
    for part, scans in [(one, SCANS[name]) for one in PARTS for name in one["scans"]]:
        people, decimated = here(scans["people"]), part.get("decimated", False)
        best = settings[f"{scans['tuned']} mm" + ", decimated" * decimated]["best"]
        for size in scans["tested"] if people else []:
            if size != part.get("leave_out"):
                sweep = check_sweep(dict(
                    volumes=people, voxel_sizes=[size], accelerations=part["accelerations"],
                    seeds=part.get("seeds", [0]), blocks=[MIDDLE],
                    methods=compared(scans["finer"], scans["tuned"], part["every"]),
                    maps=part.get("maps", "true"), decimated=decimated, keep_slices=SLICE))
                rows += [row | {"label": row["label"] + part.get("note", "")}
                         for row in measured(run, sweep | {"tuned": best})]
    first = min((row["volume"] for row in rows), key=PEOPLE.index)      # of those whose heads are at hand
    shown = [row for row in rows if (row["volume"], row["acceleration"], row["seed"]) == (first, 8, 0)
             and "," not in row["label"]]
    return dict(zip(RESULTS, (rows, dict(rows=list(slices(shown))), settings)))
