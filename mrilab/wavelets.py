"""Orthogonal wavelets of volumes, as one matrix for each axis and scale.

A matrix product along each axis is fast on a processor and on a GPU, and a shift of the image costs nothing: it is a
shift of the matrix's columns. The volume is a period of a periodic signal; sides that cannot be halved often enough
are filled with zeros.
"""

import functools
from collections.abc import Sequence

import torch

from .fourier import along_axes

LEVELS = 3      # how often the image is halved


def orthogonal_names() -> list[str]:
    """Names of orthogonal wavelets in PyWavelets.

    Examples
    --------
    >>> "db4" in orthogonal_names(), "bior2.2" in orthogonal_names()
    (True, False)
    """
    import pywt

    return [name for family in ("haar", "db", "sym", "coif") for name in pywt.wavelist(family)]


@functools.lru_cache(maxsize=32)
def filter_matrix(n: int, wavelet: str, device: str | torch.device = "cpu") -> torch.Tensor:
    """One scale of a periodic signal of even length: the first half of the rows smooths, the second takes differences.

    Examples
    --------
    >>> (filter_matrix(4, "haar") * 2**0.5).round().int().tolist()
    [[1, 1, 0, 0], [0, 0, 1, 1], [1, -1, 0, 0], [0, 0, 1, -1]]
    """
    import pywt

    filters = pywt.Wavelet(wavelet)
    matrix = torch.zeros(n, n)
    for half, taps in enumerate((filters.rec_lo, filters.rec_hi)):
        for row in range(n // 2):
            for k, tap in enumerate(taps):
                matrix[half * (n // 2) + row, (2 * row + k) % n] += tap
    return matrix.to(device)


class WaveletTransform:
    """Orthogonal wavelet transform over three scales of a volume that was shifted around.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    wavelet : str
        One of :func:`orthogonal_names`.
    shift : tuple of int
        Voxels along each axis; of a periodic volume of ``2**LEVELS`` shifts an axis all are different.
    device : str or torch.device

    Examples
    --------
    It keeps lengths, and its adjoint is its inverse, for any size:

    >>> x = torch.randn(2, 13, 10, 9, generator=torch.Generator().manual_seed(0))
    >>> W = WaveletTransform((13, 10, 9), "db4", (5, 0, 2))
    >>> c = W.forward(x)
    >>> c.shape, torch.allclose(c.norm(), x.norm()), torch.allclose(W.adjoint(c), x, atol=1e-5)
    (torch.Size([2, 16, 16, 16]), True, True)
    """

    def __init__(self, shape: Sequence[int], wavelet: str = "db4", shift: Sequence[int] = (0, 0, 0),
                 device: str | torch.device = "cpu") -> None:
        sides = [-(-n // 2**LEVELS) * 2**LEVELS for n in shape]
        self.scales = [[filter_matrix(side >> level, wavelet, device) for side in sides] for level in range(LEVELS)]
        self.scales[0] = [m.roll(s, 1)[:, :n] for m, s, n in zip(self.scales[0], shift, shape)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Coefficients ``(..., z, y, x)`` of a real volume; the coarsest scale lies in the corner."""
        coefficients = x
        for matrices in self.scales:
            corner = _corner(coefficients, matrices)
            found = along_axes(matrices, corner)
            if corner is coefficients:
                coefficients = found
            else:
                corner.copy_(found)
        return coefficients

    def adjoint(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The volume of real coefficients."""
        coefficients = coefficients.clone()
        for matrices in reversed(self.scales[1:]):
            corner = _corner(coefficients, matrices)
            corner.copy_(along_axes([m.T for m in matrices], corner))
        return along_axes([m.T for m in self.scales[0]], coefficients)


def _corner(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """What these matrices act on: the whole at the first scale, then the part that was smoothed."""
    z, y, w = (m.shape[1] for m in matrices)
    return x if x.shape[-3:] == (z, y, w) else x[..., :z, :y, :w]
