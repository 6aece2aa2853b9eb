"""The SENSE forward model and conjugate gradients.

The model of chapters 1 and 2, coil by coil, is ``y_c = M F (s_c x)``: sensitivity map ``s_c``, centred
orthonormal Fourier transform ``F``, mask ``M``. ``forward`` and ``adjoint`` say exactly that. Solvers
spend their time in ``normal = adjoint(forward(x))``, which is written for speed.
"""

from collections.abc import Callable
from typing import Any

import torch

from .checks import check_maps_and_mask
from .fourier import fft3c, ifft3c

Linear = Callable[[torch.Tensor], torch.Tensor]


class SenseOperator:
    """Image to undersampled multi-coil k-space (Pruessmann et al., MRM 42:952, 1999).

    Parameters
    ----------
    maps : Tensor
        complex64 ``(coils, z, y, x)`` coil sensitivities; their device is where the operator works.
    mask : Tensor
        ``(z, y)`` over (kz, ky), or broadcasting to it; True where measured. x is fully sampled.

    Raises
    ------
    ValueError
        For maps or a mask of a wrong shape, NaN or infinite maps, an empty mask; later for an image
        or k-space that does not fit the maps.

    Examples
    --------
    >>> import torch
    >>> A = SenseOperator(torch.ones(1, 4, 6, 5), torch.ones(4, 6))
    >>> x = torch.randn(4, 6, 5, dtype=torch.complex64)
    >>> A.forward(x).shape, torch.allclose(A.normal(x), x, atol=1e-5)
    (torch.Size([1, 4, 6, 5]), True)
    """

    def __init__(self, maps: Any, mask: Any) -> None:
        maps, mask = check_maps_and_mask(maps, mask)
        mask = mask.to(maps.device)
        self.shape = tuple(maps.shape[1:])
        self._fast_maps = maps.movedim(-1, -3).contiguous()     # (coils, x, z, y), the only copy kept
        self.maps = self._fast_maps.movedim(-3, -1)
        self.mask = mask
        # For normal(): where fft2 puts the frequencies, 1 / (z y) for its two unscaled transforms,
        # and a minus sign on imaginary parts, which conjugates on the way.
        weight = torch.fft.ifftshift(mask).float() / mask.numel()
        self._weight = torch.stack([weight, -weight], -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """k-space ``(..., coils, z, y, x)`` of an image ``(..., z, y, x)``, zero where not measured."""
        self._check(x, "x", self.shape)
        return torch.stack([fft3c(s * x) * self.mask[..., None] for s in self.maps], -4)

    def adjoint(self, kspace: torch.Tensor) -> torch.Tensor:
        """Image ``(..., z, y, x)`` of k-space ``(..., coils, z, y, x)``: the adjoint of :meth:`forward`."""
        self._check(kspace, "kspace", tuple(self.maps.shape))
        coils = zip(self.maps, kspace.unbind(-4))
        return sum(s.conj() * ifft3c(k * self.mask[..., None]) for s, k in coils)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """``adjoint(forward(x))``, by 2D transforms over (z, y) only, and differentiable.

        The readout is fully sampled, so its transform cancels against the inverse one. The shifts that
        centre the other two cancel as well once the mask is shifted. With ``D`` the plain transform and
        n its number of points, ``conj(s) D^-1 M D s x = conj(s D conj(M D s x)) / n``: forward
        transforms and products with s are enough, and no conjugate of the maps is made or stored.
        Blocks of readout positions stay in the cache.

        The result lies in memory with the readout first, as the work is done; given an image that
        does too (its own output), no axis is moved at all.
        """
        self._check(x, "x", self.shape)
        x = x.to(torch.complex64).movedim(-1, -3)
        total = torch.zeros(x.shape, dtype=x.dtype, device=x.device)
        positions, z, y = x.shape[-3:]
        size = max(1, 2**18 // (z * y)) if x.device.type == "cpu" else positions        # 2 MB
        for i in range(0, positions, size):
            block, sum_ = x[..., i:i + size, :, :].contiguous(), total[..., i:i + size, :, :]
            for s in self._fast_maps[:, i:i + size]:
                k = torch.fft.fft2(s * block)
                torch.view_as_real(k).mul_(self._weight)
                sum_.addcmul_(torch.fft.fft2(k), s)
            sum_.conj_physical_()
        return total.movedim(-3, -1)

    def _check(self, x: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
        if tuple(x.shape[-len(shape):]) != shape:
            raise ValueError(f"{name}: found shape {tuple(x.shape)}, expected (..., "
                             f"{', '.join(map(str, shape))}), as the maps say")


def relative_misfit(A: SenseOperator, x: torch.Tensor, kspace: torch.Tensor) -> float:
    """Relative residual ``|A x - y| / |y|`` over the measured samples, of one image, as a float.

    Examples
    --------
    >>> maps, mask = torch.ones(1, 4, 4, 4, dtype=torch.complex64), torch.ones(4, 4, dtype=torch.bool)
    >>> A, x = SenseOperator(maps, mask), torch.ones(4, 4, 4, dtype=torch.complex64)
    >>> round(relative_misfit(A, 0.9 * x, A.forward(x)), 3)
    0.1
    """
    A._check(x, "x", A.shape)
    A._check(kspace, "kspace", tuple(A.maps.shape))
    mask = A.mask[..., None]
    norm = torch.linalg.vector_norm
    pairs = [torch.stack([norm(mask * (fft3c(s * x) - y)), norm(mask * y)])
             for s, y in zip(A.maps, kspace)]                # coil by coil, to spare memory
    residual, data = norm(torch.stack(pairs), dim=0).tolist()
    return residual / data if data else float(residual > 0)


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Real part of the inner product."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum().item()


@torch.no_grad()
def conjugate_gradients(A: Linear, b: torch.Tensor, x0: torch.Tensor | None = None, iterations: int = 20,
                        tolerance: float = 1e-6) -> tuple[torch.Tensor, int]:
    """Solve ``A x = b`` for a Hermitian positive definite ``A`` (Hestenes and Stiefel, 1952).

    Parameters
    ----------
    A : callable
        Takes and returns complex tensors of the shape of ``b``.
    b : Tensor
        Complex, any shape; leading dimensions are solved together as one system.
    x0 : Tensor, optional
        Start; zero otherwise, which saves one application of ``A``.
    iterations : int
        At most this many applications of ``A``, not counting the one for ``x0``.
    tolerance : float
        Stop as soon as ``|b - A x| <= tolerance |b|``.

    Returns
    -------
    x : Tensor
        The solution; no gradient flows through it.
    iterations : int
        How many were needed.

    Raises
    ------
    ValueError
        If the shapes of ``x0`` and ``b`` differ, or ``A`` turns out not to be positive definite.

    Examples
    --------
    >>> import torch
    >>> scale = torch.tensor([1.0, 2.0, 4.0])
    >>> x, iterations = conjugate_gradients(lambda x: scale * x, torch.ones(3, dtype=torch.complex64))
    >>> x.real, iterations
    (tensor([1.0000, 0.5000, 0.2500]), 3)
    """
    if x0 is not None and x0.shape != b.shape:
        raise ValueError(f"x0: found shape {tuple(x0.shape)}, expected that of b, {tuple(b.shape)}")
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b.clone() if x0 is None else b - A(x)
    p, rr, target = r.clone(), _dot(r, r), tolerance**2 * _dot(b, b)
    for i in range(iterations):
        if rr <= target:
            return x, i
        Ap = A(p)
        curvature = _dot(p, Ap)
        if not curvature > 0:
            raise ValueError(f"A: found <p, A p> = {curvature}, expected a positive definite operator")
        x.add_(p, alpha=rr / curvature)
        r.sub_(Ap, alpha=rr / curvature)
        previous, rr = rr, _dot(r, r)
        p.mul_(rr / previous).add_(r)
    return x, iterations
