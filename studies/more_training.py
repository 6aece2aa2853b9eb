"""What more training brings, and why a specialist leads.

A third round: shipped priors go on for 8,000 steps. The diverse ones do so with a draw of voxel sizes that shows coarse
slices more often and anisotropic heads less: the conditioned one with it only, the other with the old draw too. Two
specialists of 3 mm start anew and see as many voxels, one in patches that hold a whole head, one in patches that do
not. With these small patches two priors go on from the third round for 16,000 steps. A training takes a quarter of an
hour to an hour of a CPU core; what is trained stays in `runs/more_training` and does not ship.
"""

import numpy as np

from mrilab.datasets import locate
from mrilab.metrics import psnr
from mrilab.priors import load_prior

from .denoising import PRIORS as SHIPPED
from .denoising import SIGMAS, by_prior, noisy, quality, slices_of
from .results import ROOT
from .scans import HEAD
from .train_priors import PRIORS
from .trainings import PEOPLE, USUAL, card_of, coarser, training

RESULTS = ["more_training.json"]
NEEDS = []
VOXEL_SIZES, MIDDLE = (1, 2, 3), 24
SMALL_PATCHES = dict(patch=32, batch=32)


def asked(name, prior, initial, draw="usual", **settings):
    """The arguments of a training that goes on from weights, or of one that starts anew."""
    given = {key: value for key, value in PRIORS[prior].items() if key == "conditioned"}
    return dict(name=name, voxel_sizes=PRIORS[prior]["voxel_sizes"], volumes=list(PEOPLE.values()), whole=True,
                draw=draw, settings=given | settings | ({"initial": initial} if initial else {}))


THIRD = [asked(name, name, name, steps=8000, seed=2) for name in ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse")] + [
    asked(f"{name}, coarser", name, name, "coarser", steps=8000, seed=2) for name in ("diverse", "diverse_conditioned")]
ANEW = [asked("3 mm, whole heads", "fixed_3mm", None, steps=8000, patch=64, batch=8),
        asked("3 mm, parts of heads", "fixed_3mm", None, steps=8000, **SMALL_PATCHES)]


def shares(draw, count=20_000):
    """Of the slices of a diverse prior, those whose both voxel sizes are within 10 % of 1, 2 and 3 mm."""
    rng = np.random.default_rng(0)
    drawn = np.array([draw((1, 4), rng)[:2] for _ in range(count)])
    return {d: round(float((abs(np.log(drawn / d)) < np.log(1.1)).all(1).mean()), 3) for d in VOXEL_SIZES}


def middle(x):
    return x[(..., *(slice(n // 2 - MIDDLE // 2, n // 2 + MIDDLE // 2) for n in x.shape[1:]))]


def in_the_middle(prior, sigma=0.1, device="cpu"):
    """PSNR at 3 mm of the middle of each slice, for a prior that is given whole slices, and one given the middle."""
    denoise, found = by_prior(load_prior(prior, device), device), {}
    for given in ("whole", "middle"):
        values = []
        for clean, size in slices_of(HEAD, 3):
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


def study(run):
    trained = {row["name"]: str(ROOT / row["trained"])
               for row in run.rows(training, THIRD + ANEW, folder=run.folder)}
    fourth = [asked(f"{name}, small patches", name, trained[name], steps=16000, seed=3, **SMALL_PATCHES)
              for name in ("fixed_3mm", "diverse")]
    trained |= {row["name"]: str(ROOT / row["trained"]) for row in run.rows(training, fourth, folder=run.folder)}
    priors = {name: name for name in SHIPPED} | {
        f"{name}, third round" if name in SHIPPED else name: path for name, path in trained.items()}
    table = {(row["prior"], row["voxel_size"], row["sigma"]): row["psnr"] for row in run.rows(quality, [
        dict(volume=HEAD, voxel_size=d, sigma=s, prior=path) for path in priors.values() for d in VOXEL_SIZES
        for s in SIGMAS])}
    middles = run.rows(in_the_middle, [dict(prior=path) for path in priors.values()])
    rows = []
    for (name, path), found in zip(priors.items(), middles):
        card = card_of(locate(path, "prior"))
        rows.append(dict(
            prior=name.removesuffix(", third round"), steps=card["steps"] + card["steps_before"],
            seconds=card["seconds"], sha256=card["sha256"],
            psnr={d: {s: table[path, d, s] for s in SIGMAS} for d in VOXEL_SIZES},
            middle_at_3mm={given: found[given] for given in ("whole", "middle")}, curve=curve(card)))
    return dict(volume=HEAD, shares=dict(usual=shares(USUAL), coarser=shares(coarser)), rows=rows)
