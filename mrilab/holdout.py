"""Without a truth: leave out some of the measured samples, reconstruct from the others, and predict those left out.

The error of the prediction is an error of the image, seen at positions of k-space that the method was not shown. It
ranks methods and settings on a recorded scan, where nobody has the truth. Noise is in it as well: two methods whose
errors differ by less than their spread over the splits are not told apart. An error at the samples that were shown is
not in it: that is the misfit, and :func:`estimated_psnr` has both.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from .checks import check_choice
from .coils import calibration_side
from .fourier import middle
from .operators import SenseOperator, relative_misfit
from .trials import Ranges, at_edge, best_trial, coarse_trials, fine_trials, further_trials
from .volumes import Acquisition, Reconstruction

FEWEST = 4              # positions to leave out: the error of fewer says nothing
FINE = 4                # trials about the best of a grid
Method = Callable[[Acquisition], Reconstruction]


@dataclass(frozen=True)
class HeldOut:
    """The errors of one method on the samples that it did not see, one for each split.

    Examples
    --------
    >>> found = HeldOut((0.30, 0.34))
    >>> round(found.error, 3), round(found.spread, 3)
    (0.32, 0.028)
    """

    errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """Mean over the splits."""
        return sum(self.errors) / len(self.errors)

    @property
    def spread(self) -> float:
        """Standard deviation over the splits; NaN for a single one."""
        if len(self.errors) < 2:
            return math.nan
        return (sum((e - self.error) ** 2 for e in self.errors) / (len(self.errors) - 1)) ** 0.5


def split_samples(acquisition: Acquisition, share: float = 0.1, splits: int = 4, seed: int = 0) -> list[torch.Tensor]:
    """Masks of the positions to leave out: a share of those measured outside of the fully measured centre, at random.

    No position is in two of them. The centre stays, as the sensitivities come from there.

    Parameters
    ----------
    acquisition : Acquisition
    share : float
        Of the positions outside the centre, in each split.
    splits : int
    seed : int

    Returns
    -------
    list of Tensor
        bool ``(z, y)``.

    Raises
    ------
    ValueError
        For shares that together are more than all; for a scan with too few positions (the message says how many it
        takes).

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> held = split_samples(acquisition, share=0.2, splits=5)
    >>> len(held), bool((sum(h.int() for h in held) <= acquisition.mask.int()).all())
    (5, True)
    """
    if not 0 < share < 1 or splits < 1 or share * splits > 1 + 1e-9:
        raise ValueError(f"share, splits: found {share!r} and {splits!r}, expected a share between 0 and 1 and splits "
                         "that together leave out no more than all")
    mask = acquisition.mask.cpu().bool().expand(acquisition.kspace.shape[1:3])
    outside = mask & ~centre_of(mask)
    places = outside.flatten().nonzero().flatten()
    count = round(share * len(places))
    if count < FEWEST:
        raise ValueError(f"acquisition: found {len(places)} positions measured outside of the fully measured centre, "
                         f"expected at least {math.ceil((FEWEST - 0.5) / share)} to leave out a share of {share:g}")
    order = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))]
    held = torch.zeros(splits, mask.numel(), dtype=torch.bool)
    for row, some in zip(held, order.split(count)):
        row[some] = True
    return list(held.reshape(splits, *mask.shape))


def centre_of(mask: torch.Tensor) -> torch.Tensor:
    """The fully measured square around k = 0; of a mask that is measured everywhere, its middle ninth.

    Examples
    --------
    >>> int(centre_of(torch.ones(24, 24) > 0).sum())
    64
    """
    if mask.all():
        sides = [max(1, n // 3) if n > 1 else 1 for n in mask.shape]
    else:
        side = calibration_side(mask, max(mask.shape))
        sides = [side if n > 1 else 1 for n in mask.shape]
    centre = torch.zeros_like(mask)
    centre[middle(mask.shape, sides)] = True
    return centre


def used_part(acquisition: Acquisition, held: torch.Tensor) -> Acquisition:
    """The acquisition without the samples that are left out.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> held = split_samples(acquisition)[0]
    >>> int(acquisition.mask.sum() - used_part(acquisition, held).mask.sum()) == int(held.sum())
    True
    """
    keep = acquisition.mask & ~held.to(acquisition.mask.device)
    return Acquisition(acquisition.kspace * keep[..., None], acquisition.maps, keep, acquisition.voxel_size,
                       acquisition.noise, dict(acquisition.info))


def prediction_error(image: torch.Tensor, acquisition: Acquisition, held: torch.Tensor) -> float:
    """``|A x - y| / |y|`` over the samples that were left out.

    Parameters
    ----------
    image : Tensor
        complex64 ``(z, y, x)``, of a reconstruction from the other samples.
    acquisition : Acquisition
        With all its samples.
    held : Tensor
        bool ``(z, y)``, from :func:`split_samples`.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3, noise=0)
    >>> held = split_samples(acquisition)[0]
    >>> round(prediction_error(truth, acquisition, held), 3), prediction_error(0 * truth, acquisition, held)
    (0.0, 1.0)
    """
    operator = SenseOperator(acquisition.maps, held)
    return relative_misfit(operator, image.to(acquisition.kspace.device), acquisition.kspace)


def rings_of(mask: torch.Tensor, wanted: torch.Tensor, rings: int = 8) -> Iterator[torch.Tensor]:
    """Rings around k = 0 out to where something was measured, bool ``(z, y)``; each has a wanted position.

    A ring without any goes with the next.

    Examples
    --------
    >>> mask = torch.ones(16, 16, dtype=torch.bool)
    >>> [int(there.sum()) for there in rings_of(mask, mask, rings=2)]
    [45, 148, 63]
    """
    z, y = ((torch.arange(n) - n // 2) / max(1, n / 2) for n in mask.shape)
    ring, seen = (torch.hypot(z[:, None], y) * rings).long(), -1
    for number in range(int(ring[mask].max()) + 1):
        there = (ring > seen) & (ring <= number)
        if (wanted & there).any():
            yield there
            seen = number


def estimated_psnr(image: torch.Tensor, acquisition: Acquisition, held: torch.Tensor, peak: float, voxels: int,
                   rings: int = 8) -> float:
    """PSNR that the samples left out let expect, in dB: they are the reference that was kept aside.

    Inside the object the squared sensitivities sum to 1, so by Parseval's theorem the energy of the image's error is
    that of its k-space in all coils. The samples left out are a random part of it: in each ring around k = 0 their
    mean error, less the noise, stands for all positions that the method was not given. Those it was given count with
    their residual, less the noise. Corners in which nothing was measured do not count, nor can anyone know them.

    It is the error of the complex image, in the whole object, and where samples keep their distance the one left out
    lies in a larger hole than others: in simulations (chapter 14) the number is lower than the PSNR of magnitudes in
    the head, by up to 5 dB. What it is for is the difference between two methods.

    Parameters
    ----------
    image, acquisition, held
        As for :func:`prediction_error`; the acquisition's noise is needed.
    peak : float
        The range of the data: the largest magnitude of the truth, or one estimate of it for all methods.
    voxels : int
        Number of voxels in the object, over which the error is spread.
    rings : int

    Raises
    ------
    ValueError
        For an acquisition whose noise is not known; for nothing left out.

    Examples
    --------
    >>> from mrilab.classical import cg_sense
    >>> from mrilab.metrics import head_mask, psnr
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> held, = split_samples(acquisition, share=0.2, splits=1)
    >>> peak, head = truth.abs().max().item(), head_mask(truth)
    >>> images = [cg_sense(used_part(acquisition, held), iterations=n, progress=False).image for n in (3, 30)]
    >>> found = [estimated_psnr(image, acquisition, held, peak, int(head.sum())) for image in images]
    >>> found[1] > found[0] + 1, psnr(images[1], truth, head) > psnr(images[0], truth, head) + 1
    (True, True)
    """
    if acquisition.noise is None:
        raise ValueError("acquisition: found no noise level, expected one: mrilab.coils.noise_level estimates it")
    held, mask = (m.cpu().expand(acquisition.kspace.shape[1:3]) for m in (held, acquisition.mask))
    if not held.any():
        raise ValueError("held: found no position, expected some that were left out")
    operator = SenseOperator(acquisition.maps, acquisition.mask)
    residual = operator.forward(image.to(acquisition.kspace.device)) - acquisition.kspace
    error = residual.abs().double().square().sum((0, -1)).cpu()
    coils, size = len(acquisition.maps), acquisition.kspace.shape[-1]
    noise = 2 * acquisition.noise**2 * coils * size
    used = mask & ~held
    energy = max(error[used].sum().item() - int(used.sum()) * noise, 0.0)
    for there in rings_of(mask, held, rings):
        energy += int((there & ~used).sum()) * max(error[held & there].mean().item() - noise, 0.0)
    return 10 * math.log10(peak**2 * voxels / energy) if energy > 0 else math.inf


def held_out_error(acquisition: Acquisition, method: Method, share: float = 0.1, splits: int = 4, seed: int = 0
                   ) -> HeldOut:
    """How well a method predicts measured samples that it was not given.

    Methods are compared on the same splits: give all of them the same ``share``, ``splits`` and ``seed``.

    Parameters
    ----------
    acquisition : Acquisition
        Its sensitivities must not come from the samples left out; those of :func:`~mrilab.coils.estimate_maps` come
        from the fully measured centre, which stays.
    method : callable
        From an acquisition to a reconstruction.
    share, splits, seed
        As for :func:`split_samples`.

    Returns
    -------
    HeldOut

    Raises
    ------
    ValueError
        As :func:`split_samples`.

    Examples
    --------
    >>> from mrilab.classical import cg_sense, zero_filled
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> found = [held_out_error(acquisition, method, splits=2).error for method in (
    ...     zero_filled, lambda a: cg_sense(a, progress=False))]
    >>> found[0] > found[1]
    True
    """
    return HeldOut(tuple(prediction_error(method(used_part(acquisition, held)).image, acquisition, held)
                         for held in split_samples(acquisition, share, splits, seed)))


@dataclass(frozen=True)
class Chosen:
    """Settings chosen for a scan without a truth, and how.

    Attributes
    ----------
    settings : dict
        The best of the trials.
    trials : list of dict
        ``settings``, and what they were judged by: ``error`` at the samples left out, in dB of their energy, or
        ``misfit`` over that of noise alone, in dB; None where the image was not finite.
    edges : dict
        Settings whose best value is the lowest (-1) or highest (1) that was tried: the best may lie beyond.

    Examples
    --------
    >>> Chosen({"weight": 0.3}, [{"settings": {"weight": 0.3}, "error": -9.1}], {}).settings
    {'weight': 0.3}
    """

    settings: dict[str, float]
    trials: list[dict[str, Any]]
    edges: dict[str, int]


def choose_settings(acquisition: Acquisition, method: Callable[..., Reconstruction], ranges: Ranges, trials: int = 14,
                    by: str = "held-out", share: float = 0.1, splits: int = 2, seed: int = 0, progress: bool = True
                    ) -> Chosen:
    """The settings of a method for this scan, from its own samples.

    Trials lie on a log grid first, four fewer than asked; then beyond its edge while the best lies there, else about
    the best (:mod:`mrilab.trials`). ``"held-out"`` takes the settings that predict samples left out best, one split
    after the other; Alcalar et al. (arXiv 2509.09880) choose the weights of a diffusion solver so, by gradients through
    it. ``"discrepancy"`` takes those whose misfit is nearest to what the noise accounts for (Morozov, 1966): one
    reconstruction for a trial and not one for each split, but it needs the true noise level, and where it leaves a
    curve of settings, as it does of two, any point of it.

    Parameters
    ----------
    acquisition : Acquisition
    method : callable
        ``method(acquisition, **settings)``, a reconstruction.
    ranges : dict
        Of one or two settings, ``(lowest, highest)``; whole numbers for a setting that counts.
    trials : int
        At most so many.
    by : str
        ``"held-out"`` or ``"discrepancy"``.
    share, splits, seed
        As for :func:`split_samples`.
    progress : bool
        Show a bar with the best so far; say which settings end at an edge.

    Returns
    -------
    Chosen

    Raises
    ------
    ValueError
        For ranges that are not one or two with positive ends that rise, fewer than 8 trials, another ``by``; as
        :func:`split_samples`; if no trial went well.

    Examples
    --------
    >>> import functools
    >>> from mrilab.classical import cg_sense
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> method = functools.partial(cg_sense, progress=False)
    >>> chosen = choose_settings(acquisition, method, {"regularization": (1e-5, 10)}, trials=8, progress=False)
    >>> len(chosen.trials), 1e-5 < chosen.settings["regularization"] < 0.1
    (8, True)
    """
    _check_ranges(ranges, trials, by)
    if by == "held-out":
        judge, judged = _predicted(acquisition, method, share, splits, seed), "error"
    else:
        judge, judged = _discrepancy(acquisition, method), "misfit"
    tried: list[dict[str, Any]] = []
    bar = tqdm(total=trials, desc="trials", disable=not progress)
    for settings in _to_try(ranges, trials, tried):
        value = judge(settings)
        score = None if not math.isfinite(value) else -abs(value) if judged == "misfit" else -value
        tried.append({"settings": settings, judged: None if score is None else value, "score": score})
        bar.update()
        if score is not None:
            bar.set_postfix_str(f"best {best_trial(tried, 'score')['settings']}", refresh=False)
    bar.close()
    if all(trial["score"] is None for trial in tried):
        raise ValueError(f"trials: found no finite image in {len(tried)}, expected some within the ranges")
    edges = at_edge(ranges, tried, "score")
    if edges and progress:
        tqdm.write(f"best at the edge of what was tried for {' and '.join(edges)}", file=sys.stderr)
    best = best_trial(tried, "score")["settings"]
    return Chosen(best, [{k: v for k, v in t.items() if k != "score"} for t in tried], edges)


def _check_ranges(ranges: Ranges, trials: int, by: str) -> None:
    check_choice(by, "by", ("held-out", "discrepancy"))
    if len(ranges) not in (1, 2) or not all(len(ends) == 2 and 0 < ends[0] < ends[1] < math.inf
                                            for ends in ranges.values()):
        raise ValueError(f"ranges: found {dict(ranges)!r}, expected one or two settings, (lowest, highest) above 0 for "
                         "each")
    if trials < 8:
        raise ValueError(f"trials: found {trials}, expected 8 or more: four on a grid, four about the best")


def _to_try(ranges: Ranges, trials: int, tried: list[dict[str, Any]]) -> Iterator[dict[str, float]]:
    """Settings to try next, while their results are appended to ``tried``."""
    count = trials - FINE
    yield from coarse_trials(ranges, count)
    while len(tried) < trials and any(trial["score"] is not None for trial in tried):
        further = [s for s in (*further_trials(ranges, tried, "score", count),
                               *fine_trials(ranges, best_trial(tried, "score")["settings"], count))
                   if s not in [trial["settings"] for trial in tried]]
        if not further:
            return
        yield further[0]


def _predicted(acquisition: Acquisition, method: Callable[..., Reconstruction], share: float, splits: int, seed: int
               ) -> Callable[[dict[str, float]], float]:
    """From settings to the error at samples left out, in dB; the mean over the splits."""
    parts = [(held, used_part(acquisition, held)) for held in split_samples(acquisition, share, splits, seed)]

    def judge(settings: dict[str, float]) -> float:
        errors = [prediction_error(method(used, **settings).image, acquisition, held) for held, used in parts]
        return sum(20 * math.log10(error) for error in errors) / len(errors) if min(errors) > 0 else math.nan
    return judge


def _discrepancy(acquisition: Acquisition, method: Callable[..., Reconstruction]
                 ) -> Callable[[dict[str, float]], float]:
    """From settings to the misfit over that of noise alone, in dB."""
    alone = acquisition.noise_misfit()
    if not alone > 0:
        raise ValueError("acquisition: found a noise level of 0, expected one that the misfit can be held against")
    return lambda settings: 20 * math.log10(max(method(acquisition, **settings).misfit, 1e-12) / alone)
