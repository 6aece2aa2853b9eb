"""Slice-sampled variational reconstruction: a 3D image from undersampled k-space and a 2D prior.

Find the image whose k-space fits the measured one and whose slices, in all three planes, the prior calls
clean:  ``min |A x - y|^2 / (2 noise^2) + E[-log p(slice)]``, the expectation over random slices. After
Krainovic, Ruschke and Heckel (arXiv 2412.18584). There are two solvers: :func:`gradient_descent`, the setting
``paper``, descends on their objective with Adam; :func:`half_quadratic_splitting`, the setting ``fast``, denoises at
falling noise levels and solves for the data in between, as DPIR does (Zhang et al., arXiv 2008.13751), with random
slices of three planes for the image. Chapter 7 builds both by hand.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .checks import (
    PLANES,
    check_choice,
    check_falling,
    check_voxel_size,
    check_weight,
    check_whole,
    in_plane,
    picture_planes,
)
from .diffusion import Prior, ddpm_sigma, to_channels, to_complex
from .problem import Callback, Problem, denoise_slices
from .representations import Representation, represent
from .volumes import Acquisition, Reconstruction

SCHEDULES = ("falling", "uniform", "descending", "bounded")
Steps = Iterator[tuple[torch.Tensor, float]]            # the image after each iteration and its misfit


def draw_slices(total: int, fraction: float = 1.0, slices: int | None = None, slab: int = 1,
                generator: torch.Generator | None = None) -> tuple[list[torch.Tensor], float]:
    """A random share of the slices of a plane, in slabs of neighbours; each slice is as likely as any other.

    The axis, closed to a ring and cut at a random place, falls into slabs; some of them are drawn without replacement.

    Parameters
    ----------
    total : int
        Slices in the plane.
    fraction : float
        Share to draw, rounded to whole slabs, at least one.
    slices : int, optional
        Draw no more than this many.
    slab : int
        Neighbours drawn together.
    generator : torch.Generator, optional
        On the CPU.

    Returns
    -------
    list of Tensor, float
        The numbers of the slices of each slab, and 1 / (probability of a slice): sums over the slices drawn, times
        this, are unbiased for sums over all.

    Examples
    --------
    >>> slabs, scale = draw_slices(12, fraction=0.5, slab=3)
    >>> [len(s) for s in slabs], scale
    ([3, 3], 2.0)
    """
    share = min(fraction, slices / total) if slices else fraction
    ring = torch.arange(total)
    if slab > 1:
        ring = ring.roll(int(torch.randint(total, (), generator=generator)))
    slabs = ring.split(slab)
    drawn = torch.randperm(len(slabs), generator=generator)[: max(1, round(share * len(slabs)))]
    return [slabs[i] for i in drawn], len(slabs) / len(drawn)


def _draws(x: torch.Tensor, planes: Sequence[str], fraction: float | None, slices: int | None, slab: int,
           generator: torch.Generator | None) -> Iterator[tuple[str, list[torch.Tensor], float]]:
    """Plane by plane the slabs drawn and their scale (:func:`draw_slices`); each is drawn when its turn comes."""
    for plane in planes:
        yield plane, *draw_slices(x.shape[PLANES[plane]], fraction or 1 / len(planes), slices, slab, generator)


def denoised_average(x: torch.Tensor, prior: Prior, sigma: float, voxel_size: Sequence[float],
                     planes: Sequence[str] = tuple(PLANES), fraction: float | None = None,
                     generator: torch.Generator | None = None, slices: int | None = None,
                     slab: int = 1, flip: bool = False) -> tuple[torch.Tensor, int]:
    """Unbiased estimate of the denoised volume, averaged over planes, from a few random slices.

    Every slice of every plane denoised would be ``mean_a D_a(x)``. Here slices of each plane are drawn
    (:func:`draw_slices`), and their changes ``D - x`` are scaled by (slices in the plane) / (slices drawn): the
    expectation over the draw is the same. RED-diff's gradient of ``-log p`` is ``(x - D) / sigma^2``. A prior of
    volumes sees all planes at once: it denoises the volume whole, and nothing is drawn.

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
    slices, slab : int
        As for :func:`draw_slices`.
    flip : bool
        Show the prior mirror images, each in-plane axis turned round with probability one half, and turn its answer
        back. A head is as likely as its mirror image, a network's errors are not (Terris et al., arXiv 2312.01831).

    Returns
    -------
    Tensor, int
        complex64 ``(z, y, x)``, and the number of slices pushed through the network; a volume counts as its axial ones.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> x = torch.zeros(8, 8, 8, dtype=torch.complex64)
    >>> average, slices = denoised_average(x, load_prior("diverse"), 0.1, (2, 2, 2), fraction=0.25)
    >>> average.shape, slices
    (torch.Size([8, 8, 8]), 6)
    """
    def turned(axes: Iterable[int]) -> list[int]:
        return [a for a in axes if flip and torch.rand((), generator=generator) < 0.5]

    if prior.dims == 3:
        across = turned(range(3))
        clean = prior.denoise(to_channels(x.flip(across)[None]), sigma, voxel_size)
        return to_complex(clean)[0].flip(across), len(x)
    average, evaluations = x.clone(), 0
    for plane, slabs, scale in _draws(x, planes, fraction, slices, slab, generator):
        axis, drawn = PLANES[plane], torch.cat(slabs).to(x.device)
        across, stack = turned(a for a in range(3) if a != axis), x.movedim(axis, 0)
        clean = denoise_slices(x.flip(across), prior, sigma, voxel_size, plane, drawn)
        change = clean.flip([a + (a < axis) for a in across]) - stack[drawn]
        average.movedim(axis, 0)[drawn] += scale / len(planes) * change
        evaluations += len(drawn)
    return average, evaluations


def score_difference(x: torch.Tensor, prior: Prior, sigma: Callable[[], float], voxel_size: Sequence[float],
                     planes: Sequence[str] = tuple(PLANES), fraction: float | None = 1.0,
                     generator: torch.Generator | None = None, slices: int | None = None, slab: int = 1,
                     power: float = 1.0) -> tuple[torch.Tensor, float, int]:
    """What the paper's authors descend along: their regulariser's gradient with the network taken for the identity.

    For slices ``s`` of the volume, with white noise ``eps`` and ``alpha^2 = 1 / (1 + sigma^2)``,

        ``R(x) = mean over planes, slices of E sigma^power |eps - eps_hat|^2 / pixels``,
        ``eps_hat - eps = (s - D(s + sigma eps; sigma)) / sigma``.

    The derivative of ``eps_hat`` by the network's input ``alpha (s + sigma eps)`` is set to the identity, so that one
    forward pass is enough: ``2 sigma^power alpha (eps_hat - eps) / pixels`` reaches a slice. For power 1 that is
    RED-diff's direction ``s - D`` (Mardani et al., arXiv 2305.04391), with noise added before the slice is denoised.

    Parameters
    ----------
    x, prior, voxel_size, planes, fraction, generator, slices, slab
        As for :func:`denoised_average`; the generator draws the noise as well.
    sigma : callable
        Called without arguments for the noise level of each slice.
    power : float
        ``p`` of the paper.

    Returns
    -------
    Tensor, float, int
        complex64 ``(z, y, x)``; the estimate of ``R``; slices evaluated.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> x = torch.zeros(8, 12, 16, dtype=torch.complex64)
    >>> gradient, value, evaluations = score_difference(x, load_prior("diverse"), lambda: 0.1, (2, 2, 2), slices=2)
    >>> gradient.shape, evaluations
    (torch.Size([8, 12, 16]), 6)
    """
    gradient, value, evaluations = torch.zeros_like(x), 0.0, 0
    for plane, slabs, scale in _draws(x, planes, fraction, slices, slab, generator):
        axis, drawn = PLANES[plane], torch.cat(slabs).to(x.device)
        stack = x.movedim(axis, 0)
        s = torch.tensor([sigma() for _ in range(len(drawn))], device=x.device)
        clean = to_channels(stack[drawn])
        noise = torch.randn(clean.shape, generator=generator).to(x.device)
        level = s.reshape(-1, 1, 1, 1)
        difference = (clean - prior.denoise(clean + level * noise, s, in_plane(voxel_size, axis))) / level
        weight = level**power * scale / (len(stack) * len(planes) * stack[0].numel())
        gradient.movedim(axis, 0)[drawn] += to_complex(2 * weight / (1 + level**2).sqrt() * difference)
        value += (weight * difference.square()).sum().item()
        evaluations += len(drawn)
    return gradient, value, evaluations


def noise_schedule(schedule: str, sigma: Sequence[float], iterations: int,
                   generator: torch.Generator | None = None) -> list[Callable[[], float]]:
    """For each iteration a function that returns a noise level.

    ``falling`` is the geometric sequence from the first to the last level. The others are those of the authors' code,
    over the times ``t`` of DDPM (:func:`~mrilab.diffusion.ddpm_sigma`) between those levels: ``uniform``, its default,
    ``descending`` linearly and, in its later version, uniform below a descending bound (``bounded``).

    Examples
    --------
    >>> [round(level(), 3) for level in noise_schedule("falling", (0.1, 0.001), 3)]
    [0.1, 0.01, 0.001]
    """
    if schedule == "falling":
        return [partial(float, level) for level in np.geomspace(sigma[0], sigma[1], iterations)]
    table = ddpm_sigma(torch.arange(1, 1001))
    last, first = (int((table < level).sum()) for level in reversed(sigma))
    tops = np.linspace(first, first if schedule == "uniform" else last, iterations).tolist()

    def level(top: float) -> float:
        if schedule == "descending":
            return table[round(top)].item()
        return table[last + int((top - last + 1) * torch.rand((), generator=generator).item())].item()

    return [partial(level, top) for top in tops]


def half_quadratic_splitting(problem: Problem, image: Representation, planes: Sequence[str], generator: torch.Generator,
                             *, iterations: int = 32, fraction: float | None = None, slices: int | None = None,
                             slab: int = 1, schedule: str = "falling", sigma: Sequence[float] = (0.1, 0.005),
                             weight: float = 0.7, cg_iterations: int = 20, momentum: float = 0.5,
                             flip: bool = True) -> Steps:
    """The setting ``"fast"``: denoise random slices, then pull the image back to the data, at falling noise levels.

    Half-quadratic splitting with a denoiser, DPIR (Zhang et al., arXiv 2008.13751), to which DiffPIR (Zhu et al., arXiv
    2305.08995) adds noise before each denoising; here nothing is added. At each level the average of the denoised
    slices takes the prior's place in

        ``min_x |A x - y|^2 / (2 noise^2) + weight / (2 sigma^2) |x - denoised|^2``,

    which a few conjugate-gradient steps solve. Where sensitivities and voxels do not explain the samples to within the
    noise, ``noise^2`` is larger (:func:`~mrilab.problem.unexplained`).

    Parameters
    ----------
    problem : Problem
    image : Grid, Gaussians or NeuralField
        The unknown, changed in place.
    planes : sequence of str
    generator : torch.Generator
        On the CPU; decides which slices.
    iterations : int
        With 48 for the default a scan gains 0.1 dB on average and at R = 24 0.4 dB; more than 48 bring nothing. 16, for
        half the time, lose 0.3 dB at R = 8 (chapter 7).
    fraction : float, optional
        Share of each plane's slices to denoise in an iteration; None is one over the number of planes.
    slices, slab : int
        No more than so many slices of a plane; neighbours drawn together.
    schedule : str
        How noise levels follow (:func:`noise_schedule`).
    sigma : tuple of float
        First and last, or highest and lowest, noise level for images whose 99th percentile is 1.
    weight : float
        Trust in the prior; 1 takes its score at its word. The default was tuned; 0 leaves least squares.
    cg_iterations : int
        Conjugate-gradient steps for each data step, at most; ``"gaussian"`` and ``"neural_field"`` take a few steps of
        Adam for each of them.
    momentum : float
        What is denoised lies this share of the last step ahead of the image, as in accelerated descent (Kamilov et al.,
        IEEE Signal Processing Letters 2017, for denoisers as priors).
    flip : bool
        Show the prior mirror images at random (:func:`denoised_average`).

    Yields
    ------
    Tensor, float
        After each iteration the image, complex ``(z, y, x)`` in the problem's units, and its misfit.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> problem = Problem(simulate_acquisition(head_phantom((8, 8, 8)), 2)[0], load_prior("diverse"))
    >>> image = represent("voxel", problem.start, problem.voxel_size)
    >>> steps = half_quadratic_splitting(problem, image, ("axial",), torch.Generator(), iterations=2)
    >>> [x.shape for x, misfit in steps]
    [torch.Size([21, 27, 21]), torch.Size([21, 27, 21])]
    """
    last = image.prior_image().detach().clone()
    for level in noise_schedule(schedule, sigma, iterations, generator):
        now, shown = level(), image.prior_image().detach().clone()          # which the fit changes in place
        ahead = torch.lerp(last, shown, 1 + momentum) if momentum else shown
        denoised, used = denoised_average(ahead, problem.prior, now, image.prior_voxel_size, planes, fraction,
                                          generator, slices, slab, flip)
        last = shown
        problem.evaluations += used
        image.fit(problem, denoised, weight * problem.variance / now**2, cg_iterations)
        x = image.image().detach()
        yield x, problem.misfit(x)


def gradient_descent(problem: Problem, image: Representation, planes: Sequence[str], generator: torch.Generator, *,
                     iterations: int = 200, fraction: float | None = 1.0, slices: int | None = 50, slab: int = 5,
                     schedule: str = "uniform", sigma: Sequence[float] = (0.01875, 0.01), weight: float = 0.08,
                     power: float = 1.0, learning_rate: float = 0.04) -> Steps:
    """The setting ``"paper"``: Adam's steps on the paper's objective, as the authors take them,

        ``|A x - y|^2 / (number of samples) + weight R(x)``,

    from ``A^H y``, each slice with a noise level of its own drawn at random, and ``R`` descended without the network's
    derivative (:func:`score_difference`). The learning rate halves when 20 iterations brought nothing. Order and range
    of the noise levels, weight and rate were tuned on the validation person (chapter 7).

    Parameters
    ----------
    problem, image, planes, generator, iterations, fraction, slices, slab, schedule, sigma
        As for :func:`half_quadratic_splitting`; the generator draws the noise as well.
    weight, power : float
        Of the regulariser, and ``p`` in it.
    learning_rate : float

    Yields
    ------
    Tensor, float
        As for :func:`half_quadratic_splitting`, but the misfit is that of the image from which the step was taken.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> problem = Problem(simulate_acquisition(head_phantom((8, 8, 8)), 2)[0], load_prior("diverse"))
    >>> image = represent("voxel", problem.measured, problem.voxel_size)
    >>> steps = gradient_descent(problem, image, ("axial",), torch.Generator(), iterations=2)
    >>> [x.shape for x, misfit in steps]
    [torch.Size([21, 27, 21]), torch.Size([21, 27, 21])]
    """
    adam = torch.optim.Adam(list(image.parameters()), learning_rate, betas=(0.9, 0.99))
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=20)
    for level in noise_schedule(schedule, sigma, iterations, generator):
        x, shown = image.image(), image.prior_image()
        slope, value, used = score_difference(shown.detach(), problem.prior, level, image.prior_voxel_size, planes,
                                              fraction, generator, slices, slab, power)
        problem.evaluations += used
        misfit, residual = problem.misfit_and_residual(x.detach())
        adam.zero_grad()
        x.backward(2 / problem.samples * residual)
        shown.backward(weight * slope)
        adam.step()
        plateau.step(misfit**2 * problem.energy / problem.samples + weight * value)
        yield image.image().detach(), misfit


SOLVERS: dict[str, Callable[..., Steps]] = {"fast": half_quadratic_splitting, "paper": gradient_descent}
SETTINGS = {setting: {p.name: p.default for p in inspect.signature(solver).parameters.values()      # its own options
                      if p.kind is p.KEYWORD_ONLY} for setting, solver in SOLVERS.items()}


def reconstruct(acquisition: Acquisition, prior: Prior, representation: str = "voxel",
                planes: str | Sequence[str] = tuple(PLANES), setting: str = "fast", seed: int = 0,
                progress: bool = True, callback: Callback | None = None,
                prior_voxel_size: Sequence[float] | None = None, representation_options: dict[str, Any] | None = None,
                discrepancy: float | None = None, **options: Any) -> Reconstruction:
    """Reconstruct an undersampled 3D acquisition with a 2D diffusion prior.

    Parameters
    ----------
    acquisition : Acquisition
        Its intensities are brought to the prior's scale here, and back at the end. A noise level that is
        not known is estimated from the outer end of the readout (:func:`~mrilab.coils.noise_level`).
    prior : Prior
        The work is done on its device. One of volumes works with ``"fast"`` only, and needs no planes.
    representation : str
        What stands for the image (:mod:`mrilab.representations`): with ``"voxel"`` the prior sees the acquisition's
        own voxels; with ``"nearest"``, ``"trilinear"``, ``"fourier"``, ``"gaussian"`` and ``"neural_field"`` it sees
        the image at ``prior_voxel_size``.
    planes : sequence of str
        Planes to draw slices from; of a single slice only its own counts, for across it slices are lines.
    setting : str
        ``"fast"``, which is :func:`half_quadratic_splitting`, or ``"paper"``, :func:`gradient_descent`.
    seed : int
        Decides which slices are drawn, and the noise of ``"paper"``.
    progress : bool
        Show a progress bar with the data misfit.
    callback : callable, optional
        Called as ``callback(iteration, image, misfit)`` after each iteration.
    prior_voxel_size : tuple of float, optional
        In mm. Not for ``"voxel"``; otherwise, where it is not given, the nearest to the acquisition's that the prior
        was trained on.
    representation_options : dict, optional
        For :func:`~mrilab.representations.represent`: number of Gaussians, width of the network.
    discrepancy : float, optional
        Stop when the data misfit passes this many times what the noise accounts for (Morozov's principle):
        ``"fast"`` comes from below, as the prior gains, ``"paper"`` from above. None does all iterations.
    **options
        The setting's own, such as ``iterations``, ``weight`` and ``sigma``: the keywords of
        :func:`half_quadratic_splitting` or :func:`gradient_descent`.

    Returns
    -------
    Reconstruction
        Complex image ``(z, y, x)``, misfit, and what it cost.

    Raises
    ------
    ValueError
        For an unknown plane, setting or option, noise levels that do not fall, a number out of its range, or a
        prior of volumes with ``"paper"``.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=4)
    >>> result = reconstruct(acq, load_prior("diverse"), iterations=3, progress=False)
    >>> result.image.shape == truth.shape, result.network_evaluations
    (True, 90)
    """
    planes = (planes,) if isinstance(planes, str) else tuple(planes)
    _check(planes, setting, discrepancy, options)
    if representation != "voxel":
        prior_voxel_size = _home(acquisition, prior, prior_voxel_size)
    problem = Problem(acquisition, prior, prior_voxel_size)
    planes = picture_planes(problem.start.shape, planes)
    if prior.dims == 3 and setting == "paper":
        raise ValueError("setting: found 'paper', expected 'fast': this prior takes volumes, not slices")
    start = problem.measured if setting == "paper" else problem.start
    image = represent(representation, start, problem.voxel_size, prior_voxel_size,
                      **(representation_options or {}))
    options = SETTINGS[setting] | options
    steps = SOLVERS[setting](problem, image, planes, torch.Generator().manual_seed(seed), **options)
    above: list[bool] = []                      # whether the misfit exceeds what the noise accounts for
    bar = tqdm(steps, desc="reconstruct", total=options["iterations"], disable=not progress)
    for i, (x, misfit) in enumerate(bar):
        bar.set_postfix_str(f"misfit {misfit:.4f}", refresh=False)
        if callback:
            callback(i, x * problem.scale, misfit)
        if discrepancy:
            above.append(misfit > discrepancy * problem.noise_misfit)
            if above[-1] != above[0]:
                break
    return problem.result(x, misfit if setting == "fast" else problem.misfit(x))


def _home(acquisition: Acquisition, prior: Prior, prior_voxel_size: Sequence[float] | None) -> tuple[float, ...]:
    """The voxel size to show to a prior: the one asked for, or the nearest it was trained on."""
    if prior_voxel_size is not None:
        return check_voxel_size(prior_voxel_size, "prior_voxel_size")
    low, high = prior.voxel_sizes
    return tuple(min(max(d, low), high) for d in acquisition.voxel_size)


def _check(planes: tuple[str, ...], setting: str, discrepancy: float | None, options: dict[str, Any]) -> None:
    if not planes or any(p not in PLANES for p in planes) or len(set(planes)) < len(planes):
        raise ValueError(f"planes: found {planes!r}, expected some of {', '.join(PLANES)}, each once")
    check_choice(setting, "setting", SETTINGS)
    for name in options:
        if name not in SETTINGS[setting]:
            raise ValueError(f"{name}: not an option of the setting {setting!r}, which has "
                             f"{', '.join(SETTINGS[setting])}")
    options = SETTINGS[setting] | options
    if options["fraction"] is not None and not 0 < options["fraction"] <= 1:
        raise ValueError(f"fraction: found {options['fraction']!r}, expected a share above 0, at most 1")
    check_choice(options["schedule"], "schedule", SCHEDULES)
    check_falling(options["sigma"])
    check_weight(options["weight"], "weight")
    for name in ("iterations", "cg_iterations", "slab"):
        check_whole(options.get(name, 1), name)
    if options["slices"] is not None:
        check_whole(options["slices"], "slices")
    if not 0 <= options.get("momentum", 0) < 1:
        raise ValueError(f"momentum: found {options['momentum']!r}, expected a share of the last step, from 0 to "
                         "below 1")
    if not isinstance(options.get("flip", True), bool):
        raise ValueError(f"flip: found {options['flip']!r}, expected True or False")
    for name, value in (("learning_rate", options.get("learning_rate")), ("discrepancy", discrepancy)):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name}: found {value!r}, expected a positive number")
