"""What the data say about themselves: where k = 0 lies, what was measured, whether a layout can be right.

Headers, masks and layouts are claims. Energy is evidence: that of an image lies around k = 0 and falls off to all
sides. Every opener passes its scan through :func:`settle`; arrays have :func:`check_sampling`. Nothing is concluded
where the data are flat, as noise is.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..checks import check_array, check_maps_and_mask, check_voxel_size
from ..fourier import fft3c, ifft3c
from .scan import Scan, something_measured

STRONG = 10             # a peak counts where it is this many times the median
SMALLEST = 8            # along shorter axes nothing is concluded from energies
VOXEL, FIELD = (0.02, 50.0), (5.0, 3000.0)      # mm: what can be true of a body


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


def settle_counter(name: str, counter: np.ndarray, n: int, header: int | None, lines: int | None,
                   energy: np.ndarray) -> tuple[np.ndarray, str]:
    """Index on an axis of ``n`` for each counter; k = 0 goes to ``n // 2``.

    The header and the lines each may claim a centre, and the energy has a peak: the claim nearest to the peak is
    taken if it is near, otherwise the peak.

    Parameters
    ----------
    name : str
        Of the axis, for the note.
    counter : ndarray
        int, one a line.
    n : int
    header, lines : int or None
        The counter of k = 0 according to the header, and to the lines themselves.
    energy : ndarray
        Of the lines; NaN where not known.

    Returns
    -------
    index : ndarray
    note : str

    Examples
    --------
    The header forgot that partial Fourier left out the first six of sixteen lines:

    >>> energy = np.array([4.0, 10, 100, 10, 4, 3, 2, 1, 1, 1])
    >>> settle_counter("ky", np.arange(10), 16, 8, None, energy)
    (array([ 6,  7,  8,  9, 10, 11, 12, 13, 14, 15]),
     'centre of ky: found 8 by the header, energy strongest at 2, taken 2, the peak of the energy')
    """
    if n == 1:
        return counter - counter.min(), ""
    start = counter.min()
    span = int(counter.max() - start) + 1
    profile = np.zeros(span)
    np.maximum.at(profile, counter - start, np.nan_to_num(energy))
    top = peak(profile)
    top = None if top is None else top + int(start)

    def fits(centre: int) -> bool:
        index = counter + n // 2 - centre
        return bool(np.mean((index >= 0) & (index < n)) > 0.99)

    claims = {who: int(centre) for who, centre in (("the header", header), ("the lines", lines)) if centre is not None}
    usable = {who: centre for who, centre in claims.items() if fits(centre)}
    near = max(2, n // 16)
    if not claims:
        usable, near = ({"the matrix": n // 2} if fits(n // 2) else {}), max(1, n // 32)
    said = " and ".join(f"{centre} by {who}" for who, centre in claims.items()) or "no claim"
    if usable and (top is None or min(abs(centre - top) for centre in usable.values()) <= near):
        who = min(usable, key=lambda w: abs(usable[w] - top) if top is not None else 0)
        centre, why = usable[who], f"that of {who.removeprefix('the ')}"
        doubtful = len(set(claims.values())) > 1 or len(usable) < len(claims)
    elif top is not None and fits(top):
        centre, why, doubtful = top, "the peak of the energy", True
    elif not usable and span <= n and not fits(n // 2):
        centre, why, doubtful = n // 2 + int(start), "counters from the edge of the matrix", True
    else:
        centre, why, doubtful = next(iter((usable or claims).values()), n // 2), "it", top is not None
    note = f"centre of {name}: found {said}, energy strongest at {top}, taken {centre}, {why}" if doubtful else ""
    return counter + n // 2 - centre, note


def check_body(voxel_size: Sequence[float], shape: Sequence[int]) -> str:
    """A sentence about a field of view that no body has, or nothing.

    Raises
    ------
    ValueError
        For a voxel that no body was ever measured with, and in which unit it would be right.

    Examples
    --------
    >>> check_body((0.002, 0.002, 0.002), (100, 100, 100))
    Traceback (most recent call last):
    ValueError: voxel_size: found (0.002, 0.002, 0.002), expected mm, from 0.02 to 50: are these metres?
    >>> check_body((0.1, 0.1, 0.1), (30, 30, 30))
    'field of view: found 3 mm, expected 5 mm to 3 m: are these centimetres?'
    """
    sizes = check_voxel_size(voxel_size)
    for name, values, (low, high) in (("voxel_size", sizes, VOXEL),
                                      ("field of view", [n * d for n, d in zip(shape, sizes) if n > 1], FIELD)):
        if values and (min(values) < low or max(values) > high):
            units = [unit for unit, mm in (("centimetres", 10), ("metres", 1000), ("micrometres", 1e-3))
                     if low <= min(values) * mm and max(values) * mm <= high]
            hint = f": are these {units[0] if name != 'voxel_size' else units[-1]}?" if units else ""
            if name == "voxel_size":
                raise ValueError(f"voxel_size: found {sizes}, expected mm, from {low:g} to {high:g}{hint}")
            odd = min(values) if min(values) < low else max(values)
            return f"field of view: found {odd:g} mm, expected 5 mm to 3 m{hint}"
    return ""


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


def domain(block: torch.Tensor, axis: int) -> str:
    """Whether an axis of an array is in ``"k"``-space or in ``"image"`` space; nothing where the data do not say.

    In the one the energy gathers in the middle (or at the first index), in the other that of its transform does.

    Examples
    --------
    >>> image = torch.zeros(1, 32)
    >>> image[0, 8:20] = 1
    >>> domain(image, 1), domain(fft3c(image, axes=(1,)), 1), domain(torch.randn(8, 32), 1)
    ('image', 'k', '')
    """
    if block.shape[axis] < 2 * SMALLEST or (block == block.narrow(axis, 0, 1)).all():
        return ""
    others = [a for a in range(block.ndim) if a != axis]
    here, there = (_gathered(x.abs().double().square().sum(others).numpy()) for x in (
        block, fft3c(block, axes=(axis,))))
    return "k" if here > STRONG * there else "image" if there > STRONG * here else ""


def _gathered(profile: np.ndarray) -> float:
    return max(1.0, *np.nan_to_num([concentration(profile), concentration(profile, 0)]))


def check_axes(block: torch.Tensor, claims: dict[str, str]) -> None:
    """Refuse a layout that the data contradict.

    Parameters
    ----------
    block : Tensor
        A part of the data, axes as they are stored.
    claims : dict
        The name of each axis, and what the layout says it is: ``"k"``, ``"image"``, or nothing, as for coils.

    Raises
    ------
    ValueError
        For an axis in the other space; for energy that gathers along an axis of coils or slices and does not along
        one of k-space: the axes are in another order.

    Examples
    --------
    >>> kspace = fft3c(torch.ones(8, 20, 32) * (torch.arange(32) % 17 < 9), axes=(1, 2))
    >>> check_axes(kspace, {"coils": "", "y": "k", "x": "k"})
    >>> check_axes(kspace.permute(1, 2, 0), {"coils": "", "y": "k", "x": "k"})
    Traceback (most recent call last):
    ValueError: kspace: found energy in the middle of the axis for coils and spread evenly over that for x,
    expected (coils, y, x): is the order of the axes another?
    """
    square = block.abs().double().square()
    gathered, flat = {}, []
    for axis, (name, claim) in enumerate(claims.items()):
        found = domain(block, axis) if claim else ""
        if found and found != claim:
            words = {"k": "k-space", "image": "image space"}
            raise ValueError(f"kspace: found the axis for {name} in {words[found]}, expected it in {words[claim]}")
        profile = square.sum([a for a in range(block.ndim) if a != axis]).numpy()
        gathered[name] = _gathered(profile) if len(profile) >= SMALLEST else 1.0
        even = profile.max() < 3 * max(np.median(profile), 1e-30) if len(profile) < SMALLEST else gathered[name] < 3
        if claim == "k" and len(profile) > 1 and even:
            flat.append(name)
    peaked = [name for name, claim in claims.items() if not claim and gathered[name] > STRONG]
    if flat and peaked:
        raise ValueError(f"kspace: found energy in the middle of the axis for {peaked[0]} and spread evenly over that "
                         f"for {flat[0]}, expected ({', '.join(claims)}): is the order of the axes another?")


def settle(scan: Scan) -> Scan:
    """The scan with what its data contradict put right, each with a note in ``info``, or refused.

    Examples
    --------
    >>> k = torch.zeros(1, 8, 8, 8, dtype=torch.complex64)
    >>> k[0, 0, 0, 0] = 1                                   # k = 0 at the first index
    >>> scan = Scan("array", 1, (8, 8, 8), (1, 1, 1), torch.ones(8, 8) > 0, 8, lambda a, b: k[..., a:b],
    ...             energy=k.abs()[0].sum(-1) + 1e-9, profile=k.abs()[0].sum((0, 1)) + 1e-9)
    >>> scan = settle(scan)
    >>> scan.info["note"]
    'k-space: found k = 0 at the first index along z, y, x, moved to the middle'
    >>> scan.read()[0, 4, 4, 4].abs().round(decimals=4)
    tensor(1.)
    """
    doubt = check_body(scan.voxel_size, scan.shape)
    if doubt:
        scan.note(doubt)
    if scan.energy is None:
        return scan
    scan.mask, notes = agreed_mask(something_measured(scan.mask), scan.energy)
    for note in notes:
        scan.note(note)
    mask = scan.mask if len(scan.energy) == len(scan.mask) else scan.mask[:1]
    axes = corner_axes(scan.energy, scan.profile, mask)
    inner, kept = scan.fetch, scan.mask[None, ..., None]
    if not axes:
        if notes:
            scan.fetch = lambda start, stop: inner(start, stop) * kept
        return scan
    scan.note(f"k-space: found k = 0 at the first index along {', '.join('zyx'[a] for a in axes)}, moved to the middle")
    z_y = [a for a in axes if a < 2]
    if z_y:
        scan.mask = torch.fft.fftshift(scan.mask, dim=z_y)
        scan.energy = torch.fft.fftshift(scan.energy, dim=z_y)
    size = scan.shape[2]

    def fetch(start: int, stop: int) -> torch.Tensor:
        kspace = torch.fft.fftshift(inner(start, stop) * kept, dim=[a - 3 for a in z_y]) if z_y else \
            inner(start, stop) * kept
        if 2 not in axes:
            return kspace
        turn = torch.exp(2j * torch.pi * (size // 2) * (torch.arange(start, stop) - size // 2) / size)
        return fft3c(ifft3c(kspace, axes=(-1,)) * turn.to(torch.complex64), axes=(-1,))

    scan.fetch = fetch
    return scan


def check_sampling(kspace: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """k-space and mask that agree, and a sentence about everything that had to be put right.

    The same checks that :func:`~mrilab.raw.open_scan` makes, for arrays that become an
    :class:`~mrilab.volumes.Acquisition`.

    Parameters
    ----------
    kspace : Tensor
        complex ``(coils, z, y, x)``.
    mask : Tensor
        bool ``(z, y)``.

    Returns
    -------
    kspace : Tensor
        complex64, k = 0 in the middle, zero outside the mask.
    mask : Tensor
        bool ``(z, y)``, True where k-space holds data.
    notes : list of str

    Raises
    ------
    ValueError
        For shapes that disagree, and a mask without a position that holds data.

    Examples
    --------
    >>> kspace = torch.ones(2, 4, 6, 5, dtype=torch.complex64)
    >>> kspace[:, :, ::2] = 0
    >>> kspace, mask, notes = check_sampling(kspace, torch.ones(4, 6))
    >>> int(mask.sum()), notes
    (12, ['mask: 12 of 24 positions called measured hold zeros and were not measured'])
    """
    kspace = check_array(kspace, "kspace", 4, "(coils, z, y, x)").to(torch.complex64)
    _, mask = check_maps_and_mask(kspace, mask)
    square = kspace.abs().double().square()
    host = kspace.cpu()
    scan = Scan("array", len(host), tuple(host.shape[1:]), (1.0, 1.0, 1.0), mask.cpu(), host.shape[3],
                lambda start, stop: host[..., start:stop] if stop - start < host.shape[3] else host,
                energy=square.sum((0, 3)).cpu(), profile=square.sum((0, 1, 2)).cpu())
    scan = settle(scan)
    notes = [text for text in scan.info.get("note", "").split("; ") if text and not text.startswith("field of view")]
    if not notes:
        return kspace, mask, []
    return scan.read().to(kspace.device), scan.mask.to(mask.device), notes
