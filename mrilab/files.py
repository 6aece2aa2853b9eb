"""Images and acquisitions on disk, HDF5 and NIfTI, as plain arrays: :mod:`mrilab.volumes` makes its types of them."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import hdf5
from .checks import check_info, check_voxel_size
from .fourier import crop_readout
from .hdf5 import named as named
from .nifti import canonical, canonical_shape, nifti_shape, read_nifti, write_nifti
from .writing import atomic_path


def is_nifti(path: str | Path) -> bool:
    """NIfTI is told by its name: its magic number lies deep in the file, and often compressed.

    Examples
    --------
    >>> is_nifti("a.NII.GZ"), is_nifti("a.h5")
    (True, False)
    """
    return str(path).lower().endswith((".nii", ".nii.gz"))


def check_image_name(path: str | Path, name: str = "") -> None:
    """ValueError, with the ``name`` of the option if there is one, for an ending that :func:`write_image` has not.

    Examples
    --------
    >>> check_image_name("image.png")
    Traceback (most recent call last):
    ValueError: image.png: found this name for an image, expected one ending in .h5, .nii or .nii.gz
    """
    if not is_nifti(path) and not str(path).lower().endswith((".h5", ".hdf5")):
        raise ValueError(f"{name or path}: found {repr(str(path)) if name else 'this name'} for an image, expected one "
                         "ending in .h5, .nii or .nii.gz")


def read_image(path: str | Path, phase: str | Path | None = None) -> tuple[torch.Tensor, tuple, dict[str, Any]]:
    """Data ``(z, y, x)``, voxel size in mm and info of an image file; integers times their attribute ``scale``.

    With an affine the axes are turned to z up, y to the front, x to the right.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not HDF5 or NIfTI, truncated, or without ``data`` or ``voxel_size``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> write_hdf5(path, {"data": torch.ones(4, 5, 6)}, {"voxel_size": (3, 2, 1), "scale": 0.5})
    >>> data, voxel_size, info = read_image(path)
    >>> data.max().item(), voxel_size, info
    (0.5, (3.0, 2.0, 1.0), {})
    """
    if is_nifti(path) or phase is not None:
        return read_nifti(path, phase)
    (data,), info = _read(path, ["data"])
    with hdf5.named(path):
        voxel_size, scale = check_voxel_size(info.pop("voxel_size")), info.pop("scale", None)
        info = check_info(info, voxel_size)
        if "affine" in info and data.ndim == 3:       # as NIfTI: the same image whatever the format
            voxel_size = canonical_shape(data.shape, info["affine"])[1]
            data, info["affine"] = canonical(data, info["affine"])
        if scale is not None and (np.size(scale) != 1 or np.ravel(scale).dtype.kind not in "iuf"):
            raise ValueError(f"scale: found {scale!r}, expected one number")
        return data if scale is None else data * float(np.ravel(scale)[0]), voxel_size, info


def image_header(path: str | Path) -> tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]:
    """Matrix ``(z, y, x)``, voxel size in mm and info of an image file, from its header alone.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> write_hdf5(path, {"data": torch.ones(4, 5, 6)}, {"voxel_size": (3, 2, 1), "person": "a"})
    >>> image_header(path)
    ((4, 5, 6), (3.0, 2.0, 1.0), {'person': 'a'})
    """
    if is_nifti(path):
        return *nifti_shape(path), {}
    with hdf5.opened(path) as file, hdf5.named(path):
        data, info = hdf5.numbers(file, "data"), hdf5.attributes(file)
        if data.ndim != 3:
            raise ValueError(f"{path}: found 'data' of shape {data.shape}, expected axes (z, y, x)")
        voxel_size = check_voxel_size(info.pop("voxel_size", None))
        info = check_info(info, voxel_size)
        if "affine" in info:
            return *canonical_shape(data.shape, info["affine"]), info
        return tuple(data.shape), voxel_size, info


def write_image(path: str | Path, data: torch.Tensor, voxel_size: tuple, info: Mapping[str, Any]) -> None:
    """Write an image by the ending of the name: HDF5 (``.h5``, ``.hdf5``) or NIfTI (``.nii``, ``.nii.gz``).

    Examples
    --------
    >>> write_image("image.png", torch.ones(4, 5, 6), (1, 1, 1), {})
    Traceback (most recent call last):
    ValueError: image.png: found this name for an image, expected one ending in .h5, .nii or .nii.gz
    """
    check_image_name(path)
    if is_nifti(path):
        write_nifti(path, data, voxel_size, info.get("affine"))
    else:
        # a scale on the disk would be a factor of the values
        about = {key: value for key, value in info.items() if key != "scale"}
        write_hdf5(path, {"data": data}, about | {"voxel_size": voxel_size}, compression="gzip", shuffle=True)


def write_hdf5(path: str | Path, arrays: Mapping[str, torch.Tensor], attributes: Mapping[str, Any], **how: Any) -> None:
    """Write arrays as data sets, whole or not at all, with attributes of the file; ``how`` goes to h5py.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> write_hdf5(path, {"data": torch.ones(4, 5, 6)}, {"voxel_size": (3, 2, 1)})
    >>> path.is_file()
    True
    """
    import h5py

    with atomic_path(path) as temporary, _Sink(temporary, "r+") as sink:
        with h5py.File(sink, "w") as file:
            for name, data in arrays.items():
                file.create_dataset(name, data=data.numpy(force=True), **how)
            file.attrs.update(attributes)
        if sink.error:
            raise OSError(f"{path}: could not be written ({sink.error.strerror}); what was there before is as it was")


class _Sink(io.FileIO):
    """A file that keeps what goes wrong to itself: HDF5 crashes the process where a disk is full."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left and not self.error:
            left = left[self._try(super().write, left) or len(left):]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return self._try(super().truncate, size)

    def _try(self, call: Callable[[Any], int | None], argument: Any) -> int:
        try:
            return call(argument) or 0
        except OSError as error:
            self.error = self.error or error
            return 0


