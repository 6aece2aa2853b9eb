"""What diversity costs: denoising quality on the test head against training steps, and against people.

    python data/cost.py        # writes data/results/cost.json

Steps: the snapshots that `train_priors.py` leaves in `runs/`, of one run each, so the learning rate of the early
ones had not come down yet; a second round counts on from the first. People: the small network of chapter 6 on heads at
2 mm, trained for each choice of one, two or three of the training people with the same steps. PSNR at sigma = 0.1,
averaged over the three planes. What the file already holds of snapshots and trainings that are gone is kept.
"""

import datetime
import itertools
import json

import torch
from denoise import RESULTS, by_prior, quality, slices_of
from torch.utils.flop_counter import FlopCounterMode
from train_priors import PRIORS, RUNS

from mrilab.datasets import list_datasets
from mrilab.priors import load_prior, read_card
from mrilab.processes import hardware
from mrilab.training import train
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

VOXEL_SIZES, SIGMA = (1, 2, 3), 0.1
SMALL = dict(voxel_sizes=(2, 4), widths=(16, 16, 32, 64, 80), steps=1500)


def flops(prior, patch):
    """Floating-point operations of a training step for each slice: a backward pass costs two forward ones."""
    x = torch.zeros(1, 2, *[patch] * prior.dims)
    with FlopCounterMode(display=False) as counter:
        prior.denoise(x, 0.1, [1] * prior.dims)
    return 3 * counter.get_total_flops()


def table(prior, planes):
    """PSNR by voxel size."""
    return {d: round(quality(by_prior(prior), p, SIGMA), 3) for d, p in planes.items()}


def against_steps(planes):
    for name in (n for n, settings in PRIORS.items() if "network" not in settings):      # the plain U-Nets
        card = read_card(RUNS / f"{name}.json").model_dump()
        for path in (RUNS / name).glob("*.safetensors"):
            step, prior = card["steps_before"] + int(path.stem), load_prior(path)
            images = step * card["batch"]
            yield dict(prior=name, step=step, images=images,
                       teraflop=round(images * flops(prior, card["patch"]) / 1e12, 1), psnr=table(prior, planes))


def against_people(planes):
    people = {d.person: load_volume(d.name).resample((2, 2, 2)) for d in list_datasets("volume") if d.split == "train"}
    for volume in people.values():
        volume.data.clamp_(min=0)           # ringing of the resampling
    for chosen in itertools.chain.from_iterable(itertools.combinations(people, n) for n in (1, 2, 3)):
        path = RUNS / f"people-{'-'.join(chosen)}.safetensors"
        if not path.with_suffix(".json").exists():
            train([people[p] for p in chosen], out=path, people=chosen, **SMALL)
        prior = load_prior(path)
        yield dict(people=chosen, psnr=table(prior, planes))


if __name__ == "__main__":
    RUNS.mkdir(exist_ok=True)
    head = load_volume("qtim_MRHead")
    planes = {d: list(slices_of(head, d)) for d in VOXEL_SIZES}
    path = RESULTS / "cost.json"
    before = json.loads(path.read_text()) if path.exists() else dict(people=None, steps=[])
    people = before["people"] or list(against_people({d: planes[d] for d in (2, 3)}))
    rows = {(row["prior"], row["step"]): row for row in [*before["steps"], *against_steps(planes)]}
    steps = [rows[key] for key in sorted(rows)]
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), volume="qtim_MRHead", sigma=SIGMA,
                   small=SMALL, people=people, steps=steps)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
