"""What more training brings, and why a specialist leads: writes data/results/more_training.json.

    python data/more_training.py                  # a quarter of an hour to an hour of a CPU core for each of ten
    python data/more_training.py fixed_3mm        # one of them; the table is written when all are there

A third round: shipped priors go on for 8,000 steps. The diverse ones do so with a draw of voxel sizes that shows coarse
slices more often and anisotropic heads less: the conditioned one with it only, the other with the old draw too. Two
specialists of 3 mm start anew and see as many voxels, one in patches that hold a whole head, one in patches that do
not. With these small patches two priors go on from the third round for 16,000 steps. What is trained stays in
`runs/more_training` and does not ship.
"""

import argparse
import datetime
import json

import numpy as np
import torch
from denoise import PRIORS as SHIPPED
from denoise import RESULTS, SIGMAS, by_prior, noisy, quality, slices_of
from tqdm import tqdm
from train_priors import PRIORS, RUNS

from mrilab import augmentation
from mrilab.datasets import list_datasets, locate, sha256
from mrilab.priors import load_prior, read_card
from mrilab.metrics import psnr
from mrilab.processes import hardware
from mrilab.training import train
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

FOLDER = RUNS / "more_training"
THIRD = dict(steps=8000, seed=2)
TRAININGS = {name: dict(PRIORS[name], initial=name, **THIRD)
             for name in ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse")}
TRAININGS |= {f"{name}, coarser": dict(PRIORS[name], initial=name, **THIRD)
              for name in ("diverse", "diverse_conditioned")}
TRAININGS |= {"3 mm, whole heads": dict(voxel_sizes=(3, 3), steps=8000, patch=64, batch=8),
              "3 mm, parts of heads": dict(voxel_sizes=(3, 3), steps=8000, patch=32, batch=32)}
TRAININGS |= {f"{name}, small patches": dict(PRIORS[name], initial=FOLDER / f"{name}.safetensors", steps=16000, seed=3,
                                             patch=32, batch=32) for name in ("fixed_3mm", "diverse")}
VOXEL_SIZES, MIDDLE = (1, 2, 3), 24


def coarser(voxel_sizes, rng):
    """As :func:`mrilab.augmentation.draw_voxel_size`, but more often coarse, and in four of five one size for all."""
    low, high = np.log(voxel_sizes)
    place = rng.random(3) ** 0.7
    size = np.exp(np.where(rng.random(3) < 0.12, low, low + (high - low) * place))
    return size[:1].repeat(3) if rng.random() < 0.8 else size


def shares(draw, count=20_000):
    """Of the slices of a diverse prior, those whose both voxel sizes are within 10 % of 1, 2 and 3 mm."""
    rng = np.random.default_rng(0)
    drawn = np.array([draw((1, 4), rng)[:2] for _ in range(count)])
    return {d: round(float((abs(np.log(drawn / d)) < np.log(1.1)).all(1).mean()), 3) for d in VOXEL_SIZES}


def path_of(name):
    return FOLDER / f"{name.replace(', ', '_').replace(' ', '_')}.safetensors"


def run(name):
    people = [d for d in list_datasets("volume") if d.split == "train"]
    usual = augmentation.draw_voxel_size
    augmentation.draw_voxel_size = coarser if name.endswith("coarser") else usual
    try:
        train([d.name for d in people], out=path_of(name), people=[d.person for d in people],
              validation=load_volume("colin27_ch2_slab"), interval=1000, **TRAININGS[name])
    finally:
        augmentation.draw_voxel_size = usual


def middle(x):
    return x[(..., *(slice(n // 2 - MIDDLE // 2, n // 2 + MIDDLE // 2) for n in x.shape[1:]))]


def in_the_middle(prior, planes, sigma=0.1):
    """PSNR of the middle of each slice, for a prior that is given whole slices, and one that is given the middle."""
    denoise, found = by_prior(prior), {}
    for given in ("whole", "middle"):
        values = []
        for clean, size in planes:
            x = noisy(clean, sigma)
            image = middle(denoise(x, sigma, size)) if given == "whole" else denoise(middle(x), sigma, size)
            values.append(psnr(image, middle(clean)))
        found[given] = round(float(np.mean(values)), 3)
    return found


def curve(card, apart=2000):
    """Every so many steps of a training: its mean loss over them, and the loss on validation slices at sigma = 0.1."""
    every, losses = card["losses"]["every"], card["losses"]["mean"]
    return [dict(step=row["step"],
                 training=round(float(np.mean(losses[(row["step"] - apart) // every:row["step"] // every])), 4),
                 validation={d: row["loss"][f"{d}x, sigma 0.1"] for d in VOXEL_SIZES})
            for row in card["validation"] if row["step"] % apart == 0]


def measured(name, path, planes):
    prior, card = load_prior(path), read_card(path).model_dump()
    table = {d: {s: round(quality(by_prior(prior), p, s), 3) for s in SIGMAS} for d, p in planes.items()}
    return dict(prior=name, steps=card["steps"] + card["steps_before"], seconds=card["seconds"], sha256=card["sha256"],
                psnr=table, middle_at_3mm=in_the_middle(prior, planes[3]), curve=curve(card))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TRAININGS)}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in options.names or TRAININGS:
        if not path_of(name).with_suffix(".json").exists():
            run(name)
    if all(path_of(name).with_suffix(".json").exists() for name in TRAININGS):
        head = load_volume("qtim_MRHead")
        planes = {d: list(slices_of(head, d)) for d in VOXEL_SIZES}
        rows = [measured(name, name, planes) for name in tqdm(SHIPPED)]
        rows += [measured(name, path_of(name), planes) for name in tqdm(TRAININGS)]
        with atomic_path(RESULTS / "more_training.json") as temporary:
            temporary.write_text(json.dumps(dict(
                hardware=hardware(), date=datetime.date.today().isoformat(), volume="qtim_MRHead",
                shares=dict(usual=shares(augmentation.draw_voxel_size), coarser=shares(coarser)),
                weights={name: sha256(locate(name, "prior")) for name in SHIPPED}, rows=rows), indent=1) + "\n")
