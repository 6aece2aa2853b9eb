"""Does a prior fit a scan? Two meters that need no truth, only the samples that were measured.

**Divergence.** Two densities that noise of level ``sigma`` has smoothed differ by (Verdu, IEEE Trans. Inf. Theory
56:3712, 2010; with scores, Song et al., arXiv 2101.09258)

    ``KL(p || q) at sigma_0 = integral over sigma > sigma_0 of (E|x - D_q|^2 - E|x - D_p|^2) / sigma^3``
    ``= integral over sigma > sigma_0 of E|D_p - D_q|^2 / sigma^3``,

``D(x + sigma n; sigma)`` the denoiser of each, for the score is ``(D - x) / sigma^2``. Shoushtari et al. (arXiv
2505.11482, Theorem 1, equation 9) write the second line for measurements, as

    ``KL(p || q) = integral of E|W (grad log p_sigma(V y_sigma) - grad log q_sigma(V y_sigma))|^2 sigma``,

with ``y_sigma = P x + sigma n`` in the singular vectors ``V`` of the forward model, ``P`` what a random mask measures
of them, and ``W = E[P]^(-3/2)``; their code gives zero-filled images with noise to both networks. That needs a network
which was trained on what the scan shows (here, ``reference``). The first line does not: its second term is the same for
every prior, so that differences between priors are known from the error of each alone. Here ``x`` is the least-squares
image, to which noise is added, and the error of the denoised image is taken where k-space was measured, each sample
weighted by one over the share of its ring that was. What least squares got wrong is hidden by the noise as long as that
is larger, so the integral begins at twice the error of that image, itself judged by samples left out: finer differences
are not seen. From a full measurement the estimate is exact.

**Held-out samples.** Leave out some, reconstruct from the others with each prior, predict them
(:mod:`mrilab.holdout`). It costs reconstructions, and judges prior and solver together.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from tqdm import tqdm

from .checks import PLANES, check_choice, check_falling, check_whole, picture_planes
from .diffusion import Prior, to_channels, to_complex
from .fourier import ifft3c
from .holdout import FEWEST, Chosen, choose_settings, estimated_psnr, rings_of, split_samples, used_part
from .metrics import head_mask
from .operators import SenseOperator
from .priors import load_prior
from .problem import REGULARIZATION, Problem, denoise_slices
from .simulate import white_noise
from .trials import Ranges
from .variational import SETTINGS, reconstruct
from .volumes import Acquisition, Reconstruction

HIGHEST, LOWEST = 1.0, 0.01     # noise levels: a voxel of 1 hardly shows in the one, networks know none below the other
PARTS = 8                       # of the samples: what differs between them is the uncertainty
Priors = str | Path | Prior | Sequence[str | Path | Prior] | Mapping[str, Prior]


@dataclass(frozen=True)
class Reading:
    """What a meter says of each prior, for each of several parts of the samples; less is better.

    Attributes
    ----------
    meter, unit : str
    values : dict
        Name of a prior to its values, one for each part, the same parts for all.

    Examples
    --------
    >>> found = Reading("held-out", "dB", {"a": (-9.0, -8.0, -7.0), "b": (-8.0, -7.1, -6.0), "c": (-8.9, -8.2, -6.9)})
    >>> found.best, found.equal, [round(v, 2) for v in found.behind("b")]
    ('a', ['a', 'c'], [0.97, 0.14])
    """

    meter: str
    unit: str
    values: dict[str, tuple[float, ...]]

    def mean(self, name: str) -> float:
        """Over the parts."""
        return sum(self.values[name]) / len(self.values[name])

    @property
    def best(self) -> str:
        """The prior with the lowest mean."""
        return min(self.values, key=self.mean)

    def difference(self, a: str, b: str) -> tuple[float, float]:
        """How much more the meter says of ``a`` than of ``b``, and half of the 95 % interval of that (Student's t)."""
        found = np.subtract(self.values[a], self.values[b])
        if len(found) < 2:
            return float(found.mean()), math.nan
        half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
        return float(found.mean()), float(half)

    def behind(self, name: str) -> tuple[float, float]:
        """:meth:`difference` from the best."""
        return self.difference(name, self.best)

    @property
    def equal(self) -> list[str]:
        """The best, and those that the meter does not tell from it; best first."""
        return [name for name in sorted(self.values, key=self.mean)
                if name == self.best or not self.behind(name)[0] > self.behind(name)[1]]


def by_name(priors: Priors, device: str | torch.device = "cpu") -> dict[str, Prior]:
    """The priors by their names, which a mapping has; an object in a list is called by its kind and place.

    Raises
    ------
    ValueError
        For an empty list, or two of the same name.

    Examples
    --------
    >>> list(by_name(["diverse", load_prior("fixed_1mm")]))
    ['diverse', 'Prior 2']
    """
    if isinstance(priors, Mapping) and priors:
        return dict(priors)
    if isinstance(priors, str | Path | Prior):
        priors = [priors]
    names = [f"{type(p).__name__} {i}" if isinstance(p, Prior) else str(p) for i, p in enumerate(priors, 1)]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"priors: found {', '.join(names) or 'none'}, expected one or more, each once")
    return {name: p if isinstance(p, Prior) else load_prior(p, device) for name, p in zip(names, priors)}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warning that a prior was trained at other voxel sizes: whether that matters is the question.

    Examples
    --------
    >>> with quiet():
    ...     warnings.warn("voxel size 6 x 6 x 6 mm: the prior was trained on 1 to 4 mm", stacklevel=1)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "voxel size .* the prior was trained on")
        yield


