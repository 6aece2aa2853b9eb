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
``npy``            ``.npy``, complex ``(coils, z, y, x)``
``volume``         HDF5 with ``data``: ours (:func:`mrilab.volumes.load_volume`)
``nifti``          ``.nii`` or ``.nii.gz`` (:mod:`mrilab.nifti`)
``recorded``       the name of a recorded scan by reference (``list_datasets("scan")``)
=================  ======================================================================================
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import files, hdf5
from ..checks import check_voxel_size
from ..datasets import entry_of, fetch
from .arrays import open_acquisition, open_npy
from .calgary import open_calgary
from .cfl import open_cfl
from .claims import settle
from .fastmri import open_fastmri
from .ismrmrd import measurements, open_ismrmrd
from .recorded import open_recorded
from .scan import Scan


def recognise(path: str | Path) -> str:
    """The format of a file, from its content; of a recorded scan, by its name.

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
    >>> recognise("phantom_siemens"), recognise("sigpy_brain8ch")
    ('ismrmrd', 'recorded')
    """
    entry = entry_of(path)
    if entry is not None and entry.kind == "scan" and entry.layout:
        return "recorded"
    path = _shipped(path)
    if path.suffix in (".cfl", ".hdr") and path.with_suffix(".hdr").is_file() and path.with_suffix(".cfl").is_file():
        return "cfl"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(352)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        with hdf5.named(path), hdf5.opened(path) as file:
            kind = _kind_of_hdf5(file)
            if kind is None:
                raise ValueError(f"{path}: found HDF5 with {hdf5.names(file)}, expected 'data' (a volume), 'kspace' "
                                 "(a scan) or an ISMRMRD group with 'xml' and 'data'")
            return kind
    if head.startswith(b"\x93NUMPY"):
        with hdf5.named(path):
            return "npy" if np.load(path, mmap_mode="r", allow_pickle=False).dtype.kind == "c" else "calgary"
    if head[344:347] in (b"n+1", b"ni1") or files.is_nifti(path):
        return "nifti"
    raise ValueError(f"{path}: found neither HDF5, NumPy, NIfTI nor a BART pair .cfl and .hdr, expected one of them")


def _shipped(name_or_path: str | Path) -> Path:
    entry = entry_of(name_or_path)
    return fetch(entry.name) if entry is not None and entry.kind == "scan" else Path(name_or_path)


def _kind_of_hdf5(file: Any) -> str | None:
    import h5py

    found = hdf5.names(file)
    if "kspace" in found:
        if "maps" in found:
            return "acquisition"
        kspace = hdf5.dataset(file, "kspace")
        return "fastmri" if kspace.dtype.kind == "c" or "ismrmrd_header" in found else "calgary"
    if measurements(file):
        return "ismrmrd"
    if "data" in found and file.id.links.get_info(b"data").type == h5py.h5l.TYPE_HARD:
        return "volume"
    return None


def open_scan(path: str | Path, voxel_size: Any = None, measurement: str | int | None = None) -> Scan:
    """Open a raw scan of any of the formats.

    What the data contradict, in the mask, the header or the layout, is put right with a note in ``info``, or refused
    (``mrilab.raw.claims``).

    Parameters
    ----------
    path : str or Path
        A file, or the name of a recorded scan.
    voxel_size : tuple of float, optional
        ``(dz, dy, dx)`` in mm, for formats and files that do not say; it also overrules what a file says.
    measurement : str or int, optional
        Of an ISMRMRD file with several measurements, the name or number (from 0) of one; the last if not given.

    Returns
    -------
    Scan

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; damaged, another format, or not a Cartesian scan; no voxel size, or one that no body has.

    Examples
    --------
    >>> import tempfile
    >>> from mrilab.raw import save_cfl
    >>> path = tempfile.mkdtemp() + "/scan.cfl"
    >>> save_cfl(path, torch.ones(2, 4, 6, 5), (1, 1, 2))
    >>> scan = open_scan(path)
    >>> scan.coils, scan.shape, scan.voxel_size, tuple(scan.read(1, 3).shape)
    (2, (4, 6, 5), (1.0, 1.0, 2.0), (2, 4, 6, 2))
    """
    kind = recognise(path)
    openers: dict[str, Callable[..., Scan]] = {
        "acquisition": open_acquisition, "fastmri": open_fastmri, "calgary": open_calgary, "cfl": open_cfl,
        "npy": open_npy, "recorded": open_recorded}
    if kind not in (*openers, "ismrmrd"):
        raise ValueError(f"{path}: found a {kind} file, an image, expected a scan; mrilab simulate makes one")
    with hdf5.named(path):
        sizes = None if voxel_size is None else check_voxel_size(voxel_size)
        if kind == "ismrmrd":
            scan = open_ismrmrd(_shipped(path), sizes, measurement)
        elif measurement is not None:
            raise ValueError(f"measurement: found {measurement!r}, expected none: only ISMRMRD files hold several")
        else:
            scan = openers[kind](Path(path), sizes)
        scan = settle(scan)
    for part in filter(None, (scan, scan.calibration)):
        part.fetch = _checked(path, part.fetch)
    return scan


def _checked(path: str | Path, inner: Any) -> Any:
    def fetch(start: int, stop: int) -> torch.Tensor:
        with hdf5.named(path):
            kspace = inner(start, stop).to(torch.complex64)
            if not torch.isfinite(torch.view_as_real(kspace)).all():
                raise ValueError("kspace: found NaN or infinite values, expected finite numbers")
            return kspace

    return fetch
