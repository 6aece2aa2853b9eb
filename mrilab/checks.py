"""What every function asks of its inputs: arrays, voxel sizes, masks, numbers; and the names of the planes.

Anything that comes from outside passes the checks here once, so the rest of the package can trust its inputs.
"""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}      # the axis of (z, y, x) that numbers the slices


LOUDEST = 1e15
FINEST, COARSEST = 0.005, 250.0     # mm: a voxel of a body lies between those of microscopy and of a scout


def in_plane(voxel_size: Sequence[float], axis: int) -> tuple[float, ...]:
    """The voxel size ``(height, width)`` of slices that are numbered along an axis.

    Examples
    --------
    >>> in_plane((1, 2, 3), PLANES["coronal"])
    (1, 3)
    """
    return tuple(d for a, d in enumerate(voxel_size) if a != axis)


def picture_planes(shape: Sequence[int], planes: Sequence[str] = tuple(PLANES)) -> tuple[str, ...]:
    """The planes whose slices are pictures: across a single slice they are lines. All of them where none are.

    Examples
    --------
    >>> picture_planes((1, 160, 160)), picture_planes((1, 1, 160), ["axial"])
    (('axial',), ('axial',))
    """
    return tuple(p for p in planes if min(in_plane(shape, PLANES[p])) > 1) or tuple(planes)


def check_choice(value: Any, name: str, choices: Collection[str]) -> None:
    """ValueError naming ``name`` if ``value`` is none of the ``choices``.

    Examples
    --------
    >>> check_choice("oblique", "plane", PLANES)
    Traceback (most recent call last):
    ValueError: plane: found 'oblique', expected one of axial, coronal, sagittal
    """
    if value not in tuple(choices):
        raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")


def check_whole(value: Any, name: str) -> None:
    """ValueError naming ``name`` if ``value`` is no whole number of 1 or more.

    Examples
    --------
    >>> check_whole(1.5, "iterations")
    Traceback (most recent call last):
    ValueError: iterations: found 1.5, expected a whole number of 1 or more
    """
    if not isinstance(value, Integral) or int(value) < 1:
        raise ValueError(f"{name}: found {value!r}, expected a whole number of 1 or more")


def check_weight(value: float, name: str) -> None:
    """ValueError naming ``name`` if ``value`` is no finite number of 0 or more.

    Examples
    --------
    >>> check_weight(-1, "weight")
    Traceback (most recent call last):
    ValueError: weight: found -1, expected a finite number of 0 or more
    """
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}: found {value!r}, expected a finite number of 0 or more")


def check_falling(sigma: Sequence[float]) -> None:
    """ValueError unless ``sigma`` is a first and a last noise level, not rising, finite and above 0.

    Examples
    --------
    >>> check_falling((0.01, 0.1))
    Traceback (most recent call last):
    ValueError: sigma: found (0.01, 0.1), expected a first and a last noise level, falling, above 0
    """
    if len(sigma) != 2 or not float("inf") > sigma[0] >= sigma[1] > 0:
        raise ValueError(f"sigma: found {sigma!r}, expected a first and a last noise level, falling, above 0")


def check_voxel_size(voxel_size: Any, name: str = "voxel_size") -> tuple[float, ...]:
    """Return ``voxel_size`` as a tuple of three floats that can be mm of a body, or raise ValueError naming ``name``.

    Examples
    --------
    >>> check_voxel_size((1, 1, 3))
    (1.0, 1.0, 3.0)
    >>> check_voxel_size((0.001, 0.001, 0.001))
    Traceback (most recent call last):
    ValueError: voxel_size: found (0.001, 0.001, 0.001), expected mm, from 0.005 to 250: are these metres?
    """
    try:
        sizes = tuple(float(d) for d in voxel_size)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3 or not all(0 < d < float("inf") for d in sizes):
        raise ValueError(f"{name}: found {voxel_size!r}, expected three positive numbers (dz, dy, dx) in mm")
    if not all(FINEST <= d <= COARSEST for d in sizes):
        other = "metres" if min(sizes) < FINEST else "microns"
        raise ValueError(f"{name}: found {sizes}, expected mm, from {FINEST:g} to {COARSEST:g}: are these {other}?")
    return sizes


