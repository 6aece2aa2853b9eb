"""Training heads made by torch, on the card where there is one, and cut into patches and whole slices.

The same heads as :mod:`mrilab.augmentation` makes (bent, recoloured, brought to a voxel size, given a phase), but fast
enough for a card that trains on thousands of patches a second, and from label maps as well. A head takes milliseconds
there and about a second on a processor's core. Head ``m`` and all that is cut from it follow from ``(seed, m)``, and
what a step sees from ``(seed, step)``: a run that is started again goes on as if nothing had happened.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import interpolate, ndimage
from torch.nn.functional import grid_sample

from .augmentation import VoxelSizes, draw_voxel_size, ends_of
from .datasets import entry_of
from .diffusion import to_channels
from .fourier import resample
from .label_heads import paint, tissue_map
from .references import fade
from .simulate import smooth_phase
from .volumes import Volume, load_volume, volume_header

POOL = 16               # heads in use at a time
PATCHES = 2048          # cut from each head
WHOLE = 16              # whole slices cut from each head
EVERY = 5               # each such step is one of whole slices, as many as have the pixels of the patches
LABEL_SHARE = 0.3       # of the heads, if there are label maps
TOLERANCE = 0.03        # a voxel size this much coarser counts as the asked one


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


def source(head: Volume | str | Path, device: str | torch.device = "cpu") -> Source:
    """A head to be made into others: a magnitude :class:`~mrilab.volumes.Volume`, a file, or a name, also of labels.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> source(head_phantom((8, 8, 8))).data.shape
    torch.Size([21, 27, 21])
    """
    volume = head if isinstance(head, Volume) else load_volume(head)
    entry = None if isinstance(head, Volume) else entry_of(str(head))
    if volume.info.get("kind") == "labels" or (entry is not None and entry.kind == "labels"):
        window = torch.from_numpy(fade(tuple(volume.data.shape), volume.voxel_size))
        return Source(tissue_map(volume.data.int()).to(device), volume.voxel_size, window=window.to(device))
    data = volume.data.abs().numpy().astype(np.float32)
    coefficients = ndimage.spline_filter(data, order=3, output=np.float32, mode="mirror")
    return Source(torch.from_numpy(coefficients).to(device), volume.voxel_size, float(np.percentile(data, 99.5)))


def on_processor(tensor: torch.Tensor) -> bool:
    """Whether it is not on a card.

    Examples
    --------
    >>> on_processor(torch.ones(1))
    True
    """
    return tensor.device.type == "cpu"


def sample_spline(coefficients: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """A cubic spline at any positions, zero outside: the 64 coefficients around each, by 8 trilinear look-ups.

    A pair of neighbours with B-spline weights ``a, b`` is ``a + b`` times one linear look-up between them (Sigg and
    Hadwiger, GPU Gems 2, chapter 20).

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
    if on_processor(at):                # the same, three times faster there
        found = ndimage.map_coordinates(coefficients.numpy(), at.numpy(), np.float32, order=3, mode="constant",
                                        prefilter=False)
        return torch.from_numpy(found)
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
        weight = torch.ones((), device=at.device)
        for a, c in enumerate(corner):
            weight = weight * (1 - share[a] if c else share[a])
        out += weight * value.reshape(shape)
    return out * inside


def bend(coefficients: torch.Tensor, voxel_size: Sequence[float], rng: np.random.Generator) -> torch.Tensor:
    """What :func:`mrilab.augmentation.deform` does, from spline coefficients: rotated by about 10 degrees at most, and
    bent so that lengths change by 2 % (standard deviation).

    Examples
    --------
    >>> bend(torch.ones(8, 8, 8), (2, 2, 2), np.random.default_rng(0)).shape
    torch.Size([8, 8, 8])
    """
    shape, device = coefficients.shape, coefficients.device
    size = np.array(voxel_size)
    a, b, c = rng.normal(0, 0.06, 3)
    rotation, _ = np.linalg.qr(np.array([[1, -a, b], [a, 1, -c], [-b, c, 1]]))
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
    """What :func:`mrilab.augmentation.remap_intensity` does, by a table: gamma, then non-monotone bumps.

    Examples
    --------
    >>> recolour(torch.linspace(0, 1, 3), 1.0, np.random.default_rng(0)).shape
    torch.Size([3])
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


def make_head(person: Source, voxel_sizes: VoxelSizes, rng: np.random.Generator
              ) -> tuple[torch.Tensor, tuple[float, ...]]:
    """One person's head as another person's at some voxel size: what :func:`mrilab.augmentation.augmented` does.

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
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    phase = smooth_phase(image.shape, generator, image.device)
    image = image * torch.exp(2j * rng.random() * phase)
    scale = torch.quantile(image.abs().flatten()[::7], 0.99)
    return image * (float(np.exp(rng.normal(0, 0.1))) / scale), size


