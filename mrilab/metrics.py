"""Image quality against the truth. All on magnitudes, with the largest magnitude of the truth as range."""

import math

import torch


def psnr(x, truth, mask=None):
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
    error = x.double() - truth
    if mask is not None:
        if mask.shape != truth.shape or not mask.any():
            raise ValueError(f"mask: found shape {tuple(mask.shape)} with {int(mask.sum())} voxels, "
                             f"expected shape {tuple(truth.shape)} with at least one")
        error = error[mask.bool()]
    mean_square = error.square().mean().item()
    return 10 * math.log10(peak**2 / mean_square) if mean_square else math.inf


def ssim(x, truth):
    """Structural similarity of magnitudes in 3D (Wang et al., IEEE TIP 13:600, 2004).

    ``skimage.metrics.structural_similarity``: a cubic window of 7 voxels, or the largest odd one that
    fits, mean over the volume.

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
    return float(structural_similarity(truth.numpy(), x.numpy(), data_range=peak, win_size=window))


def head_mask(truth):
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


def percentile(x, fraction):
    """The magnitude below which a ``fraction`` of all voxels lies (torch.quantile refuses large volumes)."""
    magnitude = x.detach().abs().flatten()
    return magnitude.kthvalue(max(1, round(fraction * magnitude.numel()))).values.item()


def _magnitudes(x, truth):
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
