"""Claims of a raw file held against its data: where k = 0 lies, what was measured, what each axis is.

Headers, masks and layouts are claims, of which :mod:`mrilab.evidence` knows what the energy says. Every opener passes
its scan through :func:`settle`.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ..checks import check_voxel_size
from ..evidence import SMALLEST, STRONG, agreed_mask, concentration, corner_axes, peak
from ..fourier import fft3c, ifft3c
from .scan import Scan, something_measured

FIELD = 5.0, 3000.0     # mm: what can be true of a body; a voxel's own limits are in mrilab.checks


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
        For a voxel that no body was ever measured with (:func:`~mrilab.checks.check_voxel_size`).

    Examples
    --------
    >>> check_body((0.1, 0.1, 0.1), (30, 30, 30))
    'field of view: found 3 mm, expected 5 mm to 3 m: are these centimetres?'
    """
    low, high = FIELD
    lengths = [n * d for n, d in zip(shape, check_voxel_size(voxel_size)) if n > 1]
    if not lengths or low <= min(lengths) <= max(lengths) <= high:
        return ""
    units = [unit for unit, mm in (("centimetres", 10), ("metres", 1000), ("micrometres", 1e-3))
             if low <= min(lengths) * mm and max(lengths) * mm <= high]
    odd = min(lengths) if min(lengths) < low else max(lengths)
    return f"field of view: found {odd:g} mm, expected 5 mm to 3 m" + (f": are these {units[0]}?" if units else "")


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
