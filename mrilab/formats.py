"""Raw scans as scanners and other programs store them, opened by content and read in parts.

``open_scan`` reads a file's header and gives a :class:`Scan`: what was measured, on which grid, with which
voxel size. ``Scan.read`` then fetches k-space, the whole of it or only some positions along the readout:
a large scan need not fit into memory. Voxel sizes are ``(dz, dy, dx)`` whatever order a file has.

=================  ======================================================================================
format             recognised by
=================  ======================================================================================
``acquisition``    HDF5 with ``kspace``, ``maps``, ``mask``: ours
``ismrmrd``        HDF5 with ``xml`` and ``data`` in a group: also Stanford 3D FSE and AHEAD
``fastmri``        HDF5 with ``kspace`` ``(slices, coils, x, y)``: 2D slices, stacked here
``calgary``        HDF5 or ``.npy``, real ``(x, y, z, 2 coils)``: Calgary-Campinas, x already transformed
``cfl``            ``.cfl`` with its ``.hdr``: BART
``volume``         HDF5 with ``data``: ours (:func:`mrilab.volumes.load_volume`)
``nifti``          ``.nii`` or ``.nii.gz`` (:mod:`mrilab.nifti`)
=================  ======================================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import _hdf5
from .fourier import fft3c, ifft3c
from .volumes import check_voxel_size


@dataclass
class Scan:
    """A raw scan on its Cartesian grid; k-space stays in the file until :meth:`read`.

    Attributes
    ----------
    format : str
    coils : int
    shape : tuple of int
        ``(z, y, x)`` of the measured grid, readout oversampling included.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm of that grid.
    mask : Tensor
        bool ``(z, y)``, True where measured.
    wanted : int
        Positions along x inside the field of view that was prescribed; fewer than x with oversampling.
    fetch : callable
        ``fetch(start, stop)`` is what :meth:`read` returns for these positions along x.
    noise : Tensor or None
        complex64 ``(coils, samples)`` measured without signal.
    affine : ndarray or None
        4 x 4, from voxel ``(x, y, z)`` of the measured grid to mm (right, anterior, superior).
    info : dict
        What else is worth saying.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.cfl"
    >>> save_cfl(path, np.ones((2, 3, 4, 5), np.complex64), voxel_size=(2, 1, 1))
    >>> scan = open_scan(path)
    >>> scan.coils, scan.shape, scan.voxel_size
    (2, (3, 4, 5), (2.0, 1.0, 1.0))
    """

    format: str
    coils: int
    shape: tuple
    voxel_size: tuple
    mask: torch.Tensor
    wanted: int
    fetch: Callable = field(repr=False)
    noise: torch.Tensor | None = None
    affine: np.ndarray | None = None
    info: dict = field(default_factory=dict)

    @property
    def acceleration(self):
        """Number of (kz, ky) positions over the number measured."""
        return self.mask.numel() / int(self.mask.sum())

    def read(self, start=0, stop=None):
        """k-space between two positions along x, an independent problem as x is fully sampled (chapter 2).

        Returns
        -------
        Tensor
            complex64 ``(coils, z, y, stop - start)``, centred; zero where not measured.
        """
        size = self.shape[-1]
        stop = size if stop is None else stop
        if not 0 <= start < stop <= size:
            raise ValueError(f"start, stop: found {start}, {stop}, expected 0 <= start < stop <= {size}")
        return self.fetch(start, stop)


def recognise(path):
    """The format of a file, from its content.

    Returns
    -------
    str
        One of the names in the table above.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; none of the formats.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> recognise(fetch("qtim_MRHead"))
    'volume'
    """
    path = Path(path)
    if path.suffix in (".cfl", ".hdr") and path.with_suffix(".hdr").is_file() and path.with_suffix(".cfl").is_file():
        return "cfl"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(352)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        with _hdf5.named(path), _hdf5.opened(path) as file:
            kind = _kind_of_hdf5(file)
            if kind is None:
                raise ValueError(f"{path}: found HDF5 with {_hdf5.names(file)}, expected 'data' (a volume), 'kspace' "
                                 "(a scan) or an ISMRMRD group with 'xml' and 'data'")
            return kind
    if head.startswith(b"\x93NUMPY"):
        return "calgary"
    if head[344:347] in (b"n+1", b"ni1") or path.name.endswith((".nii.gz", ".nii")):
        return "nifti"
    raise ValueError(f"{path}: found neither HDF5, NumPy, NIfTI nor a BART pair .cfl and .hdr, expected one of them")


def _kind_of_hdf5(file):
    import h5py

    found = _hdf5.names(file)
    if "kspace" in found:
        if "maps" in found:
            return "acquisition"
        kspace = _hdf5.dataset(file, "kspace")
        return "fastmri" if kspace.dtype.kind == "c" or "ismrmrd_header" in found else "calgary"
    if _group_of_ismrmrd(file):
        return "ismrmrd"
    if "data" in found and file.id.links.get_info(b"data").type == h5py.h5l.TYPE_HARD:
        return "volume"
    return None


def _group_of_ismrmrd(file):
    """Name of the first group with ``xml`` and ``data``, as ISMRMRD has them."""
    import h5py

    for name in _hdf5.names(file):
        if (file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
                and isinstance(file[name], h5py.Group) and {"xml", "data"} <= set(_hdf5.names(file[name]))):
            return name
    return None


def open_scan(path, voxel_size=None):
    """Open a raw scan of any of the formats.

    Parameters
    ----------
    path : str or Path
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, for formats and files that do not say; it also overrules what a file says.

    Returns
    -------
    Scan

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; damaged, another format, or not a Cartesian scan; no voxel size.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scan.cfl"
    >>> save_cfl(path, torch.ones(2, 4, 6, 5), (1, 1, 2))
    >>> scan = open_scan(path)
    >>> scan.coils, scan.shape, scan.voxel_size, tuple(scan.read(1, 3).shape)
    (2, (4, 6, 5), (1.0, 1.0, 2.0), (2, 4, 6, 2))
    """
    from . import mrd

    kind = recognise(path)
    openers = {"acquisition": _open_acquisition, "fastmri": mrd.open_fastmri, "ismrmrd": mrd.open_ismrmrd,
               "calgary": _open_calgary, "cfl": _open_cfl}
    if kind not in openers:
        raise ValueError(f"{path}: found a {kind} file, an image, expected a scan; mrilab simulate makes one")
    with _hdf5.named(path):
        scan = openers[kind](Path(path), voxel_size and check_voxel_size(voxel_size))
        inner = scan.fetch

        def fetch(start, stop):
            with _hdf5.named(path):
                kspace = inner(start, stop).to(torch.complex64)
                if not torch.isfinite(torch.view_as_real(kspace)).all():
                    raise ValueError("kspace: found NaN or infinite values, expected finite numbers")
                return kspace

        scan.fetch = fetch
        return scan


def readout_part(kspace, start, stop):
    """Positions ``start`` to ``stop`` along the last axis, k-space in and out.

    Examples
    --------
    >>> kspace = torch.randn(2, 4, 4, 8, dtype=torch.complex64)
    >>> readout_part(kspace, 2, 5).shape
    torch.Size([2, 4, 4, 3])
    """
    if (start, stop) == (0, kspace.shape[-1]):
        return kspace
    return fft3c(ifft3c(kspace, axes=(-1,))[..., start:stop], axes=(-1,))


def needs_voxel_size(voxel_size, what):
    """The voxel size, or the error that asks for it.

    Examples
    --------
    >>> needs_voxel_size((3, 1, 1), "a BART file")
    (3, 1, 1)
    >>> needs_voxel_size(None, "a BART file")
    Traceback (most recent call last):
    ValueError: voxel_size: found none in a BART file, expected (dz, dy, dx) in mm from you (--voxel-size)
    """
    if voxel_size is None:
        raise ValueError(f"voxel_size: found none in {what}, expected (dz, dy, dx) in mm from you (--voxel-size)")
    return voxel_size


def _open_acquisition(path, voxel_size):
    with _hdf5.opened(path) as file:
        kspace = _hdf5.numbers(file, "kspace")
        if kspace.ndim != 4:
            raise ValueError(f"kspace: found shape {kspace.shape}, expected (coils, z, y, x)")
        shape = kspace.shape
        mask = torch.from_numpy(_hdf5.numbers(file, "mask")[()]).bool()
        voxel_size = voxel_size or check_voxel_size(file.attrs.get("voxel_size"))
        affine = file.attrs.get("affine")

    def fetch(start, stop):
        with _hdf5.opened(path) as file:
            return torch.stack([readout_part(torch.from_numpy(file["kspace"][c].astype(np.complex64)), start, stop)
                                for c in range(shape[0])])

    return Scan("acquisition", shape[0], shape[1:], voxel_size, mask.expand(shape[1:3]), shape[3], fetch,
                affine=affine)


def _open_calgary(path, voxel_size):
    """Calgary-Campinas: x is in image space, complex numbers are interleaved pairs of real channels.

    The zero frequency of y and z lies at the middle of the array, but positions count from its start: seen
    from our convention the head is shifted by half a field of view. A linear phase moves it back.
    """
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)        # a file shorter than its header says is refused
        shape, kind = array.shape, array.dtype.kind
    else:
        with _hdf5.opened(path) as file:
            data = _hdf5.numbers(file, "kspace")
            shape, kind = data.shape, data.dtype.kind
    if len(shape) != 4 or kind != "f" or shape[3] % 2 or not all(shape):
        raise ValueError(f"kspace: found shape {shape} of kind {kind!r}, expected real (x, y, z, 2 coils) as "
                         "Calgary-Campinas has it")
    size, y, z, channels = shape

    def blocks(start, stop):
        if path.suffix == ".npy":
            data = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(data[start:stop], np.float32)
        with _hdf5.opened(path) as file:
            return file["kspace"][start:stop].astype(np.float32)

    def fetch(start, stop):
        data = torch.view_as_complex(torch.from_numpy(blocks(start, stop)).unflatten(3, (-1, 2)))
        kspace = data.permute(3, 2, 1, 0)                       # (coils, z, y, x)
        for axis, n in ((1, z), (2, y)):
            frequency = torch.arange(n) - n // 2
            turn = torch.exp(2j * torch.pi * frequency * (n // 2) / n).to(torch.complex64)
            kspace = kspace * turn.reshape([-1 if a == axis else 1 for a in range(4)])
        return fft3c(kspace, axes=(-1,))

    middle = blocks(size // 2, size // 2 + 1)[0]
    mask = torch.from_numpy((middle != 0).any(-1).T.copy())
    return Scan("calgary", channels // 2, (z, y, size), voxel_size or (1.0, 1.0, 1.0), _checked(mask), size, fetch,
                info={"note": "voxel size 1 mm as published; the file does not say" if not voxel_size else ""})


def _checked(mask):
    if not mask.any():
        raise ValueError("kspace: found zeros only, expected a measurement")
    return mask


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
    with _hdf5.named(path):
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
    from .volumes import atomic_path

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


def _open_cfl(path, voxel_size):
    shape, written = _read_cfl_header(path)
    voxel_size = voxel_size or written and check_voxel_size(written)
    needs_voxel_size(voxel_size, "a BART file")
    kspace = read_cfl(path)
    mask = np.zeros(shape[1:3], bool)
    for coil in kspace:
        mask |= (coil != 0).any(-1)

    def fetch(start, stop):
        return torch.stack([readout_part(torch.from_numpy(np.array(c)), start, stop) for c in read_cfl(path)])

    return Scan("cfl", shape[0], shape[1:], voxel_size, _checked(torch.from_numpy(mask)), shape[3], fetch)
