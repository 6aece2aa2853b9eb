"""Posterior sampling with a 2D diffusion prior: DDS, DiffusionMBIR, TPDM and ISCS.

The four are one walk down the noise levels. At each level (DDS, in its variance-exploding form)::

    predict   clean = D(x; now), slice by slice
    correct   image = argmin |A x - y|^2 + rho |x - clean|^2, a few conjugate-gradient steps from ``clean``
    renoise   x = image + then (sqrt(1 - eta^2) eps + eta noise), with eps the noise predicted in x

and at the last one ``image`` is the answer. DiffusionMBIR corrects with total variation between the slices too,
TPDM predicts in two planes in turn, and ISCS draws noise that turns slowly from slice to slice.

**Which posterior?** If slices were white Gaussians of standard deviation tau, a noisy slice would determine the clean
one up to the variance v, with ``1 / v = 1 / now^2 + 1 / tau^2``. Then ``rho = noise^2 / v`` makes ``image`` the exact
mean of what the data leave possible, and ``eps = (x - image) / now`` the exact noise. The mean over many runs is the
posterior mean, for every eta. The scatter is right for eta = 0 and many steps, and somewhat small for larger eta. This
is the default (``gamma=None``), with the prior's ``sigma_data`` for tau: for real slices a rough guess.

DDS itself has a fixed ``rho = 1 / gamma`` and ``eps = (x - clean) / now``. The measurement then counts anew in each
step, and the mean leans towards the data, the more so the larger gamma. Any number given for ``gamma`` chooses this
rule. Chapter 11 and the tests show both against a closed form.

What else differs from the papers: they take discrete DDPM or variance-exploding steps, mostly of real images. Here
noise levels are continuous and fall geometrically, images are complex, coils are many, and the walk starts from least
squares plus noise of the first level, as that of ISCS does. A large first level forgets most of the start.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .checks import PLANES, check_choice, check_falling, check_weight, check_whole
from .diffusion import Prior
from .operators import conjugate_gradients
from .problem import Callback, Problem, denoise_slices
from .simulate import white_noise
from .volumes import Acquisition, Reconstruction


def dds(acquisition: Acquisition, prior: Prior, plane: str = "axial", steps: int = 50, seed: int = 0,
        sigma: Sequence[float] = (0.1, 0.01), gamma: float | None = None, eta: float = 1.0, cg_iterations: int = 5,
        progress: bool = True, callback: Callback | None = None) -> Reconstruction:
    """Decomposed diffusion sampler (Chung, Lee and Ye, arXiv 2303.05754), one plane.

    Every slice of the plane is denoised in every step. Steps and conjugate-gradient steps are by default those of the
    authors' scripts. Their noise begins far higher (here it would be at 3 or more) and their eta is 0.85; with these
    the image ends 6 dB lower on the validation person, on whom noise level and eta were tuned
    (``studies/samplers.py``).

    Parameters
    ----------
    acquisition : Acquisition
        Its intensities are brought to the prior's scale here, and back at the end. A noise level that is not known is
        estimated (:func:`~mrilab.coils.noise_level`).
    prior : Prior
        The work is done on its device.
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    steps : int
        Noise levels.
    seed : int
        Of the noise: another seed, another sample.
    sigma : tuple of float
        First and last noise level, for images whose 99th percentile is 1.
    gamma : float, optional
        Fixed trust in the data, as in the paper. If not given, it follows the noise of the measurement and the noise
        level, as described above.
    eta : float
        Share of new noise, between 0 and 1. With 0, only the start is random.
    cg_iterations : int
        Conjugate-gradient steps of each correction.
    progress : bool
        Show a progress bar with the data misfit.
    callback : callable, optional
        Called as ``callback(iteration, image, misfit)`` after each step.

    Returns
    -------
    Reconstruction
        Complex image ``(z, y, x)``: one sample. Misfit, and what it cost.

    Raises
    ------
    ValueError
        For an unknown plane, noise levels that do not fall, a gamma, eta or number out of its range.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)
    >>> result = dds(acq, load_prior("diverse"), steps=3, progress=False)
    >>> result.image.shape == truth.shape, result.network_evaluations == 3 * len(truth)
    (True, True)
    """
    return _sample("DDS", acquisition, prior, [plane], steps, seed, sigma, gamma, eta, cg_iterations, progress,
                   callback)


def diffusion_mbir(acquisition: Acquisition, prior: Prior, plane: str = "axial", steps: int = 50, seed: int = 0,
                   sigma: Sequence[float] = (0.1, 0.01), gamma: float | None = None, eta: float = 1.0,
                   cg_iterations: int = 5, tv: float = 0.0003, progress: bool = True,
                   callback: Callback | None = None) -> Reconstruction:
    """DiffusionMBIR (Chung et al., arXiv 2211.10655): total variation across the slices of the plane.

    The correction minimises ``|A x - y|^2 / 2 + rho |x - clean|^2 / 2 + tv |D x|_1`` with the differences ``D`` between
    neighbouring slices, by one step of ADMM whose variables are kept from one noise level to the next. The paper
    corrects the noisy image, after each of 2,000 predictor and corrector steps, and joins the last slice to the first.
    Here the denoised image is corrected, as its authors do later in DDS to get by with fewer steps. The authors'
    script for MRI has ``tv = 0.005`` and twice that for the penalty of ADMM; twice is kept, and ``tv`` was tuned on a
    validation person, as ``studies/samplers.py`` does. Neighbours are drawn together, in the mean over runs too: that
    is a second prior beside the network's. With ``tv=0`` this is :func:`dds`.

    Parameters as for :func:`dds`, and

    Parameters
    ----------
    tv : float
        Weight of the total variation, 0 or more.

    Returns
    -------
    Reconstruction

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)
    >>> result = diffusion_mbir(acq, load_prior("diverse"), steps=2, progress=False)
    >>> result.image.shape == truth.shape
    True
    """
    check_weight(tv, "tv")
    return _sample("DiffusionMBIR", acquisition, prior, [plane], steps, seed, sigma, gamma, eta, cg_iterations,
                   progress, callback, correct=_tv_step(_axis(plane), tv, penalty=2 * tv) if tv else Problem.data_step)


def tpdm(acquisition: Acquisition, prior: Prior, planes: Sequence[str] = ("axial", "coronal"), steps: int = 50,
         seed: int = 0, sigma: Sequence[float] = (0.1, 0.01), gamma: float | None = None, eta: float = 1.0,
         cg_iterations: int = 5, progress: bool = True, callback: Callback | None = None) -> Reconstruction:
    """Two perpendicular diffusion models (Lee et al., arXiv 2303.08440): the planes take turns.

    The volume's density is modelled as a product, ``p(x) ~ p_1(slices of one plane) p_2(slices of another)``, and each
    step follows the score of one factor, as in the paper with K = 2. The paper has a network for each plane, and pulls
    to the data in the steps of the first plane only, by a gradient through the network (DPS). Here one network serves
    all planes, and every step is corrected as in :func:`dds`.

    Parameters as for :func:`dds`, with

    Parameters
    ----------
    planes : sequence of str
        Two or three planes, taken in turn.

    Returns
    -------
    Reconstruction

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)
    >>> result = tpdm(acq, load_prior("diverse"), steps=2, progress=False)
    >>> result.network_evaluations == truth.shape[0] + truth.shape[1]
    True
    """
    planes = tuple(planes)
    if len(planes) < 2 or len(set(planes)) < len(planes):
        raise ValueError(f"planes: found {planes!r}, expected two or three of {', '.join(PLANES)}, each once")
    return _sample("TPDM", acquisition, prior, planes, steps, seed, sigma, gamma, eta, cg_iterations, progress,
                   callback)


def iscs(acquisition: Acquisition, prior: Prior, plane: str = "axial", steps: int = 50, seed: int = 0,
         sigma: Sequence[float] = (0.1, 0.01), gamma: float | None = None, eta: float = 1.0, cg_iterations: int = 5,
         progress: bool = True, callback: Callback | None = None) -> Reconstruction:
    """Inter-slice consistent stochasticity (Du et al., arXiv 2602.04162): :func:`dds` with :func:`slerp_noise`.

    Neighbouring slices get nearly the same noise, so their samples fall alike where the data do not decide. The mean
    over runs is that of :func:`dds`; the scatter of neighbours is correlated by construction and says less about what
    is unknown. All noise is new in each step (eta = 1), which is what the authors' scripts do.

    Parameters as for :func:`dds`.

    Returns
    -------
    Reconstruction

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=4)
    >>> result = iscs(acq, load_prior("diverse"), steps=2, progress=False)
    >>> result.image.shape == truth.shape
    True
    """
    return _sample("ISCS", acquisition, prior, [plane], steps, seed, sigma, gamma, eta, cg_iterations, progress,
                   callback, noise=functools.partial(slerp_noise, axis=_axis(plane)))


def slerp_noise(shape: tuple[int, ...], generator: torch.Generator, axis: int) -> torch.Tensor:
    """Noise whose slices turn at equal steps from one random slice to another: spherical interpolation.

    Of n slices, slice k is ``(sin((1 - a) theta) z_0 + sin(a theta) z_1) / sin(theta)`` with ``a = (k + 1/2) / n`` and
    theta the angle between ``z_0`` and ``z_1``, almost 90 degrees for slices of many pixels. Each slice is white noise;
    neighbours are correlated by ``cos(theta / n)`` (Du et al., arXiv 2602.04162, and the authors' code).

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    generator : torch.Generator
        On the CPU.
    axis : int
        The axis that numbers the slices.

    Returns
    -------
    Tensor
        complex64 of that shape, variance 1 in each part.

    Examples
    --------
    >>> noise = slerp_noise((8, 40, 50), torch.Generator().manual_seed(0), axis=0)
    >>> neighbours, ends = ((noise[0] * noise[k].conj()).mean().real / 2 for k in (1, 7))
    >>> round(noise.abs().square().mean().item() / 2, 1), neighbours > 0.9, abs(ends) < 0.3
    (1.0, tensor(True), tensor(True))
    """
    n = shape[axis]
    first, last = white_noise((2, *shape[:axis], *shape[axis + 1:]), generator)
    cosine = torch.vdot(first.flatten(), last.flatten()).real / (first.norm() * last.norm())
    theta = cosine.clamp(-0.999, 0.999).acos()
    a = ((torch.arange(n) + 0.5) / n)[:, None, None]
    return ((((1 - a) * theta).sin() * first + (a * theta).sin() * last) / theta.sin()).movedim(0, axis)


def _sample(name: str, acquisition: Acquisition, prior: Prior, planes: Sequence[str], steps: int, seed: int,
            sigma: Sequence[float], gamma: float | None, eta: float, cg_iterations: int, progress: bool,
            callback: Callback | None, noise: Callable[..., torch.Tensor] = white_noise,
            correct: Callable[..., torch.Tensor] = Problem.data_step) -> Reconstruction:
    """Predict, correct, renoise."""
    axes = [_axis(plane) for plane in planes]
    check_falling(sigma)
    check_whole(steps, "steps")
    check_whole(cg_iterations, "cg_iterations")
    if gamma is not None and not 0 < gamma < math.inf:
        raise ValueError(f"gamma: found {gamma!r}, expected a positive number, or None")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: found {eta!r}, expected a share between 0 and 1")
    problem = Problem(acquisition, prior)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        return noise(tuple(problem.start.shape), generator).to(problem.start.device)

    levels = np.geomspace(sigma[0], sigma[1], steps).tolist()
    x = problem.start + levels[0] * draw()
    bar = tqdm(zip(levels, [*levels[1:], 0.0]), desc=name, total=steps, disable=not progress)
    for i, (now, then) in enumerate(bar):
        clean = denoise_slices(x, prior, now, problem.voxel_size, planes[i % len(planes)])
        problem.evaluations += len(clean)
        clean = clean.movedim(0, axes[i % len(axes)])
        rho = 1 / gamma if gamma is not None else problem.noise**2 * (1 / now**2 + 1 / prior.sigma_data**2)
        image = correct(problem, clean, rho, clean, cg_iterations)
        eps = (x - (image if gamma is None else clean)) / now
        x = image + then * (math.sqrt(1 - eta**2) * eps + eta * draw())
        misfit = problem.misfit(image)
        bar.set_postfix_str(f"sigma {now:.3f}, misfit {misfit:.4f}", refresh=False)
        if callback:
            callback(i, image * problem.scale, misfit)
    return problem.result(image, misfit)


def _tv_step(axis: int, tv: float, penalty: float) -> Callable[..., torch.Tensor]:
    """A function like ``Problem.data_step`` that adds ``tv |D x|_1``; it remembers w and u, ADMM's split and dual."""
    w: Any = None
    u: Any = None

    def step(problem: Problem, clean: torch.Tensor, rho: float, x: torch.Tensor, iterations: int) -> torch.Tensor:
        nonlocal w, u
        end = torch.zeros_like(x.narrow(axis, 0, 1))

        def adjoint(differences: torch.Tensor) -> torch.Tensor:
            return -torch.diff(differences, dim=axis, prepend=end, append=end)

        def system(v: torch.Tensor) -> torch.Tensor:
            return problem.operator.normal(v) + rho * v + penalty * adjoint(torch.diff(v, dim=axis))

        if w is None:
            w = u = torch.zeros_like(torch.diff(x, dim=axis))
        target = problem.measured + rho * clean + penalty * adjoint(w - u)
        x, used = conjugate_gradients(system, target, x, iterations)
        problem.applications += used + 1
        v = torch.diff(x, dim=axis) + u
        w = v * (1 - tv / penalty / v.abs().clamp(min=1e-12)).clamp(min=0)      # shrinks the magnitude
        u = v - w
        return x

    return step


def _axis(plane: str) -> int:
    check_choice(plane, "plane", PLANES)
    return PLANES[plane]
