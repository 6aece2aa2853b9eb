"""BART's files: a ``.cfl`` of complex numbers, and a ``.hdr`` with their dimensions."""

from pathlib import Path

import numpy as np
import torch

from .. import hdf5
from ..checks import check_voxel_size
from ..fourier import crop_readout
from ..writing import atomic_path
from .scan import Scan, needs_voxel_size, something_measured


def _read_cfl_header(path):
    """Dimensions, longest first last, and the voxel size if we wrote it."""
    lines = path.with_suffix(".hdr").read_text(errors="replace")[:10000].splitlines()
    values = {lines[i].strip("# ").lower(): lines[i + 1].split() for i in range(len(lines) - 1)
              if lines[i].startswith("#")}
    try:
        dims = [int(n) for n in values["dimensions"]]
    except (KeyError, ValueError):
        dims = []
    if not dims or min(dims) < 1:
        raise ValueError(f"{path.with_suffix('.hdr')}: found no line of positive whole numbers after '# Dimensions'")
    while len(dims) > 4 and dims[-1] == 1:
        dims.pop()
    if len(dims) > 4:
        raise ValueError(f"dimensions: found {dims}, expected (x, y, z, coils), and 1 beyond")
    dims += [1] * (4 - len(dims))
    bytes_, expected = path.with_suffix(".cfl").stat().st_size, 8 * int(np.prod(dims, dtype=object))
    if bytes_ != expected:
        raise ValueError(f"{path.with_suffix('.cfl')}: found {bytes_} bytes, expected {expected} for {dims}")
    return tuple(reversed(dims)), values.get("voxel size (dz dy dx) mm")


def read_cfl(path):
    """A BART array as ``(coils, z, y, x)``, mapped from the file, not loaded.

    BART counts dimensions from the fastest: read, phase 1, phase 2, coil; ours is the reverse.

    Returns
    -------
    ndarray
        complex64, read-only.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.cfl"
    >>> save_cfl(path, np.ones((2, 3, 4, 5), np.complex64))
    >>> read_cfl(path).shape
    (2, 3, 4, 5)
    """
    with hdf5.named(path):
        shape, _ = _read_cfl_header(Path(path))
        return np.memmap(Path(path).with_suffix(".cfl"), np.complex64, "r", shape=shape)


def save_cfl(path, array, voxel_size=None):
    """Write ``(coils, z, y, x)`` or ``(z, y, x)`` as a BART pair ``.cfl`` and ``.hdr``.

    The voxel size goes into a comment that BART skips and :func:`open_scan` reads.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.cfl"
    >>> save_cfl(path, np.ones((3, 4, 5), np.complex64), voxel_size=(2, 1, 1))
    >>> path.with_suffix(".hdr").read_text().splitlines()[1][:9]
    '5 4 3 1 1'
    """
    array = np.asarray(array)
    if array.ndim not in (3, 4):
        raise ValueError(f"array: found shape {array.shape}, expected (coils, z, y, x) or (z, y, x)")
    dims = [*reversed(array.shape), *[1] * 16][:16]
    header = "# Dimensions\n" + " ".join(map(str, dims)) + "\n"
    if voxel_size is not None:
        header += "# Voxel size (dz dy dx) mm\n" + " ".join(map(repr, check_voxel_size(voxel_size))) + "\n"
    path = Path(path)
    with atomic_path(path.with_suffix(".hdr")) as hdr, atomic_path(path.with_suffix(".cfl")) as cfl:
        np.ascontiguousarray(array, np.complex64).tofile(cfl)
        hdr.write_text(header)


def open_cfl(path, voxel_size):
    shape, written = _read_cfl_header(path)
    voxel_size = voxel_size or written and check_voxel_size(written)
    needs_voxel_size(voxel_size, "a BART file")
    kspace = read_cfl(path)
    mask = np.zeros(shape[1:3], bool)
    for coil in kspace:
        mask |= (coil != 0).any(-1)

    def fetch(start, stop):
        return torch.stack([crop_readout(torch.from_numpy(np.array(c)), start, stop) for c in read_cfl(path)])

    return Scan("cfl", shape[0], shape[1:], voxel_size, something_measured(torch.from_numpy(mask)), shape[3], fetch)
