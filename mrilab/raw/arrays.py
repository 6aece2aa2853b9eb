"""k-space as one array ``(coils, z, y, x)``: BART's files, NumPy's, and our own share what is looked at."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import files, hdf5
from ..checks import check_voxel_size
from ..fourier import crop_readout, middle
from .claims import check_axes
from .lines import LOOK
from .scan import Scan, measurement_of, needs_voxel_size, something_measured


def scan_of_array(format: str, opened: Callable[[], Any], voxel_size: tuple[float, ...],
                  mask: torch.Tensor | None = None, fetch: Callable[[int, int], torch.Tensor] | None = None) -> Scan:
    """A scan of an array that can be indexed by coil; what is zero was not measured.

    Parameters
    ----------
    format : str
    opened : callable
        The array ``(coils, z, y, x)``, of any byte and memory order.
    voxel_size : tuple of float
    mask : Tensor, optional
        bool ``(z, y)``; read off the data if not given.
    fetch : callable, optional
        As in :class:`~mrilab.raw.scan.Scan`; from the array if not given.

    Raises
    ------
    ValueError
        For an array of another layout, or of zeros.

    Examples
    --------
    >>> kspace = np.ones((2, 3, 4, 5), ">c8")[:, ::-1]
    >>> scan_of_array("npy", lambda: kspace, (1, 1, 1)).read(1, 3).shape
    torch.Size([2, 3, 4, 2])
    """
    array = opened()
    shape = tuple(int(n) for n in array.shape)
    if len(shape) != 4 or not all(shape) or array.dtype.kind != "c":
        raise ValueError(f"kspace: found shape {shape} of type {array.dtype}, expected complex (coils, z, y, x)")
    energy, profile = np.zeros(shape[1:3]), np.zeros(shape[3])
    strongest, most, read = None, -1.0, 0
    by_coil = np.zeros(shape[0])
    for c in range(shape[0]):
        if mask is not None and read > LOOK and most > 0:        # the mask is known: some coils are enough
            energy[energy == 0] = np.nan
            by_coil = by_coil[:c]
            break
        coil = np.asarray(array[c], np.complex64)
        square = np.square(np.abs(coil), dtype=np.float64)
        energy += square.sum(-1)
        profile += square.sum((0, 1))
        by_coil[c] = square.sum()
        read += coil.nbytes
        if by_coil[c] > most:
            strongest, most = coil, by_coil[c]
    _check_layout(strongest, by_coil)
    found = torch.from_numpy(energy)

    def whole(start: int, stop: int) -> torch.Tensor:
        return torch.stack([crop_readout(torch.from_numpy(np.array(coil, np.complex64, order="C")), start, stop)
                            for coil in opened()])

    return Scan(format, shape[0], shape[1:], voxel_size, something_measured(found != 0) if mask is None else mask,
                shape[3], fetch or whole, energy=found, profile=torch.from_numpy(profile))


def _check_layout(strongest: Any, by_coil: np.ndarray) -> None:
    """Axes of one coil, and the energies of all of them on an axis of its own."""
    if not np.isfinite(by_coil).all() or by_coil.max() == 0:
        return                          # said by those who read them
    coil = torch.from_numpy(np.array(strongest / np.abs(strongest).max(), np.complex64, order="C"))
    check_axes(coil, {"z": "k", "y": "k", "x": "k"})
    small = middle(coil.shape, [min(n, 64) for n in coil.shape])
    weights = torch.from_numpy((by_coil / by_coil.max()) ** 0.5).to(torch.complex64)
    check_axes(weights[:, None, None, None] * coil[small], {"coils": "", "z": "k", "y": "k", "x": "k"})


def open_npy(path: Path, voxel_size: tuple[float, ...] | None) -> Scan:
    """A NumPy file of complex k-space ``(coils, z, y, x)``, mapped, not loaded; it knows no voxel size.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.ones((2, 3, 4, 5), np.complex64))
    >>> open_npy(path, (3, 1, 1)).shape
    (3, 4, 5)
    """
    def opened() -> Any:
        return np.load(path, mmap_mode="r", allow_pickle=False)     # a file shorter than its header says is refused

    shape = opened().shape
    if len(shape) != 4:
        raise ValueError(f"kspace: found shape {shape}, expected complex (coils, z, y, x); a missing axis has length 1")
    return scan_of_array("npy", opened, needs_voxel_size(voxel_size, "a NumPy file"))


def open_acquisition(path: Path, voxel_size: tuple[float, ...] | None) -> Scan:
    """A file of :func:`mrilab.volumes.save_acquisition`.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.volumes import Acquisition, save_acquisition
    >>> path, k = Path(tempfile.mkdtemp()) / "scan.h5", torch.ones(2, 4, 6, 5, dtype=torch.complex64)
    >>> save_acquisition(path, Acquisition(k, k, torch.ones(4, 6), (3, 1, 1)))
    >>> open_acquisition(path, None).voxel_size
    (3.0, 1.0, 1.0)
    """
    class Coils:
        """The data set, opened for each coil."""

        def __init__(self) -> None:
            with hdf5.opened(path) as file:
                kspace = measurement_of(file)
                self.shape, self.dtype = kspace.shape, kspace.dtype

        def __getitem__(self, coil: int) -> np.ndarray:
            with hdf5.opened(path) as file:
                return np.asarray(file["kspace"][coil], np.complex64)

        def __iter__(self) -> Iterator[np.ndarray]:
            return (self[coil] for coil in range(self.shape[0]))

    with hdf5.opened(path) as file:
        kspace = measurement_of(file)
        if kspace.ndim != 4:
            raise ValueError(f"kspace: found shape {kspace.shape}, expected (coils, z, y, x)")
        shape = kspace.shape
        mask = torch.from_numpy(hdf5.numbers(file, "mask")[()] != 0)
        if mask.ndim != 2 or any(m not in (1, n) for m, n in zip(mask.shape, shape[1:3])):
            raise ValueError(f"mask: found shape {tuple(mask.shape)}, expected {shape[1:3]} as kspace has")
        voxel_size = voxel_size or check_voxel_size(file.attrs.get("voxel_size"))
        affine = file.attrs.get("affine")

    def fetch(start: int, stop: int) -> torch.Tensor:
        with hdf5.opened(path) as file:
            return files.read_kspace(file, start, stop)

    scan = scan_of_array("acquisition", Coils, voxel_size, mask.expand(shape[1:3]), fetch)
    scan.affine = None if affine is None else np.asarray(affine, float)
    return scan