def cut(image: torch.Tensor, voxel_size: Sequence[float], side: int, count: int, rng: np.random.Generator,
        coarsest: float = np.inf) -> tuple[torch.Tensor, torch.Tensor]:
    """Random squares of random slices, all at once: what :func:`mrilab.augmentation.cut_patch` does ``count`` times.

    What is smaller than the square is placed at random in a square of zeros.

    Parameters
    ----------
    image : Tensor
        complex64 ``(z, y, x)``.
    side, count : int
    coarsest : float
        Slices whose pixels are coarser than this (mm) are left out.

    Returns
    -------
    slices : Tensor
        float32 ``(count, 2, side, side)``.
    voxel_size : Tensor
        ``(count, 2)``, in mm.

    Examples
    --------
    >>> image = torch.ones(20, 20, 20, dtype=torch.complex64)
    >>> patches, sizes = cut(image, (3, 2, 1), 16, 5, np.random.default_rng(0), coarsest=2)
    >>> patches.shape, sizes[0]
    (torch.Size([5, 2, 16, 16]), tensor([2., 1.]))
    """
    planes = [(a, *[b for b in range(3) if b != a]) for a in range(3)]
    planes = [p for p in planes if max(voxel_size[p[1]], voxel_size[p[2]]) <= coarsest]
    shape, strides = np.array(image.shape), np.array(image.stride())
    tries = 4                                           # mostly tissue, now and then air
    order = np.array(planes)[rng.integers(len(planes), size=(count, 1))].repeat(tries, axis=1)      # (count, 4, 3)
    n = shape[order]
    across = rng.integers(n[..., 0])
    low, high = np.minimum(0, n[..., 1:] - side), np.maximum(0, n[..., 1:] - side)
    start = rng.integers(low, high + 1)                 # (count, 4, 2); below zero: placed in zeros
    device = image.device

    def gather(which: tuple, steps: np.ndarray) -> torch.Tensor:
        """Voxels ``steps`` from the corners, zero outside: ``(..., len(steps), len(steps))``."""
        rows, columns = (start[which][..., a, None] + steps for a in range(2))
        limits = n[which][..., 1:]
        valid = ((rows >= 0) & (rows < limits[..., :1]), (columns >= 0) & (columns < limits[..., 1:]))
        step = strides[order[which]]
        rows = np.clip(rows, 0, limits[..., :1] - 1) * step[..., 1:2] + (across[which] * step[..., 0])[..., None]
        columns = np.clip(columns, 0, limits[..., 1:] - 1) * step[..., 2:3]
        r, c, vr, vc = (torch.from_numpy(a).to(device) for a in (rows, columns, *valid))
        index = r[..., :, None] + c[..., None, :]
        found = image.as_strided((image.numel(),), (1,))[index.flatten()].reshape(index.shape)
        return found * (vr[..., :, None] & vc[..., None, :])

    coarse = gather((slice(None), slice(None)), np.arange(2, side, max(1, side // 8)))
    filled = torch.from_numpy(np.minimum(n[..., 1:], side).prod(axis=-1) / side**2).to(device)
    tissue = (coarse.abs().mean(dim=(-2, -1)) > 0.1 * filled).numpy(force=True)
    chosen = np.where(tissue.any(axis=1), tissue.argmax(axis=1), tries - 1)
    pieces = gather((np.arange(count), chosen), np.arange(side))
    turns = torch.from_numpy(np.exp(2j * np.pi * rng.random(count)).astype(np.complex64)).to(device)
    pieces = to_channels(pieces * turns[:, None, None])
    flips = torch.from_numpy(rng.random((2, count, 1, 1, 1)) < 0.5).to(device)
    for axis, flip in zip((-2, -1), flips):
        pieces = torch.where(flip, pieces.flip(axis), pieces)
    sizes = np.array(voxel_size, np.float32)[order[:, 0, 1:]]
    return pieces, torch.from_numpy(sizes).to(device)


def usable(heads: Sequence[Volume | str | Path], voxel_sizes: VoxelSizes) -> list[Volume | str | Path]:
    """Those that have slices as fine as the coarsest asked voxel size: a fixed-resolution prior must see no other.

    Examples
    --------
    >>> thick = Volume(torch.ones(8, 64, 64), (3, 3, 1))
    >>> [len(usable([thick], sizes)) for sizes in ((1, 1), (1, 3))]
    [0, 1]
    """
    limit = (1 + TOLERANCE) * ends_of(voxel_sizes)[1]
    sizes = [h.voxel_size if isinstance(h, Volume) else volume_header(h)[1] for h in heads]
    return [head for head, size in zip(heads, sizes) if sorted(size)[1] <= limit]


class Stream:
    """Training batches from ``begin`` on, endless: patches, and at each ``EVERY``-th step whole slices.

    Parameters
    ----------
    heads : list
        Volumes, files or names, also of label maps (:func:`source`). Those without a slice of the asked voxel sizes
        are left out.
    voxel_sizes : tuple or dict
        As for :func:`mrilab.augmentation.draw_voxel_size`.
    batch, patch : int
        Patches of a step over all processes, and their side in pixels.
    whole : int
        Side of the whole slices, of which a step has as many as make the pixels of the patches; 0 for patches alone.
    seed, begin, rank, ranks, device
        As for :func:`mrilab.augmentation.batches`.

    Yields
    ------
    slices : Tensor
        float32 ``(n, 2, side, side)``.
    voxel_size : Tensor
        ``(n, 2)``, in mm.

    Raises
    ------
    ValueError
        If no head has slices of the asked voxel sizes.

    Examples
    --------
    >>> from mrilab.simulate import head_phantom
    >>> stream = Stream([head_phantom((6, 6, 6))], (6, 12), batch=4, patch=16, whole=32)
    >>> [tuple(slices.shape) for slices, _ in itertools.islice(stream, EVERY)]
    [(4, 2, 16, 16), (4, 2, 16, 16), (4, 2, 16, 16), (4, 2, 16, 16), (1, 2, 32, 32)]
    """

    def __init__(self, heads: Sequence[Volume | str | Path], voxel_sizes: VoxelSizes, batch: int = 8,
                 patch: int = 64, whole: int = 0, seed: int = 0, begin: int = 0, rank: int = 0, ranks: int = 1,
                 device: str | torch.device = "cpu") -> None:
        heads = usable(heads, voxel_sizes)
        if not heads:
            raise ValueError(f"heads: found none with slices of {voxel_sizes} mm, expected at least one")
        self.sources = [source(head, device) for head in heads]
        self.voxel_sizes, self.seed, self.step, self.rank, self.ranks = voxel_sizes, seed, begin, rank, ranks
        self.batch, self.patch, self.whole, self.device = batch, patch, whole, device
        self.share = -(-batch // POOL)                          # patches of a head in a step
        self.refresh = max(1, PATCHES // (POOL * self.share))   # steps between replacing one of the heads
        self.wholes = max(1, round(batch * patch**2 / whole**2 / ranks)) * ranks if whole else 0
        drawn = np.array([s.window is not None for s in self.sources])
        odds = np.where(drawn, LABEL_SHARE / max(1, drawn.sum()), (1 - LABEL_SHARE) / max(1, (~drawn).sum()))
        self.odds = odds / odds.sum()
        self.pool: dict[int, tuple] = {}

    def make(self, number: int) -> tuple[torch.Tensor, ...]:
        """Patches and whole slices of head ``number``, each with its voxel sizes; half precision saves memory."""
        rng = np.random.default_rng([self.seed, 2, number])
        person = self.sources[rng.choice(len(self.sources), p=self.odds)]
        image, size = make_head(person, self.voxel_sizes, rng)
        # a matrix is a whole number, so one plane may come out coarser than asked: two of three axes always pass
        coarsest = max((1 + TOLERANCE) * ends_of(self.voxel_sizes)[1], sorted(size)[1])
        patches, sizes = cut(image, size, self.patch, POOL * self.refresh * self.share, rng, coarsest)
        found = [patches.half(), sizes]
        if self.whole:
            slices, sizes = cut(image, size, self.whole, WHOLE, rng, coarsest)
            found += [slices.half(), sizes]
        return tuple(found)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            newest = self.step // self.refresh + POOL - 1
            for number in range(newest - POOL + 1, newest + 1):
                if number not in self.pool:
                    self.pool[number] = self.make(number)
            self.pool.pop(newest - POOL, None)
            yield self._whole_slices(newest) if self.whole and self.step % EVERY == EVERY - 1 else self._patches(newest)
            self.step += 1

    def _patches(self, newest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next ``share`` patches of each head, in an order in which every part of the batch has all heads."""
        parts = []
        for number in range(newest - POOL + 1, newest + 1):
            first = (self.step - max(0, number - POOL + 1) * self.refresh) * self.share
            parts.append([t[first:first + self.share] for t in self.pool[number][:2]])
        slices, sizes = (torch.stack(p, dim=1).flatten(0, 1)[:self.batch] for p in zip(*parts))
        mine = slice(self.rank, None, self.ranks)
        return slices[mine].float(), sizes[mine]

    def _whole_slices(self, newest: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, 3, self.step])
        chosen = [(newest - int(a), int(b)) for a, b in zip(rng.integers(POOL, size=self.wholes),
                                                           rng.integers(WHOLE, size=self.wholes))]
        slices, sizes = (torch.stack([self.pool[head][part][i] for head, i in chosen[self.rank::self.ranks]])
                         for part in (2, 3))
        return slices.float(), sizes


def whole_side(voxel_sizes: VoxelSizes, extent: float = 222.0) -> int:
    """Side in pixels of a square that holds a whole slice of a head, a multiple of 16.

    Examples
    --------
    >>> [whole_side((d, d)) for d in (1, 2, 3)]
    [224, 112, 80]
    """
    return 16 * int(np.ceil(extent / ends_of(voxel_sizes)[0] / 16))
