"""A prior adapted to one scan: a few steps of a low-rank update of its weights, from the scan's own samples.

The network is moved to where its clean images predict measured samples, as in steerable conditional diffusion (Barbano
et al., arXiv 2308.14409) and the deep diffusion image prior (Chung and Ye, arXiv 2407.10641): each matrix of weights
``W`` becomes ``W + B A`` of low rank, ``B`` zero at first, and a step goes down the gradient of

    ``log |A_t D(x + sigma n; sigma) - y_t|^2``,

all slices of a plane denoised and put together to a volume, so that one update serves the whole scan. Those authors
take the misfit at all samples, which ``x`` already fits. Here the samples are split in three: from the first part comes
``x``, a reconstruction with the prior as it is; the second part, ``t``, which ``x`` never saw, is what the network
learns from; the third judges. If a reconstruction does not predict these better with the adapted prior than without,
the prior stays as it was.
"""

import copy
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from .checks import PLANES, check_falling, check_whole, in_plane, picture_planes
from .diffusion import Prior, to_channels, to_complex
from .holdout import prediction_error, split_samples, used_part
from .metrics import percentile
from .mismatch import quiet
from .operators import SenseOperator
from .simulate import white_noise
from .variational import reconstruct
from .volumes import Acquisition

JUDGE = 0.1                     # share of the samples outside the centre that judges, and nothing else
BATCH_PIXELS = 2**19            # of the slices whose activations are held at a time
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Adaptation:
    """What came of an adaptation.

    Attributes
    ----------
    kept : bool
        Whether the adapted prior is better at the samples that judge.
    adapted : Prior or None
        As the last step left it, kept or not; None if the steps diverged.
    before, after : float
        Error of reconstructions with the prior as it was and as adapted at samples that neither saw, in dB of these
        samples' energy; ``after`` is NaN if the steps diverged.
    losses : tuple of float
        Of each step, in dB of the energy of the samples that it learns from.
    seconds : float
        On the wall, both reconstructions that judge included.

    Examples
    --------
    >>> Adaptation(False, None, -9.0, math.nan, (-8.0, 0.3), 12.0).kept
    False
    """

    kept: bool
    adapted: Prior | None
    before: float
    after: float
    losses: tuple[float, ...]
    seconds: float


def low_rank(prior: Prior, rank: int, generator: torch.Generator | None = None) -> Factors:
    """``(B, A)`` for each matrix of weights, kernels as matrices ``(out, in x pixels)``; ``B`` is zero.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> [tuple(factor.shape) for factor in low_rank(load_prior("diverse"), rank=4)["net.first.weight"]]
    [(32, 4), (4, 18)]
    """
    factors = {}
    for name, weight in prior.named_parameters():
        if weight.ndim > 1:
            rows, columns = weight.flatten(1).shape
            size = min(rank, rows, columns)
            a = torch.randn(size, columns, generator=generator) / columns**0.5
            factors[name] = (weight.new_zeros(rows, size).requires_grad_(), a.to(weight.device).requires_grad_())
    return factors


def updated(prior: Prior, factors: Factors) -> dict[str, torch.Tensor]:
    """The weights ``W + B A`` by name.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> prior = load_prior("diverse")
    >>> weights = updated(prior, low_rank(prior, rank=2))
    >>> torch.equal(weights["net.last.weight"], prior.net.last.weight)
    True
    """
    return {name: prior.get_parameter(name) + (b @ a).reshape(prior.get_parameter(name).shape)
            for name, (b, a) in factors.items()}