def divergence(acquisition: Acquisition, priors: Priors, reference: Prior | str | None = None,
               sigma: Sequence[float] | None = None, levels: int = 6, planes: Sequence[str] = ("sagittal",),
               seed: int = 0, device: str | torch.device = "cpu", progress: bool = True) -> Reading:
    """How far each prior is from what the scan shows, in nats per voxel of a slice.

    Parameters
    ----------
    acquisition : Acquisition
    priors : list of str or Prior, or dict of Prior
    reference : str or Prior, optional
        A prior that stands for what the scan shows; the values are then divergences from it (second line of the
        module's formula). Without it their differences are what counts (first line): by how much one prior is
        further from the scan's own distribution than another.
    sigma : tuple of float, optional
        Highest and lowest noise level, for images whose 99th percentile is 1: the divergence is that at the lowest
        less that at the highest. By default 1, and twice the error of least squares (:func:`start_error`), or 0.01.
    levels : int
        Noise levels between them, evenly in their logarithm; trapezoids for the integral.
    planes : sequence of str
        The mean over these. Slices across the readout, by default, are measurements of their own: no border where the
        readout ends, and what differs between blocks of them is the uncertainty. Where they are lines, all others.
    seed : int
        Of the noise, and of the parts of the samples.
    device : str
    progress : bool
        Show a bar.

    Returns
    -------
    Reading

    Raises
    ------
    ValueError
        As :func:`start_error`; for noise levels that do not fall, or fewer than 2 of them.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2)[0].readout_block(8, 12)
    >>> found = divergence(acquisition, ["diverse", "fixed_1mm"], levels=2, progress=False)
    >>> found.unit, len(found.values["diverse"])
    ('nats per voxel', 8)
    """
    check_whole(levels, "levels")
    if levels < 2:
        raise ValueError(f"levels: found {levels}, expected 2 or more noise levels")
    compared = by_name(priors, device)
    first = next(iter(compared.values()))
    with quiet():
        problem = Problem(acquisition, first)
    if sigma is None:
        low = max(LOWEST, 2 * problem.noise, 2 * start_error(acquisition, first, seed) / problem.scale)
        sigma = (max(HIGHEST, 2 * low), low)
    check_falling(sigma)
    if isinstance(reference, str):
        reference = load_prior(reference, device)
    x = problem.start * (1 + REGULARIZATION)
    whole = picture_planes(x.shape)
    planes = [p for p in planes if p in whole] or whole
    measured = acquisition.kspace.to(x.device) / problem.scale
    trapezoid = np.full(levels, math.log(sigma[0] / sigma[1]) / (levels - 1))
    trapezoid[[0, -1]] /= 2
    generator = torch.Generator().manual_seed(seed)
    weight = _density(acquisition.mask.cpu())
    found = {name: np.zeros(PARTS) for name in compared}
    bar = tqdm(total=levels * len(planes) * len(compared), desc="divergence", disable=not progress)
    for level, width in zip(np.geomspace(sigma[0], sigma[1], levels).tolist(), trapezoid):
        noise = white_noise(x.shape, generator).to(x.device)
        # the measured noise is in x: with what is added it makes the level; what is taken from the target decorrelates
        added = math.sqrt(max(level**2 - problem.noise**2, 0))
        target = measured - problem.noise**2 / max(added, 1e-9) * problem.operator.forward(noise)
        for plane in planes:
            if reference is not None:
                target = problem.operator.forward(_denoised(x + added * noise, reference, level, problem, plane))
            for name, prior in compared.items():
                denoised = _denoised(x + added * noise, prior, level, problem, plane)
                parts = _parts(problem.operator.forward(denoised) - target, weight, seed)
                found[name] += width / level**2 / len(planes) / x.numel() * parts
                bar.update()
    bar.close()
    return Reading("divergence", "nats per voxel", {name: tuple(v.tolist()) for name, v in found.items()})


