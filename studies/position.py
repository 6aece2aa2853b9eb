"""A prior that is told where each pixel lies, beside one that is not: few people or several, one voxel size or many.

After PaDIS-MRI (arXiv 2509.21531), whose network sees a patch together with its coordinates: here those of each pixel
along z, y and x of the head, in units of 100 mm from its middle, as three more channels. The twin has the same network
and the same patches, and zeros in those channels. Trained on one person or on all, at 2 mm or from 2 to 4 mm, they
denoise slices of the test people at the sizes of training and beyond; *astray* is the told one with places 30 mm off.
"""

import time

import numpy as np
import torch

from mrilab.augmentation import make_head, source
from mrilab.checks import PLANES
from mrilab.diffusion import Prior, denoising_loss, to_channels, to_complex
from mrilab.metrics import psnr
from mrilab.training import average, noise_levels
from mrilab.unet import UNet

from .denoising import noisy, noisy_head
from .scans import PEOPLE as TESTED
from .scans import here
from .trainings import PEOPLE, head_of

RESULTS = ["position.json"]
ONE, ALL = ["pycortex_S1"], list(PEOPLE.values())
RANGES = {"2 mm": (2, 2), "2 to 4 mm": (2, 4)}
SETTINGS = dict(widths=[16, 16, 32, 64, 80], patch=48, batch=8, steps=2000)
SIZES, SIGMAS, SEEDS = (2, 3, 4, 5), (0.1, 0.5), (0, 1)
PER_HEAD, POOL = 64, 8                                  # patches of a head in all, and heads that a step mixes
UNIT, ASTRAY = 100.0, 30.0                              # mm


class Placed(Prior):
    """A prior whose network sees three more channels; they take the place of the voxel size in every call."""

    def __init__(self, widths, voxel_sizes):
        super().__init__(UNet(widths, channels=5), voxel_sizes)

    def forward(self, x, sigma, place=None):
        level = sigma.reshape(-1, 1, 1, 1)
        total = (level**2 + self.sigma_data**2).sqrt()
        seen = torch.cat([x / total, place], dim=1).contiguous(memory_format=self.memory_format)
        found = self.net(seen, (sigma.log() / 4).reshape(-1, 1))[:, :2]
        return self.sigma_data**2 / total**2 * x + level * self.sigma_data / total * found


