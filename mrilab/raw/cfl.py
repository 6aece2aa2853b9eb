"""BART's files: a ``.cfl`` of complex numbers, and a ``.hdr`` with their dimensions."""

from pathlib import Path
from typing import Any

import numpy as np

from .. import hdf5
from ..checks import check_voxel_size
from ..writing import atomic_path
from .arrays import scan_of_array
from .scan import Scan, needs_voxel_size


def _read_cfl_header(path: Path) -> tuple[tuple[int, ...], list[str] | None]:
    """Dimensions, longest first last, and the voxel size if we wrote it."""
    with open(path.with_suffix(".hdr"), errors="replace") as file:
        lines = file.read(10000).splitlines()
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


def read_cfl(path: str | Path) -> np.ndarray:
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


def save_cfl(path: str | Path, array: Any, voxel_size: Any = None) -> None:
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


def open_cfl(path: Path, voxel_size: tuple[float, ...] | None) -> Scan:
    """A BART pair of k-space; the voxel size is ours, if :func:`save_cfl` wrote it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.cfl"
    >>> save_cfl(path, np.ones((2, 3, 4, 5), np.complex64), voxel_size=(2, 1, 1))
    >>> open_cfl(path, None).voxel_size
    (2.0, 1.0, 1.0)
    """
    _, written = _read_cfl_header(path)
    voxel_size = voxel_size or (check_voxel_size(written) if written else None)
    return scan_of_array("cfl", lambda: read_cfl(path), needs_voxel_size(voxel_size, "a BART file"))
