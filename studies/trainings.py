"""Small priors, and more of the large ones, trained for a study: they stay in ``runs/`` and do not ship."""

import functools
import hashlib
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mrilab import augmentation
from mrilab.datasets import list_datasets
from mrilab.training import train
from mrilab.volumes import load_volume

from .results import shown
from .scans import SLAB

PEOPLE = {d.person: d.name for d in list_datasets("volume") if d.split == "train"}
USUAL = augmentation.draw_voxel_size


@functools.cache
def head_of(name):
    """A training person at 2 mm, without the ringing of the resampling."""
    volume = load_volume(name).resample((2, 2, 2))
    volume.data.clamp_(min=0)
    return volume


def coarser(voxel_sizes, rng):
    """As :func:`mrilab.augmentation.draw_voxel_size`, but more often coarse, and in four of five one size for all."""
    low, high = np.log(voxel_sizes)
    place = rng.random(3) ** 0.7
    size = np.exp(np.where(rng.random(3) < 0.12, low, low + (high - low) * place))
    return size[:1].repeat(3) if rng.random() < 0.8 else size


def training(name, voxel_sizes, settings, volumes, whole=False, draw="usual", network="unet", folder=None,
             device="cpu"):
    """Train one prior on patches alone, or go on where that was interrupted.

    Parameters
    ----------
    name : str
    voxel_sizes : list
        ``[low, high]`` in mm, or pairs of a size and its odds.
    settings : dict
        Of :func:`mrilab.training.train`.
    volumes : list of str
        Of the training people, by name.
    whole : bool
        On heads at their own voxel size, with the loss on the validation slab; otherwise at 2 mm.
    draw, network : str
        Of voxel sizes, ``"usual"`` or ``"coarser"``; see :func:`mrilab.training.train`.
    folder : str or Path
        Where the weights and their card go.

    Returns
    -------
    dict
        ``trained``, the file; ``sha256``; ``cpu_seconds``, None if it was interrupted. Wall time would count what else
        the machine does.
    """
    asked = json.dumps([name, voxel_sizes, settings, volumes, whole, draw, network])
    stem = f"{re.sub('[^a-z0-9_]+', '_', name.lower())}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
    path = Path(folder) / f"{stem}.safetensors"
    begin, anew = time.process_time(), not path.with_suffix(".checkpoint").exists()
    if not path.with_suffix(".json").exists():
        how = dict(validation=load_volume(SLAB), interval=1000) if whole else {}
        augmentation.draw_voxel_size = coarser if draw == "coarser" else USUAL
        try:
            train([name if whole else head_of(name) for name in volumes],
                  dict(voxel_sizes) if isinstance(voxel_sizes[0], list) else tuple(voxel_sizes), path,
                  people=[person for person, name in PEOPLE.items() if name in volumes], progress=False, device=device,
                  network=network, whole=0, **how, **settings)
        finally:
            augmentation.draw_voxel_size = USUAL
    else:
        anew = False
    seconds = round(time.process_time() - begin) if anew else None
    return dict(trained=shown(path), sha256=card_of(path)["sha256"], cpu_seconds=seconds)


def card_of(path):
    """The card beside weights."""
    return json.loads(Path(path).with_suffix(".json").read_text())


def flops(prior, patch):
    """Floating-point operations of a training step for each slice: a backward pass costs two forward ones."""
    x = torch.zeros(1, 2, *[patch] * prior.dims)
    with FlopCounterMode(display=False) as counter:
        prior.denoise(x, 0.1, prior.voxel_sizes[:1] * prior.dims)
    return 3 * counter.get_total_flops()