def _denoised(x: torch.Tensor, prior: Prior, level: float, problem: Problem, plane: str) -> torch.Tensor:
    """The slices of a plane through a prior, as a volume; a prior of volumes takes it whole."""
    if prior.dims == 3:
        return to_complex(prior.denoise(to_channels(x[None]), level, problem.voxel_size))[0]
    return denoise_slices(x, prior, level, problem.voxel_size, plane).movedim(0, PLANES[plane])


def _parts(error: torch.Tensor, weight: torch.Tensor, seed: int) -> np.ndarray:
    """The weighted energy of an error in k-space in each part, times their number, so that the mean is that of all.

    The parts are blocks of the readout, which are images of their own as it is fully sampled; where it is shorter than
    their number, positions of (kz, ky) at random.
    """
    energy = (ifft3c(error, axes=(-1,)).abs().double().square().sum(0).cpu() * weight[..., None])
    if energy.shape[-1] >= PARTS:
        parts = [block.sum() for block in energy.tensor_split(PARTS, -1)]
    else:
        order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(seed))
        parts = [some.sum() for some in energy.sum(-1).flatten()[order].tensor_split(PARTS)]
    return PARTS * torch.stack(parts).numpy()


def _density(mask: torch.Tensor) -> torch.Tensor:
    """One over the share of its ring around k = 0 that was measured, at measured positions; float64 ``(z, y)``."""
    weight = torch.zeros(mask.shape, dtype=torch.float64)
    for there in rings_of(mask, mask):
        weight[there & mask] = int(there.sum()) / int((there & mask).sum())
    return weight


def start_error(acquisition: Acquisition, prior: Prior, seed: int = 0) -> float:
    """Standard deviation of the error of least squares, real and imaginary part each, in the acquisition's units.

    A tenth of the samples outside the centre is left out, and what the others predict of them tells the error where
    nothing was measured (:func:`mrilab.holdout.estimated_psnr`); of a full measurement noise is all there is.

    Raises
    ------
    ValueError
        For a scan with too few samples to hold any out; the message says how many it takes.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> errors = [start_error(simulate_acquisition(head_phantom((6, 6, 6)), r)[0], load_prior("fixed_3mm"))
    ...           for r in (1, 3, 6)]
    >>> [round(e, 2) for e in errors]
    [0.01, 0.05, 0.1]
    """
    noise = acquisition.noise_level()
    if acquisition.mask.all():
        return noise
    held, = split_samples(acquisition, splits=1, seed=seed)
    used = used_part(acquisition, held)
    used.noise = noise
    with quiet():
        problem = Problem(used, prior)
    image = problem.start.cpu() * problem.scale
    voxels = int(head_mask(image).sum())
    known = Acquisition(acquisition.kspace, acquisition.maps, acquisition.mask, acquisition.voxel_size, noise)
    return math.sqrt(10 ** (-estimated_psnr(image, known, held, 1.0, voxels) / 10) / 2)


