"""What every function asks of its inputs: arrays, voxel sizes, masks; and the names of the planes.

Anything that comes from outside passes the checks here once, so the rest of the package can trust its inputs.
"""

import torch

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}      # the axis of (z, y, x) that numbers the slices


def check_voxel_size(voxel_size, name="voxel_size"):
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


def check_array(data, name, dims, axes):
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


def check_maps_and_mask(maps, mask):
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
