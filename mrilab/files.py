"""Images and acquisitions on disk, HDF5 and NIfTI, as plain arrays: :mod:`mrilab.volumes` makes its types of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import hdf5
from .checks import check_voxel_size
from .fourier import crop_readout
from .hdf5 import named as named
from .nifti import nifti_shape, read_nifti, write_nifti
from .writing import atomic_path


def is_nifti(path: str | Path) -> bool:
    """NIfTI is told by its name: its magic number lies deep in the file, and often compressed.

    Examples
    --------
    >>> is_nifti("a.nii.gz"), is_nifti("a.h5")
    (True, False)
    """
    return str(path).endswith((".nii", ".nii.gz"))


def read_image(path: str | Path, phase: str | Path | None = None) -> tuple[torch.Tensor, tuple, dict[str, Any]]:
    """Data ``(z, y, x)``, voxel size in mm and info of an image file; integers times their attribute ``scale``.

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
    >>> data.max().item(), voxel_size.tolist(), info
    (0.5, [3, 2, 1], {})
    """
    if is_nifti(path) or phase is not None:
        return read_nifti(path, phase)
    (data,), info = _read(path, ["data"])
    voxel_size, scale = info.pop("voxel_size"), info.pop("scale", None)
    return data if scale is None else data * float(scale), voxel_size, info


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
    with hdf5.opened(path) as file:
        data, info = hdf5.numbers(file, "data"), dict(file.attrs)
        if data.ndim != 3:
            raise ValueError(f"{path}: found 'data' of shape {data.shape}, expected axes (z, y, x)")
        with hdf5.named(path):
            return data.shape, check_voxel_size(info.pop("voxel_size", None)), info


def write_image(path: str | Path, data: torch.Tensor, voxel_size: tuple, info: Mapping[str, Any]) -> None:
    """Write an image by the ending of the name: HDF5 (``.h5``, ``.hdf5``) or NIfTI (``.nii``, ``.nii.gz``).

    Examples
    --------
    >>> write_image("image.png", torch.ones(4, 5, 6), (1, 1, 1), {})
    Traceback (most recent call last):
    ValueError: image.png: found this name for an image, expected one ending in .h5, .nii or .nii.gz
    """
    if is_nifti(path):
        write_nifti(path, data, voxel_size, info.get("affine"))
    elif str(path).endswith((".h5", ".hdf5")):
        write_hdf5(path, {"data": data}, {"voxel_size": voxel_size, **info}, compression="gzip", shuffle=True)
    else:
        raise ValueError(f"{path}: found this name for an image, expected one ending in .h5, .nii or .nii.gz")


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

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, data in arrays.items():
            file.create_dataset(name, data=data.numpy(force=True), **how)
        file.attrs.update(attributes)


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
        return [read_kspace(file, *readout), torch.from_numpy(maps[..., slice(*readout)]), mask], info


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
        found = [hdf5.numbers(file, name) for name in names]
        if "voxel_size" not in file.attrs:
            raise ValueError(f"{path}: found attributes {sorted(file.attrs)}, expected 'voxel_size'")
        return [torch.from_numpy(np.asarray(data)) for data in found], dict(file.attrs)
