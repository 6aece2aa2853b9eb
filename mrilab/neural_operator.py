"""A denoiser in function space: its convolution kernels, its inner grid and its noise are measured in mm.

A U-Net's kernels are lists of pixels: at another voxel size they cover other lengths. Here a slice is taken for
samples of a function, and the denoiser for an operator on functions, which any pixel size may sample. After
infinity-Diff (Bond-Taylor and Willcocks, arXiv 2303.18242), in the form Krainovic, Ruschke and Heckel compare with
(arXiv 2412.18584): kernels on the slice's own grid, interpolated to its pixel size, around a U-shaped network on a
grid that never changes. Their kernels are depthwise, of 7 x 7; full ones of 5 x 5 take less time on a CPU.

The noise is a function, too. White noise of standard deviation ``sigma`` per pixel of ``a x b`` mm samples white
noise of density ``sigma sqrt(a b)``: the same noise on pixels of 2 mm has half the ``sigma`` it has on 1 mm. White
noise is no function (its variance grows without bound as pixels shrink), so the network sees it through a Gaussian
of some ``length`` in mm. That makes it a random field with the same covariance on every grid whose pixels are not much
larger: at distance ``r`` mm and for unit density it is ``exp(-r^2 / (4 length^2)) / (4 pi length^2)``.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import conv2d, silu

from .checks import check_choice
from .diffusion import Prior, bf16
from .unet import UNet

KERNEL_INTERPOLATIONS = ("bilinear", "fourier", "zero_padded")
SIZE = 5                # samples of a kernel along an axis, one training pixel apart
PITCH = 2.0             # pitch of the inner grid, in training pixels
TOLERANCE = 0.03        # a voxel size this close to the training one counts as it: matrix sizes are whole numbers


def taps(ratio: float, interpolation: str = "bilinear") -> torch.Tensor:
    """Matrix that takes a stored kernel, along one axis, to another pixel size.

    A stored kernel is a function known at ``SIZE`` points one training pixel apart, times the training pixel. For
    smaller pixels that function is interpolated and the weights, kernel times pixel, shrink with the pixel. For
    larger ones the roles change: the slice is interpolated to where the kernel has its points. In both, a stored
    weight is spread over the taps of the new grid and keeps its sum, so constants pass as in training.

    Parameters
    ----------
    ratio : float
        Pixel size over training pixel size.
    interpolation : str
        ``"bilinear"``; ``"fourier"``, the trigonometric interpolant with the frequencies of the coarser grid;
        ``"zero_padded"``, no interpolation: the stored weights as they are, with zeros around, or cropped.

    Returns
    -------
    Tensor
        float32 ``(new size, SIZE)``; the new size is odd and covers about the same length.

    Examples
    --------
    >>> taps(2.0)
    tensor([[1.0000, 0.5000, 0.0000, 0.0000, 0.0000],
            [0.0000, 0.5000, 1.0000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000, 0.5000, 1.0000]])
    """
    check_choice(interpolation, "interpolation", KERNEL_INTERPOLATIONS)
    reach = SIZE // 2
    spacing = max(ratio, 1.0)                               # of the coarser grid, in training pixels
    nodes = 2 * math.ceil(reach / spacing - 1e-6) + 1       # of the coarser grid on the kernel
    half = math.floor(nodes / 2 * spacing / ratio + 1e-6)
    new, old = torch.arange(-half, half + 1.0)[:, None], torch.arange(-reach, reach + 1.0)
    if interpolation == "zero_padded":
        return (new == old).float()
    distance = (ratio * new - old) / spacing
    if interpolation == "bilinear":
        weights = (1 - distance.abs()).clamp(min=0)
    else:
        k = torch.arange(1, nodes // 2 + 1)
        weights = 1 + 2 * torch.cos(2 * torch.pi * k * distance[..., None] / nodes).sum(dim=-1)
    return weights / weights.sum(dim=0)


def resampling(count: int, pitch: float, new_count: int, new_pitch: float) -> torch.Tensor:
    """Matrix ``(new_count, count)`` that samples a function, given on a centred grid, on another one.

    Both grids have their sample ``n // 2`` at the same place. Lanczos' kernel (a sinc under a sinc of three times
    its length) passes what the coarser grid can hold; constants are kept.

    Examples
    --------
    >>> resampling(4, 1.0, 4, 1.0)
    tensor([[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 0.],
            [0., 0., 0., 1.]])
    """
    old = (torch.arange(count) - count // 2) * pitch
    new = (torch.arange(new_count) - new_count // 2) * new_pitch
    distance = (new[:, None] - old) / max(pitch, new_pitch)
    weights = torch.where(distance.abs() < 3, torch.sinc(distance) * torch.sinc(distance / 3), 0.0)
    weights = torch.where(weights.abs() < 1e-6, 0.0, weights)
    total = weights.sum(dim=1, keepdim=True)
    return weights / torch.where(total > 0.1, total, torch.inf)         # a point outside of the slice sees nothing


def low_pass(x: torch.Tensor, voxel_size: Sequence[float], length: float = 0.0, finest: float = 0.0) -> torch.Tensor:
    """Smooth by a Gaussian of standard deviation ``length``, and drop what pixels of ``finest`` cannot hold (mm).

    Parameters
    ----------
    x : Tensor
        ``(..., height, width)``, real.
    voxel_size : tuple of float
        In-plane ``(height, width)``, mm.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> low_pass(torch.ones(8, 8), (1, 1), length=2.0).shape
    torch.Size([8, 8])
    """
    gain = torch.ones((), device=x.device)
    for axis, d in zip((-2, -1), voxel_size):
        frequency = torch.fft.fftfreq(x.shape[axis], d, device=x.device)
        along = torch.exp(-2 * (torch.pi * frequency * length) ** 2) * (frequency.abs() * 2 * finest < 1 + 1e-6)
        gain = gain * along.reshape([-1, 1] if axis == -2 else [-1])
    return torch.fft.ifft2(torch.fft.fft2(x) * gain).real


class _KernelBlock(nn.Module):
    """The U-Net's residual block (``mrilab.unet``) with kernels in mm."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, SIZE)
        self.conv2 = nn.Conv2d(channels, channels, SIZE)
        self.modulate = nn.Linear(embedding, 2 * channels)
        for p in (self.conv2.weight, self.modulate.weight, self.modulate.bias):
            nn.init.zeros_(p)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, matrices: list[torch.Tensor] | None) -> torch.Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = convolve(silu(x), self.conv1, matrices)
        return x + convolve(silu(h * (1 + scale) + shift), self.conv2, matrices)


