"""Evidence: whether a mask and the place of k = 0 are what the data say, before anything is made of them.

A mask is a claim, and so is k = 0 in the middle. The energy of an image lies around k = 0 and falls off to all sides,
and what was not measured is zero. :class:`~mrilab.volumes.Acquisition` asks :func:`check_sampling`; the readers of raw
scans ask the same of their files. Nothing is concluded where the data are flat, as noise is.
"""

import math

import numpy as np
import torch

STRONG = 10             # a peak counts where it is this many times the median
SMALLEST = 8            # along shorter axes nothing is concluded from energies
GAPS = 0.02             # of the samples between the first and the last of a line


def peak(profile: np.ndarray) -> int | None:
    """Index of the strongest value of a profile, if it stands out; NaN is unknown, 0 not measured.

    Examples
    --------
    >>> peak(np.array([1, 2, 1, 40, 2, 1, 1, 2])), peak(np.array([1, 2, 1, 3, 2, 1, 1, 2]))
    (3, None)
    """
    known = profile[np.nan_to_num(profile) > 0]
    if len(known) < SMALLEST - 2 or not np.nanmax(profile) > STRONG * np.median(known):
        return None
    return int(np.nanargmax(profile))


def concentration(profile: np.ndarray, middle: int | None = None) -> float:
    """Mean energy of the eighth of an axis around its middle, over the mean of the rest; NaN where that is not known.

    Examples
    --------
    >>> concentration(np.array([1.0] * 7 + [9, 9, 9] + [1.0] * 6))
    9.0
    """
    n = len(profile)
    middle = n // 2 if middle is None else middle
    distance = np.abs((np.arange(n) - middle + n // 2) % n - n // 2)
    known = np.nan_to_num(profile) > 0
    inner, outer = known & (distance <= max(1, n // 16)), known & (distance > max(1, n // 16))
    if n < SMALLEST or not inner.any() or not outer.any():
        return math.nan
    return float(profile[inner].mean() / profile[outer].mean())


def agreed_mask(mask: torch.Tensor, energy: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """The mask that the data bear out, and what was wrong with the one that was given.

    Measured positions that hold nothing but zeros were not measured; a mask whose own pattern fits the data only
    when shifted by half its size was stored with k = 0 first.

    Parameters
    ----------
    mask : Tensor
        bool ``(z, y)``.
    energy : Tensor
        ``(z, y)``, or ``(1, y)`` for a stack of slices; NaN where not known.

    Raises
    ------
    ValueError
        If the mask and the data have no position in common.

    Examples
    --------
    >>> mask = torch.tensor([[True, True, True, False]])
    >>> agreed_mask(mask, torch.tensor([[0.0, 3, 4, 0]]))
    (tensor([[False,  True,  True, False]]),
     ['mask: 1 of 3 positions called measured hold zeros and were not measured'])
    """
    there = (energy != 0).expand_as(mask)           # NaN is not zero: not known counts as there
    empty, beyond = mask & ~there, there & ~mask
    notes: list[str] = []
    if empty.any() and beyond.any():
        swapped = torch.fft.fftshift(mask)
        other = torch.fft.ifftshift(mask)
        swapped = swapped if (swapped & ~there).sum() <= (other & ~there).sum() else other
        if (swapped & ~there).sum() < 0.1 * empty.sum() and (there & ~swapped).sum() < 0.5 * beyond.sum():
            notes.append("mask: found it with k = 0 at the first index, shifted to the middle where the data are")
            mask = swapped
            empty, beyond = mask & ~there, there & ~mask
    if not (mask & there).any():
        raise ValueError("mask: found no position at which k-space holds data, expected the mask of these data")
    if empty.any():
        notes.append(f"mask: {int(empty.sum())} of {int(mask.sum())} positions called measured hold zeros and were not "
                     "measured")
    if beyond.any():
        notes.append(f"mask: {int(beyond.sum())} positions hold data that the mask leaves out, they are not used")
    return mask & there, notes


def corner_axes(energy: torch.Tensor, profile: torch.Tensor | None, mask: torch.Tensor | None = None) -> list[int]:
    """Axes of ``(z, y, x)`` along which the energy sits at the first index instead of the middle.

    Examples
    --------
    >>> ramp = torch.tensor([100.0, 9, 3, 1, 1, 1, 3, 9])
    >>> corner_axes(ramp[:, None] * ramp.roll(4), None)
    [0]
    """
    known = energy if mask is None else torch.where(mask, energy, 0)
    profiles = {0: np.nan_to_num(known.numpy()).max(1), 1: np.nan_to_num(known.numpy()).max(0)}
    if profile is not None:
        profiles[2] = profile.numpy()
    found = []
    for axis, values in profiles.items():
        top = peak(values)
        n = len(values)
        if n >= SMALLEST and top is not None and min(top, n - top) <= max(1, n // 32):
            middle = concentration(values)
            if math.isnan(middle) or concentration(values, 0) > STRONG * middle:
                found.append(axis)
    return found


def check_lines(kspace: torch.Tensor, mask: torch.Tensor) -> None:
    """Refuse lines with holes: x is the readout, and a measured line has all its samples but those of a partial echo.

    Parameters
    ----------
    kspace : Tensor
        complex ``(coils, z, y, x)``.
    mask : Tensor
        bool ``(z, y)``.

    Raises
    ------
    ValueError
        If more than 2 % of the samples inside the lines are zero.

    Examples
    --------
    >>> kspace = torch.ones(1, 4, 4, 12)
    >>> kspace[..., 1::2] = 0
    >>> check_lines(kspace, torch.ones(4, 4) > 0)
    Traceback (most recent call last):
    ValueError: kspace: found 45 % zeros inside the lines along x, expected x, the readout, fully sampled
    """
    there = (kspace != 0).any(0)[mask]
    inside = (there.cumsum(-1) > 0) & (there.flip(-1).cumsum(-1).flip(-1) > 0)
    holes = (inside & ~there).sum().item() / max(1, inside.sum().item())
    if holes > GAPS:
        raise ValueError(f"kspace: found {100 * holes:.0f} % zeros inside the lines along x, expected x, the readout, "
                         "fully sampled")


def check_sampling(kspace: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """k-space and mask that agree, and a sentence about everything that had to be put right.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``; if it is zero throughout nothing is asked.
    mask : Tensor
        bool ``(z, y)``.

    Returns
    -------
    kspace : Tensor
        Zero outside the mask.
    mask : Tensor
        bool ``(z, y)``, True where k-space holds data.
    notes : list of str

    Raises
    ------
    ValueError
        For a mask without a position that holds data; for lines with holes (:func:`check_lines`); for k = 0 at the
        first index: where the image belongs then, arrays do not say.

    Examples
    --------
    >>> kspace = torch.ones(2, 4, 6, 5, dtype=torch.complex64)
    >>> kspace[:, :, ::2] = 0
    >>> kspace, mask, notes = check_sampling(kspace, torch.ones(4, 6) > 0)
    >>> int(mask.sum()), notes
    (12, ['mask: 12 of 24 positions called measured hold zeros and were not measured'])
    """
    unit = torch.stack([coil.abs().max() for coil in kspace]).max()         # coil by coil, to spare memory
    if not unit > 0:
        return kspace, mask, []
    square = sum(((coil / unit).abs().square() for coil in kspace), torch.zeros(()))
    energy, profile = square.sum(-1).cpu(), square.sum((0, 1)).cpu()
    agreed, notes = agreed_mask(mask.cpu(), (kspace != 0).any(0).any(-1).cpu() * energy.clamp_min(1e-30))
    axes = corner_axes(energy, profile, agreed)
    if axes:
        raise ValueError(f"kspace: found k = 0 at the first index along {', '.join('zyx'[a] for a in axes)}, expected "
                         "it in the middle, as mrilab.fourier.fft3c and scanners have it")
    mask = agreed.to(mask.device)
    check_lines(kspace, mask)
    return kspace * mask[..., None] if notes else kspace, mask, notes
