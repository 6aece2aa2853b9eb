"""Simulated data: a procedural head, and the acquisition of any volume.

Everything is placed in mm about the centre of the field of view (index ``n // 2``), so the same head,
phase and coils come out at every voxel size, sampled differently.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from .checks import check_voxel_size, check_weight
from .coils import head_array_maps
from .fourier import fft3c, resize_centred
from .masks import poisson_disc_mask
from .metrics import percentile
from .volumes import Acquisition, Volume

FIELD_OF_VIEW = (168, 216, 168)     # mm, of the phantom: z up, y to the front, x to one side


def simulate_acquisition(volume: Volume, acceleration: float, coils: int = 8, noise: float = 0.01, seed: int = 0,
                         voxel_size: Sequence[float] | None = None) -> tuple[Acquisition, torch.Tensor]:
    """Undersampled multi-coil k-space of a volume, ``y = M (C F S x + n)``, where ``C`` crops to the scan's matrix.

    The image is scaled so that the 99th percentile of its magnitude is 1; a real one gets a smooth random phase. Coils
    (:func:`~mrilab.coils.head_array_maps`) and phase act on the volume's own voxels, and a scan with larger ones
    measures the middle of that k-space, as a scanner would: what is simulated and what is reconstructed share no grid.
    The mask is a :func:`~mrilab.masks.poisson_disc_mask`. An affine stays with the scan.

    Parameters
    ----------
    volume : Volume
        Real (values below zero, which resampling leaves, are kept) or complex.
    acceleration : float
        (kz, ky) positions over positions measured.
    coils : int
    noise : float
        Standard deviation of the Gaussian noise of a scan at the volume's own voxel size, on the real and the imaginary
        part each. Each sample of k-space is measured once, so a scan with voxels of eight times the volume has
        ``8 ** 0.5`` times less, for images of the same intensities: ``acquisition.noise``.
    seed : int
        Of phase, mask and noise.
    voxel_size : tuple of float, optional
        Of the scan, in mm; not finer than that of the volume, which is the default.

    Returns
    -------
    acquisition : Acquisition
    truth : Tensor
        complex64 ``(z, y, x)``, scaled and with its phase, at the scan's voxel size.

    Raises
    ------
    ValueError
        For a volume of zeros, a negative noise, voxels finer than the volume's, or what coils and mask refuse.

    Examples
    --------
    >>> acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=4, coils=4, voxel_size=(12, 12, 12))
    >>> acq.kspace.shape, acq.acceleration, truth.dtype, round(acq.noise, 4)
    (torch.Size([4, 14, 18, 14]), 4.0, torch.complex64, 0.0035)
    """
    if not isinstance(volume, Volume):
        raise ValueError(f"volume: found {type(volume).__name__}, expected a Volume(data, voxel_size)")
    check_weight(noise, "noise")
    scale = percentile(volume.data, 0.99)
    if scale == 0:
        raise ValueError("volume: found a 99th percentile of 0, expected an image that is not mostly zero")
    generator = torch.Generator().manual_seed(seed)
    image = volume.data.to(torch.complex64) / scale
    if not volume.data.is_complex():
        image = image * torch.exp(1j * smooth_phase(image.shape, generator).to(image.device))
    place = {"affine": volume.info["affine"]} if "affine" in volume.info else {}
    scan = Volume(image, volume.voxel_size, place)
    if voxel_size is not None:
        scan = scan.resample(voxel_size)
    shape = tuple(scan.data.shape)
    if any(n > m for n, m in zip(shape, image.shape)):
        raise ValueError(f"voxel_size: found {tuple(voxel_size or ())} mm, expected none finer than the volume's, "
                         f"{volume.voxel_size}: it knows nothing of them")
    maps = head_array_maps(shape, coils, volume.field_of_view).to(image.device)
    fine = head_array_maps(tuple(image.shape), coils, volume.field_of_view).to(image.device)
    mask = poisson_disc_mask(shape, acceleration, seed=seed).to(image.device)
    share = (scan.data.numel() / image.numel()) ** 0.5
    kspace = torch.zeros_like(maps)
    for s, y in zip(fine, kspace):
        n = white_noise(shape, generator).to(image.device)
        y.copy_(share * (resize_centred(fft3c(s * image), shape) + noise * n) * mask[..., None])
    return Acquisition(kspace, maps, mask, scan.voxel_size, share * noise, scan.info), scan.data


def white_noise(shape: Sequence[int], generator: torch.Generator | None) -> torch.Tensor:
    """Complex noise of variance 1 in the real and the imaginary part each, complex64 on the CPU.

    Examples
    --------
    >>> noise = white_noise((20, 30, 40), torch.Generator().manual_seed(0))
    >>> noise.shape, [round(part.var().item(), 1) for part in (noise.real, noise.imag)]
    (torch.Size([20, 30, 40]), [1.0, 1.0])
    """
    return torch.view_as_complex(torch.randn(*shape, 2, generator=generator))


def smooth_phase(shape: Sequence[int], generator: torch.Generator | None = None, device: str | torch.device = "cpu"
                 ) -> torch.Tensor:
    """Random cosines of up to 1.5 periods across the field of view, about 1 radian rms in all.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    generator : torch.Generator, optional
        Of the processor.
    device : str or torch.device
        Of the result.

    Returns
    -------
    Tensor
        float32 phase in radians. The same generator gives the same phase, sampled differently, for any shape.

    Examples
    --------
    >>> smooth_phase((4, 5, 6), torch.Generator().manual_seed(0)).shape
    torch.Size([4, 5, 6])
    """
    order = torch.arange(4)
    weight = torch.randn(4, 4, 4, generator=generator) * 0.5 ** (order[:, None, None] + order[:, None] + order)
    weight[0, 0, 0] = 0
    weight *= 0.5 / weight.norm()
    for n in shape:
        position = (torch.arange(n) - n // 2) / n + 0.5
        basis = 2**0.5 * torch.cos(math.pi * order[:, None] * position)
        weight = torch.tensordot(weight.to(device), basis.to(device), ([0], [0]))
    return weight


def head_phantom(voxel_size: Sequence[float], seed: int = 0) -> Volume:
    """A procedural head with T1-like contrast, at any voxel size.

    Skin, fat, skull with marrow, CSF, folded cortex, white matter, ventricles, deep nuclei, cerebellum
    and brain stem, defined in mm with edges about 2 mm wide, and a smooth shading. It is evaluated at
    voxels of 1 mm or finer and brought to coarser ones by cropping its k-space, as a scanner would.

    Parameters
    ----------
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm. The field of view is 168 x 216 x 168 mm, so the voxel size of the result
        is the nearest to the asked one of which a whole number fits.
    seed : int
        Another head: other proportions, another folding.

    Returns
    -------
    Volume
        float32, white matter about 0.8; slightly negative beside edges where k-space was cropped.

    Raises
    ------
    ValueError
        For a voxel size that is not three positive numbers.

    Examples
    --------
    >>> head = head_phantom((4, 4, 8))
    >>> head.data.shape, head.voxel_size
    (torch.Size([42, 54, 21]), (4.0, 4.0, 8.0))
    """
    voxel_size = check_voxel_size(voxel_size)
    shape = tuple(max(f, round(f / d)) for f, d in zip(FIELD_OF_VIEW, voxel_size))
    fine = tuple(f / n for f, n in zip(FIELD_OF_VIEW, shape))
    head = Volume(_head_on_grid(shape, seed), fine, {"source": f"mrilab head phantom, seed {seed}"})
    return head.resample(voxel_size)


@functools.lru_cache(maxsize=1)     # every voxel size of 1 mm or more asks for the same grid
def _head_on_grid(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The phantom sampled on a grid over the field of view, some slices at a time to bound the memory."""
    z, y, x = ((torch.arange(n) - n // 2) * f / n for n, f in zip(shape, FIELD_OF_VIEW))
    return torch.cat([_head(slab[:, None, None], y[:, None], x, seed) for slab in z.split(56)])


def _head(z: torch.Tensor, y: torch.Tensor, x: torch.Tensor, seed: int) -> torch.Tensor:
    """T1-like intensity at positions in mm, which broadcast to ``(z, y, x)``."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(())

    def vary(value: float, part: float = 0.05) -> float:
        return value * (1 + part * (2 * torch.rand((), generator=generator).item() - 1))

    def waves(length: float, gradient: bool = False) -> Any:
        """Sum of 40 plane waves of one length (mm) and random directions, variance 1, and its gradient."""
        k = torch.randn(3, 40, generator=generator)
        k *= 2 * math.pi / (length * k.norm(dim=0))
        amplitude = white_noise((40,), generator) / math.sqrt(40)
        ez, ey, ex = (torch.exp(1j * r.reshape(-1, 1) * q) for r, q in zip((z, y, x), k))
        ezy, ex = ez[:, None] * ey, amplitude * ex
        wave = (ezy @ ex.T).real
        return (wave, [(ezy @ (1j * q * ex).T).real for q in k]) if gradient else wave

    def folds(length: float) -> torch.Tensor:
        """Distance in mm to the nearest sheet of a random folded set: exact for a plane wave."""
        wave, gradient = waves(length, gradient=True)
        k = 2 * math.pi / length
        return torch.atan2(wave.abs(), sum(g**2 for g in gradient).sqrt() / k) / k

    def ellipsoid(centre: Sequence[float], radii: Sequence[float], x: torch.Tensor) -> torch.Tensor:
        """Distance to the surface in mm, to first order, positive inside."""
        offsets = [r - c for r, c in zip((z, y, x), centre)]
        rho = sum(((r / a)**2 for r, a in zip(offsets, radii)), torch.zeros(())).sqrt()
        slope = sum(((r / a**2)**2 for r, a in zip(offsets, radii)), torch.zeros(())).sqrt()
        return (1 - rho) * rho / slope.clamp_min(1e-6)

    def paint(inside: torch.Tensor, intensity: float) -> None:
        """Cover with a tissue what lies inside (distance in mm, positive inside)."""
        nonlocal image
        image = torch.lerp(image, torch.tensor(intensity), torch.sigmoid(inside / 0.4))

    lumps, shading = 0.8 * waves(100), waves(300)
    narrow = x / (1 - 0.0015 * y)                                       # the head is narrower in front
    depth = ellipsoid((0, 0, 0), (vary(73), vary(93), vary(67)), narrow) + lumps
    for at, intensity in ((0, 0.35), (1.5, 0.95), (5, 0.06), (7, 0.4), (9 + 0.5 * lumps, 0.06), (11, 0.15)):
        paint(depth - at, intensity)            # skin, fat, skull with marrow between its tables, CSF

    # Cortex: distance to CSF, be it the surface, a sulcus, or the fissure between the hemispheres.
    inner = depth - 13.5
    sulci = torch.hypot(folds(vary(26)), (inner - 16 - 4 * waves(50)).relu()) - 0.6
    fissure = torch.hypot(x + 0.7 * waves(60), (inner - 34 + 0.3 * z).relu()) - 0.8
    cortex = torch.minimum(torch.minimum(inner, sulci), fissure)
    paint(cortex, 0.52)
    paint(cortex - vary(2.8, 0.1), 0.82)

    half = x.abs() + 0.3 * lumps                                         # both sides alike, nearly
    for centre, radii, intensity in (
            ((-1, vary(-7, 0.3), 10), (8, 14, 9), 0.6),                  # thalamus
            ((11, 14, 14), (8, 14, 5), 0.54),                            # caudate
            ((0, vary(4, 0.3), 26), (10, 16, 5), 0.56),                  # putamen
            ((-1, 1, 19), (7, 10, 4), 0.68)):                            # pallidum
        paint(ellipsoid(centre, radii, half), intensity)
    wide = vary(1, 0.25)
    paint(ellipsoid((14, -2, 6), (9 * wide, vary(30), 5 * wide), half - 0.006 * y**2), 0.15)    # ventricles
    paint(ellipsoid((-2, -4, 0), (9, 12, 1.8 * wide), x), 0.15)

    cerebellum = torch.minimum(ellipsoid((-42, -42, 0), (24, 28, 46), x), inner)
    paint(cerebellum + 2, 0.15)
    paint(torch.minimum(cerebellum, folds(9) - 0.3), 0.5)
    paint(cerebellum - 8 + 2 * waves(14), 0.78)
    stem = torch.minimum(ellipsoid((-40, -10, 0), (34, 11, 13), x), inner)
    paint(stem + 2, 0.15)
    paint(stem, 0.76)
    return image * (1 + 0.06 * shading)
