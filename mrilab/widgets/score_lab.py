"""The score of a mixture of Gaussians as a field: drag a point in it, and let it flow."""

import itertools

import torch

from ..mixture import GaussianMixture
from .base import Widget, sources

SIGMA_MIN, SIGMA_MAX = 0.02, 5.0
STEPS = 60          # noise levels of a flow, before the last one, 0
COUNT = 100         # points that flow together


class ScoreLab(Widget):
    """Density, score and denoiser of single complex voxels at any noise level, and the probability flow.

    The reader drags a point, sees where the denoiser sends it, changes the noise level, and lets the point, or a
    hundred from noise, follow the probability-flow equation to noise level 0. All of it is computed in the page.

    Parameters
    ----------
    mixture : GaussianMixture
        Of slices of one voxel, that is ``means`` of shape ``(components, 2, 1, 1)``; a positive ``std``.
    x : tuple of float
        Where the point lies at first, real and imaginary part.
    sigma : float
        The first noise level, up to 5.
    seed : int
        Of the noise from which a hundred points come.

    Attributes
    ----------
    noise : Tensor
        float32 ``(100, 2)``, standard normal; the hundred start at 5 times that.

    Raises
    ------
    ValueError
        For something else than such a mixture, a point that is not finite, or a noise level that is not from 0.02 to 5.

    Examples
    --------
    >>> means = torch.tensor([[-0.6, 0.0], [0.6, 0.0]])[..., None, None]
    >>> lab = ScoreLab(GaussianMixture(means, std=0.1))
    >>> lab
    ScoreLab: the score of a mixture of 2 Gaussians at any noise level: drag a point, let it flow
    >>> lab.flow(torch.tensor([[1.0, 0.5]]), sigma=0.5)[-1].round(decimals=2)
    tensor([[0.6800, 0.1000]], dtype=torch.float64)
    """

    _esm = sources("js", "core", "score_lab")
    _css = sources("css", "core", "score_lab")

    def __init__(self, mixture, x=(0.3, 0.9), sigma=0.3, seed=0):
        if not isinstance(mixture, GaussianMixture):
            raise ValueError(f"mixture: found {type(mixture).__name__}, expected a GaussianMixture")
        if mixture.means.shape[1:] != (2, 1, 1) or mixture.std == 0:
            raise ValueError(f"mixture: found means {tuple(mixture.means.shape)} and std {mixture.std:g}, expected "
                             "single voxels, (components, 2, 1, 1), and a std above 0")
        if not SIGMA_MIN <= sigma <= SIGMA_MAX:
            raise ValueError(f"sigma: found {sigma!r}, expected a noise level from {SIGMA_MIN} to {SIGMA_MAX:g}")
        if len(x) != 2 or not all(abs(v) < float("inf") for v in x):
            raise ValueError(f"x: found {x!r}, expected two finite numbers")
        self.mixture, means = mixture, mixture.means.flatten(1).cpu()
        self.noise = torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(seed))
        meta = {"means": means.tolist(), "weights": mixture.weights.tolist(), "std": mixture.std,
                "x": [float(v) for v in x], "sigma": float(sigma), "range": [SIGMA_MIN, SIGMA_MAX], "steps": STEPS,
                "reach": means.abs().max().item() + 8 * mixture.std}
        super().__init__([self.noise.numpy()], meta, f"the score of a mixture of {len(means)} Gaussians at any noise "
                         "level: drag a point, let it flow")

    def flow(self, points, sigma):
        """Points on their way from noise level ``sigma`` to 0, as in :meth:`mrilab.diffusion.Prior.sample`.

        Takes ``(points, 2)`` and returns float64 ``(61, points, 2)``, the start first.
        """
        ends = torch.tensor([sigma, SIGMA_MIN], dtype=torch.float64) ** (1 / 7)
        ramp = torch.linspace(0, 1, STEPS, dtype=torch.float64)
        sigmas = [*(torch.lerp(*ends, ramp) ** 7).tolist(), 0.0]
        path = [points.double()[..., None, None]]
        for now, then in itertools.pairwise(sigmas):
            slope = -now * self.mixture.score(path[-1], now)
            ahead = path[-1] + (then - now) * slope
            if then > 0:
                slope = (slope - then * self.mixture.score(ahead, then)) / 2
                ahead = path[-1] + (then - now) * slope
            path.append(ahead)
        return torch.stack(path)[..., 0, 0]

    def still(self, figure):
        reach, sigma, mean = 1.1 * self.meta["reach"], self.meta["sigma"], self.mixture.means.flatten(1)
        figure.set_size_inches(6.6, 3.5)
        field, paths = figure.subplots(1, 2)
        density = self.mixture.log_density(grid(reach, 120), sigma).exp().sqrt().reshape(120, 120)
        field.imshow(density, cmap="gray_r", extent=(-reach, reach, -reach, reach), vmax=1.6 * density.max())
        places, x = grid(reach, 13), torch.tensor(self.meta["x"]).reshape(1, 2, 1, 1)
        score = torch.nn.functional.normalize(self.mixture.score(places, sigma))
        for start, step, look in ((places, score, {"color": "0.4", "scale": 7 / reach}),
                                  (x, sigma**2 * self.mixture.score(x, sigma), {"color": "C1", "scale": 1})):
            field.quiver(*start[..., 0, 0].T, *step[..., 0, 0].T, angles="xy", scale_units="xy", width=0.007, **look)
        field.plot(*x.flatten(), "C0o")
        field.set_title(f"sigma = {sigma:g}, score and D(x; sigma)")
        path = self.flow(SIGMA_MAX * self.noise, SIGMA_MAX)
        paths.plot(*path.unbind(-1), color="0.6", lw=0.5)
        paths.plot(*path[-1].T, "C0.")
        paths.set_title(f"{len(self.noise)} from noise")
        for axis in (field, paths):
            axis.plot(*mean.T, "k+", ms=9)
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def grid(reach, number):
    """Points of a square about 0, row by row, as slices of one voxel: float32 ``(number**2, 2, 1, 1)``."""
    line = torch.linspace(-reach, reach, number)
    return torch.cartesian_prod(line, line).flip(1)[..., None, None]
