"""An acquisition in the units of a prior: what every method with a prior starts from.

The priors expect complex images whose 99th percentile is 1. :class:`Problem` brings an acquisition there, on the
prior's device, starts from a few steps of regularised least squares, counts the applications of the normal operator,
and brings the result back.
"""

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed

from .checks import PLANES, in_plane
from .diffusion import Prior, to_channels, to_complex
from .metrics import percentile
from .operators import SenseOperator, conjugate_gradients
from .simulate import white_noise
from .volumes import Acquisition, Reconstruction

REGULARIZATION, ITERATIONS = 0.005, 10      # of the least squares that everything starts from
MIDDLE = 24                     # positions along x on which things are tried
Callback = Callable[[int, torch.Tensor, float], Any]        # iteration, image, misfit


class Problem:
    """A reconstruction problem, scaled.

    Parameters
    ----------
    acquisition : Acquisition
        A noise level that is not known is estimated (:func:`~mrilab.coils.noise_level`).
    prior : Prior
        The work is done on its device.
    prior_voxel_size : tuple of float, optional
        Voxel size in mm at which the prior will be shown the image, if not that of the acquisition.

    Attributes
    ----------
    operator : SenseOperator
    measured : Tensor
        complex64 ``(z, y, x)``, ``A^H y``.
    start : Tensor
        complex64 ``(z, y, x)``, least squares; 99th percentile 1.
    noise : float
        Standard deviation of the noise per channel in these units; at least 1e-4, so that a prior has a say
        beside noiseless data.
    voxel_size : tuple of float
    samples : int
        Complex numbers measured.
    noise_misfit : float
        The misfit that noise alone would leave.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> problem = Problem(simulate_acquisition(head_phantom((8, 8, 8)), 2)[0], load_prior("diverse"))
    >>> problem.start.shape, round(problem.misfit(problem.start), 2) < 0.2
    (torch.Size([21, 27, 21]), True)
    """

    def __init__(self, acquisition: Acquisition, prior: Prior, prior_voxel_size: Sequence[float] | None = None) -> None:
        for name, value, kind in (("acquisition", acquisition, Acquisition), ("prior", prior, Prior)):
            if not isinstance(value, kind):
                raise ValueError(f"{name}: found {type(value).__name__}, expected a {kind.__name__}")
        self.begin = time.perf_counter()
        self.given = acquisition
        acquisition = acquisition.to(next(prior.parameters()).device)
        self.operator = SenseOperator(acquisition.maps, acquisition.mask)
        self.voxel_size, self.prior, self.evaluations = acquisition.voxel_size, prior, 0
        measured = self.operator.adjoint(acquisition.kspace)
        start, self.applications = conjugate_gradients(lambda v: self.operator.normal(v).add_(v, alpha=REGULARIZATION),
                                                       measured, iterations=ITERATIONS, tolerance=1e-3)
        self.scale = percentile(start, 0.99)
        if self.scale == 0:
            raise ValueError("acquisition: found k-space of zeros, expected a measurement")
        self.start, self.measured = start / self.scale, measured / self.scale
        self.energy = (acquisition.kspace.abs() / self.scale).square().sum().item()
        self.noise = max(acquisition.noise_level() / self.scale, 1e-4)
        self.samples = int(acquisition.mask.sum()) * len(acquisition.maps) * acquisition.kspace.shape[-1]
        self.noise_misfit = self.noise * (2 * self.samples / self.energy) ** 0.5
        _warn_of_voxel_size(prior, prior_voxel_size or self.voxel_size)

    @functools.cached_property
    def variance(self) -> float:
        """The square of ``noise``, times what the model leaves of the samples over what noise would.

        See :func:`unexplained`. Not times its square: on the validation person that trusts the data too little
        (study ``solvers``).
        """
        excess, used = unexplained(self.given, self.noise * self.scale, self.start.device)
        self.applications += used
        return self.noise**2 * excess

    def data_step(self, target: torch.Tensor, rho: float, x: torch.Tensor, iterations: int) -> torch.Tensor:
        """``min |A x - y|^2 + rho |x - target|^2`` by conjugate gradients from ``x``."""
        x, used = conjugate_gradients(lambda v: self.operator.normal(v).add_(v, alpha=rho),
                                      self.measured + rho * target, x, iterations)
        self.applications += used + 1
        return x

    def misfit(self, x: torch.Tensor) -> float:
        """``|A x - y| / |y|``, multiplied out: one normal operator instead of a pass over k-space."""
        return self.misfit_and_residual(x)[0]

    def misfit_and_residual(self, x: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The misfit, and ``A^H (A x - y)``, complex64 ``(z, y, x)``."""
        self.applications += 1
        residual = self.operator.normal(x) - self.measured
        square = torch.vdot(x.flatten(), (residual - self.measured).flatten()).real.item() + self.energy
        return (max(square, 0) / self.energy) ** 0.5, residual

    def result(self, x: torch.Tensor, misfit: float) -> Reconstruction:
        """The image in the acquisition's units, and what it cost."""
        return Reconstruction((x * self.scale).contiguous(), self.voxel_size, self.evaluations, self.applications,
                              time.perf_counter() - self.begin, misfit)


@torch.no_grad()
def unexplained(acquisition: Acquisition, noise: float, device: str | torch.device = "cpu") -> tuple[float, int]:
    """What least squares leaves of the samples, over what it leaves of noise alone: 1 where the model is right.

    Sensitivities estimated from few samples, sensitivities that change within a large voxel, and a noise level told
    too low leave more, and a solver that trusts the data to within the noise then bends the image to it. Both fits are
    regularised alike, and weakly. They are made at the middle of the readout, whose positions are problems of their
    own.

    Parameters
    ----------
    acquisition : Acquisition
    noise : float
        Standard deviation of the k-space noise, real and imaginary part each; above 0.
    device : str or torch.device
        Where the work is done; no more than the middle of the readout is copied there.

    Returns
    -------
    float, int
        At least 1, and 1 where so few coils see the object that least squares can explain nearly anything; what it
        took, in applications of the normal operator to the whole readout.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> scan = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)[0]
    >>> wrong = Acquisition(scan.kspace, scan.maps.roll(2, -2), scan.mask, scan.voxel_size, scan.noise)
    >>> [round(unexplained(a, scan.noise)[0]) for a in (scan, wrong)]
    [1, 3]
    """
    part = middle_block(acquisition).to(device)
    operator, samples = SenseOperator(part.maps, part.mask), part.mask[..., None]
    alone = noise * white_noise(part.kspace.shape, torch.Generator().manual_seed(0)).to(device) * samples

    def left(kspace: torch.Tensor) -> tuple[float, int]:
        x, used = conjugate_gradients(lambda v: operator.normal(v).add_(v, alpha=1e-4), operator.adjoint(kspace),
                                      iterations=40, tolerance=1e-5)
        return ((operator.forward(x) - kspace) * samples).norm().item(), used

    (of_scan, used), (of_noise, more) = left(part.kspace), left(alone)
    excess = max(1.0, of_scan / of_noise) if of_noise > 0.3 * alone.norm().item() else 1.0
    return excess, round((used + more) * part.kspace.shape[-1] / acquisition.kspace.shape[-1])


def middle_block(acquisition: Acquisition) -> Acquisition:
    """The middle 24 positions of the readout, or all if there are fewer: what is cheap to try things on.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> middle_block(simulate_acquisition(head_phantom((8, 8, 4)), acceleration=2)[0]).kspace.shape[-1]
    24
    """
    count = acquisition.kspace.shape[-1]
    first = (count - MIDDLE) // 2
    return acquisition.readout_block(first, first + MIDDLE) if count > MIDDLE else acquisition


def _warn_of_voxel_size(prior: Prior, voxel_size: Sequence[float]) -> None:
    """Warn when slices of a volume have voxel sizes (mm) outside those a prior was trained on, by more than 5 %."""
    low, high = prior.voxel_sizes
    if not low / 1.05 <= min(voxel_size) <= max(voxel_size) <= high * 1.05:
        found = " x ".join(f"{d:.3g}" for d in voxel_size)
        warnings.warn(f"voxel size {found} mm: the prior was trained on {low:g} to {high:g} mm", stacklevel=4)


def denoise_slices(x: torch.Tensor, prior: Prior, sigma: float, voxel_size: Sequence[float], plane: str,
                   chosen: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """The slices of a plane of a volume, or those chosen, through a prior: complex64 ``(slices, ., .)``.

    Started by ``torchrun``, each process denoises its share, and all get the whole.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> x = torch.zeros(8, 12, 16, dtype=torch.complex64)
    >>> denoise_slices(x, load_prior("diverse"), 0.1, (2, 2, 2), "coronal").shape
    torch.Size([12, 8, 16])
    """
    axis = PLANES[plane]
    size = in_plane(voxel_size, axis)
    slices = x.movedim(axis, 0)[chosen]
    if not (distributed.is_available() and distributed.is_initialized()):
        return to_complex(prior.denoise(to_channels(slices), sigma, size))
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    mine = slice(rank * len(slices) // ranks, (rank + 1) * len(slices) // ranks)
    clean = torch.zeros(len(slices), *slices.shape[1:], dtype=torch.complex64, device=x.device)
    if mine.start < mine.stop:
        clean[mine] = to_complex(prior.denoise(to_channels(slices[mine]), sigma, size))
    distributed.all_reduce(torch.view_as_real(clean))       # everything else is zero
    return clean
