"""The comparison: interpolation against diverse training. Tuned on the validation slab, run once on the test people.

    python data/compare.py --jobs 2    # data/results/comparison.csv, comparison_slices.json and tuned.json

The reduced form, for two CPU cores: eight coils, noise 0.01, a block about the middle of the readout. Every method gets
fourteen trials (ten coarse, four fine about the best) for the fine scans, tuned at 1.5 mm and tested at 1 and 1.5 mm,
and as many for the coarse ones, tuned at 3 mm and tested at 2 and 3 mm. The operators' kernels are
interpolated as was best on the same slab at that voxel size (`function_space.py`). The two representations in
continuous space cost so much more that they are not tuned: they take the weight tuned for trilinear interpolation with
the same prior, and six iterations, on a narrower block, at R = 8; the voxel grid's rows on that block stand beside
them. Results stay in `runs/compare`: an interrupted run goes on where it was, and `--parts` chooses what to compute;
the tables hold all that there is. For a GPU there are `sweeps/full.json` and its kin.
"""

import argparse
import itertools
import json
from pathlib import Path

from mrilab import methods
from studies.experiments import load_result, run, write_rows
from studies.sweeps import check_sweep, file_name, make_jobs
from studies.tuning import tune
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FOLDER = HERE.parent / "runs" / "compare"
SCANS = {"fine": dict(tuned=[1.5], tested=[1, 1.5]), "coarse": dict(tuned=[3], tested=[2, 3])}      # voxel sizes, mm
PRIORS = ["fixed_1mm", "fixed_2mm", "diverse", "diverse_conditioned"]
FIXED = PRIORS[:2]
SOLVER = {"weight": [0.05, 2.0], "iterations": [6, 24]}


def function_space(acquisition, prior, seed, interpolation, **settings):
    """The solver with an operator whose kernels are brought to the scan's pixels in one of three ways."""
    prior.interpolation = interpolation
    return reconstruct(acquisition, prior, seed=seed, progress=False, **settings)


def operators(scans):
    """Each operator with the interpolation that was best on the validation slab."""
    trials = json.loads((RESULTS / "operator.json").read_text())["reconstructions"]
    for name in ("operator_1mm", "operator_2mm"):
        best = max((t for t in trials if t["prior"] == name and [t["voxel_size"]] == SCANS[scans]["tuned"]),
                   key=lambda t: t["psnr"])
        yield {"name": "variational", "method": "function_space", "priors": [name], "tune": SOLVER,
               "settings": {"interpolation": best["interpolation"]}}


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
PARTS = {                                                       # in this order: what comes first is wanted most
    "grids": dict(family="grids", accelerations=[8, 24], seeds=[0, 1, 2]),
    "continuous": dict(family="continuous", accelerations=[8], seeds=[0, 1, 2]),
    "tumour": dict(family="grids", accelerations=[8], seeds=[0, 1, 2], volumes=["qtim_MRBrainTumor2"]),
    "knee": dict(family="grids", accelerations=[8], seeds=[0, 1, 2], volumes=["mskt_knee_mese"],
                 voxel_sizes={"fine": [[4, 1, 1]], "coarse": [[4, 2, 2]]}),
    "more": dict(family="grids", accelerations=[4, 12, 16, 36], seeds=[0, 1, 2]),
}


def sweep(part, scans, best=None):
    """The settings of one part for the fine or the coarse scans; without the tuned ones, those to tune."""
    family = part["family"]
    compared = METHODS[family] + (list(operators(scans)) if family == "grids" else [])
    if best is None:
        return check_sweep(dict(volumes=["colin27_ch2_slab"], voxel_sizes=SCANS[scans]["tuned"], accelerations=[8],
                                seeds=[0], slabs=[[-6, 6]], methods=compared), KNOWN)
    if family == "continuous":
        for name, prior in itertools.product(("gaussian", "neural_field"), FIXED):
            weight = best[f"variational-trilinear-{prior}"]["settings"]["weight"]
            best = best | {f"variational-{name}-{prior}": {"settings": {"weight": weight}}}
    voxel_sizes = part.get("voxel_sizes", {}).get(scans, SCANS[scans]["tested"])
    return check_sweep(dict(volumes=part.get("volumes", ["qtim_MRHead"]), voxel_sizes=voxel_sizes,
                            accelerations=part["accelerations"], seeds=part["seeds"], slabs=[BLOCK[family]],
                            methods=compared, keep_slices=SLICE), KNOWN) | {"tuned": best}


def slices(rows):
    """Labels, numbers and the slice across the readout, for chapter 10; the truth comes with the first of its cell."""
    keys, cells = ("label", "method", "voxel_size", "acceleration", "psnr", "ssim"), set()
    for row in rows:
        cell = (row["voxel_size"], row["acceleration"])
        packed = {key: value for key, value in row["slices"]["sagittal"].items() if key != "truth" or cell not in cells}
        cells.add(cell)
        yield {key: row[key] for key in keys} | {"slices": {"sagittal": packed}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="without a name: none")
    parser.add_argument("--scans", nargs="+", choices=SCANS, default=list(SCANS))
    options = parser.parse_args()

    tuned, rows = {}, []
    for (name, part), scans in itertools.product(PARTS.items(), SCANS):
        wanted = name in options.parts and scans in options.scans
        kept = FOLDER / f"tuned_grids_{scans}.json"
        if wanted:                  # trials that are there are not computed again; new weights ask for new ones
            tune(sweep(PARTS["grids"], scans), FOLDER, KNOWN, out=kept, count=options.jobs)
        if kept.exists():
            found = tuned[scans] = json.loads(kept.read_text())
            jobs = make_jobs(sweep(part, scans, found["best"]))
            if wanted:
                run(jobs, FOLDER, KNOWN, count=options.jobs, keep_slices=SLICE)
            paths = [FOLDER / file_name(job) for job in jobs]
            rows += [load_result(path, SLICE) for path in paths if path.exists()]
    write_rows(RESULTS / "comparison.csv", rows)
    shown = [row for row in rows if row["volume"] == "qtim_MRHead" and row["seed"] == 0
             and row["slab"] == BLOCK["grids"] and row["acceleration"] in (8, 24)]
    for path, content in (("tuned.json", tuned), ("comparison_slices.json", list(slices(shown)))):
        with atomic_path(RESULTS / path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{len(rows)} results")
