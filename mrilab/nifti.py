"""NIfTI volumes, magnitude or complex, and pairs of magnitude and phase; the place in the scanner is kept.

nibabel reads and writes. Whatever order a file stores, the array comes out with z up, y to the front and x
to the right, as everywhere in mrilab, and the affine of that order in ``info["affine"]``; written back, a
viewer shows it where it was.
"""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import hdf5
from .writing import atomic_path


def _open(path: str | Path) -> Any:
    """The image and its size as the file claims it, checked against the bytes that are there."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        image = nibabel.load(path)
    except ImageFileError as error:
        raise ValueError(f"{path}: not a readable NIfTI file: {error}") from None
    if not isinstance(image, (nibabel.Nifti1Image, nibabel.Nifti1Pair)):
        raise ValueError(f"{path}: found {type(image).__name__}, expected NIfTI")
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or not all(n > 0 for n in shape):
        raise ValueError(f"{path}: found shape {shape}, expected one volume of three axes")
    dtype = image.get_data_dtype()
    if dtype.kind not in "biufc":
        raise ValueError(f"{path}: found values of type {dtype}, expected numbers")
    stored = Path(image.file_map["image"].filename or path).stat().st_size
    claimed = dtype.itemsize * math.prod(shape) + int(getattr(image.dataobj, "offset", 0))
    if claimed > stored * (hdf5.RATIO if path.suffix == ".gz" else 1):
        raise ValueError(f"{path}: found {stored} bytes, expected {claimed} as its header claims: not a whole file")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise ValueError(f"{path}: found the affine {image.affine[:3].tolist()}, expected one that can be inverted")
    return image


def nifti_shape(path: str | Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Matrix ``(z, y, x)`` and voxel size of a NIfTI file, from its header alone.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.nii"
    >>> write_nifti(path, torch.ones(4, 5, 6), (3, 2, 1))
    >>> nifti_shape(path)
    ((4, 5, 6), (3.0, 2.0, 1.0))
    """
    import nibabel

    with hdf5.named(path):
        image = _open(path)
        order = nibabel.io_orientation(image.affine)
        sizes = nibabel.affines.voxel_sizes(image.affine)
        axes = [int(np.flatnonzero(order[:, 0] == a)[0]) for a in (2, 1, 0)]
        return tuple(int(image.shape[a]) for a in axes), tuple(float(sizes[a]) for a in axes)


def read_nifti(path: str | Path, phase: str | Path | None = None
               ) -> tuple[torch.Tensor, tuple[float, ...], dict[str, Any]]:
    """Read a volume from ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    path : str or Path
    phase : str or Path, optional
        File with the phase that belongs to the magnitude in ``path``: radians, or the whole numbers from -4096
        or 0 to 4095 that scanners write for a full turn.

    Returns
    -------
    data : Tensor
        ``(z, y, x)``, float32, or complex64 for complex data and pairs.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    info : dict
        ``affine`` maps voxel ``(x, y, z)`` to mm; ``source``, the name of the file.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not NIfTI, truncated, not one volume; magnitude and phase that differ in shape or place.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "image.nii.gz"
    >>> write_nifti(path, torch.rand(4, 5, 6), (3, 2, 1))
    >>> data, voxel_size, info = read_nifti(path)
    >>> data.shape, voxel_size
    (torch.Size([4, 5, 6]), (3.0, 2.0, 1.0))
    """
    import nibabel

    with hdf5.named(path):
        image = _open(path)
        if image.ndim > 3:
            image = image.slicer[(..., *[0] * (image.ndim - 3))]
        image = nibabel.as_closest_canonical(image)
        dtype = image.get_data_dtype()
        values = np.asanyarray(image.dataobj).astype(np.complex64 if dtype.kind == "c" else np.float32)
        affine = image.affine
        sizes = tuple(float(d) for d in nibabel.affines.voxel_sizes(affine)[::-1])
        data = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 1, 0)))
        if phase is not None:
            other, _, place = read_nifti(phase)
            if other.shape != data.shape or not np.allclose(place["affine"], affine, atol=1e-3):
                raise ValueError(f"{phase}: found a phase image of shape {tuple(other.shape)} in another place or "
                                 f"size than the magnitude, {tuple(data.shape)}, expected the same")
            data = torch.polar(data.float(), _radians(other, phase))
        return data, sizes, {"affine": affine, "source": Path(path).name}


def _radians(values: torch.Tensor, path: str | Path) -> torch.Tensor:
    """Phase in radians, from radians or from a scanner's whole numbers."""
    low, high = values.min().item(), values.max().item()
    if -3.2 <= low and high <= 3.2 and not (values == values.round()).all():
        return values.float()
    if -4096 <= low and high <= 4096:
        return values * (math.pi / 4096) if low < 0 else values * (2 * math.pi / 4096) - math.pi
    raise ValueError(f"{path}: found phase values from {low:g} to {high:g}, expected radians or whole numbers from "
                     "-4096 or 0 to 4095")


def phase_path(path: str | Path) -> Path:
    """Where :func:`write_nifti` puts the phase of a complex volume: ``image.nii.gz`` to ``image_phase.nii.gz``.

    Examples
    --------
    >>> phase_path("image.nii.gz").name
    'image_phase.nii.gz'
    """
    path = Path(path)
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    return path.with_name(f"{stem}_phase{path.name[len(stem):]}")


def write_nifti(path: str | Path, data: torch.Tensor, voxel_size: tuple, affine: np.ndarray | None = None) -> None:
    """Write a volume ``(z, y, x)``; a complex one as a pair, magnitude and phase in radians (:func:`phase_path`).

    Without an ``affine`` the middle of the volume is put at the origin.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.nii.gz"
    >>> write_nifti(path, torch.ones(4, 5, 6), (3, 2, 1))
    >>> nifti_shape(path)
    ((4, 5, 6), (3.0, 2.0, 1.0))
    """
    import nibabel

    if not str(path).endswith((".nii", ".nii.gz")):
        raise ValueError(f"path: found {str(path)!r}, expected a name ending in .nii or .nii.gz")
    if affine is None:
        sizes = np.array(voxel_size[::-1])
        affine = np.diag([*sizes, 1.0])
        affine[:3, 3] = [-d * (n // 2) for d, n in zip(sizes, data.shape[::-1])]
    data = data.detach().cpu()
    images = {path: data} if not data.is_complex() else {path: data.abs(), phase_path(path): data.angle()}
    for target, values in images.items():
        image = nibabel.Nifti1Image(values.numpy().transpose(2, 1, 0), np.asarray(affine, float))
        image.header.set_xyzt_units("mm")
        content = image.to_bytes()
        with atomic_path(Path(target)) as temporary:
            temporary.write_bytes(gzip.compress(content, 6, mtime=0) if str(target).endswith(".gz") else content)