def convolve(x: torch.Tensor, layer: nn.Conv2d, matrices: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
    """A layer's kernel, interpolated by one matrix of :func:`taps` for each axis, on a slice with zeros around.

    Parameters
    ----------
    x : Tensor
        float32 ``(slices, channels, height, width)``.
    layer : torch.nn.Conv2d
        With a kernel of ``SIZE x SIZE``.
    matrices : pair of Tensor, optional
        For height and width; without them the kernel is used as it is.

    Returns
    -------
    Tensor
        float32 ``(slices, new channels, height, width)``.

    Examples
    --------
    A kernel that averages over five pixels of 1 mm, and over as much on pixels of 2 mm; constants pass both:

    >>> layer = nn.Conv2d(1, 1, SIZE, bias=False).requires_grad_(False)
    >>> layer.weight.fill_(1 / 25)
    Parameter ...
    >>> x = torch.ones(1, 1, 7, 7)
    >>> convolve(x, layer)[0, 0, 3], convolve(x, layer, [taps(2.0)] * 2)[0, 0, 3]
    (tensor([0.6000, 0.8000, 1.0000, 1.0000, 1.0000, 0.8000, 0.6000]),
     tensor([0.7000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 0.7000]))
    """
    weight: torch.Tensor = layer.weight
    if matrices is not None:
        weight = matrices[0] @ weight.float() @ matrices[1].T
    return conv2d(x, weight, layer.bias, padding=(weight.shape[-2] // 2, weight.shape[-1] // 2))


class NeuralOperator(nn.Module):
    """The plain U-Net with its first level as kernels in mm and the others on a grid of fixed pitch.

    Parameters
    ----------
    voxel_size : float
        In-plane size of the training pixels, mm.
    widths : tuple of int
        Channels on the slice's grid, and of the inner U-Net, whose grid has ``PITCH`` training pixels.

    Examples
    --------
    >>> net = NeuralOperator(1.0, (8, 8, 16))
    >>> net(torch.zeros(3, 2, 17, 30), torch.zeros(3, 1), (1.5, 3.0)).shape
    torch.Size([3, 2, 17, 30])
    """

    def __init__(self, voxel_size: float, widths: Sequence[int] = (32, 32, 64, 128, 128)) -> None:
        super().__init__()
        self.voxel_size = voxel_size
        self.widths = tuple(widths)
        width = widths[0]
        self.inner = UNet(widths[1:], channels=width)
        embedding = 4 * widths[1]
        self.first = nn.Conv2d(2, width, SIZE)
        self.down = _KernelBlock(width, embedding)
        self.up = _KernelBlock(width, embedding)
        self.last = nn.Conv2d(width, 2, SIZE)
        for p in self.last.parameters():
            nn.init.zeros_(p)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, voxel_size: Sequence[float],
                interpolation: str = "bilinear") -> torch.Tensor:
        ratios = [d / self.voxel_size for d in voxel_size]
        matrices = None
        if max(abs(r - 1) for r in ratios) > TOLERANCE:
            matrices = [taps(r, interpolation).to(x.device) for r in ratios]
        multiple = 2 ** (len(self.widths) - 2)
        to, back = [], []
        for n, r in zip(x.shape[-2:], ratios if matrices else (1.0, 1.0)):
            m = multiple * math.ceil(n * r / (PITCH * multiple) - 1e-3)
            to.append(resampling(n, r, m, PITCH).to(x.device))
            back.append(resampling(m, PITCH, n, r).to(x.device))

        embedding = self.inner.encode(condition)
        x = self.down(convolve(x, self.first, matrices), embedding, matrices)
        coarse = self.inner((to[0] @ x @ to[1].T).contiguous(memory_format=torch.channels_last), condition)
        x = x + (back[0] @ coarse @ back[1].T).contiguous(memory_format=torch.channels_last)
        return convolve(silu(self.up(x, embedding, matrices)), self.last, matrices)


class OperatorPrior(Prior):
    """A prior in function space: ``denoise`` and ``sample`` as for :class:`~mrilab.diffusion.Prior`.

    ``denoise(slices, sigma, voxel_size)`` needs the voxel size. ``sigma`` is what it always is, the standard
    deviation of white noise per pixel of the given slices; the network is told the standard deviation this noise
    has on the training pixels, ``sigma sqrt(dy dx) / d``. So at twice the voxel size a solver passes its own
    ``sigma`` and the operator takes it for ``2 sigma``.

    On pixels smaller than the training ones a slice has frequencies of which the prior knows nothing. The network
    does not see them; they are kept in the proportion in which their energy exceeds that of the noise (James and
    Stein's estimate).

    Parameters
    ----------
    widths : tuple of int
    voxel_sizes : tuple of float
        Training voxel size in mm, twice: an operator has one.
    length : float, optional
        Standard deviation in mm of the Gaussian through which the network sees slice and noise; a fifth of a training
        pixel if not given. A longer one costs detail: with half a pixel training was far behind after 500 steps.
    interpolation : str
        Of the kernels, see :func:`taps`; may be set at any time.

    Raises
    ------
    ValueError
        For a range of voxel sizes, or an unknown interpolation.

    Examples
    --------
    >>> prior = OperatorPrior((4, 4, 8), (1, 1), interpolation="fourier")
    >>> prior.denoise(torch.zeros(1, 2, 21, 30), sigma=0.1, voxel_size=(2, 1.5)).shape
    torch.Size([1, 2, 21, 30])
    """

    def __init__(self, widths: Sequence[int] = (32, 32, 64, 128, 128), voxel_sizes: Sequence[float] = (1, 1),
                 sigma_data: float = 0.3, length: float | None = None, interpolation: str = "bilinear") -> None:
        if voxel_sizes[0] != voxel_sizes[1] or not voxel_sizes[0] > 0:
            raise ValueError(f"voxel_sizes: found {tuple(voxel_sizes)}, expected one size, twice: an operator is "
                             "trained at one")
        check_choice(interpolation, "interpolation", KERNEL_INTERPOLATIONS)
        super().__init__(NeuralOperator(voxel_sizes[0], widths), voxel_sizes, sigma_data, conditioned=True)
        self.length = voxel_sizes[0] / 5 if length is None else length
        self.interpolation = interpolation

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, voxel_size: Any = None) -> torch.Tensor:
        """``D(x; sigma)``; ``voxel_size`` is ``(slices, 2)``, the same for all slices up to a training pixel."""
        size, d = voxel_size[0].tolist(), self.net.voxel_size
        sigma = sigma.reshape(-1, 1, 1, 1).to(x.dtype)
        s = sigma * math.sqrt(size[0] * size[1]) / d
        total = (s**2 + self.sigma_data**2).sqrt()
        known = low_pass(x, size, finest=d) if min(size) < (1 - TOLERANCE) * d else x
        state = low_pass(known, size, self.length) / total
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16(x.device)):
            f = self.net(state.contiguous(memory_format=torch.channels_last), (s.log() / 4).reshape(-1, 1), size,
                         self.interpolation)
        clean = self.sigma_data**2 / total**2 * known + s * self.sigma_data / total * f.float()
        return clean if known is x else clean + beyond(x - known, sigma, min(1, size[0] / d) * min(1, size[1] / d))


def beyond(x: torch.Tensor, sigma: float | torch.Tensor, share: float) -> torch.Tensor:
    """What a slice has beyond the prior's frequencies, shrunk: ``share`` of all frequencies are the prior's.

    Parameters
    ----------
    x : Tensor
        float32 ``(slices, 2, height, width)``, that part of the slices alone.
    sigma : float or Tensor
        Noise level, one or ``(slices, 1, 1, 1)``.
    share : float

    Returns
    -------
    Tensor
        Same shape: ``x`` times one number for each slice, between 0 and 1.

    Examples
    --------
    A quarter of the frequencies is beyond. Noise of level 1 leaves an energy of 2 in these 8 numbers; an energy of 2
    may be that noise, one of 8 is so in a quarter, one of 32 in a sixteenth:

    >>> [beyond(torch.full((1, 2, 2, 2), a), 1.0, 0.75).mean().item() / a for a in (0.5, 1.0, 2.0)]
    [0.0, 0.75, 0.9375]
    """
    noise = (1 - share) * sigma**2 * x[0].numel()
    return (1 - noise / x.square().sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)).clamp(min=0) * x
