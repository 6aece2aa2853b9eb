"""A mixture of Gaussians: slices whose exact denoiser, score and density are formulas.

Adding noise of standard deviation ``sigma`` to ``sum_k w_k N(m_k, std^2)`` widens every component to
``v = std^2 + sigma^2``. With ``r_k(x)`` the probability that ``x`` came from component ``k`` (Bayes' rule),

    score(x; sigma) = (sum_k r_k(x) m_k - x) / v,        D(x; sigma) = x + sigma^2 score(x; sigma),

the second by Tweedie's formula. What a network has learned can be held against it; chapter 5 does.
"""

import math
from typing import Any

import torch

from .diffusion import Prior


class GaussianMixture(Prior):
    """A prior that is known exactly. It stands wherever a :class:`~mrilab.diffusion.Prior` does.

    ``denoise`` returns the posterior mean, and ``sample`` runs Heun's method with it.

    Parameters
    ----------
    means : Tensor
        ``(components, 2, height, width)``, real and imaginary part; it knows slices of this size only.
    std : float
        Standard deviation of each channel about its component's mean. 0 makes the means the only slices.
    weights : Tensor, optional
        ``(components,)``, probabilities up to a factor; equal if not given.

    Raises
    ------
    ValueError
        For means of another shape or not finite, a negative ``std``, or weights that are no probabilities.

    Examples
    --------
    Two points, -1 and 1. Without noise to speak of a point stays; in strong noise the answer is between them.

    >>> mixture = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])[..., None, None], std=0)
    >>> x = torch.tensor([0.5, 0.0]).reshape(1, 2, 1, 1)
    >>> [round(mixture.denoise(x, sigma)[0, 0].item(), 2) for sigma in (0.1, 1, 10)]
    [1.0, 0.46, 0.0]
    """

    weights: torch.Tensor

    def __init__(self, means: Any, std: float, weights: Any = None) -> None:
        means = torch.as_tensor(means, dtype=torch.float32)
        if means.ndim != 4 or means.shape[1] != 2 or 0 in means.shape or not means.isfinite().all():
            raise ValueError(f"means: found shape {tuple(means.shape)}, expected finite (components, 2, height, width)")
        if not 0 <= std < math.inf:
            raise ValueError(f"std: found {std!r}, expected a standard deviation of 0 or more")
        weights = torch.as_tensor(torch.ones(len(means)) if weights is None else weights, dtype=torch.float64)
        if weights.shape != means.shape[:1] or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
            raise ValueError(f"weights: found {weights.tolist()}, expected {len(means)} numbers of 0 or more")
        weights = weights / weights.sum()
        power = weights @ means.double().square().mean(dim=(1, 2, 3)) + std**2
        super().__init__(None, (0.0, math.inf), sigma_data=power.sqrt().item())
        self.std = float(std)
        self.means = torch.nn.Parameter(means, requires_grad=False)
        self.register_buffer("weights", weights)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, voxel_size: Any = None) -> torch.Tensor:   # noqa: ARG002
        """``D(x; sigma)``: see :meth:`mrilab.diffusion.Prior.denoise`."""
        s = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
        return x + s**2 * self.score(x, sigma)

    def score(self, slices: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Gradient of :meth:`log_density` with respect to the slices, same shape and type.

        Parameters
        ----------
        slices : Tensor
            ``(slices, 2, height, width)``, of the means' size.
        sigma : float or Tensor
            Noise level, one or one for each slice; 0 asks for the clean slices' own score.
        """
        log_parts, variance = self._log_parts(slices, sigma)
        expected = log_parts.softmax(dim=1) @ self.means.double().flatten(1)
        return ((expected - slices.flatten(1)) / variance).reshape(slices.shape).to(slices.dtype)

    def log_density(self, slices: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        """Log of the density of noisy slices, ``(slices,)`` in float64; arguments as for :meth:`score`."""
        return self._log_parts(slices, sigma)[0].logsumexp(dim=1)

    def draw(self, count: int, seed: int = 0) -> torch.Tensor:
        """``count`` clean slices, float32 ``(count, 2, height, width)``: pick a mean, add noise of ``std``.

        Examples
        --------
        >>> GaussianMixture(torch.zeros(1, 2, 4, 4), std=1).draw(3).shape
        torch.Size([3, 2, 4, 4])
        """
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self.weights.cpu(), count, replacement=True, generator=generator)
        noise = torch.randn(count, *self.means.shape[1:], generator=generator)
        return self.means[which.to(self.means.device)] + self.std * noise.to(self.means.device)

    def _log_parts(self, slices: torch.Tensor, sigma: float | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log of what each component adds to the noisy density ``(slices, components)``; variance ``(slices, 1)``."""
        if slices.ndim != 4 or slices.shape[1:] != self.means.shape[1:]:
            raise ValueError(f"slices: found shape {tuple(slices.shape)}, expected (slices, 2, height, width) "
                             f"= (any, {', '.join(map(str, self.means.shape[1:]))})")
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=slices.device).expand(len(slices))
        variance = (self.std**2 + sigma**2)[:, None]
        if not (sigma >= 0).all() or not (variance > 0).all():
            raise ValueError(f"sigma: found {sigma.min().item()}, expected a noise level of 0 or more, not 0 if std is")
        x, m = slices.double().flatten(1), self.means.double().flatten(1)    # squares of large numbers cancel
        distance = x.square().sum(1, keepdim=True) - 2 * x @ m.T + m.square().sum(1)
        size = x.shape[1]
        return self.weights.log() - distance / (2 * variance) - size / 2 * (2 * math.pi * variance).log(), variance
