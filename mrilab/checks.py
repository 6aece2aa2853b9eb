"""What every function asks of its inputs: arrays, voxel sizes, masks, numbers; and the names of the planes.

Anything that comes from outside passes the checks here once, so the rest of the package can trust its inputs.
"""

from collections.abc import Collection, Sequence
from numbers import Integral
from typing import Any

import torch

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}      # the axis of (z, y, x) that numbers the slices


def in_plane(voxel_size: Sequence[float], axis: int) -> tuple[float, ...]:
    """The voxel size ``(height, width)`` of slices that are numbered along an axis.

    Examples
    --------
    >>> in_plane((1, 2, 3), PLANES["coronal"])
    (1, 3)
    """
    return tuple(d for a, d in enumerate(voxel_size) if a != axis)


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
    """Return ``voxel_size`` as a tuple of three positive floats, or raise ValueError naming ``name``.

    Examples
    --------
    >>> check_voxel_size((1, 1, 3))
    (1.0, 1.0, 3.0)
    """
    try:
        sizes = tuple(float(d) for d in voxel_size)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3 or not all(0 < d < float("inf") for d in sizes):
        raise ValueError(f"{name}: found {voxel_size!r}, expected three positive numbers (dz, dy, dx) in mm")
    return sizes


def check_array(data: Any, name: str, dims: int, axes: str) -> torch.Tensor:
    """Return ``data`` as a float32 or complex64 tensor of ``dims`` dimensions with finite values.

    Examples
    --------
    >>> check_array([[1, 2]], "image", 2, "(y, x)").dtype
    torch.float32
    >>> check_array([1, 2], "image", 2, "(y, x)")
    Traceback (most recent call last):
    ValueError: image: found shape (2,), expected 2 dimensions (y, x)
    """
    data = torch.as_tensor(data)
    if data.ndim != dims:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected {dims} dimensions {axes}")
    if 0 in data.shape:
        raise ValueError(f"{name}: found shape {tuple(data.shape)}, expected no empty axis")
    data = data.to(torch.complex64 if data.is_complex() else torch.float32)
    if not torch.isfinite(torch.view_as_real(data) if data.is_complex() else data).all():
        raise ValueError(f"{name}: found NaN or infinite values, expected finite numbers")
    return data


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
