"""The denoiser network: a small U-Net that takes slices of any size, or volumes.

There is no normalisation layer: its statistics would depend on the size of the slice, and the network is
trained on patches and used on whole slices. Residual blocks that start as the identity do without.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import interpolate, pad, silu


def _convolution(dims: int) -> type[nn.Conv2d | nn.Conv3d]:
    """The convolution layer of slices (``dims`` 2) or volumes (3)."""
    return nn.Conv2d if dims == 2 else nn.Conv3d


class _Block(nn.Module):
    """Residual block of two convolutions, over 3 pixels and ``second``, modulated by the noise level's embedding."""

    def __init__(self, channels: int, out_channels: int, embedding: int, dims: int = 2, second: int = 3) -> None:
        super().__init__()
        conv = _convolution(dims)
        self.conv1 = conv(channels, out_channels, 3, padding=1)
        self.conv2 = conv(out_channels, out_channels, second, padding=second // 2)
        self.modulate = nn.Linear(embedding, 2 * out_channels)
        self.skip = nn.Identity() if channels == out_channels else conv(channels, out_channels, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        embedding = self.modulate(embedding)
        scale, shift = embedding.reshape(*embedding.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        h = self.conv1(silu(x))
        h = self.conv2(silu(h * (1 + scale) + shift))
        return self.skip(x) + h


class UNet(nn.Module):
    """U-Net over slices ``(slices, channels, height, width)``, told ``conditions`` numbers about each slice.

    With ``dims=3``, over volumes ``(volumes, channels, z, y, x)``: the same layers, with kernels of 27 weights for 9.

    Parameters
    ----------
    widths : tuple of int
        Channels at full, half, quarter ... resolution.
    conditions : int
        1 for the noise level alone, 3 for the noise level and the two in-plane voxel sizes.
    channels : int
        Of input and output: real and imaginary part.
    dims : int
        2 or 3.
    light : bool
        At full resolution, where half of the time goes, the second convolution of a block has 1 pixel for 3.

    Examples
    --------
    >>> import torch
    >>> net = UNet((8, 16))
    >>> net(torch.zeros(3, 2, 17, 30), torch.zeros(3, 1)).shape      # any size, odd ones too
    torch.Size([3, 2, 17, 30])
    """

    frequencies: torch.Tensor

    def __init__(self, widths: Sequence[int] = (32, 32, 64, 128, 128), conditions: int = 1, channels: int = 2,
                 dims: int = 2, light: bool = False) -> None:
        super().__init__()
        conv = _convolution(dims)
        self.widths = tuple(widths)
        embedding = 4 * widths[0]
        self.register_buffer("frequencies", 2.0 ** torch.linspace(-2, 3, 16))
        self.embed = nn.Sequential(nn.Linear(32 * conditions, embedding), nn.SiLU(),
                                   nn.Linear(embedding, embedding), nn.SiLU())
        self.first = conv(channels, widths[0], 3, padding=1)
        second = [1 if light else 3, *[3] * (len(widths) - 1)]
        self.down = nn.ModuleList(_Block(w, w, embedding, dims, k) for w, k in zip(widths, second))
        self.shrink = nn.ModuleList(conv(a, b, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.middle = _Block(widths[-1], widths[-1], embedding, dims)
        self.grow = nn.ModuleList(conv(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(_Block(w, w, embedding, dims, k) for w, k in zip(widths, second))
        self.last = conv(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)          # type: ignore[arg-type]

    def encode(self, condition: torch.Tensor) -> torch.Tensor:
        """The conditions ``(slices, conditions)`` as the embedding that modulates every block."""
        angles = math.pi * (condition[:, :, None] * self.frequencies).flatten(1)
        return self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        shape, multiple = x.shape[2:], 2 ** len(self.shrink)
        x = pad(x, [n for size in reversed(shape) for n in (0, -size % multiple)])
        embedding = self.encode(condition)
        x, skips = self.first(x), []
        for level, block in enumerate(self.down):
            x = block(x, embedding)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        x = self.middle(x, embedding)
        for level in reversed(range(len(self.up))):
            x = self.up[level](x, embedding)
            if level:
                x = interpolate(self.grow[level - 1](x), scale_factor=2, mode="nearest") + skips[level - 1]
        return self.last(silu(x))[(..., *(slice(size) for size in shape))]
