"""NIfTI volumes, magnitude or complex, and pairs of magnitude and phase; the place in the scanner is kept.

:mod:`nibabel.nifti1` reads and writes. Whatever order a file stores, the array comes out with z up, y to the front and
x to the right, as everywhere in mrilab, and the affine of that order in ``info["affine"]``; written back, a viewer
shows it where it was.
"""

import gzip
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import hdf5
from .writing import atomic_path

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}       # what a header may count in, instead
EXTENSIONS = 2**24          # bytes between a header and its image, a note of another program's


def _open(path: str | Path) -> Any:
    """The image, its size as the file claims it checked against the bytes that are there."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, "rb") as file, gzip.open(file) if path.suffix.lower() == ".gz" else file as content:
        start = content.read(540)
    second = 540 in (int.from_bytes(start[:4], order) for order in ("little", "big"))
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    if len(start) == 540 and not kind(start[:kind.sizeof_hdr], check=False)["vox_offset"] <= EXTENSIONS:
        raise ValueError(f"{path}: found an image that begins beyond {EXTENSIONS} bytes, expected it after its header")
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
    if claimed > stored * (hdf5.RATIO if path.suffix.lower() == ".gz" else 1):
        raise ValueError(f"{path}: found {stored} bytes, expected {claimed} as its header claims: not a whole file")
    hdf5.check_size(f"{path}: an image of shape {shape}", math.prod(shape), dtype.itemsize, stored)
    if not np.isfinite(image.affine).all() or np.linalg.det(image.affine[:3, :3]) == 0:
        raise ValueError(f"{path}: found the affine {image.affine[:3].tolist()}, expected one that can be inverted")
    return image


def _place(image: Any) -> tuple[np.ndarray, str]:
    """The affine in mm, and what is doubtful about it, in words."""
    from nibabel.affines import voxel_sizes

    header, doubts = image.header, []
    unit = header.get_xyzt_units()[0]
    scale = np.diag([*[MILLIMETRES.get(unit, 1.0)] * 3, 1.0])
    affine, zooms = scale @ image.affine, header.get_zooms()[:3] * np.diag(scale)[:3]
    if unit == "unknown":
        doubts.append("the header names no unit of length: taken as mm")
    (sform, s_code), (qform, q_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    if not s_code and not q_code:
        doubts.append("the header has neither sform nor qform: where left, front and top lie is a guess")
    elif s_code and q_code and not np.allclose(sform, qform, atol=0.01 * voxel_sizes(sform).min()):
        doubts.append(f"sform and qform disagree: voxels of {_text(voxel_sizes(affine))} and "
                      f"{_text(voxel_sizes(scale @ qform))} mm, or another place; the sform is taken")
    elif not np.allclose(zooms, voxel_sizes(affine), rtol=0.01):
        doubts.append(f"the affine has voxels of {_text(voxel_sizes(affine))} mm, pixdim {_text(zooms)}; the first "
                      "is taken")
    return affine, "; ".join(doubts)


def _text(lengths: np.ndarray) -> str:
    return " x ".join(f"{d:.3g}" for d in lengths)


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
    with hdf5.named(path):
        image = _open(path)
        affine, _ = _place(image)
        return canonical_shape(image.shape[2::-1], affine)


def canonical_shape(shape: Sequence[int], affine: np.ndarray) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Matrix and voxel size of an image ``(z, y, x)`` after :func:`canonical`.

    Examples
    --------
    >>> canonical_shape((4, 5, 6), np.diag([1, 2, 3, 1])[[2, 1, 0, 3]])
    ((6, 5, 4), (1.0, 2.0, 3.0))
    """
    import nibabel

    order = nibabel.io_orientation(affine)[:, 0]        # of the array's x, y, z: which of right, front, up
    axes = [int(np.flatnonzero(order == a)[0]) for a in (2, 1, 0)]
    sizes = nibabel.affines.voxel_sizes(affine)
    return tuple(int(shape[2 - a]) for a in axes), tuple(float(sizes[a]) for a in axes)


def canonical(data: torch.Tensor, affine: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """An image ``(z, y, x)`` turned so that x points right, y to the front and z up, and the affine of that order.

    Examples
    --------
    >>> data, affine = canonical(torch.arange(3).reshape(1, 1, 3), np.diag([-2, 2, 2, 1]))
    >>> data, affine[:3, 3]
    (tensor([[[2, 1, 0]]]), array([-4.,  0.,  0.]))
    """
    from nibabel import io_orientation, orientations

    order, values = io_orientation(affine), data.numpy(force=True).transpose(2, 1, 0)
    turned = orientations.apply_orientation(values, order).transpose(2, 1, 0)
    return torch.from_numpy(np.ascontiguousarray(turned)), affine @ orientations.inv_ornt_aff(order, values.shape)


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
        ``affine`` maps voxel ``(x, y, z)`` to mm; ``source``, the name of the file; ``note``, what is doubtful
        about its place and units. A sform and a qform that disagree are warned of as well.

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
    with hdf5.named(path):
        image = _open(path)
        place, note = _place(image)
        if "disagree" in note:
            warnings.warn(f"{path}: {note}", stacklevel=3)
        if image.ndim > 3:
            image = image.slicer[(..., *[0] * (image.ndim - 3))]
        kind = np.complex64 if image.get_data_dtype().kind == "c" else np.float32
        values = np.asanyarray(image.dataobj).astype(kind)
        data, affine = canonical(torch.from_numpy(values).permute(2, 1, 0), place)
        sizes = tuple(float(d) for d in np.linalg.norm(affine[:3, 2::-1], axis=0))
        if phase is not None:
            other, _, where = read_nifti(phase)
            if other.shape != data.shape or not np.allclose(where["affine"], affine, atol=1e-3):
                raise ValueError(f"{phase}: found a phase image of shape {tuple(other.shape)} in another place or "
                                 f"size than the magnitude, {tuple(data.shape)}, expected the same")
            data = torch.polar(data.float(), _radians(other, phase))
        return data, sizes, {"affine": affine, "source": Path(path).name} | ({"note": note} if note else {})


def _radians(values: torch.Tensor, path: str | Path) -> torch.Tensor:
    """Phase in radians, from radians or from the whole numbers of a scanner for a full turn."""
    low, high = values.min().item(), values.max().item()
    whole = bool((values == values.round()).all())
    if -6.3 <= low and high <= 6.3:
        return values.float()
    if whole and low < 0 and 3000 < max(-low, high) <= 3142:
        return values / 1000            # GE counts in thousandths of a radian
    if whole and -4096 <= low and high <= 4096:
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
    stem = path.name[:path.name.lower().rindex(".nii")]
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
            packed = str(target).lower().endswith(".gz")
            temporary.write_bytes(gzip.compress(content, 6, mtime=0) if packed else content)
