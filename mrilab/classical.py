"""Reconstruction without learning: zero-filled, CG-SENSE, and sparsity of wavelets or of differences."""

import math
import time
import warnings

import torch
from tqdm import tqdm

from .checks import check_weight, check_whole
from .metrics import percentile
from .operators import Linear, SenseOperator, conjugate_gradients, relative_misfit
from .volumes import Acquisition, Reconstruction

# Of ADMM, where the brightest tissue is near 1. It sets the speed, not the result; 0.01 to 0.1 were tried.
THRESHOLD = 0.03
LEVELS = 3      # of the wavelet transform: how often the image is halved


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
        between 0 and 1: directions whose eigenvalue is below the weight are damped. On the validation slab 0.01 is
        best at 1 mm and 0.003 at 2 and 3 mm (``data/results/tuning_solver.json``); the default lies between.
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


def l1_wavelet(acquisition: Acquisition, weight: float = 0.0012, wavelet: str = "db6", iterations: int = 30,
               progress: bool = True) -> Reconstruction:
    """Sparse wavelet coefficients, ``min |M F S x - y|^2 / 2 + weight |W x|_1``, in 3D.

    Compressed sensing as in Lustig et al. (MRM 58:1182, 2007). ``W`` is sigpy's orthogonal wavelet transform over three
    scales; all coefficients count, also those of the coarsest scale, and a complex one by its magnitude. The solver is
    ADMM (Boyd et al., Found. Trends Mach. Learn. 3:1, 2011) around conjugate gradients.

    Parameters
    ----------
    acquisition : Acquisition
        Its intensities are brought to a 99th percentile of 1 (of a first CG-SENSE image) here, and back at the end.
    weight : float
        In those units. On the validation slab 0.0017, 0.0011 and 0.0007 are best for 2 mm and R = 4, 8 and 12, and
        0.0017 for 1 mm and R = 8 and 12 (``data/results/tuning_classical.json``); the default lies between.
    wavelet : str
        Name of an orthogonal wavelet in PyWavelets; the default was a little better than ``"db4"`` throughout.
    iterations : int
        Of ADMM, each with four conjugate-gradient steps; at the default the objective is within 1 % of its minimum.
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
    import pywt
    from sigpy.linop import Wavelet

    if wavelet not in [name for family in ("haar", "db", "sym", "coif") for name in pywt.wavelist(family)]:
        raise ValueError(f"wavelet: found {wavelet!r}, expected the name of an orthogonal one, such as 'db4'")
    operator = _operator(acquisition)

    def analyse(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(W(x.cpu().contiguous().numpy())).to(x.device)

    def synthesise(coefficients: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(W.H(coefficients.cpu().numpy())).to(coefficients.device)

    with warnings.catch_warnings():
        # of levels at which the wavelet is longer than the image; with zeros around it, that does no harm
        warnings.filterwarnings("ignore", "Level value")
        W = Wavelet(operator.shape, wave_name=wavelet, level=LEVELS)
        return _sparse(acquisition, weight, analyse, synthesise, lambda x: x, iterations, "L1-wavelet", progress)


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
        In those units. On the validation slab 0.0008, 0.0004 and 0.0003 are best for 2 mm and R = 4, 8 and 12, and
        0.0006 and 0.0005 for 1 mm and R = 8 and 12 (``data/results/tuning_classical.json``); the default lies between.
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
    _operator(acquisition)
    mean = math.prod(acquisition.voxel_size) ** (1 / 3)
    axes = [(d, mean / size) for d, size in enumerate(acquisition.voxel_size)]

    def differences(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([per_mm * (x.roll(-1, d) - x) for d, per_mm in axes])

    def adjoint(g: torch.Tensor) -> torch.Tensor:
        return sum((per_mm * (g[d].roll(1, d) - g[d]) for d, per_mm in axes), torch.zeros(()))

    def laplacian(x: torch.Tensor) -> torch.Tensor:
        return sum((per_mm**2 * (2 * x - x.roll(1, d) - x.roll(-1, d)) for d, per_mm in axes), torch.zeros(()))

    return _sparse(acquisition, weight, differences, adjoint, laplacian, iterations, "total variation", progress)


def _sparse(acquisition: Acquisition, weight: float, transform: Linear, adjoint: Linear, gram: Linear, iterations: int,
            name: str, progress: bool) -> Reconstruction:
    """``min |A x - y|^2 / 2 + weight |T x|_1`` by ADMM; ``gram`` is ``T^H T``.

    With ``z`` in the place of ``T x`` and ``u`` the running sum of their difference: least squares for x, soft
    thresholding for z.
    """
    check_weight(weight, "weight")
    check_whole(iterations, "iterations")
    operator, begin = _operator(acquisition), time.perf_counter()
    start = cg_sense(acquisition, iterations=10, progress=False)
    scale = percentile(start.image, 0.99)
    if scale == 0:
        raise ValueError("acquisition: found k-space of zeros, expected a measurement")
    x, measured = start.image / scale, operator.adjoint(acquisition.kspace) / scale
    applications = start.operator_applications
    rho = weight / THRESHOLD
    z = transform(x)
    u = torch.zeros_like(z)
    for _ in tqdm(range(iterations), desc=name, disable=not progress):
        x, used = conjugate_gradients(lambda v: operator.normal(v).add_(gram(v), alpha=rho),
                                      measured + rho * adjoint(z - u), x, iterations=4)
        applications += used + 1
        u += transform(x)
        z = soft_threshold(u, THRESHOLD)
        u -= z
    return _result(acquisition, operator, x * scale, applications, begin)


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
