"""Reconstruction without learning: zero-filled, CG-SENSE, and sparsity of wavelets or of differences."""

import math
import time

import torch
from tqdm import tqdm

from .checks import check_weight, check_whole
from .metrics import percentile
from .operators import SenseOperator, conjugate_gradients, relative_misfit
from .volumes import Acquisition, Reconstruction
from .wavelets import LEVELS, WaveletTransform, orthogonal_names

# Of ADMM, where the brightest tissue is near 1. It sets the speed, not the result; 0.01 to 0.1 were tried.
THRESHOLD = 0.03


def zero_filled(acquisition: Acquisition) -> Reconstruction:
    """The adjoint ``S^H F^H M y``: what was not measured counts as zero.

    Parameters
    ----------
    acquisition : Acquisition

    Returns
    -------
    Reconstruction

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2)
    >>> zero_filled(acq).image.shape == truth.shape
    True
    """
    operator, begin = _operator(acquisition), time.perf_counter()
    return _result(acquisition, operator, operator.adjoint(acquisition.kspace), 0, begin)


def cg_sense(acquisition: Acquisition, regularization: float = 0.005, iterations: int = 30, tolerance: float = 1e-3,
             progress: bool = True) -> Reconstruction:
    """Least squares with a Tikhonov term, ``min |M F S x - y|^2 + regularization |x|^2``.

    The normal equations by conjugate gradients (Pruessmann et al., MRM 46:638, 2001).

    Parameters
    ----------
    acquisition : Acquisition
    regularization : float
        Weight of ``|x|^2``. For maps whose squares sum to 1, the eigenvalues of the normal operator lie
        between 0 and 1: directions whose eigenvalue is below the weight are damped. On the validation slab 0.01 was
        best at 1 mm and 0.003 at 2 and 3 mm; the default lies between.
    iterations : int
        At most this many conjugate-gradient steps.
    tolerance : float
        Stop at this residual of the normal equations, relative to their right-hand side.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        For a negative weight, fewer than one iteration, or not an :class:`~mrilab.volumes.Acquisition`.

    Examples
    --------
    >>> from mrilab.metrics import psnr
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> result = cg_sense(acq, progress=False)
    >>> psnr(result.image, truth) > psnr(zero_filled(acq).image, truth) + 3
    True
    """
    check_weight(regularization, "regularization")
    check_whole(iterations, "iterations")
    operator, begin = _operator(acquisition), time.perf_counter()
    with tqdm(total=iterations, desc="CG-SENSE", disable=not progress) as bar:

        def regularized(x: torch.Tensor) -> torch.Tensor:
            bar.update()
            return operator.normal(x).add_(x, alpha=regularization)

        image, used = conjugate_gradients(regularized, operator.adjoint(acquisition.kspace),
                                          iterations=iterations, tolerance=tolerance)
    return _result(acquisition, operator, image, used, begin)


def l1_wavelet(acquisition: Acquisition, weight: float = 0.0005, wavelet: str = "db4", iterations: int = 100,
               seed: int = 0, progress: bool = True) -> Reconstruction:
    """Sparse wavelet coefficients, ``min |M F S x - y|^2 / 2 + weight |W x|_1``, in 3D.

    Compressed sensing as in Lustig et al. (MRM 58:1182, 2007), solved by FISTA (Beck and Teboulle, SIAM J. Imaging Sci.
    2:183, 2009). ``W`` is an orthogonal wavelet transform over three scales; all coefficients count, also those of the
    coarsest scale, and a complex one by its magnitude. Where the wavelets lie on the grid is drawn anew in each
    iteration, which takes the blocks out of the image (cycle spinning: Coifman and Donoho, 1995; Figueiredo and Nowak,
    IEEE Trans. Image Process. 12:906, 2003).

    Parameters
    ----------
    acquisition : Acquisition
        Its intensities are brought to a 99th percentile of 1 (of a first CG-SENSE image) here, and back at the end.
    weight : float
        In those units. On the validation head at 2 mm with a noise of 0.004, 0.0005 is best for R = 8 and for R = 12;
        more noise asks for a larger one.
    wavelet : str
        Name of an orthogonal wavelet in PyWavelets; they differ little.
    iterations : int
        Of FISTA, each with one application of the normal operator.
    seed : int
        Of the shifts.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        For a negative weight, a wavelet that is unknown or not orthogonal, fewer than one iteration,
        k-space of zeros, or not an :class:`~mrilab.volumes.Acquisition`.

    Examples
    --------
    >>> from mrilab.metrics import psnr
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> result = l1_wavelet(acq, progress=False)
    >>> psnr(result.image, truth) > psnr(cg_sense(acq, progress=False).image, truth)
    True
    """
    if wavelet not in orthogonal_names():
        raise ValueError(f"wavelet: found {wavelet!r}, expected the name of an orthogonal one, such as 'db4'")
    check_weight(weight, "weight")
    check_whole(iterations, "iterations")
    operator, begin = _operator(acquisition), time.perf_counter()
    x, measured, scale, applications = _start(acquisition, operator)
    generator = torch.Generator().manual_seed(seed)
    ahead, momentum = x, 1.0
    for _ in tqdm(range(iterations), desc="L1-wavelet", disable=not progress):
        shift = torch.randint(2**LEVELS, (3,), generator=generator).tolist()
        W = WaveletTransform(x.shape, wavelet, shift, x.device)
        stepped = ahead - (operator.normal(ahead) - measured)           # the normal operator's norm is 1 at most
        coefficients = torch.complex(*W.forward(torch.stack([stepped.real, stepped.imag])))
        if weight:
            coefficients = soft_threshold(coefficients, weight)
        new = torch.complex(*W.adjoint(torch.stack([coefficients.real, coefficients.imag])))
        last, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead, x = new + (last - 1) / momentum * (new - x), new
    return _result(acquisition, operator, x * scale, applications + iterations, begin)


