"""What stands for the image when the prior knows another voxel size than the scan: one object, two grids.

A prior trained at one voxel size can be kept at home: describe the image by parameters ``theta`` that can be evaluated
on any grid, compare it with the data on the acquisition's grid, and show it to the prior on a grid with the prior's
own voxel size. Krainovic, Ruschke and Heckel (arXiv 2412.18584) try samples with interpolation between them, a mixture
of Gaussians (after Kerbl et al., arXiv 2308.04079) and a neural field (Tancik et al., arXiv 2006.10739). Chapter 8
builds each of them. Every one offers

- ``image()``: complex ``(z, y, x)`` on the acquisition's grid, differentiable in ``parameters()``;
- ``prior_image()``: the same object on the prior's grid, whose voxel size is ``prior_voxel_size``;
- ``fit(problem, target, rho, iterations)``: the solver's data step,
  ``min |A image - y|^2 + rho v |prior_image - target|^2``, where ``v`` is the volume of a prior's voxel over that of
  an acquisition's voxel: both sums then approximate integrals over space, and ``rho`` means the same on every grid.

Both grids cover the field of view of the acquisition with the image's centre at index ``n // 2``, as everywhere in
``mrilab``: index ``i`` of ``n`` is at ``(i - n // 2) L / n`` mm, with ``L`` the field of view.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from .checks import check_array, check_choice, check_voxel_size, check_whole
from .fourier import along_axes, fft3c, ifft3c, resampled_shape, resize_centred
from .operators import Linear, conjugate_gradients
from .problem import Problem

INTERPOLATIONS = ("nearest", "trilinear", "fourier")
NAMES = ("voxel", *INTERPOLATIONS, "gaussian", "neural_field")
TOLERANCE = 1e-4        # of a data step by conjugate gradients: as far as more would change no image
Size = Sequence[float]


def represent(name: str, start: torch.Tensor, voxel_size: Size, prior_voxel_size: Size | None = None,
              **options: Any) -> "Representation":
    """A representation by its name, started from an image.

    Parameters
    ----------
    name : str
        ``"voxel"`` (the acquisition's grid for both), ``"nearest"``, ``"trilinear"``, ``"fourier"``,
        ``"gaussian"`` or ``"neural_field"``.
    start : Tensor
        complex ``(z, y, x)`` on the acquisition's grid, 99th percentile about 1; its device is used.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` of the acquisition in mm.
    prior_voxel_size : tuple of float, optional
        Voxel size in mm at which the prior is shown the image; the acquisition's if not given. The matrix is a whole
        number, so the attribute ``prior_voxel_size`` has the nearest possible one.
    options
        For :class:`Grid`, :class:`Gaussians` and :class:`NeuralField`.

    Returns
    -------
    Grid, Gaussians or NeuralField

    Raises
    ------
    ValueError
        For an unknown name, a voxel size that is none, another voxel size for ``"voxel"``, or a start that is not a
        finite volume.

    Examples
    --------
    A prior made for 1 mm, data at 2 mm:

    >>> start = torch.ones(6, 7, 8, dtype=torch.complex64)
    >>> x = represent("trilinear", start, (2, 2, 2), (1, 1, 1))
    >>> tuple(x.image().shape), tuple(x.prior_image().shape)
    ((6, 7, 8), (12, 14, 16))
    """
    check_choice(name, "representation", NAMES)
    start = check_array(start, "start", 3, "(z, y, x)")
    if not start.is_complex():
        raise ValueError(f"start: found {start.dtype}, expected a complex image")
    voxel_size = check_voxel_size(voxel_size)
    prior_voxel_size = check_voxel_size(prior_voxel_size or voxel_size, "prior_voxel_size")
    if name == "gaussian":
        return Gaussians(start, voxel_size, prior_voxel_size, **options)
    if name == "neural_field":
        return NeuralField(start, voxel_size, prior_voxel_size, **options)
    if name == "voxel" and prior_voxel_size != voxel_size:
        raise ValueError(f"prior_voxel_size: found {prior_voxel_size}, expected none: 'voxel' has one grid")
    return Grid(start, voxel_size, prior_voxel_size, "fourier" if name == "voxel" else name, **options)


def interpolation(n: int, m: int, kind: str, dtype: torch.dtype = torch.float32,
                  antialias: bool = True) -> torch.Tensor:
    """The matrix that takes ``n`` samples over a field of view to ``m`` samples over the same field of view.

    Interpolation is linear and works along one axis after the other, so a small matrix for each axis says all of it,
    and the adjoint is the transposed matrix. ``"fourier"`` crops or zero-pads k-space, as
    :func:`mrilab.fourier.resample` does. ``"nearest"`` and ``"trilinear"`` look at the one or two samples next to a
    point; beyond the last sample they repeat it.

    Parameters
    ----------
    n, m : int
    kind : str
        ``"nearest"``, ``"trilinear"`` or ``"fourier"``.
    dtype : torch.dtype
        Real type of the result; ``"fourier"`` gives the complex one that belongs to it.
    antialias : bool
        To a coarser grid: a voxel takes a mean of the samples, each with the weight that it would have had on the way
        back. A mean, as a scan with larger voxels takes one. Without, the samples next to the voxel's centre are all
        that counts, and the others are not looked at (1 mm to 3 mm: all but one in 27).

    Returns
    -------
    Tensor
        ``(m, n)``; its rows sum to 1.

    Examples
    --------
    >>> interpolation(2, 4, "trilinear")        # voxel centres at -1, 0 and at -1, -0.5, 0, 0.5
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 1.0000],
            [0.0000, 1.0000]])
    >>> interpolation(6, 3, "trilinear")[1], interpolation(6, 3, "trilinear", antialias=False)[1]
    (tensor([0.0000, 0.0000, 0.2500, 0.5000, 0.2500, 0.0000]), tensor([0., 0., 0., 1., 0., 0.]))
    """
    check_choice(kind, "kind", INTERPOLATIONS)
    if kind == "fourier":
        k = fft3c(torch.eye(n, dtype=torch.float64)[None], axes=(-1,))
        columns = ifft3c(resize_centred(k, (1, n, m)), axes=(-1,))[0] * math.sqrt(m / n)
        return columns.T.to(torch.complex64 if dtype == torch.float32 else torch.complex128)
    if m < n and antialias:
        back = interpolation(m, n, kind, dtype)
        return (back / back.sum(dim=0)).T
    position = (torch.arange(m, dtype=torch.float64) - m // 2) * n / m + n // 2     # in samples of the first grid
    distance = (position.clamp(0, n - 1)[:, None] - torch.arange(n)).abs()
    if kind == "nearest":
        return torch.nn.functional.one_hot(distance.argmin(dim=1), n).to(dtype)
    return (1 - distance).relu().to(dtype)


class Grid(torch.nn.Module):
    """Samples on the finer of the two grids, axis by axis; interpolated to the coarser one.

    Everything is linear, so the data step is conjugate gradients on the normal equations
    ``(G^H A^H A G + rho v P^H P) theta = G^H A^H y + rho v P^H target`` with ``G`` and ``P`` the interpolations to
    the two grids. On a grid that has the samples themselves they are the identity.

    Parameters
    ----------
    start, voxel_size, prior_voxel_size
        As in :func:`represent`.
    kind : str
        ``"nearest"``, ``"trilinear"`` or ``"fourier"``.
    antialias : bool
        As in :func:`interpolation`.

    Examples
    --------
    Data with voxels of 2 mm; a prior for 1 mm along z, 2 mm along y and 4 mm along x:

    >>> grid = Grid(torch.ones(4, 4, 4, dtype=torch.complex64), (2, 2, 2), (1, 2, 4), "trilinear")
    >>> tuple(grid.samples.shape), tuple(grid.image().shape), tuple(grid.prior_image().shape)
    ((8, 4, 4, 2), (4, 4, 4), (8, 4, 2))
    """

    def __init__(self, start: torch.Tensor, voxel_size: Size, prior_voxel_size: Size, kind: str,
                 antialias: bool = True) -> None:
        super().__init__()
        prior_shape = resampled_shape(start.shape, voxel_size, prior_voxel_size)
        finer = [max(n, m) for n, m in zip(start.shape, prior_shape)]

        def matrices(old: Sequence[int], new: Sequence[int]) -> list[torch.Tensor | None]:
            return [None if n == m else interpolation(n, m, kind, start.real.dtype, antialias).to(start)
                    for n, m in zip(old, new)]

        self.prior_voxel_size = _size(start.shape, voxel_size, prior_shape)
        self.volume = math.prod(start.shape) / math.prod(prior_shape)
        self.to_image, self.to_prior = matrices(finer, start.shape), matrices(finer, prior_shape)
        samples = along_axes(matrices(start.shape, finer), start).contiguous()
        self.samples = torch.nn.Parameter(torch.view_as_real(samples.clone()))      # real, for optimizers

    def image(self) -> torch.Tensor:
        return along_axes(self.to_image, torch.view_as_complex(self.samples))

    def prior_image(self) -> torch.Tensor:
        return along_axes(self.to_prior, torch.view_as_complex(self.samples))

    @torch.no_grad()
    def fit(self, problem: Problem, target: torch.Tensor, rho: float, iterations: int = 5) -> None:
        """The data step by conjugate gradients, from where the samples are."""
        weight = rho * self.volume
        G, P = self.to_image, self.to_prior
        GH, PH = ([None if m is None else m.mH for m in matrices] for matrices in (G, P))

        def normal(v: torch.Tensor) -> torch.Tensor:
            data = along_axes(GH, problem.operator.normal(along_axes(G, v)))
            return data.add_(along_axes(PH, along_axes(P, v)), alpha=weight)

        right = along_axes(GH, problem.measured) + weight * along_axes(PH, target)
        samples, used = conjugate_gradients(normal, right, torch.view_as_complex(self.samples), iterations,
                                           TOLERANCE)
        self.samples.copy_(torch.view_as_real(samples))
        problem.applications += used + 1


def _size(shape: Sequence[int], voxel_size: Size, new_shape: Sequence[int]) -> tuple[float, ...]:
    """Voxel size of another matrix over the same field of view; where the matrix is the same, to the last bit."""
    return tuple(d if n == m else n * d / m for n, d, m in zip(shape, voxel_size, new_shape))


class _Field(torch.nn.Module):
    """What the two representations without samples share: an image in continuous space, fitted by Adam.

    A subclass says what its value is on a grid (``evaluate``) and has an ``optimizer``.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, start: torch.Tensor, voxel_size: Size, prior_voxel_size: Size, steps: int) -> None:
        super().__init__()
        check_whole(steps, "steps")
        self.steps = steps
        self.shape = tuple(start.shape)
        self.prior_shape = resampled_shape(self.shape, voxel_size, prior_voxel_size)
        self.field_of_view = tuple(n * d for n, d in zip(self.shape, voxel_size))
        self.prior_voxel_size = _size(self.shape, voxel_size, self.prior_shape)
        self.volume = math.prod(self.shape) / math.prod(self.prior_shape)

    def image(self) -> torch.Tensor:
        return self.evaluate(self.shape)

    def prior_image(self) -> torch.Tensor:
        return self.evaluate(self.prior_shape)

    @abstractmethod
    def evaluate(self, shape: Sequence[int]) -> torch.Tensor:
        """The value on a grid over the field of view, complex ``(z, y, x)``."""

    def fit(self, problem: Problem, target: torch.Tensor, rho: float, iterations: int = 5) -> None:
        """The data step by Adam, ``steps`` for each iteration; the optimizer remembers the data steps before."""

        def slope() -> None:
            x = self.image()
            x.backward(2 * (problem.operator.normal(x.detach()) - problem.measured))    # of |A x - y|^2
            x = self.prior_image()
            x.backward(2 * rho * self.volume * (x.detach() - target))

        self._descend(slope, iterations * self.steps)
        problem.applications += iterations * self.steps

    def _descend(self, slope: Callable[[], None], iterations: int) -> None:
        for _ in range(iterations):
            self.optimizer.zero_grad()
            slope()
            self.optimizer.step()

    def _warm_start(self, slope: Callable[[], None], iterations: int) -> None:
        """Adam with steps that shrink to a tenth; what follows keeps that tenth."""
        schedule = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.1, max(1, iterations))
        for _ in range(iterations):
            self._descend(slope, 1)
            schedule.step()


