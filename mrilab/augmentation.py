"""Training slices: a few people's heads made into many, at the asked voxel sizes.

A *head* is one training volume bent, recoloured, brought to some voxel size and given a phase. Making one
takes seconds, cutting a patch from it microseconds, so each head serves for a while: ``POOL`` heads are in
use at a time, and every ``REFRESH`` steps the oldest gives way to a new one. Head ``m`` and its patches
follow from ``(seed, m)`` alone, so neither the number of worker processes, nor that of training processes,
nor an interruption changes what a step sees.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import interpolate, ndimage

from .diffusion import to_channels
from .fourier import resample
from .simulate import smooth_phase
from .volumes import Volume, load_volume, volume_header

POOL = 16          # heads in use at a time
REFRESH = 40       # steps between replacing one of them
NEARLY = 1.05      # a matrix is a whole number, so a volume meets a voxel size within a few per cent

VoxelSizes = Sequence[float] | dict[float, float]


def deform(data: np.ndarray, voxel_size: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Rotate a volume by up to about 10 degrees and bend it smoothly, by cubic splines.

    The bending changes lengths by 2 % (standard deviation): a change of scale would be a change of voxel
    size, and a prior that is to know one voxel size only must not see others.

    Parameters
    ----------
    data : ndarray
        ``(z, y, x)``.
    voxel_size : tuple of float
        In mm.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        float32, same shape.

    Examples
    --------
    >>> head = np.ones((8, 8, 8), np.float32)
    >>> deform(head, (2, 2, 2), np.random.default_rng(0)).shape
    (8, 8, 8)
    """
    shape = np.array(data.shape)
    size = np.array(voxel_size)[:, None, None, None]
    centre = (shape[:, None, None, None] - 1) / 2
    a, b, c = rng.normal(0, 0.06, 3)
    rotation = np.array([[1, -a, b], [a, 1, -c], [-b, c, 1]])
    rotation, _ = np.linalg.qr(rotation)                 # orthogonal, and close to it: keeps lengths
    rotation = rotation * np.sign(np.diag(rotation))
    r = (np.indices(data.shape, dtype=np.float32) - centre) * size
    r = np.tensordot(rotation.astype(np.float32), r.astype(np.float32), axes=1)
    extent = shape * np.array(voxel_size)
    knots = np.maximum(4, np.ceil(extent / 40)).astype(int)
    shift = 0.02 * (extent / knots).min()        # mm; the steepness is shift over knot distance
    for axis in range(3):
        r[axis] += _spline(rng.normal(0, shift, knots), data.shape)
    return ndimage.map_coordinates(data, r / size + centre, order=3, output=np.float32, mode="constant")


