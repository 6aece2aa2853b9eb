"""Calgary-Campinas: k-space as real numbers, HDF5 or NumPy, the readout already transformed."""

from pathlib import Path

import numpy as np
import torch

from .. import hdf5
from ..fourier import fft3c
from .claims import check_axes
from .scan import Scan, measurement_of, something_measured


def open_calgary(path: Path, voxel_size: tuple[float, ...] | None) -> Scan:
    """Calgary-Campinas: x is in image space, complex numbers are interleaved pairs of real channels.

    The zero frequency of y and z lies at the middle of the array, but positions count from its start: seen
    from our convention the head is shifted by half a field of view. A linear phase moves it back.

    Raises
    ------
    ValueError
        For an array of another shape or kind, axes in another order, channels that are no pairs.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.random.default_rng(0).standard_normal((8, 6, 4, 24), np.float32))
    >>> scan = open_calgary(path, None)
    >>> scan.coils, scan.shape, scan.info["note"]
    (12, (4, 6, 8), 'voxel size 1 mm as published, the file does not say')
    """
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)        # a file shorter than its header says is refused
        shape, kind = array.shape, array.dtype.kind
    else:
        with hdf5.opened(path) as file:
            data = measurement_of(file)
            shape, kind = data.shape, data.dtype.kind
    if len(shape) != 4 or kind != "f" or shape[3] % 2 or not all(shape):
        raise ValueError(f"kspace: found shape {shape} of kind {kind!r}, expected real (x, y, z, 2 coils) as "
                         "Calgary-Campinas has it")
    size, y, z, channels = shape

    def blocks(start: int, stop: int, step: int = 1) -> np.ndarray:
        if path.suffix == ".npy":
            data = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(data[start:stop:step], np.float32, order="C")
        with hdf5.opened(path) as file:
            return file["kspace"][start:stop:step].astype(np.float32)

    def fetch(start: int, stop: int) -> torch.Tensor:
        data = torch.view_as_complex(torch.from_numpy(blocks(start, stop)).unflatten(3, (-1, 2)))
        kspace = data.permute(3, 2, 1, 0)                       # (coils, z, y, x)
        for axis, n in ((1, z), (2, y)):
            frequency = torch.arange(n) - n // 2
            turn = torch.exp(2j * torch.pi * frequency * (n // 2) / n).to(torch.complex64)
            kspace = kspace * turn.reshape([-1 if a == axis else 1 for a in range(4)])
        return fft3c(kspace, axes=(-1,))

    middle = torch.from_numpy(blocks(size // 2, size // 2 + 1)).double()
    some = torch.from_numpy(blocks(0, size, max(1, size // 64))).double() if size > 1 else middle
    if torch.isfinite(some).all() and middle.any():
        _check_pairs(middle[0])
        some = torch.view_as_complex((some / some.abs().max()).unflatten(3, (-1, 2)).contiguous())
        check_axes(some, {"x": "image", "y": "k", "z": "k", "coils": ""})
    energy = middle.square().sum((0, -1)).T
    energy += torch.view_as_real(some).square().sum((0, -1, -2)).T if some.is_complex() else 0
    scan = Scan("calgary", channels // 2, (z, y, size), voxel_size or (1.0, 1.0, 1.0), something_measured(energy != 0),
                size, fetch, energy=energy)
    if not voxel_size:
        scan.note("voxel size 1 mm as published, the file does not say")
    if channels == 2:
        scan.note("one coil: read as (x, y, z, 2), but the scans of Calgary-Campinas have 12 or more: is it theirs?")
    return scan


def _check_pairs(middle: torch.Tensor) -> None:
    """Refuse channels ``(y, x, channels)`` that are no real and imaginary parts of coils, one after the other.

    The two parts of a coil's k-space do not resemble one another, the same parts of neighbouring coils do; magnitudes
    are never negative.
    """
    if 0 <= middle.min() < middle.max():
        raise ValueError("kspace: found no negative value, expected real and imaginary parts, not magnitudes")
    channels = middle.flatten(0, 1)
    channels = channels / channels.norm(dim=1, keepdim=True).clamp_min(1e-300)      # else the centre decides alone

    def alike(first: torch.Tensor, second: torch.Tensor) -> float:
        scale = (first.square().sum(0) * second.square().sum(0)).sqrt().clamp_min(1e-300)
        return float(((first * second).sum(0).abs() / scale).mean())

    half = channels.shape[1] // 2
    pairs, halves = alike(channels[:, ::2], channels[:, 1::2]), alike(channels[:, :half], channels[:, half:])
    if half > 1 and pairs > 0.1 and halves < pairs / 4:      # of a head array neighbours are 0.16 to 0.4 alike
        raise ValueError("kspace: found all real parts first and all imaginary parts after them, expected real and "
                         "imaginary part of each coil side by side")