def total_variation(acquisition: Acquisition, weight: float = 0.0005, iterations: int = 30,
                    progress: bool = True) -> Reconstruction:
    """Sparse differences of neighbours, ``min |M F S x - y|^2 / 2 + weight sum_d (d / d_d) |D_d x|_1``, in 3D.

    Total variation (Rudin, Osher and Fatemi, Physica D 60:259, 1992), with the absolute differences along z, y and x
    added up (anisotropic), for multi-coil MRI (Block et al., MRM 57:1086, 2007). The volume closes on itself, as
    its Fourier transform does. A difference between voxels a distance ``d_d`` apart is taken per distance:
    divided by ``d_d`` over the geometric mean ``d`` of the three, so that a slope counts alike in all directions,
    and an isotropic voxel size changes nothing.

    Parameters
    ----------
    acquisition : Acquisition
        Scaled as in :func:`l1_wavelet`.
    weight : float
        In those units. On the validation slab 0.0008, 0.0004 and 0.0003 were best for 2 mm and R = 4, 8 and 12, and
        0.0006 and 0.0005 for 1 mm and R = 8 and 12; the default lies between.
    iterations : int
        As in :func:`l1_wavelet`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        For a negative weight, fewer than one iteration, k-space of zeros, or not an
        :class:`~mrilab.volumes.Acquisition`.

    Examples
    --------
    >>> from mrilab.metrics import psnr
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    >>> result = total_variation(acq, progress=False)
    >>> psnr(result.image, truth) > psnr(cg_sense(acq, progress=False).image, truth) + 1
    True
    """
    check_weight(weight, "weight")
    check_whole(iterations, "iterations")
    operator, begin = _operator(acquisition), time.perf_counter()
    mean = math.prod(acquisition.voxel_size) ** (1 / 3)
    axes = [(d, mean / size) for d, size in enumerate(acquisition.voxel_size)]

    def differences(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([per_mm * (x.roll(-1, d) - x) for d, per_mm in axes])

    def adjoint(g: torch.Tensor) -> torch.Tensor:
        return sum((per_mm * (g[d].roll(1, d) - g[d]) for d, per_mm in axes), torch.zeros(()))

    def system(x: torch.Tensor) -> torch.Tensor:
        laplacian = sum((per_mm**2 * (2 * x - x.roll(1, d) - x.roll(-1, d)) for d, per_mm in axes), torch.zeros(()))
        return operator.normal(x).add_(laplacian, alpha=rho)

    x, measured, scale, applications = _start(acquisition, operator)
    rho = weight / THRESHOLD
    z = differences(x)                  # ADMM: z stands for the differences, u is the running sum of what they are off
    u = torch.zeros_like(z)
    for _ in tqdm(range(iterations), desc="total variation", disable=not progress):
        x, used = conjugate_gradients(system, measured + rho * adjoint(z - u), x, iterations=4)
        applications += used + 1
        u += differences(x)
        z = soft_threshold(u, THRESHOLD)
        u -= z
    return _result(acquisition, operator, x * scale, applications, begin)


def _start(acquisition: Acquisition, operator: SenseOperator) -> tuple[torch.Tensor, torch.Tensor, float, int]:
    """Least squares and ``A^H y``, over the scale that brings the first to a 99th percentile of 1; operator uses."""
    start = cg_sense(acquisition, iterations=10, progress=False)
    scale = percentile(start.image, 0.99)
    if scale == 0:
        raise ValueError("acquisition: found k-space of zeros, expected a measurement")
    return (start.image / scale, operator.adjoint(acquisition.kspace) / scale, scale, start.operator_applications)


def soft_threshold(z: torch.Tensor, threshold: float) -> torch.Tensor:
    """Magnitudes made smaller by ``threshold`` (above 0), or zero where they are below it; phases kept.

    The minimiser of ``|v - z|^2 / 2 + threshold |v|_1``.

    Examples
    --------
    >>> soft_threshold(torch.tensor([-4.0, 0.5, 2.0]), 1).tolist()
    [-3.0, 0.0, 1.0]
    """
    return z * (1 - threshold / z.abs().clamp_min(threshold))


def _operator(acquisition: Acquisition) -> SenseOperator:
    if not isinstance(acquisition, Acquisition):
        raise ValueError(f"acquisition: found {type(acquisition).__name__}, expected an Acquisition")
    return SenseOperator(acquisition.maps, acquisition.mask)


def _result(acquisition: Acquisition, operator: SenseOperator, image: torch.Tensor, applications: int,
            begin: float) -> Reconstruction:
    image = image.contiguous()
    seconds = time.perf_counter() - begin
    return Reconstruction(image, acquisition.voxel_size, 0, applications, seconds,
                          relative_misfit(operator, image, acquisition.kspace))
