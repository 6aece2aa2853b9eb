"""Coil sensitivity maps: simulated ones, and ESPIRiT calibration. Both come from sigpy."""

import torch

from .volumes import check_array

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