def check_info(info: Mapping[str, Any], voxel_size: Sequence[float]) -> dict[str, Any]:
    """Return a copy of ``info`` whose affine, if there is one, is 4 x 4 floats and has the lengths of the voxels.

    Examples
    --------
    >>> check_info({"affine": np.diag([2, 1, 1, 1])}, (1, 1, 1))
    Traceback (most recent call last):
    ValueError: affine: found voxels of 1 x 1 x 2 mm, expected the voxel size (dz, dy, dx) 1 x 1 x 1 mm
    """
    info = {key: value for key, value in info.items() if key != "affine" or value is not None}
    if "affine" not in info:
        return info
    try:
        affine = np.asarray(info["affine"], float)
    except (TypeError, ValueError):
        affine = np.empty(0)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise ValueError(f"affine: found shape {affine.shape}, expected 4 x 4 finite numbers that can be inverted")
    sizes = np.linalg.norm(affine[:3, 2::-1], axis=0)
    if not np.allclose(sizes, voxel_size, rtol=0.01):
        found, expected = (" x ".join(f"{d:.4g}" for d in lengths) for lengths in (sizes, voxel_size))
        raise ValueError(f"affine: found voxels of {found} mm, expected the voxel size (dz, dy, dx) {expected} mm")
    return info | {"affine": affine}


def check_array(data: Any, name: str, dims: int, axes: str) -> torch.Tensor:
    """Return ``data`` as a float32 or complex64 tensor of ``dims`` dimensions with finite values.

    Any array of numbers will do: a flipped or read-only view, another byte order or precision, lists.

    Examples
    --------
    >>> check_array([[1, 2]], "image", 2, "(y, x)").dtype
    torch.float32
    >>> check_array([1, 2], "image", 2, "(y, x)")
    Traceback (most recent call last):
    ValueError: image: found shape (2,), expected 2 dimensions (y, x)
    """
    if not isinstance(data, torch.Tensor):
        data = _tensor(data, name)
    if data.ndim != dims:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected {dims} dimensions {axes}")
    if 0 in data.shape:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected no empty axis")
    data = data.to(torch.complex64 if data.is_complex() else torch.float32)
    low, high = (x.item() for x in (torch.view_as_real(data) if data.is_complex() else data).aminmax())
    if not -float("inf") < low <= high < float("inf"):      # false for NaN as well
        raise ValueError(f"{name}: found NaN or infinite values, expected finite numbers")
    if max(-low, high) > LOUDEST:
        raise ValueError(f"{name}: found values up to {max(-low, high):.3g}, expected at most {LOUDEST:g}, so that "
                         "float32 can hold their squares; scale them down")
    return data


def _tensor(data: Any, name: str) -> torch.Tensor:
    """An array of NumPy's, or what can become one, as float32 or complex64."""
    if np.ma.is_masked(data):
        raise ValueError(f"{name}: found masked values, expected numbers; fill them first (array.filled(0))")
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(f"{name}: found rows of different lengths, expected an array") from None
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name}: found values of type {array.dtype}, expected numbers")
    with np.errstate(over="ignore"):        # becomes infinite, which is refused
        kind = np.complex64 if array.dtype.kind == "c" else np.float32
        return torch.from_numpy(np.require(array, kind, ["C", "W"]))


def check_maps_and_mask(maps: Any, mask: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps as complex64 ``(coils, z, y, x)`` and the mask as bool ``(z, y)``, or raise ValueError.

    Examples
    --------
    A mask of every other line along y, the same for all z:

    >>> maps, mask = check_maps_and_mask(torch.ones(2, 3, 4, 5), [[1, 0, 1, 0]])
    >>> maps.dtype, mask.shape, mask[0]
    (torch.complex64, torch.Size([3, 4]), tensor([ True, False,  True, False]))
    >>> check_maps_and_mask(torch.ones(2, 3, 4, 5), torch.ones(3, 5))
    Traceback (most recent call last):
    ValueError: mask: found shape (3, 5), expected (3, 4), the (z, y) of maps (2, 3, 4, 5)
    """
    maps = check_array(maps, "maps", 4, "(coils, z, y, x)").to(torch.complex64)
    mask = check_array(mask, "mask", 2, "(z, y) over (kz, ky)").to(torch.float32)
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask: found values other than 0 and 1, expected True where measured")
    if any(m not in (1, n) for m, n in zip(mask.shape, maps.shape[1:3])):
        raise ValueError(f"mask: found shape {tuple(mask.shape)}, expected {tuple(maps.shape[1:3])}, "
                         f"the (z, y) of maps {tuple(maps.shape)}")
    mask = mask.expand(maps.shape[1:3])
    if not mask.any():
        raise ValueError("mask: found no measured position, expected at least one")
    return maps, mask.bool()
