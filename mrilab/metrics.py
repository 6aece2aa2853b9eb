"""Image quality against the truth. All on magnitudes, with the largest magnitude of the truth as range."""

import math

import torch
from torch.nn.functional import avg_pool2d, conv2d, pad


def psnr(x: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Peak signal-to-noise ratio of magnitudes, ``20 log10(max |truth| / rms(|x| - |truth|))``.

    Parameters
    ----------
    x, truth : Tensor
        ``(z, y, x)``, real or complex.
    mask : Tensor, optional
        bool ``(z, y, x)``: only these voxels count, for instance :func:`head_mask`. Air is easy: with
        much of it the number flatters.

    Returns
    -------
    float
        In dB.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, the truth is zero, or the mask is empty.

    Examples
    --------
    >>> import torch
    >>> truth = torch.ones(8, 8, 8)
    >>> round(psnr(truth + 0.1, truth), 2)
    20.0
    """
    x, truth, peak = _magnitudes(x, truth)
    mean_square = (x.double() - truth)[_inside(mask, truth)].square().mean().item()
    return 10 * math.log10(peak**2 / mean_square) if mean_square else math.inf


def ssim(x: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Structural similarity of magnitudes in 3D (Wang et al., IEEE TIP 13:600, 2004).

    ``skimage.metrics.structural_similarity``: a cubic window of 7 voxels, or the largest odd one that
    fits, mean over the windows in the volume, or over those whose centre is in the mask.

    Parameters and errors as for :func:`psnr`; at least 3 voxels each way.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(9, 9, 9, generator=torch.Generator().manual_seed(0))
    >>> round(ssim(truth, truth), 3), ssim(1 - truth, truth) < 0
    (1.0, True)
    """
    from skimage.metrics import structural_similarity

    x, truth, peak = _magnitudes(x, truth)
    window = min(7, *((n - 1) // 2 * 2 + 1 for n in truth.shape))
    if window < 3:
        raise ValueError(f"truth: found shape {tuple(truth.shape)}, expected at least 3 voxels each way")
    _, similarity = structural_similarity(truth.numpy(), x.numpy(), data_range=peak, win_size=window, full=True)
    whole = tuple(slice(window // 2, n - window // 2) for n in truth.shape)      # windows that do not stick out
    return torch.from_numpy(similarity)[whole][_inside(mask, truth)[whole]].double().mean().item()


def vif(x: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Visual information fidelity of magnitudes, pixel-domain form (Sheikh and Bovik, IEEE TIP 15:430, 2006).

    What an observer whose eyes are noisy can still learn from ``x``, as a part of what the truth would tell: in each
    Gaussian window, at four scales, ``x`` is taken for an attenuated truth with noise. Defined for pictures with
    grey values from 0 to 255, to which the data range is brought. The information is added up over the slices
    of all three planes. A scale whose window does not fit a slice is left out: the first needs 17 voxels each way, all
    four need 41.

    Parameters
    ----------
    x, truth, mask
        As for :func:`psnr`; with a mask, windows count whose centre is in it.

    Returns
    -------
    float
        1 for the truth itself, 0 if nothing is left; above 1 for raised contrast.

    Raises
    ------
    ValueError
        As for :func:`psnr`, if no plane has slices of 17 voxels each way, or where nothing varies.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(0))
    >>> round(vif(truth, truth), 6), vif(1 - truth, truth) < 0.01
    (1.0, True)
    """
    left = total = 0.0
    for a, b, inside in _slices(x, truth, mask, 17):
        for size in (17, 9, 5, 3):
            if size < 17:                       # to the next scale
                if min(b.shape[-2:]) < 3 * size - 2:
                    break
                a, b = (_blur(v, size)[..., ::2, ::2] for v in (a, b))
                inside = _centres(inside, size)[..., ::2, ::2]
            mean_a, mean_b = _blur(a, size), _blur(b, size)
            variance_a = (_blur(a * a, size) - mean_a**2).clamp_min(0)
            variance_b = (_blur(b * b, size) - mean_b**2).clamp_min(0)
            covariance = _blur(a * b, size) - mean_a * mean_b
            flat = (variance_a < 1e-10) | (variance_b < 1e-10)
            gain = (covariance / (variance_b + 1e-10)).masked_fill(flat, 0).clamp_min(0)
            noise = (variance_a - gain * covariance).clamp_min(0) + 2       # 2 is that of the eyes
            counts = _centres(inside, size)
            left += torch.log1p(gain**2 * variance_b / noise)[counts].sum().item()
            total += torch.log1p(variance_b / 2)[counts].sum().item()
    return left / _something(total)


def haarpsi(x: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Haar wavelet-based perceptual similarity of magnitudes (Reisenhofer et al., Signal Process. Image 61:33, 2018).

    Differences of neighbours, in the image halved once, at two fine scales are compared, and weighted by how strong the
    difference is at a third, coarser scale: edges count, flat air does not. Constants and grey values (0 to 255,
    to which the data range is brought) are those of the paper. The weighted mean runs over all slices of all three
    planes; planes whose slices have fewer than 16 voxels each way are left out.

    Parameters
    ----------
    x, truth, mask
        As for :func:`psnr`; with a mask, positions count half of which or more is in it.

    Returns
    -------
    float
        Between 0 and 1, which is the truth itself.

    Raises
    ------
    ValueError
        As for :func:`psnr`, if no plane has slices of 16 voxels each way, or where nothing varies.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(0))
    >>> round(haarpsi(truth, truth), 6), haarpsi(1 - truth, truth) < haarpsi(truth + 0.1, truth)
    (1.0, True)
    """
    weighted = total = 0.0
    for images in _slices(x, truth, mask, 16):
        odd = [n % 2 for n in images[0].shape[-2:]]
        halved = [avg_pool2d(pad(a.double(), (0, odd[1], 0, odd[0])), 2) for a in images]
        for a, b, inside in (halved, [v.mT for v in halved]):        # differences of rows, then of columns
            pairs = [(_haar(a, size), _haar(b, size)) for size in (2, 4, 8)]
            fine, middle = ((2 * p * q + 30) / (p * p + q * q + 30) for p, q in pairs[:2])
            weight = torch.maximum(*pairs[2]) * (inside >= 0.5)
            weighted += (torch.sigmoid(4.2 * ((fine + middle) / 2)) * weight).sum().item()
            total += weight.sum().item()
    mean = weighted / _something(total)
    return (math.log(mean / (1 - mean)) / 4.2) ** 2


def head_mask(truth: torch.Tensor) -> torch.Tensor:
    """Voxels inside the head: above a tenth of the 99th percentile, the largest piece, holes filled.

    Returns
    -------
    Tensor
        bool ``(z, y, x)``.

    Examples
    --------
    >>> import torch
    >>> truth = torch.zeros(9, 9, 9)
    >>> truth[2:7, 2:7, 2:7], truth[4, 4, 4], truth[0, 0, 0] = 1, 0, 1
    >>> head_mask(truth).sum().item()
    125
    """
    from scipy import ndimage

    magnitude = truth.detach().abs().cpu().numpy()
    bright = magnitude > 0.1 * percentile(truth, 0.99)
    pieces, _ = ndimage.label(bright)
    sizes = ndimage.sum_labels(bright, pieces, range(1, pieces.max() + 1))
    if not len(sizes):
        raise ValueError("truth: found no voxel brighter than the rest, expected a head")
    return torch.from_numpy(ndimage.binary_fill_holes(pieces == sizes.argmax() + 1))


def percentile(x: torch.Tensor, fraction: float) -> float:
    """The magnitude below which a ``fraction`` of all voxels lies (torch.quantile refuses large volumes).

    Examples
    --------
    >>> percentile(torch.arange(-100.0, 0.0), 0.5)
    50.0
    """
    magnitude = x.detach().abs().flatten()
    return magnitude.kthvalue(max(1, round(fraction * magnitude.numel()))).values.item()


def _inside(mask: torch.Tensor | None, truth: torch.Tensor) -> torch.Tensor:
    """The mask as bool, checked; all voxels if there is none."""
    if mask is None:
        return torch.ones(truth.shape, dtype=torch.bool)
    if mask.shape != truth.shape or not mask.any():
        raise ValueError(f"mask: found shape {tuple(mask.shape)} with {int(mask.sum())} voxels, "
                         f"expected shape {tuple(truth.shape)} with at least one")
    return mask.bool().cpu()


def _slices(x: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None, smallest: int) -> list[list[torch.Tensor]]:
    """For each plane that is large enough x, truth (up to 255) and mask, each ``(slices, 1, height, width)``."""
    x, truth, peak = _magnitudes(x, truth)
    volumes = x.double() * (255 / peak), truth.double() * (255 / peak), _inside(mask, truth)
    planes = [[v.movedim(axis, 0)[:, None] for v in volumes] for axis in range(3)]
    large = [plane for plane in planes if min(plane[0].shape[-2:]) >= smallest]
    if not large:
        raise ValueError(f"truth: found shape {tuple(truth.shape)}, "
                         f"expected slices of at least {smallest} voxels each way")
    return large


def _something(total: float) -> float:
    if total < 1e-6:                            # but for rounding, nothing
        raise ValueError("truth: found nothing that varies, expected an image")
    return total


def _blur(image: torch.Tensor, size: int) -> torch.Tensor:
    """Weighted mean over a Gaussian window of ``size`` pixels, 5 standard deviations, where it fits."""
    weight = torch.exp(-0.5 * (5 / size * (torch.arange(size).double() - size // 2)) ** 2)
    weight /= weight.sum()
    return conv2d(conv2d(image, weight.view(1, 1, -1, 1)), weight.view(1, 1, 1, -1))


def _centres(image: torch.Tensor, size: int) -> torch.Tensor:
    """The centres of those windows."""
    edge = size // 2
    return image[..., edge:-edge, edge:-edge]


def _haar(image: torch.Tensor, size: int) -> torch.Tensor:
    """Magnitude of the Haar coefficients of a scale at each pixel, rows against rows; zeros around."""
    kernel = torch.full((1, 1, size, size), 1 / size, dtype=image.dtype)
    kernel[:, :, : size // 2] *= -1
    before, after = size // 2 - 1, size // 2
    return conv2d(pad(image, (before, after, before, after)), kernel).abs()


def _magnitudes(x: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Both as float32 magnitudes on the CPU, and the data range."""
    if x.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"x: found shape {tuple(x.shape)}, expected that of truth, "
                         f"{tuple(truth.shape)}, and three dimensions (z, y, x)")
    x, truth = (a.detach().abs().float().cpu() for a in (x, truth))
    for name, a in (("x", x), ("truth", truth)):
        if not torch.isfinite(a).all():
            raise ValueError(f"{name}: found NaN or infinite values, expected finite numbers")
    peak = truth.max().item()
    if peak == 0:
        raise ValueError("truth: found only zeros, expected an image")
    return x, truth, peak