def _spline(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values on a coarse grid as a cubic spline on a fine one. Separable: one axis at a time is fast."""
    for n in shape:
        k = len(values)
        basis = ndimage.zoom(np.eye(k), (n / k, 1), order=3, grid_mode=True, mode="nearest")
        values = np.tensordot(values, basis, ([0], [1]))        # the first axis becomes the last
    return values


def remap_intensity(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pass intensities through a random smooth curve that keeps zero: gamma, then non-monotone bumps.

    Examples
    --------
    >>> values = remap_intensity(np.linspace(0, 1, 5, dtype=np.float32), np.random.default_rng(0))
    >>> float(values[0]), values.shape
    (0.0, (5,))
    """
    peak = np.percentile(data, 99.5)
    x = np.linspace(0, 1.5, 7)
    bumps = rng.normal(0, 0.12, 7) * (rng.random() < 0.4)
    y = x ** np.exp(rng.normal(0, 0.25)) + bumps
    y[0] = 0
    curve = interpolate.PchipInterpolator(x, y, extrapolate=True)
    # values below zero are ringing of the deformation's splines
    return np.maximum(curve(np.clip(data / peak, 0, 1.5)), 0).astype(np.float32)


def draw_voxel_size(voxel_sizes: VoxelSizes, rng: np.random.Generator) -> np.ndarray:
    """Three voxel sizes in mm; half of the time one size for all axes.

    Of a range ``(smallest, largest)`` they are log-uniform, with a tenth at the lower end: it would otherwise have
    neighbours on one side only. Of a table of sizes and their odds, each is one of the sizes.

    Examples
    --------
    >>> draw_voxel_size((2, 2), np.random.default_rng(0))
    array([2., 2., 2.])
    >>> draw_voxel_size({2: 3, 4: 1}, np.random.default_rng(1))        # 2 mm three times as often as 4 mm
    array([2, 4, 2])
    """
    if isinstance(voxel_sizes, dict):
        odds = np.array(list(voxel_sizes.values()))
        size = rng.choice(list(voxel_sizes), 3, p=odds / odds.sum())
    else:
        low, high = np.log(voxel_sizes)
        size = np.exp(np.maximum(rng.uniform(low - (high - low) / 9, high, 3), low))
    return size[:1].repeat(3) if rng.random() < 0.5 else size


def ends_of(voxel_sizes: VoxelSizes) -> tuple[float, float]:
    """Smallest and largest voxel size of a range, or of a table of sizes and odds; ValueError for what is neither.

    Examples
    --------
    >>> ends_of((1, 4)), ends_of({3: 1, 2: 5})
    ((1.0, 4.0), (2.0, 3.0))
    """
    if isinstance(voxel_sizes, dict):
        if not voxel_sizes or not all(0 < n < np.inf for item in voxel_sizes.items() for n in item):
            raise ValueError(f"voxel_sizes: found {voxel_sizes!r}, expected sizes in mm and their odds, all positive")
    elif len(voxel_sizes) != 2 or not 0 < voxel_sizes[0] <= voxel_sizes[1] < np.inf:
        raise ValueError(f"voxel_sizes: found {voxel_sizes!r}, expected (smallest, largest) in mm")
    return float(min(voxel_sizes)), float(max(voxel_sizes))


def magnitude(volume: Volume) -> Volume:
    """The volume itself if it is real, its magnitude if it is complex: priors are trained on magnitudes.

    Examples
    --------
    >>> magnitude(Volume(torch.full((2, 2, 2), 3 - 4j), (1, 1, 1))).data.max()
    tensor(5.)
    """
    return Volume(volume.data.abs(), volume.voxel_size, volume.info) if volume.data.is_complex() else volume


def augmented(volume: Volume, voxel_sizes: VoxelSizes, rng: np.random.Generator
              ) -> tuple[torch.Tensor, tuple[float, ...]]:
    """One person's head as another person's at some voxel size.

    Parameters
    ----------
    volume : Volume
        Of a complex one, the magnitude.
    voxel_sizes : tuple or dict
        In mm, as for :func:`draw_voxel_size`; an axis that is coarser stays as it is.
    rng : numpy.random.Generator

    Returns
    -------
    image : Tensor
        complex64 ``(z, y, x)``, 99th percentile of the magnitude about 1.
    voxel_size : tuple of float

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> image, voxel_size = augmented(head_phantom((8, 8, 8)), (8, 16), np.random.default_rng(0))
    >>> image.dtype, all(8 <= d <= 17 for d in voxel_size)
    (torch.complex64, True)
    """
    data = remap_intensity(deform(magnitude(volume).data.numpy(), volume.voxel_size, rng), rng)
    size = np.maximum(draw_voxel_size(voxel_sizes, rng), volume.voxel_size)
    image = resample(torch.from_numpy(data), volume.voxel_size, tuple(size))
    size = tuple(n * d / m for n, d, m in zip(data.shape, volume.voxel_size, image.shape))
    # real scans differ in how much their phase varies: from not at all to twice the simulated one
    phase = smooth_phase(image.shape, torch.Generator().manual_seed(int(rng.integers(2**62))))
    image = image * torch.exp(2j * rng.random() * phase)
    scale = torch.quantile(image.abs().flatten()[::7], 0.99)
    return image / scale * float(np.exp(rng.normal(0, 0.1))), size


def cut_patch(image: torch.Tensor, voxel_size: Sequence[float], patch: int, rng: np.random.Generator, dims: int = 2
              ) -> tuple[torch.Tensor, list[float]]:
    """A random slice's random square, or the volume's random cube: complex64, and its ``dims`` voxel sizes.

    What is smaller than the patch is placed at random in a patch of zeros.

    Examples
    --------
    >>> image = torch.ones(20, 20, 20, dtype=torch.complex64)
    >>> patch, size = cut_patch(image, (3, 2, 1), 16, np.random.default_rng(0))
    >>> patch.shape, len(size)
    (torch.Size([16, 16]), 2)
    """
    axis = int(rng.integers(3)) if dims == 2 else None
    for _ in range(4):          # mostly tissue, now and then air
        piece = image if axis is None else image.select(axis, int(rng.integers(image.shape[axis])))
        for a in range(dims):
            start = int(rng.integers(max(1, piece.shape[a] - patch + 1)))
            piece = piece.narrow(a, start, min(patch, piece.shape[a]))
        if piece.abs().mean() > 0.1:
            break
    flips = [a for a in range(dims) if rng.random() < 0.5]
    piece = piece.flip(flips) * np.exp(2j * np.pi * rng.random())
    whole = torch.zeros([patch] * dims, dtype=torch.complex64)
    corner = [rng.integers(patch - n + 1) for n in piece.shape]
    whole[tuple(slice(c, c + n) for c, n in zip(corner, piece.shape))] = piece
    return whole, [d for a, d in enumerate(voxel_size) if a != axis]


def header(volume: Volume | str | Path, number: int) -> tuple[str, tuple[int, ...], tuple[float, ...], str]:
    """Name, matrix, voxel size and person of a training volume, without reading its data.

    A volume in memory has its place in the list for a name. A person who is not named is called after the file.

    Examples
    --------
    >>> header(Volume(torch.ones(24, 24, 20), (1, 1, 2), {"person": "a"}), 3)
    ('volumes[3]', (24, 24, 20), (1.0, 1.0, 2.0), 'a')
    """
    if isinstance(volume, Volume):
        name, shape, voxel_size, info = f"volumes[{number}]", tuple(volume.data.shape), volume.voxel_size, volume.info
    else:
        name, (shape, voxel_size, info) = str(volume), volume_header(volume)
    return name, shape, voxel_size, str(info.get("person") or Path(name).name.split(".")[0])


class Heads(torch.utils.data.Dataset):
    """Head ``m`` as ``(m, patches, voxel sizes)``: all patches that will be cut from it.

    Parameters
    ----------
    volumes : list
        Volumes, paths or shipped names. A file is read each time its turn comes, so memory does not grow
        with their number.
    voxel_sizes : tuple or dict
        Smallest and largest voxel size in mm, equal for a fixed-resolution prior; or a table ``{size: odds}``.
    patch : int
        Side of a patch in voxels.
    patches : int
        Patches of each head.
    seed : int
    dims : int
        2 for squares of slices, 3 for cubes.

    Raises
    ------
    ValueError
        For no volume, or a range or table that is none. For a volume that does not fill a patch in any plane, or
        that has no slice as fine as the largest asked voxel size (of a table: the smallest). For voxel sizes of which
        the smallest is finer than every slice: no patch would have it.

    Examples
    --------
    Of head 5, three patches, each with its voxel size in the plane; asked again, the same:

    >>> heads = Heads([Volume(torch.ones(24, 24, 24), (8, 8, 8))], (8, 16), patch=16, patches=3)
    >>> number, patches, sizes = heads[5]
    >>> number, patches.shape, sizes.shape
    (5, torch.Size([3, 2, 16, 16]), torch.Size([3, 2]))
    >>> torch.equal(patches, heads[5][1])
    True
    """

    def __init__(self, volumes: Sequence[Volume | str | Path], voxel_sizes: VoxelSizes, patch: int, patches: int,
                 seed: int = 0, dims: int = 2) -> None:
        if not volumes:
            raise ValueError("volumes: found none, expected at least one training volume")
        low, high = ends_of(voxel_sizes)
        enough = f"{'two' if dims == 2 else 'three'} axes of"
        coarsest, finest = low if isinstance(voxel_sizes, dict) else high, []
        for name, shape, size, _ in map(header, volumes, itertools.count()):
            if sorted(shape)[3 - dims] < patch:
                raise ValueError(f"{name}: found shape {tuple(shape)}, expected {enough} {patch} voxels or more; "
                                 "choose a smaller patch")
            finest.append(sorted(size)[dims - 1])       # a slice's coarser axis, of the finest slices
            if finest[-1] > NEARLY * coarsest:
                raise ValueError(f"{name}: found voxel size {size}, expected {enough} {coarsest:g} mm or finer: it "
                                 "has no slice of the asked voxel sizes")
        if min(finest) > NEARLY * low:
            raise ValueError(f"voxel_sizes: found {low:g} mm as the smallest, expected {min(finest):g} or more: the "
                             "volumes have no finer slice")
        self.volumes, self.voxel_sizes, self.patch, self.patches, self.seed = volumes, voxel_sizes, patch, patches, seed
        self.dims = dims

    def __getitem__(self, number: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        turn, place = divmod(number, len(self.volumes))
        volume = self.volumes[np.random.default_rng([self.seed, 0, turn]).permutation(len(self.volumes))[place]]
        if not isinstance(volume, Volume):
            volume = load_volume(volume)
        rng = np.random.default_rng([self.seed, 1, number])
        image, size = augmented(volume, self.voxel_sizes, rng)
        patches, sizes = zip(*(cut_patch(image, size, self.patch, rng, self.dims) for _ in range(self.patches)))
        return number, to_channels(torch.stack(patches)), torch.tensor(sizes, dtype=torch.float32)


def batches(volumes: Sequence[Volume | str | Path], voxel_sizes: VoxelSizes, batch: int = 8, patch: int = 64,
            seed: int = 0, begin: int = 0, rank: int = 0, ranks: int = 1, workers: int = 0,
            device: str | torch.device = "cpu", dims: int = 2) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless training batches, from step ``begin`` on.

    Element ``j`` of a batch comes from head ``j % POOL`` of the pool, so training process ``rank`` of
    ``ranks``, which takes every ``ranks``-th element, makes only the heads of its own elements.

    Parameters
    ----------
    volumes, voxel_sizes, patch, seed, dims
        As for :class:`Heads`.
    batch : int
        Slices of a step, over all processes.
    begin : int
        First step.
    workers : int
        Processes that make heads ahead of time (:class:`torch.utils.data.DataLoader`).
    device : str or torch.device
        Where the patches are kept: ``POOL * REFRESH * batch`` of them at most,
        each of ``8 * patch**dims`` bytes (170 MB by default).

    Yields
    ------
    slices : Tensor
        float32 ``(batch / ranks, 2, patch, patch)``, with a third ``patch`` for cubes.
    voxel_size : Tensor
        ``(batch / ranks, dims)``, in mm.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> slices, size = next(batches([head_phantom((6, 6, 6))], (6, 12), batch=4, patch=16))
    >>> slices.shape, size.shape
    (torch.Size([4, 2, 16, 16]), torch.Size([4, 2]))
    """
    mine = range(rank, batch, ranks)
    lanes = {j % POOL for j in mine}
    share = -(-batch // POOL)               # patches of a head in a step
    heads = Heads(volumes, voxel_sizes, patch, POOL * REFRESH * share, seed, dims)
    numbers = (m for m in itertools.count(begin // REFRESH) if m % POOL in lanes)
    loader = torch.utils.data.DataLoader(heads, batch_size=None, sampler=numbers, num_workers=workers)

    def generate() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        made, pool, newest = iter(loader), {}, -1
        for step in itertools.count(begin):
            due = max(m for m in range(step // REFRESH, step // REFRESH + POOL) if m % POOL in lanes)
            while newest < due:
                newest, *parts = next(made)
                pool[newest % POOL] = newest, *(part.to(device) for part in parts)
            chosen = []
            for j in mine:
                number, slices, size = pool[j % POOL]
                age = step - max(0, number - POOL + 1) * REFRESH
                chosen.append((slices[age * share + j // POOL], size[age * share + j // POOL]))
            patches, sizes = zip(*chosen)
            yield torch.stack(patches), torch.stack(sizes)

    return generate()
