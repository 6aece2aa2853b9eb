"""How well each prior denoises the slices of four test people, from 1 to 4 mm and up to a noise level of 1.

PSNR of magnitudes over every slice, or every n-th, of a plane, averaged over the three planes. 1.75 and 2.5 mm
are in no list of training sizes. Non-local means and total variation (scikit-image) are tuned on the validation
person at 2 mm for each noise level, and see fewer slices, for they are slow; the priors have nothing to tune. A person
whose head is not at hand is left out, and said. At 1 mm only heads that are as sharp as that.
"""

import functools
import itertools

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from mrilab.checks import PLANES, in_plane
from mrilab.diffusion import to_channels, to_complex
from mrilab.metrics import percentile, psnr
from mrilab.simulate import smooth_phase
from mrilab.volumes import load_volume

from .scans import PEOPLE, SHARP, VALIDATION, here, prior_of

RESULTS = ["denoising.json"]
PRIORS = ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse", "diverse_conditioned")
FINE, COARSE = (1, [4, 1, 1]), (1.5, 1.75, 2, 2.5, 3, 4)
SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
STRENGTHS = {"non-local means": (0.3, 0.5, 0.7, 0.9, 1.1, 1.4), "total variation": (0.3, 0.5, 0.8, 1.2, 1.7, 2.4)}


def noisy_head(volume, voxel_size):
    """A volume at a voxel size, or at what it was measured at where that is coarser, scaled and with a smooth phase."""
    volume = load_volume(volume)
    size = (voxel_size,) * 3 if isinstance(voxel_size, int | float) else voxel_size
    small = volume.resample(tuple(max(d, e) for d, e in zip(size, volume.voxel_size)))
    image = small.data / percentile(small.data, 0.99)
    return image * torch.exp(1j * smooth_phase(image.shape, torch.Generator().manual_seed(0))), small.voxel_size


def slices_of(volume, voxel_size, count=12):
    """For each plane: complex slices of the volume at a voxel size, about ``count``, and their voxel size."""
    return _slices_of(volume, tuple(voxel_size) if isinstance(voxel_size, list) else voxel_size, count)


@functools.lru_cache(maxsize=4)
def _slices_of(volume, voxel_size, count):
    image, size = noisy_head(volume, voxel_size)
    return [(image.movedim(axis, 0)[:: max(1, image.shape[axis] // count)],
             in_plane(size, axis)) for axis in PLANES.values()]


def noisy(clean, sigma):
    # all real parts first, as chapters 6 and 12 draw the noise of the slices they show
    noise = torch.randn(2, *clean.shape, generator=torch.Generator().manual_seed(1))
    return clean + sigma * torch.complex(*noise)


def by_prior(prior, device="cpu"):
    return lambda x, sigma, size: to_complex(prior.denoise(to_channels(x).to(device), sigma, size).cpu())


def classical(method, strength):
    """Non-local means or total variation of each slice, real and imaginary part as channels."""
    def denoise(x, sigma, _):
        function = {"non-local means": lambda s: denoise_nl_means(s, 5, 6, h=strength * sigma, sigma=sigma,
                                                                  channel_axis=-1),
                    "total variation": lambda s: denoise_tv_chambolle(s, strength * sigma, channel_axis=-1)}[method]
        return torch.stack([torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(
            function(torch.view_as_real(s).numpy())))) for s in x])
    return denoise


def quality(volume, voxel_size, sigma, prior=None, interpolation=None, method="prior", strength=None, count=12,
            device="cpu"):
    """PSNR of denoising in each plane: by a prior, by a classical method, or of the noisy slices themselves."""
    if method == "prior":
        denoise = by_prior(prior_of(prior, interpolation, device), device)
    else:
        denoise = classical(method, strength) if method in STRENGTHS else lambda x, *_: x
    planes = [psnr(denoise(noisy(clean, sigma), sigma, size), clean) for clean, size in
              slices_of(volume, voxel_size, count)]
    return dict(psnr_planes=planes, psnr=round(float(np.mean(planes)), 3))


def rows_of(run, volumes, voxel_sizes, strengths):
    """PSNR of each prior, of each classical method with its strength, and of the noisy slices."""
    asked = [dict(volume=volume, voxel_size=d, sigma=s) | way
             for volume, d, s in itertools.product(volumes, voxel_sizes, SIGMAS)
             for way in [*(dict(prior=name, method="prior") for name in PRIORS),
                         *(dict(method=m, strength=strengths[m, s], count=6) for m in STRENGTHS), dict(method="noisy")]]
    return [dict(volume=row["volume"], method=row.get("prior") or row["method"], voxel_size=row["voxel_size"],
                 sigma=row["sigma"], psnr=row["psnr"]) for row in run.rows(quality, asked)]


def study(run):
    trials = run.rows(quality, [dict(volume=VALIDATION, voxel_size=2, sigma=s, method=m, strength=strength, count=6)
                                for s in SIGMAS for m in STRENGTHS for strength in STRENGTHS[m]])
    best = {(t["method"], t["sigma"]): t["strength"] for t in sorted(trials, key=lambda t: t["psnr"])}
    rows = rows_of(run, here(SHARP), FINE, best) + rows_of(run, here(PEOPLE), COARSE, best)
    return dict(rows=rows, strengths=[dict(method=m, sigma=s, strength=v) for (m, s), v in best.items()])
