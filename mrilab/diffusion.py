"""The prior: a denoiser of complex slices, or volumes, at any noise level.

A denoiser that minimises the mean squared error is the posterior mean ``D(x; sigma) = E[clean | x]``, and
Tweedie's formula makes it the score of the noisy slices: ``grad log p(x; sigma) = (D - x) / sigma^2``.
Parameterisation after Karras et al. 2022 (EDM), Table 1. With DDPM's notation, ``x_t = alpha (x + sigma eps)``
and ``sigma = std / alpha``: one network serves both.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch


def to_channels(slices: torch.Tensor) -> torch.Tensor:
    """Complex slices ``(slices, height, width)`` as float ``(slices, 2, height, width)``; volumes alike.

    Examples
    --------
    >>> import torch
    >>> to_channels(torch.tensor([[[1 + 2j]]])).flatten()
    tensor([1., 2.])
    """
    return torch.view_as_real(slices).movedim(-1, 1)


def to_complex(channels: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`to_channels`.

    Examples
    --------
    >>> x = torch.randn(3, 4, 4, dtype=torch.complex64)
    >>> torch.equal(to_complex(to_channels(x)), x)
    True
    """
    return torch.view_as_complex(channels.float().movedim(1, -1).contiguous())


class Prior(torch.nn.Module):
    """A denoiser network with its preconditioning.

    Parameters
    ----------
    net : UNet
        Network ``F`` of slices and conditions.
    voxel_sizes : tuple of float
        Smallest and largest in-plane voxel size (mm) of the slices it was trained on.
    sigma_data : float
        Standard deviation of the clean slices' real and imaginary parts.
    conditioned : bool
        Whether the network is told the in-plane voxel size.
    dims : int
        2 for a prior of slices, 3 for one of volumes: what is said of slices ``(height, width)`` here then holds for
        volumes ``(z, y, x)``.
    """

    net: Any            # a network of slices and conditions; each kind has attributes of its own

    def __init__(self, net: torch.nn.Module | None, voxel_sizes: Sequence[float], sigma_data: float = 0.3,
                 conditioned: bool = False, dims: int = 2) -> None:
        super().__init__()
        self.dims = dims
        self.memory_format = torch.channels_last if dims == 2 else torch.channels_last_3d
        self.net = net
        self.voxel_sizes = tuple(voxel_sizes)
        self.sigma_data = sigma_data
        self.conditioned = conditioned

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, voxel_size: torch.Tensor | None = None) -> torch.Tensor:
        """``D(x; sigma)``: see :meth:`denoise`, which adds the checks and runs without a graph."""
        s = sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        total = (s**2 + self.sigma_data**2).sqrt()
        condition = (s.log() / 4).reshape(-1, 1)
        if self.conditioned:
            condition = torch.cat([condition, voxel_size.log() / 4], dim=1)     # type: ignore[union-attr]
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16(x.device)):
            f = self.net((x / total).contiguous(memory_format=self.memory_format), condition)
        return self.sigma_data**2 / total**2 * x + s * self.sigma_data / total * f.float()

    @torch.no_grad()
    def denoise(self, slices: torch.Tensor, sigma: float | torch.Tensor, voxel_size: Sequence[float] | None = None,
                batch_pixels: int = 2**19) -> torch.Tensor:
        """Expected clean slices, given noisy ones.

        Parameters
        ----------
        slices : Tensor
            float32 ``(slices, 2, height, width)``, real and imaginary part, 99th percentile of the
            magnitude about 1. Any height and width.
        sigma : float or Tensor
            Standard deviation of the noise in each of the two channels; one, or one for each slice.
        voxel_size : tuple of float, optional
            In-plane ``(height, width)`` voxel size in mm; needed by a conditioned prior, else unused.
        batch_pixels : int
            Slices are taken in batches of about this many pixels, which bounds the memory; a volume is taken whole.

        Returns
        -------
        Tensor
            Same shape as ``slices``.

        Raises
        ------
        ValueError
            For slices of another shape, a noise level that is not positive, or a missing voxel size.

        Examples
        --------
        >>> from mrilab.priors import load_prior
        >>> prior = load_prior("diverse")
        >>> prior.denoise(torch.zeros(1, 2, 50, 41), sigma=0.1).shape
        torch.Size([1, 2, 50, 41])
        """
        axes = ("height", "width") if self.dims == 2 else ("z", "y", "x")
        if slices.ndim != 2 + self.dims or slices.shape[1] != 2:
            raise ValueError(f"slices: found shape {tuple(slices.shape)}, expected "
                             f"({'slices' if self.dims == 2 else 'volumes'}, 2, {', '.join(axes)})")
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=slices.device).expand(len(slices))
        if not (sigma > 0).all():
            raise ValueError(f"sigma: found {sigma.min().item()}, expected a positive noise level")
        count = max(1, batch_pixels // slices.shape[2:].numel())
        sizes: Iterable[torch.Tensor | None] = itertools.repeat(None)
        if self.conditioned:
            if voxel_size is None or len(voxel_size) != len(axes) or not all(0 < d < float("inf") for d in voxel_size):
                raise ValueError(f"voxel_size: found {voxel_size!r}, expected ({', '.join(axes)}) in mm: this prior is "
                                 "conditioned")
            size = torch.tensor([voxel_size], dtype=torch.float32, device=slices.device)
            sizes = size.expand(len(slices), -1).split(count)
        return torch.cat([self(x, s, v) for x, s, v in zip(slices.split(count), sigma.split(count), sizes)])

    @torch.no_grad()
    def sample(self, shape: Sequence[int], steps: int = 18, sigma_max: float = 30.0, sigma_min: float = 0.01,
               voxel_size: Sequence[float] | None = None, seed: int = 0) -> torch.Tensor:
        """Draw slices from the prior: Heun's method on the probability-flow equation.

        Karras et al. 2022, Algorithm 1, with their noise levels (rho = 7); ``2 steps - 1`` evaluations.

        Parameters
        ----------
        shape : tuple of int
            ``(slices, height, width)``.

        Returns
        -------
        Tensor
            float32 ``(slices, 2, height, width)``.
        """
        device = next(self.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        ramp = torch.linspace(0, 1, steps)
        sigmas = (sigma_max ** (1 / 7) + ramp * (sigma_min ** (1 / 7) - sigma_max ** (1 / 7))) ** 7
        sigmas = [*sigmas.tolist(), 0.0]
        x = sigma_max * torch.randn(shape[0], 2, *shape[1:], generator=generator).to(device)
        for now, then in zip(sigmas, sigmas[1:]):
            slope = (x - self.denoise(x, now, voxel_size)) / now
            proposal = x + (then - now) * slope
            if then > 0:
                slope = (slope + (proposal - self.denoise(proposal, then, voxel_size)) / then) / 2
                proposal = x + (then - now) * slope
            x = proposal
        return x


def ddpm_sigma(t: int | torch.Tensor, steps: int = 1000) -> torch.Tensor:
    """Noise level of DDPM's time ``t`` in 1 .. ``steps``: std / alpha for its linear betas, 1e-4 to 0.02.

    ``x_t = alpha (x + sigma eps)`` with ``alpha^2 = abar_t`` and ``sigma^2 = 1 / abar_t - 1`` (Ho et al. 2020).

    Examples
    --------
    >>> [round(s, 2) for s in ddpm_sigma(torch.tensor([1, 100, 400])).tolist()]
    [0.01, 0.34, 2.03]
    """
    abar = (1 - torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)).cumprod(0)
    return (1 / abar[torch.as_tensor(t) - 1] - 1).sqrt().float()


def bf16(device: str | torch.device) -> bool:
    """Whether bfloat16 is the faster arithmetic on this device (AVX-512 BF16 or AMX; Ampere or later).

    Examples
    --------
    Neither a processor nor an NVIDIA card, so float32 it is:

    >>> bf16("mps")
    False
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.device(device).type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def denoising_loss(prior: Prior, clean: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor,
                   voxel_size: torch.Tensor | None = None) -> torch.Tensor:
    """Denoising score matching with EDM's weight ``(sigma^2 + sigma_data^2) / (sigma sigma_data)^2``.

    The weight makes the expected loss of the untrained network about 1 at every noise level.

    Parameters
    ----------
    clean, noise : Tensor
        float32 ``(slices, 2, height, width)``; ``noise`` has unit variance.
    sigma : Tensor
        ``(slices,)``.

    Returns
    -------
    Tensor
        ``(slices,)``, the weighted mean squared error of each slice.

    Examples
    --------
    >>> from mrilab.priors import load_prior
    >>> prior, clean = load_prior("diverse"), torch.zeros(2, 2, 32, 32)
    >>> noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    >>> with torch.no_grad():
    ...     loss = denoising_loss(prior, clean, torch.tensor([0.1, 0.2]), noise)
    >>> loss.shape, bool((loss < 0.5).all())
    (torch.Size([2]), True)
    """
    s = sigma.reshape(-1, *[1] * (clean.ndim - 1))
    error = prior(clean + s * noise, sigma, voxel_size) - clean
    weight = (sigma**2 + prior.sigma_data**2) / (sigma * prior.sigma_data) ** 2
    return weight * error.square().mean(dim=tuple(range(1, error.ndim)))
