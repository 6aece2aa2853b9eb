"""Coils: simulated sensitivities, those estimated from a scan, and the noise that coils share."""

import functools
import math
from collections.abc import Sequence

import torch

from .checks import check_array, check_whole
from .fourier import ifft3c, middle

GRID = 24       # points along each axis at which the field of simulated coils is computed
SMALLEST = 8    # samples along an axis from which ESPIRiT can calibrate
HEAD = (180.0, 220.0, 180.0)            # mm, field of view of a head
GAP = 30.0                              # mm between the field of view and the coils
LATITUDES = (-70.0, 70.0)               # degrees that the rings of coils cover


def head_array_maps(shape: tuple[int, ...], coils: int = 8, field_of_view: Sequence[float] = HEAD) -> torch.Tensor:
    """Simulated sensitivities of a receive array: rings of loops on a helmet around the field of view.

    The helmet is an ellipsoid 30 mm outside of the field of view, open above and below. On it lie circular loops in
    rings, as many in a ring as its circumference asks for, each overlapping its neighbours a little. What a loop
    receives is, by reciprocity, the field ``B_x - i B_y`` that a current in it would make (Hoult, Concepts Magn. Reson.
    12:173, 2000; B0 along z), here by the law of Biot and Savart. It is computed on a coarse grid, and cubic splines
    carry these smooth functions to the voxels, whose centre is at index ``n // 2`` as everywhere: the same field of
    view at 1 mm and at 2 mm gets the same maps, sampled differently.

    Parameters
    ----------
    shape : tuple of int
        ``(z, y, x)``.
    coils : int
        Fewer than 8 make one ring, 8 two rings, 32 four.
    field_of_view : tuple of float
        Extent of each axis in mm.

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, x)``; the squared magnitudes sum to 1 in every voxel.

    Raises
    ------
    ValueError
        For a shape that is not three positive whole numbers, or fewer than one coil.

    Examples
    --------
    >>> maps = head_array_maps((8, 10, 9), coils=4)
    >>> maps.shape, maps.abs().square().sum(0).allclose(torch.tensor(1.0))
    (torch.Size([4, 8, 10, 9]), True)
    """
    from scipy.interpolate import make_interp_spline

    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape: found {shape!r}, expected three positive whole numbers (z, y, x)")
    check_whole(coils, "coils")
    maps, knots = _fields(coils, tuple(field_of_view)), torch.linspace(-1, 1, GRID, dtype=torch.float64)
    for n in shape:
        position = (torch.arange(n) - n // 2) / (n / 2)         # in halves of the field of view
        spline = torch.from_numpy(make_interp_spline(knots, torch.eye(GRID))(position))
        maps = torch.tensordot(maps, spline.to(maps.dtype), ([1], [1]))     # z; then y, then x
    return maps / torch.linalg.vector_norm(maps, dim=0)


@functools.lru_cache(maxsize=8)
def _fields(coils: int, field_of_view: tuple[float, ...]) -> torch.Tensor:
    """What each loop receives on the coarse grid."""
    half = torch.tensor(field_of_view, dtype=torch.float64) / 2
    knots = torch.linspace(-1, 1, GRID, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(*(knots * h for h in half), indexing="ij"), -1)
    fields = torch.stack([loop_field(points, *loop) for loop in _loops(coils, half + GAP)])
    return torch.complex(fields[..., 2], -fields[..., 1]).to(torch.complex64)


def _loops(coils: int, helmet: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """Centre, normal and radius of each loop, from the lowest ring up; ``helmet`` has the half axes in mm."""
    count = 1 if coils < 8 else round((coils / 2) ** 0.5)
    low, high = (math.radians(d) for d in LATITUDES)
    height = (high - low) / count
    latitudes = [low + (i + 0.5) * height for i in range(count)]
    share = torch.tensor(latitudes).cos().cumsum(0)
    ends = [0, *(coils * share / share[-1]).round().int().tolist()]
    loops = []
    for i, latitude in enumerate(latitudes):
        n = ends[i + 1] - ends[i]
        length = 2 * math.pi * math.cos(latitude) * float(helmet[1:].mean())
        radius = 1.1 / 2 * min(length / n, height * float(helmet.mean()))       # neighbours overlap by a tenth
        for k in range(n):
            azimuth = 2 * math.pi * (k + 0.5 * (i % 2)) / n                     # rings are staggered
            point = torch.tensor([math.sin(latitude), math.cos(latitude) * math.sin(azimuth),
                                  math.cos(latitude) * math.cos(azimuth)], dtype=torch.float64)
            loops.append((point * helmet, torch.nn.functional.normalize(point / helmet, dim=0), radius))
    return loops


def loop_field(points: torch.Tensor, centre: torch.Tensor, normal: torch.Tensor, radius: float, segments: int = 48
               ) -> torch.Tensor:
    """Magnetic field of a current in a circle, in any unit, by Biot and Savart: the sum of ``dl x r / |r|^3``.

    Parameters
    ----------
    points : Tensor
        ``(..., 3)``, positions ``(z, y, x)`` in mm, float64.
    centre, normal : Tensor
        ``(3,)`` of the circle, in mm, and of length 1.
    radius : float
        In mm.
    segments : int
        Straight pieces that stand for the circle.

    Returns
    -------
    Tensor
        ``(..., 3)``; what a loop receives is its ``B_x - i B_y``.

    Examples
    --------
    >>> on_axis = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]], dtype=torch.float64)
    >>> field = loop_field(on_axis, on_axis[0], torch.tensor([1.0, 0, 0], dtype=torch.float64), 40.0)
    >>> round((field[1, 0] / field[0, 0]).item(), 3)                # (1 + (30 / 40)^2)^(-3 / 2)
    0.512
    """
    across = torch.linalg.cross(normal, torch.tensor([0.3, 0.5, 0.8], dtype=normal.dtype))
    across = across / across.norm()
    along = torch.linalg.cross(normal, across)
    field = torch.zeros_like(points)
    for angle in torch.arange(segments, dtype=points.dtype) * (2 * math.pi / segments):
        r = points - centre - radius * (angle.cos() * across + angle.sin() * along)
        step = (angle.cos() * along - angle.sin() * across).expand_as(r)
        field += torch.linalg.cross(step, r) / r.norm(dim=-1, keepdim=True) ** 3
    return field


def espirit_maps(kspace: torch.Tensor, calibration: int = 24, kernel: int | None = None, everywhere: bool = False
                 ) -> torch.Tensor:
    """Sensitivities calibrated from the centre of k-space (ESPIRiT; Uecker et al., MRM 71:990, 2014).

    :class:`sigpy.mri.app.EspiritCalib`, in 2D for a single slice or a single position along x, otherwise in 3D. Its
    covariance matrices take ``coils**2`` images of memory.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``, fully sampled in the central block.
    calibration : int
        Side of that block, at least ``kernel``, along the axes that are longer than 1.
    kernel : int, optional
        Width of the k-space kernel. If not given three eighths of the block, at most 6: a small block has too few
        places for a wide kernel.
    everywhere : bool
        Keep the maps also where this k-space has no signal, for an image that was measured apart from it.

    Returns
    -------
    Tensor
        complex64 ``(coils, z, y, x)``, on the device of ``kspace``. Inside the object the squared
        magnitudes sum to 1; the phase is relative to the first coil.

    Raises
    ------
    ValueError
        If k-space is not a finite 4D array, the block does not fit, or it is not fully sampled.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((16, 16, 16)), acceleration=1, coils=2, noise=0)
    >>> maps = espirit_maps(acq.kspace, calibration=6, kernel=3)
    >>> maps.shape == acq.maps.shape, bool(maps[0].imag.abs().max() < 1e-5)
    (True, True)
    """
    from sigpy.mri.app import EspiritCalib

    kspace = check_array(kspace, "kspace", 4, "(coils, z, y, x)").to(torch.complex64)
    axes = [axis for axis in (1, 2, 3) if kspace.shape[axis] > 1]
    shape = [kspace.shape[axis] for axis in axes] or [1]
    kernel = max(2, min(6, 3 * calibration // 8)) if kernel is None else kernel
    if not kernel <= calibration <= min(shape):
        raise ValueError(f"calibration: found {calibration!r}, expected a block side from {kernel} (kernel) "
                         f"to {min(shape)} (smallest axis of kspace {tuple(kspace.shape)})")
    flat = kspace.reshape(len(kspace), *shape)
    block = flat[:, *middle(shape, [calibration] * len(shape))]
    if (block == 0).all(0).any():
        raise ValueError(f"kspace: found zeros in the central {calibration}^{len(axes)} block, expected it fully "
                         "sampled")
    # Eigenvalue below which a voxel counts as air. From a small block that of the head's rim is low: with 0.95, 6 % of
    # a head were cut away that was calibrated from 12 samples, 11 % from 8.
    crop = 0.95 if calibration >= 24 else 0.8
    app = EspiritCalib(flat.numpy(force=True), calib_width=calibration, kernel_width=kernel,
                       crop=0 if everywhere else crop, show_pbar=False)
    return torch.from_numpy(app.run()).reshape(kspace.shape).to(kspace.device)


def calibration_side(mask: torch.Tensor, largest: int = 24) -> int:
    """Side of the largest square around the centre of a mask that is fully measured; axes of length 1 do not count.

    Examples
    --------
    >>> from mrilab.masks import poisson_disc_mask
    >>> calibration_side(poisson_disc_mask((64, 64), 4, calibration=12)) >= 12
    True
    >>> calibration_side(torch.ones(1, 20))
    20
    """
    lengths = [n for n in mask.shape if n > 1] or [1]
    for side in range(min(largest, *lengths), 0, -1):
        if mask[middle(mask.shape, [side if n > 1 else 1 for n in mask.shape])].all():
            return side
    return 0


def estimate_maps(kspace: torch.Tensor, mask: torch.Tensor, calibration: int | None = None, everywhere: bool = False
                  ) -> tuple[torch.Tensor, str]:
    """Sensitivities: ESPIRiT of the centre of k-space, or JSENSE of all samples where that is narrower than 8.

    A scan of large voxels has few lines, and few of them make its centre. There sensitivities and image are found
    together (JSENSE; Ying and Sheng, MRM 57:1196, 2007; :class:`sigpy.mri.app.JsenseRecon`).

    An axis of fewer than 8 positions holds no block. Along x, and along z where every slice has the same lines, it is
    transformed, and ESPIRiT works in 2D on each slice.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``; it may lie on any device, the work is done on the CPU.
    mask : Tensor
        bool ``(z, y)``.
    calibration : int, optional
        Side of the central block; the largest up to 24 if not given.
    everywhere : bool
        As in :func:`espirit_maps`.

    Returns
    -------
    Tensor, str
        complex64 ``(coils, z, y, x)`` on the device of ``kspace``, and what was done.

    Raises
    ------
    ValueError
        For a block that is larger than what was measured.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=2, coils=4)
    >>> maps, what = estimate_maps(acq.kspace, acq.mask)
    >>> maps.shape == acq.maps.shape
    True
    >>> estimate_maps(torch.randn(4, 2, 16, 16, dtype=torch.complex64), torch.ones(2, 16))[1]
    'ESPIRiT from a block of 16, slice by slice'
    """
    device, kspace, mask = kspace.device, kspace.cpu(), mask.cpu().bool().expand(kspace.shape[1:3])
    if len(kspace) == 1:
        return torch.ones_like(kspace).to(device), "one coil: sensitivity 1"
    alive = kspace.flatten(1).any(1)
    if alive.any() and not alive.all():         # the phase is relative to the first coil, which must have one
        maps = torch.zeros_like(kspace)
        maps[alive], what = estimate_maps(kspace[alive], mask, calibration, everywhere)
        return maps.to(device), f"{what}; nothing from coils {(~alive).nonzero().flatten().tolist()}"
    thin = [axis for axis in (-1, -3) if 1 < kspace.shape[axis] < SMALLEST and (axis == -1 or _same_rows(mask))]
    axis = thin[0] if thin and min(kspace.shape[2], *(kspace.shape[a] for a in (-3, -1) if a != thin[0]
                                                      and kspace.shape[a] > 1)) >= SMALLEST else None
    if axis is None:
        maps, what = _maps_of(kspace, mask, calibration, everywhere)
        return maps.to(device), what
    slices = ifft3c(kspace, axes=(axis,))
    rows = mask if axis == -1 else mask[:1]
    parts = [_maps_of(part, rows, calibration, everywhere) for part in slices.split(1, axis)]
    return torch.cat([maps for maps, _ in parts], axis).to(device), f"{parts[0][1]}, slice by slice"


def _same_rows(mask: torch.Tensor) -> bool:
    return bool((mask == mask[:1]).all())


def _maps_of(kspace: torch.Tensor, mask: torch.Tensor, calibration: int | None, everywhere: bool
             ) -> tuple[torch.Tensor, str]:
    """Maps in as many dimensions as there are axes longer than 1."""
    measured = (kspace != 0).any(0)                                 # a partial echo is cut along x as well
    whole = measured | ~mask[..., None]
    size = kspace.shape[-1]
    x = whole.all(0).all(0).nonzero().flatten()
    half = int(min(size // 2 - x.min(), x.max() + 1 - size // 2)) if len(x) else 0
    side = calibration_side(mask, calibration or 24)
    side = min(side, 2 * half, size) if size > 1 else side
    if calibration and side < calibration:
        raise ValueError(f"calibration: found {calibration}, expected a fully measured block of that side; the "
                         f"largest here is {side}")
    if calibration or side >= SMALLEST:
        maps = espirit_maps(kspace, side, everywhere=everywhere)
        return maps.nan_to_num(0, 0, 0), f"ESPIRiT from a block of {side}"      # NaN where a coil sees exactly nothing
    return jsense_maps(kspace, measured), f"JSENSE, for the centre has no fully measured block of {SMALLEST}"


def jsense_maps(kspace: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
    """Sensitivities that together with one image explain all samples near the centre.

    :class:`sigpy.mri.app.JsenseRecon` with a small penalty: without it, it diverges from few samples.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``.
    measured : Tensor
        bool ``(z, y, x)``.

    Returns
    -------
    Tensor
        complex64, as ``kspace``. The squared magnitudes sum to 1; the phase is relative to the first coil.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom, simulate_acquisition
    >>> acq, _ = simulate_acquisition(head_phantom((16, 16, 16)), acceleration=2, coils=2, noise=0)
    >>> maps = jsense_maps(acq.kspace, acq.mask[..., None].expand(acq.kspace.shape[1:]))
    >>> maps.shape == acq.maps.shape
    True
    """
    from sigpy.mri.app import JsenseRecon

    shape = [n for n in kspace.shape[1:] if n > 1] or [1]
    found = JsenseRecon(kspace.reshape(-1, *shape).numpy(), mps_ker_width=6, ksp_calib_width=24, lamda=0.01,
                        weights=measured.reshape(shape).float().numpy(), max_inner_iter=10, show_pbar=False).run()
    maps = torch.from_numpy(found).reshape(kspace.shape).nan_to_num(0, 0, 0)
    return maps * torch.exp(-1j * maps[:1].angle())


def noise_level(kspace: torch.Tensor, mask: torch.Tensor) -> float:
    """Standard deviation of the k-space noise, real and imaginary part each, where there is least of the image.

    x is fully sampled: transformed along it, positions beside the object hold noise alone, if the readout is long
    enough to have some. Where it is not, the least of three estimates is taken, as the image makes each of them too
    high: of the quietest of those positions; of the rim of (kz, ky); and of the directions in the space of coils and
    neighbouring samples that the image does not fill (Veraart et al., NeuroImage 142:394, 2016). Zeros, as a partial
    echo or partial Fourier leave them, do not count.

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``.
    mask : Tensor
        bool ``(z, y)``.

    Returns
    -------
    float
        0 where nothing but zeros was measured.

    Examples
    --------
    >>> k = 0.02 * torch.view_as_complex(torch.randn(4, 20, 20, 64, 2, generator=torch.Generator().manual_seed(0)))
    >>> round(noise_level(k, torch.ones(20, 20, dtype=bool)), 3)
    0.02
    """
    mask = mask.to(kspace.device).bool().expand(kspace.shape[1:3])
    depth, height, size = kspace.shape[1:]
    z, y = mask.nonzero(as_tuple=True)
    radius = sum(((i - n // 2) / (n / 2)) ** 2 for i, n in ((z, depth), (y, height)) if n >= 2 * SMALLEST)
    order = (radius if isinstance(radius, torch.Tensor) else z).argsort()
    inner, outer = (kspace[:, z[some], y[some]].cpu() for some in (
        _thinned(order[:-(-len(order) // 4)]), _thinned(order[len(order) // 2:])))
    share = (outer != 0).double().mean().item()         # of samples along x: the rest is a partial echo's zeros
    if share == 0:
        return 0.0
    unit = outer.abs().max()                            # some files count in 1e-14
    few = max(outer.shape[1] // 4, 400 // (len(kspace) * size) + 1)
    estimates = [_robust(outer[:, -few:])]
    if size >= 2 * SMALLEST:
        near, far = (ifft3c(part / unit, axes=(-1,)).abs() * (unit / share**0.5) for part in (inner, outer))
        edge = size // 16
        # one half of the lines tells which positions are quiet, the other half how loud they are
        columns = far[:, ::2, edge:size - edge].flatten(0, 1).median(0).values
        quiet, other = columns.argsort()[:max(2, size // 8)] + edge, far[:, 1 if far.shape[1] > 1 else 0::2]
        level = _robust(other[..., quiet])
        if _robust(near[..., quiet]) < 1.2 * level:         # no more near k = 0 than far from it: no object is there
            return level
        estimates.append(_robust(other[:, -max(few // 2, 1):, quiet]))
    else:
        quiet = torch.arange(size)
    floor = _unfilled(kspace, mask, quiet[:8], unit.item())
    return min([*estimates, *([floor / share**0.5] if floor else [])])


def _thinned(lines: torch.Tensor, most: int = 8192) -> torch.Tensor:
    return lines[::-(-len(lines) // most)] if len(lines) else lines


def _robust(samples: torch.Tensor) -> float:
    """Standard deviation of complex noise from the median of its magnitudes, ``sqrt(2 ln 2)`` times as large."""
    magnitudes = samples.abs()
    magnitudes = magnitudes[magnitudes > 0]
    return magnitudes.median().item() / (2 * math.log(2)) ** 0.5 if len(magnitudes) else math.inf


def _unfilled(kspace: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, unit: float) -> float | None:
    """The noise of the smallest singular values of neighbouring samples of all coils, at some positions along x.

    Blocks of (kz, ky) that are measured completely, those far from the centre first, are the rows of a matrix. Its
    small eigenvalues follow the Marchenko-Pastur law; the most of them that fit into its width are taken for noise.
    """
    coils, (depth, height) = len(kspace), mask.shape
    for side in ((3, 2) if coils >= 4 else (4, 3) if coils > 1 else (6,)):
        tall, wide = (min(side**2 if min(depth, height) < side else side, n) for n in (depth, height))
        whole = mask.unfold(0, tall, 1).unfold(1, wide, 1).flatten(2).all(-1)
        z, y = whole.nonzero(as_tuple=True)
        if len(z) >= 2 * coils * tall * wide:
            break
    if len(z) < coils * tall * wide:
        return None
    radius = (z / depth - 0.5 * whole.shape[0] / depth) ** 2 + (y / height - 0.5 * whole.shape[1] / height) ** 2
    far = radius.argsort(descending=True)[:1500]
    image = ifft3c(kspace / unit, axes=(-1,))
    found = []
    for x in positions.tolist():
        rows = image[..., x].unfold(1, tall, 1).unfold(2, wide, 1)[:, z[far], y[far]].permute(1, 0, 2, 3)
        level = _marchenko_pastur(rows.flatten(1))
        if level is not None:
            found.append(level)
    return unit * (sum(found) / len(found)) ** 0.5 if found else None


def _marchenko_pastur(rows: torch.Tensor, fewest: int = 5) -> float | None:
    """Variance of the noise (one of two parts) in a matrix of a few components and noise, if it shows enough of it."""
    count, columns = rows.shape
    values = torch.linalg.svdvals(rows.cpu().to(torch.complex128)).square().flip(0) / (2 * count)
    for kept in range(columns, fewest - 1, -1):
        mean = values[:kept].mean().item()
        if values[kept - 1] - values[0] <= 4 * (kept / count) ** 0.5 * mean:
            return mean * count / max(1, count - (columns - kept))
    return None


def whitening_matrix(noise: torch.Tensor) -> torch.Tensor:
    """The matrix that makes the noise of the coils independent, with standard deviation 1 (real, imaginary each).

    ``W`` with ``W C W^H = 2`` for the covariance ``C`` of the complex samples: the inverse of its Cholesky factor
    (Pruessmann et al., MRM 46:638, 2001).

    Parameters
    ----------
    noise : Tensor
        complex ``(coils, samples)``.

    Returns
    -------
    Tensor
        complex64 ``(coils, coils)``.

    Examples
    --------
    >>> noise = 3 * torch.randn(2, 4000, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    >>> (whitening_matrix(noise) @ noise).real.std(dim=1).round(decimals=1)
    tensor([1., 1.])
    """
    samples = noise.to(torch.complex128)
    covariance = samples @ samples.mH / samples.shape[1]
    try:
        factor = torch.linalg.cholesky(covariance)
    except torch.linalg.LinAlgError:
        raise ValueError("noise: found coils whose noise is zero or the same, expected independent coils") from None
    identity = torch.eye(len(factor), dtype=factor.dtype)
    return (2**0.5 * torch.linalg.solve_triangular(factor, identity, upper=False)).to(torch.complex64)


def compression_matrix(kspace: torch.Tensor, coils: int) -> torch.Tensor:
    """The strongest directions of the signal in coil space, as orthonormal rows (Huang et al., MRI 26:133, 2008).

    Parameters
    ----------
    kspace : Tensor
        complex64 ``(coils, z, y, x)``; its centre is enough.
    coils : int
        Virtual coils to keep.

    Returns
    -------
    Tensor
        complex64 ``(virtual coils, coils)``; noise that was white stays so.

    Examples
    --------
    >>> kspace = torch.randn(1, 4, 4, 4, dtype=torch.complex64).expand(3, -1, -1, -1)      # three equal coils
    >>> matrix = compression_matrix(kspace, 1)
    >>> round(torch.tensordot(matrix, kspace, 1).norm().item() / kspace.norm().item(), 3)
    1.0
    """
    if not 1 <= coils <= len(kspace):
        raise ValueError(f"coils: found {coils}, expected 1 to {len(kspace)}, the number of coils measured")
    samples = kspace.flatten(1).to(torch.complex128)
    _, vectors = torch.linalg.eigh(samples @ samples.mH)            # ascending
    return vectors.flip(1)[:, :coils].mH.to(torch.complex64)
