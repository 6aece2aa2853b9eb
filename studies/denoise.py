"""How well each prior denoises the test head, at the voxel sizes and noise levels of the book.

    python data/denoise.py        # writes data/results/denoising.json

PSNR of magnitudes over every slice, or every n-th, of a plane, averaged over the three planes. 1.75 and 2.5 mm
are in no list of training sizes. Non-local means and total variation (scikit-image) are tuned on the validation
slab for each voxel size and noise level; the priors have nothing to tune.
"""

import datetime
import json
from pathlib import Path

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from tqdm import tqdm

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from mrilab.diffusion import to_channels, to_complex
from mrilab.metrics import percentile, psnr
from mrilab.simulate import smooth_phase
from mrilab.processes import hardware
from mrilab.checks import PLANES
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

RESULTS = Path(__file__).parent / "results"
PRIORS = ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse", "diverse_conditioned")
VOXEL_SIZES = (1, 1.5, 1.75, 2, 2.5, 3)
SIGMAS = (0.05, 0.1, 0.2)


def slices_of(volume, voxel_size, count=24):
    """For each plane: complex slices of the volume at a voxel size, about ``count``, and their voxel size."""
    # an axis that was measured more coarsely stays as it is
    small = volume.resample(tuple(max(voxel_size, d) for d in volume.voxel_size))
    image = small.data / percentile(small.data, 0.99)
    image = image * torch.exp(1j * smooth_phase(image.shape, torch.Generator().manual_seed(0)))
    for axis in PLANES.values():
        chosen = image.movedim(axis, 0)[:: max(1, image.shape[axis] // count)]
        yield chosen, tuple(d for a, d in enumerate(small.voxel_size) if a != axis)


def noisy(clean, sigma):
    noise = torch.randn(2, *clean.shape, generator=torch.Generator().manual_seed(1))
    return clean + sigma * torch.complex(*noise)


def quality(denoise, planes, sigma):
    """PSNR of ``denoise(complex slices, sigma, voxel size)``, averaged over the planes."""
    return float(np.mean([psnr(denoise(noisy(clean, sigma), sigma, size), clean) for clean, size in planes]))


def by_prior(prior):
    return lambda x, sigma, size: to_complex(prior.denoise(to_channels(x), sigma, size))


def non_local_means(strength):
    def denoise(x, sigma, size):
        return torch.stack([torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(denoise_nl_means(
            torch.view_as_real(s).numpy(), 5, 6, h=strength * sigma, sigma=sigma, channel_axis=-1)))) for s in x])
    return denoise


def total_variation(strength):
    def denoise(x, sigma, size):
        return torch.stack([torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(denoise_tv_chambolle(
            torch.view_as_real(s).numpy(), strength * sigma, channel_axis=-1)))) for s in x])
    return denoise


REFERENCES = {"non-local means": (non_local_means, (0.5, 0.7, 0.9, 1.1, 1.4)),
              "total variation": (total_variation, (0.5, 0.8, 1.2, 1.7, 2.4))}

if __name__ == "__main__":
    head, slab = load_volume("qtim_MRHead"), load_volume("colin27_ch2_slab")
    priors = {name: load_prior(name) for name in PRIORS}
    rows = []
    for d in tqdm(VOXEL_SIZES):
        test, validation = list(slices_of(head, d)), list(slices_of(slab, d, count=8))
        for sigma in SIGMAS:
            found = {name: quality(by_prior(prior), test, sigma) for name, prior in priors.items()}
            for name, (method, strengths) in REFERENCES.items():
                best = max(strengths, key=lambda s: quality(method(s), validation, sigma))
                found[name] = quality(method(best), test, sigma)
            found["noisy"] = quality(lambda x, sigma, size: x, test, sigma)
            rows += [dict(method=m, voxel_size=d, sigma=sigma, psnr=round(value, 3)) for m, value in found.items()]
    weights = {name: sha256(locate(name, "prior")) for name in PRIORS}
    with atomic_path(RESULTS / "denoising.json") as temporary:
        temporary.write_text(json.dumps(dict(
            hardware=hardware(), date=datetime.date.today().isoformat(), volume="qtim_MRHead",
            matrix_voxel_size=head.voxel_size, weights=weights, rows=rows), indent=1) + "\n")
