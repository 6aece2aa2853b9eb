"""The priors in function space beside the plain ones: how well they denoise the validation slab, and at what cost.

    python data/function_space.py       # writes data/results/operator.json

PSNR as in `denoise.py`, at voxel sizes and noise levels of the book, for each interpolation of the kernels.
`samplings` has the disagreement between what a prior makes of the same noisy slices on pixels of 1 and of 2 mm:
the standard deviation of the difference over that of the noise on 2 mm. The noise is a function, so a solver that
counts its standard deviation per pixel would call it `sigma` on both grids; its density, at which the operator
looks, is that of white noise of twice `sigma` on 1 mm. The plain priors are told the one and the other.
`times` has the seconds for a million pixels, by voxel size; the file that ships lacks it, for the machine was busy.
`reconstructions` has the PSNR of the solver with each operator and interpolation on the validation slab, at the voxel
sizes where `compare.py` tunes, with the settings tuned there.
"""

import datetime
import itertools
import json
import time
from pathlib import Path

import torch
from denoise import SIGMAS, by_prior, quality, slices_of
from tqdm import tqdm

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from mrilab.diffusion import to_channels
from studies.experiments import simulated
from mrilab.fourier import resample
from mrilab.metrics import psnr
from mrilab.neural_operator import INTERPOLATIONS
from mrilab.processes import hardware
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

RESULTS = Path(__file__).parent / "results"
PLAIN = ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse")
OPERATORS = ("operator_1mm", "operator_2mm")
VOXEL_SIZES = (1, 1.5, 2, 3)


def settings(priors):
    """Every prior, the operators with each interpolation in turn: ``(name, interpolation or None, prior)``."""
    for name, prior in priors.items():
        for interpolation in INTERPOLATIONS if name in OPERATORS else (None,):
            prior.interpolation = interpolation
            yield name, interpolation, prior


def disagreement(prior, coarse, sigma, told):
    """Between the outputs for the slices on 2 mm and for the same functions on 1 mm."""
    fine = resample(coarse, (1, 2, 2), (1, 1, 1)).real
    of_fine = resample(prior.denoise(fine, told, (1, 1)), (1, 1, 1), (1, 2, 2)).real
    return ((prior.denoise(coarse, sigma, (2, 2)) - of_fine).std() / sigma).item()


def seconds(prior, voxel_size):
    """For a million pixels, the best of three."""
    slices, times = torch.randn(4, 2, 192, 192), []
    for _ in range(3):
        start = time.perf_counter()
        prior.denoise(slices, 0.1, (voxel_size, voxel_size))
        times.append(time.perf_counter() - start)
    return min(times) / slices[:, 0].numel() * 1e6


def reconstructions():
    """The solver with each operator and interpolation, R = 8, beside the diverse prior."""
    tuned = json.loads((RESULTS / "tuned.json").read_text())
    for (scans, d), name in itertools.product((("fine", 1.5), ("coarse", 3)), (*OPERATORS, "diverse")):
        acquisition, truth = simulated("colin27_ch2_slab", d, 8, (-6, 6), 0, 8, 0.01)
        options = tuned[scans]["best"][f"variational-{name}"]["settings"]
        for _, interpolation, prior in settings({name: load_prior(name)}):
            result = reconstruct(acquisition, prior, progress=False, **options)
            yield dict(prior=name, interpolation=interpolation, voxel_size=d, psnr=round(psnr(result.image, truth), 3))


if __name__ == "__main__":
    slab = load_volume("colin27_ch2_slab")
    planes = {d: list(slices_of(slab, d, count=6)) for d in VOXEL_SIZES}
    clean = to_channels(planes[2][0][0])
    priors = {name: load_prior(name) for name in (*PLAIN, *OPERATORS)}
    rows, samplings, times = [], [], []
    for name, interpolation, prior in tqdm(settings(priors), total=len(PLAIN) + 3 * len(OPERATORS)):
        who = dict(prior=name, interpolation=interpolation)
        for d in VOXEL_SIZES:
            for sigma in SIGMAS:
                value = quality(by_prior(prior), planes[d], sigma)
                rows.append(dict(who, voxel_size=d, sigma=sigma, psnr=round(value, 3)))
        times.append(dict(who, seconds={d: round(seconds(prior, d), 3) for d in VOXEL_SIZES}))
        for sigma in SIGMAS:
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
            for told in (2 * sigma,) if name in OPERATORS else (sigma, 2 * sigma):
                value = disagreement(prior, clean + sigma * noise, sigma, told)
                samplings.append(dict(who, sigma=sigma, told_on_1mm=told, disagreement=round(value, 3)))
    weights = {name: sha256(locate(name, "prior")) for name in priors}
    with atomic_path(RESULTS / "operator.json") as temporary:
        temporary.write_text(json.dumps(dict(
            hardware=hardware(), date=datetime.date.today().isoformat(), volume="colin27_ch2_slab", weights=weights,
            rows=rows, samplings=samplings, times=times,
            reconstructions=list(reconstructions())), indent=1) + "\n")