class Gaussians(_Field):
    """A mixture of 3D Gaussians with complex amplitudes: ``x(r) = sum_i a_i exp(-|S_i^-1 R_i^T (r - m_i)|^2 / 2)``.

    Positions ``m``, scales ``S`` (three standard deviations), rotations ``R`` and amplitudes ``a`` are all learned. A
    Gaussian is cut at 3 standard deviations, so it touches the voxels of a small box only. Gaussians go by blocks of
    about ``pairs`` (Gaussian, voxel) pairs; the backward pass computes the pairs again, so nothing of their number
    is ever stored.

    Parameters
    ----------
    start, voxel_size, prior_voxel_size
        As in :func:`represent`.
    count : int, optional
        Number of Gaussians, at most that of voxels; by default a fifth of it (400,000 for 128^3).
    iterations : int
        Adam steps of the fit to ``start``.
    learning_rate : float
        Adam's step at the start of that fit, for amplitudes, log-scales, quaternions and positions in voxels; it
        shrinks to a tenth, which the data steps keep.
    steps : int
        Adam steps in each data step.
    pairs : int
        Pairs in a block.
    seed : int
        Of the positions, drawn where the start image is bright or has edges.

    Examples
    --------
    >>> start = torch.zeros(6, 6, 6, dtype=torch.complex64)
    >>> start[2:4, 2:4, 2:4] = 1
    >>> x = Gaussians(start, (2, 2, 2), (1, 1, 1), count=20, iterations=50)
    >>> x.prior_image().shape, ((x.image() - start).norm() < 0.1 * start.norm()).item()
    (torch.Size([12, 12, 12]), True)
    """

    def __init__(self, start: torch.Tensor, voxel_size: Size, prior_voxel_size: Size, count: int | None = None,
                 iterations: int = 100, learning_rate: float = 0.02, steps: int = 2, pairs: int = 2**17,
                 seed: int = 0) -> None:
        super().__init__(start, voxel_size, prior_voxel_size, steps)
        count = start.numel() // 5 if count is None else count
        if not (isinstance(count, int) and 1 <= count <= start.numel()):
            raise ValueError(f"count: found {count!r}, expected 1 to {start.numel()}, the number of voxels")
        self.pairs = pairs
        size = torch.tensor(voxel_size).to(start.real)
        generator = torch.Generator().manual_seed(seed)
        edges = sum(torch.gradient(start.abs(), dim=a)[0].abs() for a in range(3) if start.shape[a] > 1)
        density = (start.abs() + edges).flatten().cpu().double()
        density = density + 1e-3 * density.mean() + 1e-12
        chosen = torch.multinomial(density, count, generator=generator)
        index = torch.stack(torch.unravel_index(chosen, self.shape), dim=1).to(size)
        centre = torch.tensor([n // 2 for n in self.shape]).to(size)
        jitter = torch.rand(count, 3, generator=generator).to(size) - 0.5
        spacing = (count * density[chosen] / density.sum()).to(size) ** (-1 / 3)      # voxels between neighbours
        Parameter = torch.nn.Parameter
        self.position = Parameter((index - centre + jitter) * size)
        self.log_scale = Parameter((0.6 * spacing.clamp(0.8, 5)).log()[:, None] + size.log())
        self.quaternion = Parameter(torch.tensor([1.0, 0, 0, 0]).to(size).repeat(count, 1))
        self.amplitude = Parameter(torch.ones(count, dtype=start.dtype, device=start.device))
        with torch.no_grad():           # where Gaussians overlap, their sum starts at the image
            chosen = chosen.to(start.device)
            self.amplitude.data = start.flatten()[chosen] / self.image().flatten()[chosen]
        self.optimizer = torch.optim.Adam([self.amplitude, self.log_scale, self.quaternion], lr=learning_rate)
        self.optimizer.add_param_group({"params": [self.position], "lr": learning_rate * min(voxel_size)})

        def slope() -> None:
            x = self.image()
            x.backward(2 * (x.detach() - start))

        self._warm_start(slope, iterations)

    def fit(self, problem: Problem, target: torch.Tensor, rho: float, iterations: int = 5) -> None:
        """The data step: amplitudes, in which everything is linear, by conjugate gradients; then Adam for all."""
        weight = rho * self.volume

        def adjoint(amplitude: torch.Tensor, on_image: Linear, on_prior: Linear) -> torch.Tensor:
            """Of the sums over Gaussians: autograd's backward."""
            with torch.enable_grad():
                amplitude = amplitude.detach().requires_grad_()
                grids = [splat(amplitude) for splat in splats]
            return torch.autograd.grad(grids, amplitude, (on_image(grids[0].detach()), on_prior(grids[1].detach())))[0]

        with torch.no_grad():
            splats = [self._splat(shape) for shape in (self.shape, self.prior_shape)]
        right = adjoint(self.amplitude, lambda _: problem.measured.contiguous(), lambda _: weight * target)
        amplitude, used = conjugate_gradients(lambda a: adjoint(a, problem.operator.normal, lambda p: weight * p),
                                              right, self.amplitude.detach(), iterations)
        self.amplitude.data = amplitude
        problem.applications += used + 1
        super().fit(problem, target, rho, 1)

    def evaluate(self, shape: Sequence[int]) -> torch.Tensor:
        """The sum on the grid of a matrix over the field of view, complex ``(z, y, x)``."""
        return self._splat(shape)(self.amplitude)

    def _splat(self, shape: Sequence[int]) -> Linear:
        """The function from amplitudes to the sum on a grid."""
        size = torch.tensor([L / n for L, n in zip(self.field_of_view, shape)]).to(self.position)
        centre = torch.tensor([n // 2 for n in shape], device=size.device)
        last = torch.tensor(shape, device=size.device) - 1
        cell = ((self.position.detach() / size).round().long() + centre).clamp(torch.zeros_like(last), last)
        away = self.position - (cell - centre) * size           # from the nearest voxel, in mm
        R, scale = rotations(self.quaternion), self.log_scale.exp()
        inverse = R / scale.square()[:, None, :] @ R.mT         # of the covariance
        pull = (inverse @ away[..., None])[..., 0]
        quadratic = inverse * size * size[:, None]
        polynomial = torch.stack([                              # |...|^2 as a polynomial in voxels from the cell
            (away * pull).sum(-1), *(-2 * pull * size).unbind(-1), *quadratic.diagonal(dim1=-2, dim2=-1).unbind(-1),
            2 * quadratic[:, 0, 1], 2 * quadratic[:, 0, 2], 2 * quadratic[:, 1, 2]], dim=1)
        deviation = (R * scale[:, None, :]).norm(dim=-1).detach()               # along each axis of the grid
        reach = (CUT * deviation / size + 0.5).long().minimum(last)
        return lambda amplitude: _Splat.apply(amplitude, polynomial, cell, reach, tuple(shape), self.pairs)


CUT = 3     # standard deviations


def rotations(quaternion: torch.Tensor) -> torch.Tensor:
    """Rotation matrices ``(n, 3, 3)`` of quaternions ``(n, 4)``, real part first, of any length but zero.

    Examples
    --------
    A quarter turn about the first axis:

    >>> rotations(torch.tensor([[1.0, 1, 0, 0]]))[0].round()
    tensor([[ 1.,  0.,  0.],
            [ 0.,  0., -1.],
            [ 0.,  1.,  0.]])
    """
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1).unflatten(-1, (3, 3))


class _Splat(torch.autograd.Function):
    """``sum_i a_i exp(-q_i / 2)`` where ``q_i <= CUT^2``, with ``q_i`` a polynomial in voxels from a cell.

    The polynomials of a block at the offsets of its box are one matrix product.
    """

    @staticmethod
    def forward(ctx: Any, amplitude: torch.Tensor, polynomial: torch.Tensor, cell: torch.Tensor, reach: torch.Tensor,
                shape: tuple[int, ...], pairs: int) -> torch.Tensor:
        margin = reach.amax(dim=0).tolist()                 # boxes may stick out; the rim is cut off at the end
        padded = [n + 2 * m for n, m in zip(shape, margin)]
        stride = torch.tensor([padded[1] * padded[2], padded[2], 1], device=cell.device)
        first = ((cell + torch.tensor(margin, device=cell.device)) * stride).sum(dim=1)
        volume = amplitude.new_zeros(math.prod(padded))
        ctx.blocks = [(chosen, monomials, (offset * stride).sum(dim=1))
                      for chosen, monomials, offset in _Splat.blocks(reach, pairs, polynomial.dtype)]
        for chosen, monomials, offset in ctx.blocks:
            weight, index = _Splat.weights(polynomial[chosen], monomials), first[chosen, None] + offset
            volume.index_add_(0, index.flatten(), (amplitude[chosen, None] * weight).flatten())
        ctx.save_for_backward(amplitude, polynomial, first)
        ctx.margin, ctx.padded = margin, padded
        return volume.view(padded)[tuple(slice(m, m + n) for m, n in zip(margin, shape))].clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        amplitude, polynomial, first = ctx.saved_tensors
        volume = gradient.new_zeros(ctx.padded)
        volume[tuple(slice(m, m + n) for m, n in zip(ctx.margin, gradient.shape))] = gradient
        volume = volume.flatten()
        to_amplitude, to_polynomial = torch.empty_like(amplitude), torch.empty_like(polynomial)
        for chosen, monomials, offset in ctx.blocks:
            weight, index = _Splat.weights(polynomial[chosen], monomials), first[chosen, None] + offset
            g = volume.index_select(0, index.flatten()).view(index.shape)
            to_amplitude[chosen] = (g * weight).sum(dim=1)
            if ctx.needs_input_grad[1]:
                g = (g * amplitude[chosen, None].conj()).real * weight
                to_polynomial[chosen] = -0.5 * (g @ monomials.T)
        return to_amplitude, to_polynomial if ctx.needs_input_grad[1] else None, None, None, None, None

    @staticmethod
    def weights(polynomial: torch.Tensor, monomials: torch.Tensor) -> torch.Tensor:
        q = polynomial @ monomials
        return torch.where(q <= CUT**2, torch.exp(-q / 2), 0)

    @staticmethod
    def blocks(reach: torch.Tensor, pairs: int, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, ...]]:
        """Gaussians in order of their boxes, so that a block shares one; its offsets and their monomials."""
        order = ((reach[:, 0] * 2**16 + reach[:, 1]) * 2**16 + reach[:, 2]).argsort()
        start = 0
        while start < len(order):
            count = max(1, pairs // int((2 * reach[order[start]] + 1).prod()))
            chosen = order[start:start + count]
            box = reach[chosen].amax(dim=0).tolist()
            offset = torch.cartesian_prod(*(torch.arange(-m, m + 1, device=reach.device) for m in box))
            z, y, x = offset.T.to(dtype)
            yield chosen, torch.stack([torch.ones_like(z), z, y, x, z * z, y * y, x * x, z * y, z * x, y * x]), offset
            start += count


class NeuralField(_Field):
    """A network that takes a position to the value there: Fourier features, five hidden layers, a complex number.

    Without the features, sines and cosines of random frequencies, a network of positions learns smooth images only
    (Tancik et al., arXiv 2006.10739).

    Parameters
    ----------
    start, voxel_size, prior_voxel_size
        As in :func:`represent`.
    width : int
        Of the hidden layers; the paper has 450. It is also the number of Fourier features.
    bandwidth : float
        Standard deviation of the random frequencies, as a share of the highest one the acquisition's grid can hold.
    iterations : int
        Adam steps of the fit to ``start``, each at ``batch`` random voxels.
    learning_rate : float
        Adam's step at the start of that fit; it shrinks to a tenth, which the data steps keep.
    steps : int
        Adam steps for each iteration of the data step.
    batch : int
    points : int
        Positions in a block; the backward pass computes a block again, so activations of one block at a time are kept.
    seed : int
        Of the weights and frequencies.

    Examples
    --------
    >>> start = torch.zeros(6, 6, 6, dtype=torch.complex64)
    >>> start[2:4, 2:4, 2:4] = 1
    >>> x = NeuralField(start, (2, 2, 2), (1, 1, 1), width=32, bandwidth=0.5, iterations=100, batch=216)
    >>> x.prior_image().shape, ((x.image() - start).norm() < 0.1 * start.norm()).item()
    (torch.Size([12, 12, 12]), True)
    >>> x.values(torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0]])).shape      # in mm: anywhere
    torch.Size([2])
    """

    frequencies: torch.Tensor

    def __init__(self, start: torch.Tensor, voxel_size: Size, prior_voxel_size: Size, width: int = 450,
                 bandwidth: float = 0.1, iterations: int = 300, learning_rate: float = 5e-3, steps: int = 4,
                 batch: int = 2**13, points: int = 2**15, seed: int = 0) -> None:
        super().__init__(start, voxel_size, prior_voxel_size, steps)
        if not (isinstance(width, int) and width >= 2 and width % 2 == 0):
            raise ValueError(f"width: found {width!r}, expected an even number of 2 or more")
        self.points = points
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nyquist = 0.5 / torch.tensor(voxel_size)
            self.register_buffer("frequencies", bandwidth * nyquist[:, None] * torch.randn(3, width // 2))
            layers = [m for _ in range(5) for m in (torch.nn.Linear(width, width), torch.nn.ReLU())]
            self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, 2))
        self.to(start.real)
        self.optimizer = torch.optim.Adam(self.layers.parameters(), lr=learning_rate)
        position, value = self._positions(self.shape), start.flatten()
        generator = torch.Generator().manual_seed(seed)

        def slope() -> None:
            some = torch.randint(len(value), (batch,), generator=generator).to(value.device)
            (self.values(position[some]) - value[some]).abs().square().mean().backward()

        self._warm_start(slope, iterations)

    def values(self, position: torch.Tensor) -> torch.Tensor:
        """Values, complex ``(n,)``, at positions ``(n, 3)`` in mm from the centre."""
        phase = 2 * math.pi * position @ self.frequencies
        return torch.view_as_complex(self.layers(torch.cat([phase.sin(), phase.cos()], dim=1)))

    def evaluate(self, shape: Sequence[int]) -> torch.Tensor:
        """The network on the grid of a matrix over the field of view, complex ``(z, y, x)``."""
        blocks = [checkpoint(self.values, p, use_reentrant=False) for p in self._positions(shape).split(self.points)]
        return torch.cat(blocks).view(shape)

    def _positions(self, shape: Sequence[int]) -> torch.Tensor:
        """Voxel centres in mm, ``(voxels, 3)``."""
        return torch.cartesian_prod(*(((torch.arange(n) - n // 2) * (L / n)).to(self.frequencies)
                                      for n, L in zip(shape, self.field_of_view)))


Representation = Grid | Gaussians | NeuralField
