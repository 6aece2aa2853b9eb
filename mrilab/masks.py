"""Undersampling masks over (kz, ky), with a fully sampled calibration block at the centre.

Every mask is bool ``(z, y)``, True where measured, depends on nothing but its arguments, and measures
``z y / acceleration`` positions, calibration block included.
"""

import math
from collections.abc import Sequence

import torch

from .fourier import middle


def poisson_disc_mask(shape: Sequence[int], acceleration: float, calibration: int | None = None,
                      seed: int = 0) -> torch.Tensor:
    """Variable-density Poisson disc: random, but no two samples close (Bridson, SIGGRAPH 2007).

    Incoherent aliasing without the clumps and holes of independent samples. Drawn by :func:`sigpy.mri.poisson`, denser
    towards the centre and without the corners of k-space; a few samples dropped at random bring the
    number down to the one asked.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y)``, or ``(z, y, x)``, whose x is the readout and left out. At least 4 each.
    acceleration : float
        Positions over positions measured, 1 or more. Below 2, where discs have no room, the rest is
        filled at random.
    calibration : int, optional
        Side of the central block, 0 for none; by default 16, or less where that would take more than
        a quarter of the samples.
    seed : int

    Returns
    -------
    Tensor
        bool ``(z, y)``.

    Raises
    ------
    ValueError
        For a bad shape or acceleration, or a block that alone exceeds the number of samples.

    Examples
    --------
    >>> mask = poisson_disc_mask((64, 80), acceleration=8)
    >>> mask.numel() / mask.sum().item(), mask[26:38, 34:46].all().item()
    (8.0, True)
    """
    from sigpy.mri.samp import _poisson

    shape, samples, block = _plan(shape, acceleration, calibration)
    if min(shape) < 4:
        raise ValueError(f"shape: found {shape}, expected at least 4 positions each way for Poisson discs")
    z, y = (((torch.arange(n) - n // 2) / (n / 2)).double() for n in shape)
    radius = torch.hypot(z[:, None], y)
    flat, steep, outside, best = 0.0, float(max(shape)), samples - int(block.sum()), None
    # Discs of size 1 + slope radius. sigpy.mri.poisson does the same search, but raises for some shapes
    # with a block and, where the number asked falls into a jump, does not end: hence its kernel here.
    for _ in range(14):
        slope = (flat + steep) / 2
        sizes = [((1 + slope * radius) * n / max(shape)).clamp_min(1).numpy() for n in shape]
        disc = torch.from_numpy(_poisson(shape[1], shape[0], 30, sizes[1], sizes[0], (0, 0), seed)) * (radius < 1)
        if (disc * ~block).sum() >= outside:
            flat, best = slope, disc
        else:
            steep = slope
    best = disc if best is None else best
    return _select(best + torch.rand(shape, generator=torch.Generator().manual_seed(seed)), block, samples)


def random_mask(shape: Sequence[int], acceleration: float, calibration: int | None = None,
                seed: int = 0) -> torch.Tensor:
    """Independent samples whose density falls as ``(1 - r)**3`` (Lustig et al., MRM 58:1182, 2007).

    Parameters and errors as for :func:`poisson_disc_mask`; ``r`` is 0 at the centre of k-space and 1 in
    its corners.

    Examples
    --------
    >>> mask = random_mask((32, 30), acceleration=4, seed=1)
    >>> mask.sum().item(), mask[8:24, 8:23].sum().item() > 120
    (240, True)
    """
    shape, samples, block = _plan(shape, acceleration, calibration)
    z, y = (((torch.arange(n) - n // 2) / max(1, n / 2)) for n in shape)
    radius = (z[:, None]**2 + y**2).sqrt() / 2**0.5
    # The largest of log(weight) + Gumbel noise are a weighted draw without replacement.
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))
    return _select(3 * torch.log((1 - radius).clamp_min(1e-3)) + gumbel, block, samples)


def equispaced_mask(shape: Sequence[int], acceleration: float, calibration: int | None = None) -> torch.Tensor:
    """A regular lattice, each row shifted against the last as in CAIPIRINHA (Breuer et al., MRM 55:549, 2006).

    Along ky every ``r``-th position is measured, in row kz shifted by ``kz round(sqrt(r))``; it is
    the acceleration if that gives the number of samples asked within 2 %, and otherwise, as with a
    calibration block, the spacing that does; the number may then be a few off, and
    ``r`` not whole. No seed: it is regular.
    Parameters and errors as for :func:`poisson_disc_mask`.

    Examples
    --------
    >>> equispaced_mask((3, 8), acceleration=4, calibration=0).int()
    tensor([[1, 0, 0, 0, 1, 0, 0, 0],
            [0, 0, 1, 0, 0, 0, 1, 0],
            [1, 0, 0, 0, 1, 0, 0, 0]], dtype=torch.int32)
    """
    shape, samples, block = _plan(shape, acceleration, calibration)
    z, y = torch.arange(shape[0])[:, None], torch.arange(shape[1])
    shift = round(math.sqrt(acceleration))

    def lattice(spacing: float) -> torch.Tensor:
        return ((y + z * shift) % spacing < 1) | block

    if abs(lattice(acceleration).sum() - samples) <= 0.02 * samples:
        return lattice(acceleration)
    low, high = acceleration / 2, float(math.prod(shape))
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if lattice(middle).sum() > samples else (low, middle)
    return lattice(high)


def _plan(shape: Sequence[int], acceleration: float,
          calibration: int | None) -> tuple[tuple[int, ...], int, torch.Tensor]:
    """Checked ``(z, y)``, number of samples, and the calibration block as a bool mask."""
    shape = tuple(shape)[:2] if len(shape) == 3 else tuple(shape)
    if len(shape) != 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape: found {shape!r}, expected positive whole numbers (z, y) or (z, y, x)")
    total = math.prod(shape)
    if not 1 <= acceleration <= total:
        raise ValueError(f"acceleration: found {acceleration!r}, expected 1 to {total}, "
                         f"the number of positions of shape {shape}")
    samples = round(total / acceleration)
    if calibration is None:
        calibration = min(16, math.isqrt(samples // 4))
    if not isinstance(calibration, int) or calibration < 0:
        raise ValueError(f"calibration: found {calibration!r}, expected the side of a block, 0 or more")
    sides = [min(calibration, n) for n in shape]
    if math.prod(sides) > samples:
        raise ValueError(f"calibration: found {calibration}, a block of {math.prod(sides)} positions, expected "
                         f"no more than the {samples} that acceleration {acceleration} leaves of shape {shape}")
    block = torch.zeros(shape, dtype=torch.bool)
    block[middle(shape, sides)] = True
    return shape, samples, block


def _select(score: torch.Tensor, block: torch.Tensor, samples: int) -> torch.Tensor:
    """True at the block and at the highest scores, ``samples`` positions in all."""
    order = score.masked_fill(block, float("inf")).flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(score.numel(), dtype=torch.bool)
    mask[order[:samples]] = True
    return mask.view(score.shape)
