"""Slice-sampled variational reconstruction: a 3D image from undersampled k-space and a 2D prior.

Find the image whose k-space fits the measured one and whose slices, in all three planes, the prior calls
clean:  ``min |A x - y|^2 / (2 noise^2) + E[-log p(slice)]``, the expectation over random slices. After
Krainovic, Ruschke and Heckel (arXiv 2412.18584), with the gradient of RED-diff (Mardani et al., arXiv
2305.04391), which does not differentiate through the network. Chapter 7 builds the solver by hand.
"""

import numpy as np
import torch
from tqdm import tqdm

from .problem import Problem, denoise_slices
from .volumes import PLANES


def denoised_average(x, prior, sigma, voxel_size, planes=tuple(PLANES), fraction=None, generator=None):
    """Unbiased estimate of the denoised volume, averaged over planes, from a few random slices.

    Every slice of every plane denoised would be ``mean_p D_p(x)``. Here a share of the slices of each
    plane is drawn without replacement, and their changes ``D - x`` are scaled by (slices in the plane) /
    (slices drawn): the expectation over the draw is the same. RED-diff's gradient of ``-log p`` is
    ``(x - D) / sigma^2``.

    Parameters
    ----------
    x : Tensor
        complex64 ``(z, y, x)``.
    prior : Prior
    sigma : float
        Noise level, in intensity units, that the prior takes the error of ``x`` for.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    planes : sequence of str
        Of ``"axial"``, ``"coronal"``, ``"sagittal"``.
    fraction : float, optional
        Share of each plane's slices to draw. One over the number of planes if not given: as many voxels
        go through the network as the volume has, and every change is added as it is.
    generator : torch.Generator, optional
        On the CPU; decides which slices.

    Returns
    -------
    Tensor, int
        complex64 ``(z, y, x)``, and the number of slices pushed through the network.
    """
    fraction = fraction or 1 / len(planes)
    average, evaluations = x.clone(), 0
    for plane in planes:
        axis = PLANES[plane]
        slices = x.movedim(axis, 0)
        total = len(slices)
        drawn = torch.randperm(total, generator=generator)[: max(1, round(fraction * total))].to(x.device)
        denoised = denoise_slices(x, prior, sigma, voxel_size, plane, drawn)
        scale = total / len(drawn) / len(planes)
        average.movedim(axis, 0)[drawn] += scale * (denoised - slices[drawn])
        evaluations += len(drawn)
    return average, evaluations


def reconstruct(acquisition, prior, planes=tuple(PLANES), seed=0, iterations=16, fraction=None, sigma=(0.1, 0.005),
                weight=0.35, cg_iterations=5, progress=True, callback=None):
    """Reconstruct an undersampled 3D acquisition with a 2D diffusion prior.

    From CG-SENSE, at noise levels that fall geometrically: denoise random slices of all planes, then
    pull the image back to the data by a few conjugate-gradient steps on

        ``min_x |A x - y|^2 / (2 noise^2) + weight / (2 sigma^2) |x - denoised|^2``.

    Parameters
    ----------
    acquisition : Acquisition
        Its intensities are brought to the prior's scale here, and back at the end. A noise level that is
        not known is estimated from the outer end of the readout (:func:`~mrilab.problem.noise_level`).
    prior : Prior
        The work is done on its device.
    planes : sequence of str
        Planes to draw slices from.
    seed : int
        Decides which slices are drawn.
    iterations : int
    fraction : float, optional
        Share of each plane's slices to denoise in an iteration; one over the number of planes if not given.
    sigma : tuple of float
        First and last noise level, for images whose 99th percentile is 1.
    weight : float
        Trust in the prior; 1 takes its score at its word. The default was tuned (``data/tune.py``).
    cg_iterations : int
        Conjugate-gradient steps for each data step.
    progress : bool
        Show a progress bar with the data misfit.
    callback : callable, optional
        Called as ``callback(iteration, image, misfit)`` after each iteration.

    Returns
    -------
    Reconstruction
        Complex image ``(z, y, x)``, misfit, and what it cost.

    Raises
    ------
    ValueError
        For an unknown plane, noise levels that do not fall, or a weight or number that is not positive.

    Examples
    --------
    >>> from mrilab.diffusion import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=4)
    >>> result = reconstruct(acq, load_prior("diverse"), iterations=3, progress=False)
    >>> result.image.shape == truth.shape, result.network_evaluations
    (True, 90)
    """
    planes = (planes,) if isinstance(planes, str) else tuple(planes)
    _check(planes, iterations, fraction, sigma, weight, cg_iterations)
    problem = Problem(acquisition, prior)
    x = problem.start
    generator = torch.Generator().manual_seed(seed)
    bar = tqdm(np.geomspace(*sigma, iterations).tolist(), desc="reconstruct", disable=not progress)
    for i, level in enumerate(bar):
        denoised, used = denoised_average(x, prior, level, problem.voxel_size, planes, fraction, generator)
        problem.evaluations += used
        x = problem.data_step(denoised, weight * (problem.noise / level) ** 2, x, cg_iterations)
        misfit = problem.misfit(x)
        bar.set_postfix_str(f"sigma {level:.3f}, misfit {misfit:.4f}", refresh=False)
        if callback:
            callback(i, x * problem.scale, misfit)
    return problem.result(x, misfit)


def _check(planes, iterations, fraction, sigma, weight, cg_iterations):
    if not planes or any(p not in PLANES for p in planes) or len(set(planes)) < len(planes):
        raise ValueError(f"planes: found {planes!r}, expected some of {', '.join(PLANES)}, each once")
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"fraction: found {fraction!r}, expected a share above 0, at most 1")
    if len(sigma) != 2 or not sigma[0] >= sigma[1] > 0:
        raise ValueError(f"sigma: found {sigma!r}, expected a first and a last noise level, falling, above 0")
    for name, value in (("iterations", iterations), ("cg_iterations", cg_iterations)):
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{name}: found {value!r}, expected a whole number of 1 or more")
    if not 0 < weight < float("inf"):
        raise ValueError(f"weight: found {weight!r}, expected a positive number")