def held_out(acquisition: Acquisition, priors: Priors, share: float = 0.1, splits: int = 2, seed: int = 0,
             settings: dict[str, Any] | None = None, device: str | torch.device = "cpu", progress: bool = True
             ) -> Reading:
    """The error of each prior's reconstruction at samples that were left out, in dB of these samples' energy.

    Each split leaves out a share of the samples in several parts, and the parts are what the values are of; two
    reconstructions for each prior thus give eight values.

    Parameters
    ----------
    acquisition, priors, seed, device, progress
        As for :func:`divergence`.
    share : float
        Of the samples outside the centre, left out in each split.
    splits : int
        Reconstructions for each prior.
    settings : dict, optional
        Of :func:`mrilab.variational.reconstruct`, the same for all.

    Returns
    -------
    Reading

    Raises
    ------
    ValueError
        As :func:`mrilab.holdout.split_samples`.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)[0].readout_block(12, 14)
    >>> found = held_out(acquisition, ["diverse"], settings={"iterations": 2}, progress=False)
    >>> found.unit, len(found.values["diverse"]), found.mean("diverse") < 0
    ('dB', 8, True)
    """
    check_whole(splits, "splits")
    compared = by_name(priors, device)
    operator, energy = SenseOperator(acquisition.maps, acquisition.mask), _energy(acquisition.kspace)
    found: dict[str, tuple[float, ...]] = dict.fromkeys(compared, ())
    bar = tqdm(total=splits * len(compared), desc="held-out samples", disable=not progress)
    for held in split_samples(acquisition, share, splits, seed):
        used, places = used_part(acquisition, held), held.flatten().nonzero().flatten()
        count = max(1, min(PARTS // splits, len(places) // FEWEST))
        for name, prior in compared.items():
            with quiet():
                image = reconstruct(used, prior, seed=seed, progress=False, **settings or {}).image
            error = _energy(operator.forward(image.to(acquisition.kspace.device)) - acquisition.kspace)
            found[name] += tuple(10 * math.log10(error[some].sum().item() / energy[some].sum().item())
                                 for some in (places[i::count] for i in range(count)))
            bar.update()
    bar.close()
    return Reading("held-out", "dB", found)


def _energy(kspace: torch.Tensor) -> torch.Tensor:
    """Of each position of (kz, ky), over coils and readout."""
    return kspace.abs().double().square().sum((0, -1)).flatten().cpu()


METERS: dict[str, Callable[..., Reading]] = {"divergence": divergence, "held-out": held_out}


def mismatch(acquisition: Acquisition, priors: Priors, seed: int = 0, device: str | torch.device = "cpu",
             progress: bool = True) -> dict[str, Reading]:
    """Both meters on the same scan and priors, with their defaults.

    Parameters
    ----------
    acquisition : Acquisition
    priors : list of str or Prior, or dict of Prior
        Shipped ones or files by name, or priors.
    seed, device, progress
        As for :func:`divergence`.

    Returns
    -------
    dict
        ``"divergence"`` and ``"held-out"`` to their :class:`Reading`: ``reading.best``, ``reading.equal``,
        ``reading.behind(name)``.

    Raises
    ------
    ValueError
        For no prior, or a scan with too few samples to hold any out.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2)[0].readout_block(8, 12)
    >>> found = mismatch(acquisition, ["diverse", "fixed_1mm"], progress=False)
    >>> found["divergence"].best in ("diverse", "fixed_1mm")
    True
    """
    compared = by_name(priors, device)
    return {name: meter(acquisition, compared, seed=seed, device=device, progress=progress)
            for name, meter in METERS.items()}


def as_options(settings: Mapping[str, Any], first: float) -> dict[str, Any]:
    """A trial's settings as the solver takes them: ``last`` ends its noise levels, which begin at ``first``.

    Examples
    --------
    >>> as_options({"weight": 0.3, "last": 0.01}, 0.1)
    {'weight': 0.3, 'sigma': (0.1, 0.01)}
    """
    found = dict(settings)
    if "last" in found:
        found["sigma"] = (first, min(first, found.pop("last")))
    return found


def solver_settings(acquisition: Acquisition, prior: Prior | str, ranges: Ranges | None = None, trials: int = 14,
                    by: str = "held-out", seed: int = 0, device: str | torch.device = "cpu", progress: bool = True,
                    **fixed: Any) -> Chosen:
    """Weight and last noise level of the variational solver for this scan, from its own samples.

    Parameters
    ----------
    acquisition : Acquisition
    prior : Prior or str
    ranges : dict, optional
        Of one or two of the solver's settings; ``"last"`` stands for the last noise level of ``sigma``. By default the
        weight and it, from below the setting's own to eight times that.
    trials, by, seed, progress
        As for :func:`mrilab.holdout.choose_settings`.
    device : str
    **fixed
        Settings of :func:`mrilab.variational.reconstruct` that all trials have.

    Returns
    -------
    Chosen
        Its settings are the solver's own, ``sigma`` and not ``last``, ready for ``reconstruct(..., **settings)``.

    Raises
    ------
    ValueError
        As :func:`mrilab.holdout.choose_settings`.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2)[0].readout_block(8, 12)
    >>> chosen = solver_settings(acquisition, "diverse", {"weight": (0.1, 1)}, trials=8, iterations=1, progress=False)
    >>> list(chosen.settings), len(chosen.trials)
    (['weight', 'iterations'], 8)
    """
    prior = load_prior(prior, device) if isinstance(prior, str) else prior
    setting = fixed.get("setting", "fast")
    check_choice(setting, "setting", SETTINGS)
    first, last = fixed.get("sigma") or SETTINGS[setting]["sigma"]
    if ranges is None:
        weight = SETTINGS[setting]["weight"]
        ranges = {"weight": (weight / 3, 8 * weight), "last": (last / 2, 8 * last)}

    def own(settings: Mapping[str, Any]) -> dict[str, Any]:
        return as_options({**settings, **fixed}, first)

    def method(used: Acquisition, **settings: Any) -> Reconstruction:
        with quiet():
            return reconstruct(used, prior, seed=seed, progress=False, **own(settings))

    chosen = choose_settings(acquisition, method, ranges, trials, by, seed=seed, progress=progress)
    return Chosen(own(chosen.settings), chosen.trials, chosen.edges)
