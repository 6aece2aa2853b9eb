"""Training slices: a few people's heads made into many, at the asked voxel sizes.

A *head* is one person's bent, recoloured, brought to some voxel size and given a phase; or drawn from a label map. It
takes milliseconds on a GPU and about a second on a processor's core. Thousands of patches and some whole slices are
cut from it at once, or cubes for a network of volumes. A pool of heads is in use at a time, and the oldest gives way to
a new one when its patches are used up. Head ``m`` and all that is cut from it follow from ``(seed, m)``, and what a
step sees from ``(seed, step)``: an interruption does not change it, and each of several training processes knows the
whole batch.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import interpolate, ndimage
from torch.nn.functional import grid_sample

from .diffusion import to_channels
from .fourier import resample
from .label_heads import paint, tissue_map
from .references import fade
from .simulate import smooth_phase
from .volumes import Volume, load_volume, volume_header

POOL = 16               # heads in use at a time; no more than a step has patches
PATCHES = 2048          # cut from each head, or fewer with so many
VOXELS = 2**23
WHOLE = 16              # whole slices cut from each head
EXTENT = 222.0          # mm, of a square that holds a slice of a head
EVERY = 5               # each such step is one of whole slices, as many as have the pixels of the patches
LABEL_SHARE = 0.3       # of the heads, if there are label maps
TOLERANCE = 0.03        # a voxel size this much coarser counts as the asked one: a matrix is a whole number
KEPT = 64               # people whose volumes stay in memory

Head = Volume | str | Path
VoxelSizes = Sequence[float] | dict[float, float]


@dataclass(frozen=True)
class Source:
    """One person's head, ready to be made into others: coefficients of its splines, or a map of tissues.

    Attributes
    ----------
    data : Tensor
        float32 ``(z, y, x)``, cubic B-spline coefficients of the magnitude; or int32, tissues.
    voxel_size : tuple of float
    peak : float
        Its 99.5th percentile: the unit of the intensity curve.
    window : Tensor, optional
        Of tissues: fades at the faces of the box, as volumes do (:func:`mrilab.references.fade`).

    Examples
    --------
    >>> Source(torch.zeros(8, 10, 8), (2.0, 2.0, 2.0)).peak
    1.0
    """

    data: torch.Tensor
    voxel_size: tuple[float, ...]
    peak: float = 1.0
    window: torch.Tensor | None = None


def source(head: Head, device: str | torch.device = "cpu") -> Source:
    """A head to be made into others: a :class:`~mrilab.volumes.Volume`, a file, or a name, also of labels.

    Of a complex volume, the magnitude.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> source(head_phantom((8, 8, 8))).data.shape
    torch.Size([21, 27, 21])
    """
    volume = head if isinstance(head, Volume) else load_volume(head)
    if header(head)[3].get("kind") == "labels":
        window = torch.from_numpy(fade(tuple(volume.data.shape), volume.voxel_size))
        return Source(tissue_map(volume.data.int()).to(device), volume.voxel_size, window=window.to(device))
    data = volume.data.abs().numpy().astype(np.float32)
    coefficients = ndimage.spline_filter(data, order=3, output=np.float32, mode="mirror")
    return Source(torch.from_numpy(coefficients).to(device), volume.voxel_size, float(np.percentile(data, 99.5)))


def header(head: Head, number: int = 0) -> tuple[str, tuple[int, ...], tuple[float, ...], dict[str, Any]]:
    """Name, matrix, voxel size and info of a training volume, without reading its data.

    A volume in memory has its place in the list for a name. A person who is not named is called after the file.

    Examples
    --------
    >>> header(Volume(torch.ones(24, 24, 20), (1, 1, 2), {"person": "a"}), 3)
    ('volumes[3]', (24, 24, 20), (1.0, 1.0, 2.0), {'person': 'a'})
    """
    if isinstance(head, Volume):
        name, shape, voxel_size, info = f"volumes[{number}]", tuple(head.data.shape), head.voxel_size, head.info
    else:
        name, (shape, voxel_size, info) = str(head), volume_header(head)
    return name, shape, voxel_size, {**info, "person": str(info.get("person") or Path(name).name.split(".")[0])}


def sample_spline(coefficients: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """A cubic spline at any positions, zero outside.

    Parameters
    ----------
    coefficients : Tensor
        float32 ``(z, y, x)``, as of ``scipy.ndimage.spline_filter``.
    at : Tensor
        float32 ``(3, ...)``, positions in voxels along z, y, x.

    Returns
    -------
    Tensor
        float32, of the shape of ``at`` without its first axis.

    Examples
    --------
    A straight line stays what it is, away from the ends:

    >>> ramp = torch.arange(8.0).expand(8, 8, 8)
    >>> sample_spline(ramp, torch.tensor([[3.0, 3.0], [4.0, 4.5], [2.0, 4.25]]))
    tensor([2.0000, 4.2500])
    """
    if at.device.type != "cpu":
        return _by_look_ups(coefficients, at)
    return torch.from_numpy(ndimage.map_coordinates(            # the same, three times faster there
        coefficients.numpy(), at.numpy(), np.float32, order=3, mode="constant", prefilter=False))


def _by_look_ups(coefficients: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """A cubic spline on a GPU: the 64 coefficients around each position, by 8 trilinear look-ups.

    A pair of neighbours with B-spline weights ``a, b`` is ``a + b`` times one linear look-up between them (Sigg and
    Hadwiger, GPU Gems 2, chapter 20).
    """
    sizes, shape = coefficients.shape, at.shape[1:]
    low, high, share = [], [], []
    inside = torch.ones(shape, dtype=torch.bool, device=at.device)
    for axis, n in enumerate(sizes):
        r = at[axis]
        inside &= (r >= 0) & (r <= n - 1)
        base = r.floor()
        t = r - base
        w0, w1, w3 = (1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, t**3 / 6
        g0 = w0 + w1
        scale = 2 / max(n - 1, 1)
        low.append((base - 1 + w1 / g0) * scale - 1)
        high.append((base + 1 + w3 / (1 - g0)) * scale - 1)
        share.append(g0)
    volume = coefficients.reshape(1, 1, *sizes)
    out = torch.zeros(shape, device=at.device)
    for corner in itertools.product((0, 1), repeat=3):
        grid = torch.stack([(high if c else low)[a] for a, c in enumerate(corner)][::-1], dim=-1)
        value = grid_sample(volume, grid.reshape(1, 1, 1, -1, 3), align_corners=True, padding_mode="reflection")
        weight = math.prod(1 - share[a] if c else share[a] for a, c in enumerate(corner))
        out += weight * value.reshape(shape)
    return out * inside


def bend(coefficients: torch.Tensor, voxel_size: Sequence[float], rng: np.random.Generator) -> torch.Tensor:
    """Rotate a volume by up to about 10 degrees and bend it smoothly, by cubic splines.

    The bending changes lengths by 2 % (standard deviation): a change of scale would be a change of voxel size, and a
    prior that is to know one voxel size only must not see others.

    Parameters
    ----------
    coefficients : Tensor
        float32 ``(z, y, x)``, of the volume's splines.
    voxel_size : tuple of float
        In mm.
    rng : numpy.random.Generator

    Returns
    -------
    Tensor
        float32, same shape: the volume itself.

    Examples
    --------
    >>> bend(torch.ones(8, 8, 8), (2, 2, 2), np.random.default_rng(0)).shape
    torch.Size([8, 8, 8])
    """
    shape, device = coefficients.shape, coefficients.device
    size = np.array(voxel_size)
    a, b, c = rng.normal(0, 0.06, 3)
    rotation, _ = np.linalg.qr(np.array([[1, -a, b], [a, 1, -c], [-b, c, 1]]))      # orthogonal: keeps lengths
    rotation = rotation * np.sign(np.diag(rotation))
    turn = torch.from_numpy((rotation * size / size[:, None]).astype(np.float32)).to(device)       # voxels to voxels
    centre = [(n - 1) / 2 for n in shape]
    z, y, x = (torch.arange(n, device=device, dtype=torch.float32) - m for n, m in zip(shape, centre))
    extent = np.array(shape) * size
    knots = np.maximum(4, np.ceil(extent / 40)).astype(int)
    shift = 0.02 * (extent / knots).min()               # mm; the steepness is shift over knot distance
    bases = [torch.from_numpy(ndimage.zoom(np.eye(k), (n / k, 1), order=3, grid_mode=True, mode="nearest")
                              .astype(np.float32)).to(device) for n, k in zip(shape, knots)]
    at = []
    for axis in range(3):
        bent = torch.from_numpy((rng.normal(0, shift, knots) / size[axis]).astype(np.float32)).to(device)
        for basis in bases:                             # the first axis becomes the last
            bent = torch.tensordot(bent, basis, ([0], [1]))
        line = turn[axis, 0] * z[:, None, None] + turn[axis, 1] * y[:, None] + turn[axis, 2] * x
        at.append(bent + line + centre[axis])
    return sample_spline(coefficients, torch.stack(at))


def recolour(data: torch.Tensor, peak: float, rng: np.random.Generator) -> torch.Tensor:
    """Pass intensities through a random smooth curve that keeps zero: gamma, then non-monotone bumps.

    Values below zero, ringing of the splines, become zero; those above 1.5 times ``peak`` stay there.

    Examples
    --------
    >>> values = recolour(torch.linspace(-1, 1, 5), 1.0, np.random.default_rng(0))
    >>> values[:3], values.shape
    (tensor([0., 0., 0.]), torch.Size([5]))
    """
    x = np.linspace(0, 1.5, 7)
    bumps = rng.normal(0, 0.12, 7) * (rng.random() < 0.4)
    y = x ** np.exp(rng.normal(0, 0.25)) + bumps
    y[0] = 0
    steps = 4096
    table = np.maximum(interpolate.PchipInterpolator(x, y)(np.linspace(0, 1.5, steps + 1)), 0).astype(np.float32)
    values = torch.from_numpy(table).to(data.device)
    place = (data / peak).clamp(0, 1.5) * (steps / 1.5)
    below = place.long().clamp(max=steps - 1)
    return torch.lerp(values[below], values[below + 1], place - below)


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


def make_head(person: Source, voxel_sizes: VoxelSizes, rng: np.random.Generator
              ) -> tuple[torch.Tensor, tuple[float, ...]]:
    """One person's head as another person's at some voxel size.

    Parameters
    ----------
    person : Source
    voxel_sizes : tuple or dict
        In mm, as for :func:`draw_voxel_size`; an axis that is coarser stays as it is.
    rng : numpy.random.Generator

    Returns
    -------
    image : Tensor
        complex64 ``(z, y, x)``, 99th percentile of the magnitude about 1, on the device of the source.
    voxel_size : tuple of float

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> person = source(head_phantom((8, 8, 8)))
    >>> image, voxel_size = make_head(person, (8, 16), np.random.default_rng(0))
    >>> image.dtype, all(8 <= d <= 17 for d in voxel_size)
    (torch.complex64, True)
    """
    if person.window is not None:
        data = bend(paint(person.data, rng) * person.window, person.voxel_size, rng)
    else:
        data = recolour(bend(person.data, person.voxel_size, rng), person.peak, rng)
    asked = np.maximum(draw_voxel_size(voxel_sizes, rng), person.voxel_size)
    image = resample(data, person.voxel_size, tuple(float(d) for d in asked))
    size = tuple(n * d / m for n, d, m in zip(data.shape, person.voxel_size, image.shape))
    # real scans differ in how much their phase varies: from not at all to twice the simulated one
    phase = smooth_phase(image.shape, torch.Generator().manual_seed(int(rng.integers(2**62))), image.device)
    image = image * torch.exp(2j * rng.random() * phase)
    scale = torch.quantile(image.abs().flatten()[::7], 0.99)
    return image * (float(np.exp(rng.normal(0, 0.1))) / scale), size


def cut(image: torch.Tensor, voxel_size: Sequence[float], side: int, count: int, rng: np.random.Generator,
        coarsest: float = np.inf, dims: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Random squares of random slices, or random cubes, all at once; each flipped and turned by a phase at random.

    What is smaller than the square is placed at random in a square of zeros.

    Parameters
    ----------
    image : Tensor
        complex64 ``(z, y, x)``.
    side, count : int
    coarsest : float
        Slices whose pixels are coarser than this (mm) are left out.
    dims : int
        2 for squares, 3 for cubes.

    Returns
    -------
    pieces : Tensor
        float32 ``(count, 2, side, side)``, with a third ``side`` for cubes.
    voxel_size : Tensor
        ``(count, dims)``, in mm.

    Examples
    --------
    >>> image = torch.ones(20, 20, 20, dtype=torch.complex64)
    >>> patches, sizes = cut(image, (3, 2, 1), 16, 5, np.random.default_rng(0), coarsest=2)
    >>> patches.shape, sizes[0]
    (torch.Size([5, 2, 16, 16]), tensor([2., 1.]))
    """
    planes = [(a, *[b for b in range(3) if b != a]) for a in range(3)]
    planes = [p for p in planes if max(voxel_size[p[1]], voxel_size[p[2]]) <= coarsest] if dims == 2 else planes[:1]
    tries = 4                                           # mostly tissue, now and then air
    order = np.array(planes)[rng.integers(len(planes), size=(count, 1))].repeat(tries, axis=1)      # (count, 4, 3)
    shape, strides = np.array(image.shape)[order], np.array(image.stride())[order]
    across = rng.integers(shape[..., 0]) * strides[..., 0] if dims == 2 else np.zeros((count, tries), int)
    n, strides = shape[..., -dims:], strides[..., -dims:]
    start = rng.integers(np.minimum(0, n - side), np.maximum(0, n - side) + 1)      # below zero: placed in zeros
    voxels, device = image.as_strided((image.numel(),), (1,)), image.device

    def gather(which: tuple, steps: np.ndarray) -> torch.Tensor:
        """Voxels ``steps`` from the corners, zero outside: ``(..., m, m)``, of cubes with a third ``m``."""
        place, limits = start[which][..., None] + steps, n[which][..., None]
        inside = (place >= 0) & (place < limits)
        place = np.clip(place, 0, limits - 1) * strides[which][..., None]
        place[..., 0, :] += across[which][..., None]
        index, valid = ([torch.from_numpy(values[..., a, :]).to(device).reshape(
            *values.shape[:-2], *(-1 if a == b else 1 for b in range(dims))) for a in range(dims)]
            for values in (place, inside))
        return voxels[sum(index)] * functools.reduce(torch.logical_and, valid)

    filled = torch.from_numpy(np.minimum(n, side).prod(axis=-1) / side**dims).to(device)
    coarse = gather((slice(None), slice(None)), np.arange(2, side, max(1, side // 8)))
    tissue = (coarse.abs().flatten(2).mean(dim=-1) > 0.1 * filled).numpy(force=True)
    chosen = np.where(tissue.any(axis=1), tissue.argmax(axis=1), tries - 1)
    turns = torch.from_numpy(np.exp(2j * np.pi * rng.random(count)).astype(np.complex64)).to(device)
    flips = rng.random((dims, count)).T[..., None] < 0.5
    steps = np.arange(side)
    pieces = gather((np.arange(count), chosen), np.where(flips, steps[::-1], steps))
    sizes = np.array(voxel_size, np.float32)[order[:, 0, -dims:]]
    return to_channels(pieces * turns.reshape(-1, *[1] * dims)), torch.from_numpy(sizes).to(device)


def _finest(voxel_size: Sequence[float], dims: int = 2) -> float:
    """Pixel size of the finest slices, by their coarser axis; of a cube, the coarsest axis."""
    return sorted(voxel_size)[dims - 1]


def _coarsest(voxel_sizes: VoxelSizes) -> float:
    """Voxel size that a head must have slices of: of a table its smallest, else it would show sizes of its own."""
    return ends_of(voxel_sizes)[not isinstance(voxel_sizes, dict)]


def usable(heads: Sequence[Head], voxel_sizes: VoxelSizes) -> list[Head]:
    """Those that have slices as fine as the coarsest asked voxel size: a fixed-resolution prior must see no other.

    Examples
    --------
    >>> thick = Volume(torch.ones(8, 64, 64), (3, 3, 1))
    >>> [len(usable([thick], sizes)) for sizes in ((1, 1), (1, 3))]
    [0, 1]
    """
    limit = (1 + TOLERANCE) * _coarsest(voxel_sizes)
    return [head for head in heads if _finest(header(head)[2]) <= limit]


def _headers(heads: Sequence[Head], voxel_sizes: VoxelSizes, patch: int, dims: int) -> list[tuple]:
    """The header of each head, after a look whether patches of the asked kind can be cut from it."""
    if not heads:
        raise ValueError("volumes: found none, expected at least one training volume")
    low, coarsest = ends_of(voxel_sizes)[0], _coarsest(voxel_sizes)
    headers = list(map(header, heads, itertools.count()))
    enough = f"{'two' if dims == 2 else 'three'} axes of"
    for name, shape, size, _ in headers:
        if sorted(shape)[3 - dims] < patch:
            raise ValueError(f"{name}: found shape {tuple(shape)}, expected {enough} {patch} voxels or more; "
                             "choose a smaller patch")
        if _finest(size, dims) > (1 + TOLERANCE) * coarsest:
            raise ValueError(f"{name}: found voxel size {size}, expected {enough} {coarsest:g} mm or finer: it "
                             "has no slice of the asked voxel sizes")
    finest = min(_finest(size, dims) for _, _, size, _ in headers)
    if finest > (1 + TOLERANCE) * low:
        raise ValueError(f"voxel_sizes: found {low:g} mm as the smallest, expected {finest:g} or more: the "
                         "volumes have no finer slice")
    return headers


class Stream:
    """Training batches from ``begin`` on, endless: patches, and at each ``EVERY``-th step whole slices; or cubes.

    Parameters
    ----------
    heads : list
        Volumes, files or names, also of label maps (:func:`source`). Files are read when their turn comes, and ``KEPT``
        of them stay in memory.
    voxel_sizes : tuple or dict
        Smallest and largest voxel size in mm, equal for a fixed-resolution prior; or a table ``{size: odds}``.
    batch, patch : int
        Patches of a step, and their side in pixels.
    whole : int, optional
        Side of the whole slices, of which a step has as many as make the pixels of the patches; 0 for patches alone. If
        it is not given, that of a square that holds a slice of a head.
    seed, begin : int
        Of the random numbers, and the first step.
    device : str or torch.device
        Where heads are made and patches kept: ``POOL`` times ``PATCHES``, in half precision, 0.5 GB of 64 x 64.
    dims : int
        2 for slices, 3 for cubes, which are patches alone.

    Yields
    ------
    slices : Tensor
        float32 ``(n, 2, side, side)``, with a third ``side`` for cubes.
    voxel_size : Tensor
        ``(n, dims)``, in mm.

    Raises
    ------
    ValueError
        For no head, or a range or table that is none. For a head that does not fill a patch in any plane, or that has
        no slice as fine as the largest asked voxel size (of a table: the smallest). For voxel sizes of which the
        smallest is finer than every slice: no patch would have it.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> stream = Stream([head_phantom((6, 6, 6))], (6, 12), batch=4, patch=16, whole=32)
    >>> [tuple(slices.shape) for slices, _ in itertools.islice(stream, EVERY)]
    [(4, 2, 16, 16), (4, 2, 16, 16), (4, 2, 16, 16), (4, 2, 16, 16), (1, 2, 32, 32)]
    """

    def __init__(self, heads: Sequence[Head], voxel_sizes: VoxelSizes, batch: int = 8, patch: int = 64,
                 whole: int | None = None, seed: int = 0, begin: int = 0, device: str | torch.device = "cpu",
                 dims: int = 2) -> None:
        self.headers = _headers(heads, voxel_sizes, patch, dims)
        drawn = np.array([info.get("kind") == "labels" for *_, info in self.headers])
        odds = np.where(drawn, LABEL_SHARE / max(1, drawn.sum()), (1 - LABEL_SHARE) / max(1, (~drawn).sum()))
        self.odds = odds / odds.sum()
        self.source = functools.lru_cache(KEPT)(lambda i: source(heads[i], device))
        self.voxel_sizes, self.seed, self.step, self.dims = voxel_sizes, seed, begin, dims
        self.batch, self.patch, self.at_once = batch, patch, min(POOL, batch)
        side = 16 * math.ceil(EXTENT / ends_of(voxel_sizes)[0] / 16)
        self.whole = 0 if dims == 3 else max(side, patch) if whole is None else whole
        self.share = -(-batch // self.at_once)                  # patches of a head in a step
        count = min(PATCHES, VOXELS // patch**dims)
        self.refresh = max(1, count // (self.at_once * self.share))     # steps between replacing one of the heads
        self.wholes = max(1, round(batch * patch**2 / self.whole**2)) if self.whole else 0
        self.pool: dict[int, tuple] = {}

    def make(self, number: int) -> tuple[torch.Tensor, ...]:
        """Patches and whole slices of head ``number``, each with its voxel sizes; half precision saves memory."""
        rng = np.random.default_rng([self.seed, 2, number])
        person = self.source(rng.choice(len(self.odds), p=self.odds))
        image, size = make_head(person, self.voxel_sizes, rng)
        # a matrix is a whole number, so one plane may come out coarser than asked: two of three axes always pass
        coarsest = max((1 + TOLERANCE) * ends_of(self.voxel_sizes)[1], _finest(size))
        found = []
        wanted = [(self.patch, self.at_once * self.refresh * self.share), *[(self.whole, WHOLE)] * (self.whole > 0)]
        for side, count in wanted:
            slices, sizes = cut(image, size, side, count, rng, coarsest, self.dims)
            found += [slices.half(), sizes]
        return tuple(found)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            newest = self.step // self.refresh + self.at_once - 1
            for number in range(newest - self.at_once + 1, newest + 1):
                if number not in self.pool:
                    self.pool[number] = self.make(number)
            self.pool.pop(newest - self.at_once, None)
            yield self._whole_slices(newest) if self.whole and self.step % EVERY == EVERY - 1 else self._patches(newest)
            self.step += 1

    def _patches(self, newest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next ``share`` patches of each head, in an order in which every part of the batch has all heads."""
        parts = []
        for number in range(newest - self.at_once + 1, newest + 1):
            first = (self.step - max(0, number - self.at_once + 1) * self.refresh) * self.share
            parts.append([t[first:first + self.share] for t in self.pool[number][:2]])
        slices, sizes = (torch.stack(p, dim=1).flatten(0, 1)[:self.batch] for p in zip(*parts))
        return slices.float(), sizes

    def _whole_slices(self, newest: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, 3, self.step])
        chosen = [(newest - int(a), int(b)) for a, b in zip(rng.integers(self.at_once, size=self.wholes),
                                                           rng.integers(WHOLE, size=self.wholes))]
        slices, sizes = (torch.stack([self.pool[head][part][i] for head, i in chosen])
                         for part in (2, 3))
        return slices.float(), sizes
