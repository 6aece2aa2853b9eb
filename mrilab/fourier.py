"""Centred orthonormal Fourier transforms, and voxel size as k-space extent.

k-space is stored with the zero frequency in the middle (index ``n // 2``), as scanners do, and the
transforms are orthonormal: they keep the energy of a signal and the variance of its noise.
Chapter 1 derives both conventions.
"""

from collections.abc import Sequence

import torch

from .checks import check_voxel_size

AXES = (-3, -2, -1)


def fft3c(x: torch.Tensor, axes: tuple[int, ...] = AXES) -> torch.Tensor:
    """Image to k-space: centred, orthonormal Fourier transform over ``(z, y, x)``.

    Parameters
    ----------
    x : Tensor
        ``(..., z, y, x)``, real or complex; any leading dimensions.
    axes : tuple of int
        Axes to transform, counted from the back.

    Returns
    -------
    Tensor
        k-space of the same shape, complex; zero frequency at index ``n // 2`` of each axis.

    Examples
    --------
    >>> import torch
    >>> k = fft3c(torch.ones(4, 4, 4))
    >>> k[2, 2, 2].real.item()          # all of the energy sits at the centre
    8.0
    """
    x = torch.fft.ifftshift(x, dim=axes)
    return torch.fft.fftshift(torch.fft.fftn(x, dim=axes, norm="ortho"), dim=axes)


def ifft3c(k: torch.Tensor, axes: tuple[int, ...] = AXES) -> torch.Tensor:
    """k-space to image: the inverse (and adjoint) of :func:`fft3c`.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(3, 5, 4, dtype=torch.complex64)
    >>> torch.allclose(ifft3c(fft3c(x)), x, atol=1e-5)
    True
    """
    k = torch.fft.ifftshift(k, dim=axes)
    return torch.fft.fftshift(torch.fft.ifftn(k, dim=axes, norm="ortho"), dim=axes)


def crop_readout(kspace: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """k-space of the positions ``start`` to ``stop`` along x: x is fully sampled, so its transform can be undone.

    Examples
    --------
    >>> crop_readout(torch.randn(2, 4, 4, 8, dtype=torch.complex64), 2, 5).shape
    torch.Size([2, 4, 4, 3])
    """
    size = kspace.shape[-1]
    if not 0 <= start < stop <= size:
        raise ValueError(f"start, stop: found {start}, {stop}, expected 0 <= start < stop <= {size}")
    if (start, stop) == (0, size):
        return kspace
    return torch.stack([fft3c(ifft3c(k, axes=(-1,))[..., start:stop], axes=(-1,)) for k in kspace])  # to spare memory


def resampled_shape(shape: Sequence[int], voxel_size: Sequence[float],
                    new_voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Matrix size that keeps the field of view: ``round(n * d / d_new)`` for each axis, at least 1.

    Examples
    --------
    >>> resampled_shape((90, 200, 120), (1, 1, 1.3), (2, 2, 2))
    (45, 100, 78)
    """
    old = check_voxel_size(voxel_size)
    new = check_voxel_size(new_voxel_size, "new_voxel_size")
    return tuple(max(1, round(n * d / e)) for n, d, e in zip(shape[-3:], old, new))


def middle(shape: Sequence[int], sides: Sequence[int]) -> tuple[slice, ...]:
    """The part of an array that has these sides and its centre, index ``n // 2``, in common with the whole.

    Examples
    --------
    >>> middle((5, 4), (3, 2))
    (slice(1, 4, None), slice(1, 3, None))
    """
    return tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n, side in zip(shape, sides))


def resize_centred(k: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Crop or zero-pad the last three axes about the centre ``n // 2`` to ``shape``.

    Examples
    --------
    >>> resize_centred(torch.ones(1, 1, 5), (1, 1, 3)).shape, resize_centred(torch.ones(1, 1, 2), (1, 1, 4))
    (torch.Size([1, 1, 3]), tensor([[[0., 1., 1., 0.]]]))
    """
    for axis, new in zip(AXES, shape):
        old = k.shape[axis]
        start = old // 2 - new // 2
        if new <= old:
            k = k.narrow(axis, start, new)
        else:
            padding = [0, 0] * (-1 - axis) + [-start, new - old + start]
            k = torch.nn.functional.pad(k, padding)
    return k


def resample(volume: torch.Tensor, voxel_size: Sequence[float], new_voxel_size: Sequence[float]) -> torch.Tensor:
    """Bring an image to another voxel size the way a scanner would: crop or zero-pad its k-space.

    A voxel size ``d`` means that frequencies up to ``1 / (2 d)`` were measured (chapter 1). The field
    of view stays, so the new matrix is :func:`resampled_shape`; where that had to round, the exact
    new voxel size is field of view over matrix (``Volume.resample`` keeps track of it). Intensities
    are kept: a constant image stays that constant.

    Parameters
    ----------
    volume : Tensor
        ``(..., z, y, x)``, real or complex.
    voxel_size, new_voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.

    Returns
    -------
    Tensor
        complex64 ``(..., z', y', x')``. The result of a real image is complex when a matrix size is
        even, because the lowest frequency of an even grid has no partner.

    Raises
    ------
    ValueError
        For a voxel size that is not three positive numbers, or a volume of fewer than 3 dimensions.

    Examples
    --------
    >>> import torch
    >>> x = torch.ones(8, 8, 8)
    >>> y = resample(x, (1, 1, 1), (2, 1, 4))
    >>> tuple(y.shape), round(y.abs().max().item(), 4)
    ((4, 8, 2), 1.0)
    """
    if volume.ndim < 3:
        raise ValueError(f"volume: found {volume.ndim} dimensions, expected (..., z, y, x)")
    shape = resampled_shape(volume.shape, voxel_size, new_voxel_size)
    voxels = volume.shape[-3] * volume.shape[-2] * volume.shape[-1]
    gain = (shape[0] * shape[1] * shape[2] / voxels) ** 0.5
    return gain * ifft3c(resize_centred(fft3c(volume), shape))


def along_axes(matrices: Sequence[torch.Tensor | None], x: torch.Tensor) -> torch.Tensor:
    """A matrix along each of the last three axes, ``(..., z, y, x)``; None stands for the identity.

    Examples
    --------
    >>> along_axes([torch.ones(2, 4), None, torch.ones(1, 6)], torch.ones(3, 4, 5, 6))[0, :, :, 0]
    tensor([[24., 24., 24., 24., 24.],
            [24., 24., 24., 24., 24.]])
    """
    for axis, matrix in zip(AXES, matrices):
        if matrix is not None:
            x = torch.tensordot(matrix, x, dims=([1], [axis])).movedim(0, axis)
    return x