def read_acquisition(path: str | Path, readout: tuple[int, int] | None = None
                     ) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """k-space, maps and mask of an acquisition, or of some positions along x, and its attributes.

    Examples
    --------
    >>> import tempfile
    >>> path, k = Path(tempfile.mkdtemp()) / "scan.h5", torch.ones(2, 4, 6, 5, dtype=torch.complex64)
    >>> write_hdf5(path, {"kspace": k, "maps": k, "mask": torch.ones(4, 6)}, {"voxel_size": (1, 1, 1)})
    >>> [tuple(array.shape) for array in read_acquisition(path, (1, 3))[0]]
    [(2, 4, 6, 2), (2, 4, 6, 2), (4, 6)]
    """
    if readout is None:
        return _read(path, ["kspace", "maps", "mask"])
    (mask,), info = _read(path, ["mask"])
    with hdf5.opened(path) as file, hdf5.named(path):
        maps = hdf5.numbers(file, "maps")
        if maps.ndim != 4:
            raise ValueError(f"maps: found shape {maps.shape}, expected (coils, z, y, x)")
        return [read_kspace(file, *readout), _native(maps[..., slice(*readout)]), mask], info


def read_kspace(file: Any, start: int, stop: int) -> torch.Tensor:
    """The data set ``kspace`` ``(coils, z, y, x)`` of an open file between two positions along x, a coil at a time.

    Examples
    --------
    >>> import h5py, tempfile
    >>> with h5py.File(Path(tempfile.mkdtemp()) / "a.h5", "w") as file:
    ...     file["kspace"] = np.ones((2, 4, 6, 5), np.complex64)
    ...     read_kspace(file, 1, 3).shape
    torch.Size([2, 4, 6, 2])
    """
    kspace = hdf5.numbers(file, "kspace")
    if kspace.ndim != 4:
        raise ValueError(f"kspace: found shape {kspace.shape}, expected (coils, z, y, x)")
    return torch.stack([crop_readout(torch.from_numpy(np.asarray(coil, np.complex64)), start, stop) for coil in kspace])


def _read(path: str | Path, names: list[str]) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Arrays of the named data sets, and the attributes, of an HDF5 file."""
    with hdf5.opened(path) as file, hdf5.named(path):
        found, info = [np.asarray(hdf5.array(file, name)) for name in names], hdf5.attributes(file)
        if "voxel_size" not in info:
            raise ValueError(f"{path}: found attributes {sorted(info)[:20]}, expected 'voxel_size'")
        return [_native(data) for data in found], info


def _native(data: np.ndarray) -> torch.Tensor:
    """Numbers in this machine's byte order and at most double precision, which is what PyTorch knows."""
    widest = np.complex128 if data.dtype.kind == "c" else np.float64
    return torch.from_numpy(data.astype(min(data.dtype.newbyteorder("="), np.dtype(widest), key=lambda d: d.itemsize)))
