"""Coils: simulated sensitivities, those estimated from a scan, and the noise that coils share."""

import torch

from .checks import check_array
from .fourier import ifft3c

GRID = 32       # points along each axis on which sigpy evaluates the smooth simulated maps


def birdcage_maps(shape, coils=8):
    """Simulated sensitivities of a birdcage array around the field of view.

    The array is fitted to the field of view, whatever the matrix: coils sit on an elliptic cylinder
    about the z axis, 1.5 times as wide as the field of view, 8 and more of them on two rings, so that
    they encode z as well. ``sigpy.mri.birdcage_maps`` gives the maps on a coarse grid, cubic splines
    carry these smooth functions to the voxels, whose centre is at index ``n // 2`` as everywhere. The
    same field of view at 1 mm and at 2 mm gets the same maps, sampled differently.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    coils : int

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, x)``; the squared magnitudes sum to 1 in every voxel.

    Raises
    ------
    ValueError
        For a shape that is not three positive whole numbers, or fewer than one coil.

    Examples
    --------
    >>> maps = birdcage_maps((8, 10, 9), coils=4)
    >>> maps.shape, maps.abs().square().sum(0).allclose(torch.tensor(1.0))
    (torch.Size([4, 8, 10, 9]), True)
    """
    from scipy.interpolate import make_interp_spline
    from sigpy.mri import birdcage_maps as sigpy_maps

    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape: found {shape!r}, expected three positive whole numbers (z, y, x)")
    if not isinstance(coils, int) or coils < 1:
        raise ValueError(f"coils: found {coils!r}, expected a whole number of 1 or more")
    ring = coils if coils < 8 else -(-coils // 2)
    maps = torch.from_numpy(sigpy_maps((coils, GRID, GRID, GRID), r=1.5, nzz=ring)).to(torch.complex64)
    knots = torch.arange(GRID) / (GRID / 2) - 1                 # in halves of the field of view
    for n in shape:
        position = (torch.arange(n) - n // 2) / (n / 2)
        spline = torch.from_numpy(make_interp_spline(knots, torch.eye(GRID))(position))
        maps = torch.tensordot(maps, spline.to(maps.dtype), ([1], [1]))     # z; then y, then x
    return maps / torch.linalg.vector_norm(maps, dim=0)


def espirit_maps(kspace, calibration=24, threshold=0.02, kernel=6, crop=0.95):
    """Sensitivities calibrated from the centre of k-space (ESPIRiT; Uecker et al., MRM 71:990, 2014).

    ``sigpy.mri.app.EspiritCalib`` in 3D. Its covariance matrices take ``coils**2`` images of memory.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``, fully sampled in the central block.
    calibration : int
        Side of that block, at least ``kernel``.
    threshold : float
        Singular values of the calibration matrix below this part of the largest are dropped.
    kernel : int
        Width of the k-space kernel.
    crop : float
        Voxels whose eigenvalue is below get zero maps: there is no signal to calibrate from.

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, x)``, on the device of ``kspace``. Inside the object the squared
        magnitudes sum to 1; the phase is relative to the first coil.

    Raises
    ------
    ValueError
        If k-space is not a finite 4D array, the block does not fit, or it is not fully sampled.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((16, 16, 16)), acceleration=1, coils=2, noise=0)
    >>> maps = espirit_maps(acq.kspace, calibration=6, kernel=3)
    >>> maps.shape == acq.maps.shape, bool(maps[0].imag.abs().max() < 1e-5)
    (True, True)
    """
    from sigpy.mri.app import EspiritCalib

    kspace = check_array(kspace, "kspace", 4, "(coils, z, y, x)").to(torch.complex64)
    shape = kspace.shape[1:]
    if not kernel <= calibration <= min(shape):
        raise ValueError(f"calibration: found {calibration!r}, expected a block side from {kernel} (kernel) "
                         f"to {min(shape)} (smallest axis of kspace {tuple(kspace.shape)})")
    start = [n // 2 - calibration // 2 for n in shape]
    block = kspace[:, *(slice(i, i + calibration) for i in start)]
    if (block == 0).all(0).any():
        raise ValueError(f"kspace: found zeros in the central {calibration}^3 block, expected it fully sampled")
    app = EspiritCalib(kspace.numpy(force=True), calib_width=calibration, thresh=threshold,
                       kernel_width=kernel, crop=crop, show_pbar=False)
    return torch.from_numpy(app.run()).to(kspace.device)


def calibration_side(mask, largest=24):
    """Side of the largest square around the centre of a mask that is fully measured.

    Examples
    --------
    >>> from mrilab.masks import poisson_disc_mask
    >>> calibration_side(poisson_disc_mask((64, 64), 4, calibration=12)) >= 12
    True
    """
    for side in range(min(largest, *mask.shape), 0, -1):
        rows, columns = (slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n in mask.shape)
        if mask[rows, columns].all():
            return side
    return 0


def estimate_maps(kspace, mask, calibration=None):
    """Sensitivities from the centre of k-space: ESPIRiT, or low-resolution images where the centre is too small.

    Returns
    -------
    Tensor, str
        complex64 ``(coils, z, y, x)``, and what was done.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2, coils=4)
    >>> maps, what = estimate_maps(acq.kspace, acq.mask)
    >>> maps.shape == acq.maps.shape
    True
    """
    measured = (kspace != 0).any(0)                                 # a partial echo is cut along x as well
    whole = measured | ~mask[..., None]
    x = whole.all(0).all(0).nonzero().flatten()
    half = int(min(kspace.shape[-1] // 2 - x.min(), x.max() + 1 - kspace.shape[-1] // 2)) if len(x) else 0
    side = min(calibration_side(mask, calibration or 24), 2 * half, kspace.shape[-1])
    if calibration and side < calibration:
        raise ValueError(f"calibration: found {calibration}, expected a fully measured block of that side; the "
                         f"largest here is {side}")
    if len(kspace) == 1:
        return torch.ones_like(kspace), "one coil: sensitivity 1"
    if side >= 8:
        maps = espirit_maps(kspace, calibration=side, kernel=min(6, side // 2))
        return maps.nan_to_num(0, 0, 0), f"ESPIRiT from a block of {side}"      # NaN where a coil sees exactly nothing
    low = kspace
    for axis, n in zip((-3, -2, -1), kspace.shape[1:]):
        window = torch.exp(-0.5 * ((torch.arange(n, device=low.device) - n // 2) / 4.0) ** 2)
        low = low * window.reshape([-1 if a == axis else 1 for a in (-4, -3, -2, -1)])
    images = ifft3c(low)
    norm = torch.linalg.vector_norm(images, dim=0)
    return images / norm.clamp_min(0.02 * norm.max()), "low-resolution images: no fully sampled centre of 8 or more"


def noise_level(kspace, mask):
    """Standard deviation of the k-space noise, read off the outer eighths of the readout.

    There the signal of an image is weakest; the median of the magnitudes is robust against what is
    left, and is ``sqrt(2 ln 2)`` standard deviations for complex noise. Signal makes it too high, never
    too low. Zeros, as a partial echo leaves them, do not count.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``.
    mask : Tensor
        bool ``(z, y)``.

    Examples
    --------
    >>> k = 0.02 * torch.view_as_complex(torch.randn(4, 20, 20, 64, 2, generator=torch.Generator().manual_seed(0)))
    >>> round(noise_level(k, torch.ones(20, 20, dtype=bool)), 3)
    0.02
    """
    measured = kspace[:, mask]
    edge = max(1, measured.shape[-1] // 8)
    outer = torch.cat([measured[..., :edge], measured[..., -edge:]], dim=-1).abs()
    outer = outer[outer > 0]
    return outer.median().item() / 1.1774 if len(outer) else 0.0


def whitening_matrix(noise):
    """The matrix that makes the noise of the coils independent, with standard deviation 1 (real, imaginary each).

    ``W`` with ``W C W^H = 2`` for the covariance ``C`` of the complex samples: the inverse of its Cholesky factor
    (Pruessmann et al., MRM 46:638, 2001).

    Parameters
    ----------
    noise : Tensor
        complex ``(coils, samples)``.

    Returns
    -------
    Tensor
        complex64 ``(coils, coils)``.

    Examples
    --------
    >>> noise = 3 * torch.randn(2, 4000, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    >>> (whitening_matrix(noise) @ noise).real.std(dim=1).round(decimals=1)
    tensor([1., 1.])
    """
    samples = noise.to(torch.complex128)
    covariance = samples @ samples.mH / samples.shape[1]
    try:
        factor = torch.linalg.cholesky(covariance)
    except torch.linalg.LinAlgError:
        raise ValueError("noise: found coils whose noise is zero or the same, expected independent coils") from None
    identity = torch.eye(len(factor), dtype=factor.dtype)
    return (2**0.5 * torch.linalg.solve_triangular(factor, identity, upper=False)).to(torch.complex64)


def compression_matrix(kspace, coils):
    """The strongest directions of the signal in coil space, as orthonormal rows (Huang et al., MRI 26:133, 2008).

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``; its centre is enough.
    coils : int
        Virtual coils to keep.

    Returns
    -------
    Tensor
        complex64 ``(virtual coils, coils)``; noise that was white stays so.

    Examples
    --------
    >>> kspace = torch.randn(1, 4, 4, 4, dtype=torch.complex64).expand(3, -1, -1, -1)      # three equal coils
    >>> matrix = compression_matrix(kspace, 1)
    >>> round(torch.tensordot(matrix, kspace, 1).norm().item() / kspace.norm().item(), 3)
    1.0
    """
    if not 1 <= coils <= len(kspace):
        raise ValueError(f"coils: found {coils}, expected 1 to {len(kspace)}, the number of coils measured")
    samples = kspace.flatten(1).to(torch.complex128)
    _, vectors = torch.linalg.eigh(samples @ samples.mH)            # ascending
    return vectors.flip(1)[:, :coils].mH.to(torch.complex64)