def coordinates(shape, voxel_size):
    """Coordinates of each voxel along z, y and x from the middle, ``(3, z, y, x)``, in units of 100 mm.

    Examples
    --------
    >>> coordinates((1, 1, 3), (2, 2, 50))[2]
    tensor([[[-0.5000,  0.0000,  0.5000]]])
    """
    lines = [(torch.arange(n) - (n - 1) / 2) * d / UNIT for n, d in zip(shape, voxel_size)]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def patches(image, voxel_size, side, count, rng):
    """Squares of random slices around random tissue, each flipped and with a random phase, and their places.

    Examples
    --------
    >>> image = torch.ones(8, 20, 20, dtype=torch.complex64)
    >>> squares, where = patches(image, (2, 2, 2), 16, 3, np.random.default_rng(0))
    >>> squares.shape, where.shape
    (torch.Size([3, 2, 16, 16]), torch.Size([3, 3, 16, 16]))
    """
    short = [max(0, side - n) for n in image.shape]
    image = torch.nn.functional.pad(image, [n for s in reversed(short) for n in (s // 2, s - s // 2)])
    everything = torch.cat([to_channels(image[None])[0], coordinates(image.shape, voxel_size)])
    tissue = (image.abs() > 0.1).nonzero()
    squares = []
    for middle in tissue[torch.from_numpy(rng.integers(len(tissue), size=count))]:
        axis = rng.integers(3)
        square = everything.select(axis + 1, middle[axis])
        for dim, n in enumerate(n for a, n in enumerate(middle.tolist()) if a != axis):
            start = min(max(0, n - side // 2), square.shape[dim + 1] - side)
            square = square.narrow(dim + 1, start, side)
            square = square.flip(dim + 1) if rng.random() < 0.5 else square
        phase = torch.exp(torch.tensor(2j * np.pi * rng.random()))
        squares.append(torch.cat([to_channels(phase * to_complex(square[None, :2]))[0], square[2:]]))
    both = torch.stack(squares)
    return both[:, :2], both[:, 2:]


def batches(volumes, voxel_sizes, patch, batch, seed):
    """Patches and places for ever: each step mixes those of several heads, one of which is made anew in between."""
    rng = np.random.default_rng(seed)
    people = [source(head_of(name)) for name in volumes]
    heads = []
    while True:
        image, size = make_head(people[rng.integers(len(people))], voxel_sizes, rng)
        heads = [*heads[1 - POOL:], patches(image, size, patch, PER_HEAD, rng)]
        clean, where = (torch.cat(part) for part in zip(*heads))
        for chosen in torch.from_numpy(rng.integers(len(clean), size=(PER_HEAD // batch, batch))):
            yield clean[chosen], where[chosen]


def trained(volumes, voxel_sizes, told, widths, patch, batch, steps, seed, device):
    """The averaged prior after its training: Adam with a warm-up and a cosine to zero, as `mrilab.training.train`."""
    torch.manual_seed(seed)
    prior = Placed(widths, voxel_sizes).to(device).train()
    smooth = Placed(widths, voxel_sizes).to(device).eval()
    smooth.load_state_dict(prior.state_dict())
    optimizer = torch.optim.Adam(prior.parameters(), 1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / min(200, steps // 10 + 1)) * 0.5 * (1 + np.cos(np.pi * s / steps)))
    draw = torch.Generator().manual_seed(seed)
    for step, (clean, where) in zip(range(steps), batches(volumes, voxel_sizes, patch, batch, seed)):
        sigma, noise = noise_levels(batch, draw), torch.randn(clean.shape, generator=draw)
        clean, sigma, noise, where = (t.to(device) for t in (clean, sigma, noise, where * told))
        optimizer.zero_grad()
        denoising_loss(prior, clean, sigma, noise, where).mean().backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average([p.detach() for p in smooth.parameters()], [p.detach() for p in prior.parameters()], step)
    return smooth


def told_psnr(prior, volume, voxel_size, sigma, told, count, device, off=0.0):
    """PSNR of slices of a volume, the mean over three planes; ``off``, in mm, is added to what the prior is told."""
    image, size = noisy_head(volume, voxel_size)
    where, found = (coordinates(image.shape, size) + off / UNIT) * told, []
    for axis in PLANES.values():
        every = max(1, image.shape[axis] // count)
        clean, place = image.movedim(axis, 0)[::every], where.movedim(axis + 1, 0)[::every]
        x = to_channels(noisy(clean, sigma)).to(device)
        with torch.no_grad():
            denoised = prior(x, torch.full((len(x),), float(sigma), device=device), place.contiguous().to(device))
        found.append(psnr(to_complex(denoised).cpu(), clean))
    return round(float(np.mean(found)), 3)


def measured(volumes, voxel_sizes, told, settings, tested, voxel_size, seed, count=12, device="cpu"):
    """Train one, and denoise the test people with it: PSNR by person, voxel size and noise level."""
    begin = time.process_time()
    prior = trained(volumes, voxel_sizes, told, **settings, seed=seed, device=device)
    seconds = round(time.process_time() - begin)
    rows = [dict(volume=volume, voxel_size=d, sigma=sigma, psnr=told_psnr(prior, volume, d, sigma, told, count, device),
                 astray=told_psnr(prior, volume, d, sigma, told, count, device, ASTRAY) if told else None)
            for volume in tested for d in dict.fromkeys(voxel_size) for sigma in SIGMAS]
    return dict(rows=rows, cpu_seconds=seconds)


def study(run):
    tested = here(TESTED)
    asked = [dict(volumes=volumes, voxel_sizes=voxel_sizes, told=told, settings=SETTINGS, tested=tested,
                  voxel_size=SIZES, seed=seed)
             for seed in SEEDS for volumes in (ONE, ALL) for voxel_sizes in RANGES.values() for told in (0, 1)]
    return dict(settings=SETTINGS, people=len(ALL), rows=run.rows(
        measured, asked, columns=("volumes", "voxel_sizes", "told", "seed", "rows", "cpu_seconds")))
