"""Small priors trained for a study: they stay in ``runs/`` and do not ship."""

import functools
import hashlib
import json
import re
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from mrilab.datasets import list_datasets
from mrilab.training import train
from mrilab.volumes import load_volume

from .results import shown

PEOPLE = {d.person: d.name for d in list_datasets("volume") if d.split == "train"}


@functools.cache
def head_of(name):
    """A training person at 2 mm, without the ringing of the resampling."""
    volume = load_volume(name).resample((2, 2, 2))
    volume.data.clamp_(min=0)
    return volume


def training(name, voxel_sizes, settings, volumes, network="unet", folder=None, device="cpu"):
    """Train one prior on patches of heads at 2 mm, or go on where that was interrupted.

    Parameters
    ----------
    name : str
    voxel_sizes : list
        ``[low, high]`` in mm, or pairs of a size and its odds.
    settings : dict
        Of :func:`mrilab.training.train`.
    volumes : list of str
        Of the training people, by name.
    network : str
        See :func:`mrilab.training.train`.
    folder : str or Path
        Where the weights and their card go.

    Returns
    -------
    dict
        ``trained``, the file; ``sha256``; ``cpu_seconds``, None if it was interrupted. Wall time would count what else
        the machine does.
    """
    asked = json.dumps([name, voxel_sizes, settings, volumes, network])
    stem = f"{re.sub('[^a-z0-9_]+', '_', name.lower())}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
    path = Path(folder) / f"{stem}.safetensors"
    begin, anew = time.process_time(), not path.with_suffix(".checkpoint").exists()
    if not path.with_suffix(".json").exists():
        train([head_of(name) for name in volumes],
              dict(voxel_sizes) if isinstance(voxel_sizes[0], list) else tuple(voxel_sizes), path,
              people=[person for person, name in PEOPLE.items() if name in volumes], progress=False, device=device,
              network=network, whole=0, **settings)
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
