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

from pathlib import Path

import torch

from .. import files, hdf5
from ..checks import check_voxel_size
from .calgary import open_calgary
from .cfl import open_cfl
from .fastmri import open_fastmri
from .ismrmrd import group_of_ismrmrd, open_ismrmrd
from .scan import Scan


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
        with hdf5.named(path), hdf5.opened(path) as file:
            kind = _kind_of_hdf5(file)
            if kind is None:
                raise ValueError(f"{path}: found HDF5 with {hdf5.names(file)}, expected 'data' (a volume), 'kspace' "
                                 "(a scan) or an ISMRMRD group with 'xml' and 'data'")
            return kind
    if head.startswith(b"\x93NUMPY"):
        return "calgary"
    if head[344:347] in (b"n+1", b"ni1") or files.is_nifti(path):
        return "nifti"
    raise ValueError(f"{path}: found neither HDF5, NumPy, NIfTI nor a BART pair .cfl and .hdr, expected one of them")


def _kind_of_hdf5(file):
    import h5py

    found = hdf5.names(file)
    if "kspace" in found:
        if "maps" in found:
            return "acquisition"
        kspace = hdf5.dataset(file, "kspace")
        return "fastmri" if kspace.dtype.kind == "c" or "ismrmrd_header" in found else "calgary"
    if group_of_ismrmrd(file):
        return "ismrmrd"
    if "data" in found and file.id.links.get_info(b"data").type == h5py.h5l.TYPE_HARD:
        return "volume"
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
    >>> import tempfile
    >>> from mrilab.raw import save_cfl
    >>> path = tempfile.mkdtemp() + "/scan.cfl"
    >>> save_cfl(path, torch.ones(2, 4, 6, 5), (1, 1, 2))
    >>> scan = open_scan(path)
    >>> scan.coils, scan.shape, scan.voxel_size, tuple(scan.read(1, 3).shape)
    (2, (4, 6, 5), (1.0, 1.0, 2.0), (2, 4, 6, 2))
    """
    kind = recognise(path)
    openers = {"acquisition": _open_acquisition, "fastmri": open_fastmri, "ismrmrd": open_ismrmrd,
               "calgary": open_calgary, "cfl": open_cfl}
    if kind not in openers:
        raise ValueError(f"{path}: found a {kind} file, an image, expected a scan; mrilab simulate makes one")
    with hdf5.named(path):
        scan = openers[kind](Path(path), voxel_size and check_voxel_size(voxel_size))
        inner = scan.fetch

        def fetch(start, stop):
            with hdf5.named(path):
                kspace = inner(start, stop).to(torch.complex64)
                if not torch.isfinite(torch.view_as_real(kspace)).all():
                    raise ValueError("kspace: found NaN or infinite values, expected finite numbers")
                return kspace

        scan.fetch = fetch
        return scan


def _open_acquisition(path, voxel_size):
    with hdf5.opened(path) as file:
        kspace = hdf5.numbers(file, "kspace")
        if kspace.ndim != 4:
            raise ValueError(f"kspace: found shape {kspace.shape}, expected (coils, z, y, x)")
        shape = kspace.shape
        mask = torch.from_numpy(hdf5.numbers(file, "mask")[()]).bool()
        voxel_size = voxel_size or check_voxel_size(file.attrs.get("voxel_size"))
        affine = file.attrs.get("affine")

    def fetch(start, stop):
        with hdf5.opened(path) as file:
            return files.read_kspace(file, start, stop)

    return Scan("acquisition", shape[0], shape[1:], voxel_size, mask.expand(shape[1:3]), shape[3], fetch,
                affine=affine)
