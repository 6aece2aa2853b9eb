"""The priors in function space beside the plain ones, on the validation person: denoising, and in the solver.

PSNR as in `denoising`, at voxel sizes and noise levels of the book, for each interpolation of the kernels.
`samplings` has the disagreement between what a prior makes of the same noisy slices on pixels of 1 and of 2 mm:
the standard deviation of the difference over that of the noise on 2 mm. The noise is a function, so a solver that
counts its standard deviation per pixel would call it `sigma` on both grids; its density, at which the operator
looks, is that of white noise of twice `sigma` on 1 mm. The plain priors are told the one and the other.
`reconstructions` has the PSNR of the solver, at its defaults, with each operator and interpolation on that
person, at the voxel sizes where `comparison` tunes; `chosen` the best interpolation there.
"""

import itertools

import torch

from mrilab.diffusion import to_channels
from mrilab.fourier import resample
from mrilab.neural_operator import KERNEL_INTERPOLATIONS
from mrilab.trials import best_trial

from .denoising import quality, slices_of
from .scans import VALIDATION, prior_of, reconstruction

RESULTS = ["operators.json"]
PLAIN = ("fixed_1mm", "fixed_2mm", "fixed_3mm", "diverse")
OPERATORS = ("operator_1mm", "operator_2mm")
WAYS = [dict(prior=name, interpolation=None) for name in PLAIN] + [
    dict(prior=name, interpolation=i) for name in OPERATORS for i in KERNEL_INTERPOLATIONS]
VOXEL_SIZES, SIGMAS = (1, 1.5, 2, 3), (0.05, 0.1, 0.2)


def disagreement(prior, interpolation, sigma, told_on_1mm, device="cpu"):
    """Between the outputs for the slices on 2 mm and for the same functions on 1 mm."""
    prior = prior_of(prior, interpolation, device)
    clean = to_channels(slices_of(VALIDATION, 2, count=6)[0][0])
    coarse = (clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).to(device)
    fine = resample(coarse, (1, 2, 2), (1, 1, 1)).real
    of_fine = resample(prior.denoise(fine, told_on_1mm, (1, 1)), (1, 1, 1), (1, 2, 2)).real
    return dict(disagreement=round(((prior.denoise(coarse, sigma, (2, 2)) - of_fine).std() / sigma).item(), 3))


def study(run):
    rows = run.rows(quality, [way | dict(volume=VALIDATION, voxel_size=d, sigma=s, count=6)
                              for way in WAYS for d in VOXEL_SIZES for s in SIGMAS],
                    columns=("prior", "interpolation", "voxel_size", "sigma", "psnr"))
    samplings = run.rows(disagreement, [
        way | dict(sigma=s, told_on_1mm=told) for way in WAYS for s in SIGMAS
        for told in ((2 * s,) if way["prior"] in OPERATORS else (s, 2 * s))])
    found = run.rows(reconstruction, [
        way | dict(volume=VALIDATION, voxel_size=d, block=(-6, 6), method="variational", settings={})
        for d in (1.5, 3) for way in WAYS if way["prior"] in (*OPERATORS, "diverse")],
        columns=("prior", "interpolation", "voxel_size", "settings", "psnr"))
    chosen = [best_trial([row for row in found if (row["voxel_size"], row["prior"]) == key])
              for key in itertools.product((1.5, 3), OPERATORS)]
    return dict(volume=VALIDATION, rows=rows, samplings=samplings, reconstructions=found,
                chosen=[{k: row[k] for k in ("prior", "interpolation", "voxel_size")} for row in chosen])
