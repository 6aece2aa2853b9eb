"""What diversity costs: denoising quality on the test head against training steps, and against people.

Steps: the snapshots that `train_priors` leaves in `runs/`, of one run each, so the learning rate of the early
ones had not come down yet. People: the small network of chapter 6 on heads at 2 mm, trained for each choice of one,
two or three of the training people with the same steps. PSNR at sigma = 0.1, averaged over the three planes.
"""

import itertools

from mrilab.priors import load_prior, read_card

from .denoising import PRIORS, quality
from .results import ROOT
from .scans import HEAD
from .train_priors import SNAPSHOTS
from .trainings import PEOPLE, flops, training

RESULTS = ["cost.json"]
NEEDS = [f"runs/{name}.json" for name in PRIORS]
VOXEL_SIZES, SIGMA, PATCH = (1, 2, 3), 0.1, 64
SMALL = dict(voxel_sizes=[2, 4], widths=[16, 16, 32, 64, 80], steps=1500)


def tables(run, priors, voxel_sizes):
    """PSNR on the test head by voxel size, for each prior."""
    found = run.rows(quality, [dict(volume=HEAD, voxel_size=d, sigma=SIGMA, prior=p) for p in priors
                               for d in voxel_sizes])
    values = iter(row["psnr"] for row in found)
    return [{d: next(values) for d in voxel_sizes} for _ in priors]


def study(run):
    runs = {name: read_card(name if run.dry else ROOT / "runs" / f"{name}.safetensors").model_dump() for name in PRIORS}
    steps = [dict(prior=name, step=step, images=step * card["batch"],
                  file=str(ROOT / "runs" / name / f"{step}.safetensors"))
             for name, card in runs.items() for step in SNAPSHOTS if step <= card["steps"]]
    each = {name: flops(load_prior(name), PATCH) for name in PRIORS}
    for row, table in zip(steps, tables(run, [row.pop("file") for row in steps], VOXEL_SIZES)):
        row |= dict(teraflop=round(row["images"] * each[row["prior"]] / 1e12, 1), psnr=table)
    chosen = [list(c) for n in (1, 2, 3) for c in itertools.combinations(PEOPLE, n)]
    settings = {key: value for key, value in SMALL.items() if key != "voxel_sizes"}
    trained = run.rows(training, [dict(name="people-" + "-".join(people), voxel_sizes=SMALL["voxel_sizes"],
                                       settings=settings, volumes=[PEOPLE[p] for p in people])
                                  for people in chosen], folder=run.folder)
    people = [dict(people=c, psnr=table) for c, table in zip(
        chosen, tables(run, [str(ROOT / row["trained"]) for row in trained], (2, 3)))]
    return dict(volume=HEAD, sigma=SIGMA, small=SMALL, people=people, steps=steps)