def denoised_volume(x: torch.Tensor, prior: Prior, weights: dict[str, torch.Tensor], sigma: float,
                    voxel_size: Sequence[float], plane: str) -> torch.Tensor:
    """All slices of a plane through the network with these weights, with a graph; complex64 ``(z, y, x)``.

    Activations of no more than a batch of slices are held; a prior of volumes takes the volume whole.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> x, prior = torch.zeros(4, 8, 12, dtype=torch.complex64), load_prior("diverse")
    >>> factors = low_rank(prior, rank=2)
    >>> denoised_volume(x, prior, updated(prior, factors), 0.1, (2, 2, 2), "axial").abs().sum().backward()
    >>> bool(factors["net.last.weight"][0].grad.any())
    True
    """
    axis = PLANES[plane]
    stack, size = (x[None], tuple(voxel_size)) if prior.dims == 3 else (x.movedim(axis, 0), in_plane(voxel_size, axis))
    batches = to_channels(stack).split(max(1, BATCH_PIXELS // stack[0].numel()))

    def network(slices: torch.Tensor) -> torch.Tensor:
        levels = torch.full((len(slices),), sigma, device=x.device)
        sizes = torch.tensor([size], device=x.device).expand(len(slices), -1) if prior.conditioned else None
        return functional_call(prior, weights, (slices, levels, sizes))

    out = [network(slices) if len(batches) == 1 else checkpoint(network, slices, use_reentrant=False)
           for slices in batches]
    denoised = to_complex(torch.cat(out))
    return denoised[0] if prior.dims == 3 else denoised.movedim(0, axis)


def adapt(acquisition: Acquisition, prior: Prior, *, rank: int = 4, steps: int = 40, learning_rate: float = 2e-4,
          share: float = 0.3, sigma: Sequence[float] = (0.1, 0.03), planes: Sequence[str] = tuple(PLANES),
          seed: int = 0, progress: bool = True, **options: Any) -> tuple[Prior, Adaptation]:
    """A copy of a prior, adapted to a scan; or the prior itself, with a warning, if that does not pay.

    Parameters
    ----------
    acquisition : Acquisition
    prior : Prior
        Not changed. The work is done on its device.
    rank : int
        Of the update of each matrix of weights.
    steps : int
        Of Adam, each at one noise level and in one plane, drawn at random.
    learning_rate : float
        Falls linearly to zero.
    share : float
        Of the samples outside the centre, to learn from.
    sigma : tuple of float
        Highest and lowest noise level of the steps, for images whose 99th percentile is 1. Below the error of the image
        the network would learn to undo that error instead, which the solver's small steps then repeat.
    planes : sequence of str
        As for :func:`mrilab.variational.reconstruct`.
    seed : int
        Of the parts of the samples, the factors, and the draws.
    progress : bool
        Show a bar.
    **options
        Of the solver, as :func:`mrilab.variational.reconstruct` takes them, but for its ``sigma``.

    Returns
    -------
    Prior, Adaptation

    Raises
    ------
    ValueError
        For a scan with too few samples (the message says how many it takes); a number out of its range; an option that
        the solver does not have.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acquisition = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)[0].readout_block(12, 16)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     adapted, found = adapt(acquisition, load_prior("fixed_1mm"), steps=2, iterations=2, progress=False)
    >>> len(found.losses), found.kept == (found.after < found.before)
    (2, True)
    """
    for name, value in (("rank", rank), ("steps", steps)):
        check_whole(value, name)
    check_falling(sigma)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate: found {learning_rate!r}, expected a positive number")
    begin = time.perf_counter()
    judge, = split_samples(acquisition, JUDGE, 1, seed)
    rest = used_part(acquisition, judge)
    targets, = split_samples(rest, share, 1, seed + 1)

    def image_of(part: Acquisition, network: Prior) -> torch.Tensor:
        with quiet():
            return reconstruct(part, network, planes=planes, seed=seed, progress=False, **options).image

    def error(network: Prior) -> float:
        return 20 * math.log10(prediction_error(image_of(rest, network), acquisition, judge))

    before, generator = error(prior), torch.Generator().manual_seed(seed)
    factors, losses = low_rank(prior, rank, generator), list[float]()
    if not factors:
        raise ValueError("prior: found no matrix of weights, expected a network")
    image = image_of(used_part(rest, targets), prior)
    whole = picture_planes(image.shape, planes)
    learning = _learn(rest, targets, image, prior, factors, steps, learning_rate, sigma, whole, generator)
    for loss in (bar := tqdm(learning, desc="adapt", total=steps, disable=not progress)):
        losses.append(loss)
        bar.set_postfix_str(f"error {loss:.2f} dB", refresh=False)
    adapted, after = None, math.nan
    if losses[-1] < 0:
        adapted = copy.deepcopy(prior)
        adapted.load_state_dict(updated(prior, factors), strict=False)
        after = error(adapted)
    found = Adaptation(after < before, adapted, before, after, tuple(losses), time.perf_counter() - begin)
    if adapted is not None and found.kept:
        return adapted, found
    why = f"{after:.2f} dB after, {before:.2f} dB before" if adapted else f"diverged at step {len(losses)}"
    warnings.warn(f"adaptation: the prior is left as it was (error at samples held out: {why})", stacklevel=2)
    return prior, found


def _learn(rest: Acquisition, targets: torch.Tensor, image: torch.Tensor, prior: Prior, factors: Factors, steps: int,
           learning_rate: float, sigma: Sequence[float], planes: Sequence[str], generator: torch.Generator
           ) -> Iterator[float]:
    """Steps of Adam, which change the factors; yields the error before each, and ends at one of an image of zeros."""
    scale = percentile(image, 0.99)
    operator = SenseOperator(rest.maps.to(image.device), targets)
    measured = rest.kspace.to(image.device) * operator.mask[..., None] / scale
    adam = torch.optim.Adam([factor for pair in factors.values() for factor in pair], learning_rate, betas=(0.9, 0.99))
    fall = torch.optim.lr_scheduler.LinearLR(adam, 1, 0, total_iters=steps)
    for _ in range(steps):
        plane = planes[int(torch.randint(len(planes), (), generator=generator))]
        level = sigma[0] * (sigma[1] / sigma[0]) ** torch.rand((), generator=generator).item()
        noise = white_noise(image.shape, generator).to(image.device)
        denoised = denoised_volume(image / scale + level * noise, prior, updated(prior, factors), level,
                                   rest.voxel_size, plane)
        loss = 20 * ((operator.forward(denoised) - measured).norm() / measured.norm()).log10()
        yield loss.item()
        if not loss < 0:
            return
        adam.zero_grad()
        loss.backward()
        adam.step()
        fall.step()
