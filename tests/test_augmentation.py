import itertools

import numpy as np
import pytest
import torch
from test_datasets import fetched

from mrilab import augmentation
from mrilab.augmentation import EVERY, POOL, Stream, bend, cut, draw_voxel_size, make_head, recolour, source, usable
from mrilab.datasets import list_datasets
from mrilab.label_heads import TISSUES, paint, tissue_map
from mrilab.volumes import Volume, load_volume, save_volume


def blobs(shape=(24, 24, 24), voxel_size=(2, 2, 2), seed=0):
    """A smooth random magnitude volume."""
    rng = np.random.default_rng(seed)
    k = np.fft.fftn(rng.normal(size=shape))
    f = [np.fft.fftfreq(n) for n in shape]
    radius = sum(g**2 for g in np.meshgrid(*f, indexing="ij"))
    data = np.abs(np.fft.ifftn(k * np.exp(-radius * 60)))
    return Volume(torch.from_numpy((data / data.max()).astype(np.float32)), voxel_size)


def ball(labels=(0, 515, 511, 24, 3, 2), shape=(30, 36, 32)):
    """Shells of labels around white matter."""
    r = np.sqrt(sum((i - (n - 1) / 2) ** 2 for i, n in zip(np.indices(shape), shape)))
    return torch.from_numpy(np.select([r > 15, r > 13, r > 11, r > 10, r > 7], labels[:5], labels[5]).astype(np.int32))


def stream(count=1, voxel_sizes=(2, 6), batch=4, people=None, whole=32, **options):
    found = Stream(people or [blobs(), blobs(seed=1)], voxel_sizes, batch, 16, whole, **options)
    return list(itertools.islice(found, count))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def short_lived(monkeypatch):
    """Heads that give way to others after three steps."""
    monkeypatch.setattr(augmentation, "PATCHES", 3 * POOL)


@pytest.mark.parametrize("dims", [2, 3])
def test_what_a_step_sees_follows_from_seed_and_step(short_lived, dims):
    """A run that starts in the middle sees what a run from the beginning sees there, also past a change of heads."""
    steps = stream(40, dims=dims)
    for step in (1, 4, 13, 39):
        assert same(steps[step], stream(begin=step, dims=dims)[0])
    assert not same(steps[0], steps[1]) and not same(steps[0], stream(seed=1, dims=dims)[0])


def test_no_patch_is_seen_twice(short_lived):
    """Not in a batch larger than the pool, and not in the life of a head."""
    for batch, count in ((2 * POOL + 1, 1), (3, 40)):
        slices = torch.cat([slices for slices, _ in stream(count, batch=batch, whole=0)])
        assert len(torch.unique(slices.flatten(1), dim=0)) == batch * count


def test_a_small_batch_makes_no_more_heads_than_it_shows():
    few = Stream([blobs()], (2, 2), 4, 16)
    next(iter(few))
    assert len(few.pool) == 4 and len(Stream([blobs()], (2, 2), 99, 16).pool) == 0


@pytest.mark.parametrize("voxel_sizes", [(2, 2), (2, 8)])
def test_patches_have_the_asked_voxel_sizes(voxel_sizes):
    (slices, sizes), = stream(voxel_sizes=voxel_sizes, batch=POOL)
    assert slices.shape == (POOL, 2, 16, 16) and slices.dtype == torch.float32
    assert slices.isfinite().all() and slices.abs().amax() > 0.3
    # the matrix is a whole number: a small volume meets the asked size to within half a voxel in it
    assert sizes.min() >= 2 * 0.95 and sizes.max() <= voxel_sizes[1] * 1.25
    if voxel_sizes[1] > voxel_sizes[0]:
        assert sizes.max() > 4 and (sizes[:, 0] != sizes[:, 1]).any() and (sizes[:, 0] == sizes[:, 1]).any()


@pytest.mark.parametrize("voxel_size", [2, 3])
def test_a_prior_of_one_voxel_size_sees_no_other(voxel_size):
    people = [blobs(), Volume(blobs().data, (4, 1.8, 1.9)), Volume(blobs().data, (2, 2, 1))]
    for _, sizes in stream(EVERY, people=people, voxel_sizes=(voxel_size, voxel_size), batch=POOL):
        assert (sizes / voxel_size - 1).abs().max() < 0.06          # a matrix of 24 is a whole number
    assert usable([Volume(blobs().data, (4, 3, 1.9))], (2, 2)) == []


def test_voxel_sizes_fill_their_range():
    rng = np.random.default_rng(0)
    sizes = np.array([draw_voxel_size((1, 4), rng) for _ in range(4000)])
    assert sizes.min() == 1 and sizes.max() <= 4
    counts = np.histogram(np.log(sizes[sizes > 1]), bins=5, range=(0, np.log(4)))[0] / sizes.size
    assert np.allclose(counts, 0.9 / 5, atol=0.03) and abs((sizes == 1).mean() - 0.1) < 0.03
    assert abs((sizes[:, 0] == sizes[:, 1]).mean() - 0.5) < 0.05


def test_a_table_of_voxel_sizes_is_drawn_with_its_odds():
    """Of isotropic draws, a share of the odds; of the others, each axis on its own. 5 standard errors are 0.04."""
    rng, odds = np.random.default_rng(0), {1: 1, 2.5: 3, 4: 4}
    sizes = np.array([draw_voxel_size(odds, rng) for _ in range(4000)])
    for size, share in odds.items():
        assert abs((sizes[:, 1] == size).mean() - share / 8) < 0.04
    same_twice = sum((share / 8) ** 2 for share in odds.values())
    assert abs((sizes[:, 0] == sizes[:, 1]).mean() - (0.5 + 0.5 * same_twice)) < 0.04
    (_, seen), = stream(voxel_sizes={2: 1, 4: 2}, batch=POOL)
    assert {round(d) for d in seen.flatten().tolist()} == {2, 4}


def test_whole_slices_have_as_many_pixels_as_patches(short_lived):
    steps = stream(2 * EVERY, batch=16)
    assert [s.shape[-1] for s, _ in steps] == ([16] * (EVERY - 1) + [32]) * 2
    assert len({s.numel() for s, _ in steps}) == 1
    assert all(s.shape[-1] == 16 for s, _ in stream(EVERY, batch=16, whole=0))
    sides = [Stream([blobs()], sizes, 4, 16).whole for sizes in ((2, 4), {2: 1, 3: 1}, (3, 3))]
    assert sides[0] == sides[1] >= 108 and 72 <= sides[2] < sides[0]            # 216 mm is a head


@pytest.mark.parametrize("side", [16, 40])
def test_squares_are_parts_of_slices(side):
    """Of a volume whose voxels count themselves, a square holds a plane's numbers, turned by a phase, or zeros."""
    shape = (20, 24, 18)
    volume = torch.arange(1, np.prod(shape) + 1, dtype=torch.float32).reshape(shape).to(torch.complex64)
    squares, sizes = cut(volume, (3, 2, 1), side, 40, np.random.default_rng(0))
    assert squares.shape == (40, 2, side, side) and sizes.shape == (40, 2)
    planes = {(2.0, 1.0): (1, 2), (3.0, 1.0): (0, 2), (3.0, 2.0): (0, 1)}
    for square, size in zip(squares, sizes):
        axes = planes[tuple(size.tolist())]
        numbers = square.norm(dim=0).round()
        inside = numbers > 0
        places = np.unravel_index((numbers[inside] - 1).long().numpy(), shape)
        across = ({0, 1, 2} - set(axes)).pop()
        assert len(set(places[across])) == 1                        # one slice
        counts = [min(side, shape[a]) for a in axes]
        assert [len(set(places[a])) for a in axes] == counts and inside.sum() == np.prod(counts)
        phase = torch.atan2(square[1], square[0])[inside]
        assert (phase - phase[0]).abs().max() < 1e-3
    assert {tuple(s.tolist()) for s in sizes} == set(planes)


def test_cubes_are_parts_of_the_volume():
    """Of a volume that counts its voxels along each axis, a cube counts on, up or down."""
    shape, ups = (10, 12, 9), set()
    for axis in range(3):
        ramp = torch.from_numpy(1 + np.indices(shape)[axis]).to(torch.complex64)
        cubes, sizes = cut(ramp, (1, 2, 3), 8, 20, np.random.default_rng(axis), dims=3)
        assert cubes.shape == (20, 2, 8, 8, 8) and sizes.tolist() == [[1, 2, 3]] * 20
        cubes = cubes.norm(dim=1)
        steps = cubes.diff(dim=1 + axis).flatten(1)
        assert torch.allclose(steps, steps[:, :1].round().expand_as(steps), atol=1e-4)
        assert set(steps[:, 0].round().tolist()) == {-1, 1}
        assert cubes.std([1 + a for a in range(3) if a != axis]).max() < 1e-5
        ups |= {*cubes.amin((1, 2, 3)).round().tolist()}
    assert ups == {1, 2, 3, 4, 5}                                   # at every place
    small, _ = cut(torch.ones(3, 12, 9, dtype=torch.complex64), (1, 1, 1), 8, 3, np.random.default_rng(0), dims=3)
    assert torch.allclose(small.norm(dim=1).sum((1, 2, 3)), torch.tensor(3.0 * 8 * 8))
    (cubes, sizes), = stream(batch=2, dims=3)
    assert cubes.shape == (2, 2, 16, 16, 16) and sizes.shape == (2, 3)


@pytest.mark.parametrize("dims", [2, 3])
def test_patches_are_mostly_of_tissue(dims):
    image = torch.zeros(40, 64, 64, dtype=torch.complex64)
    image[10:30, 20:40, 20:40] = 1
    patches, _ = cut(image, (1, 1, 1), 16, 200, np.random.default_rng(0), dims=dims)
    assert (patches.norm(dim=1).flatten(1).mean(1) > 0.05).float().mean() > 0.5


def test_bending_moves_the_head_but_keeps_its_scale():
    """Lengths change by 2 % or so: more would be a change of voxel size for a fixed-resolution prior."""
    shape = (40, 40, 40)
    ramps = [np.indices(shape, dtype=np.float32)[a] for a in range(3)]          # straight lines are their own splines
    stretched = []
    for seed in range(3):
        moved = [bend(torch.from_numpy(r), (1, 1, 1), np.random.default_rng(seed)).numpy() for r in ramps]
        jacobian = np.array([[np.gradient(m, axis=a)[10:30, 10:30, 10:30] for a in range(3)] for m in moved])
        stretched.append(np.sqrt((jacobian**2).sum(0)))       # length of a unit step in each direction
        assert max(np.abs(m - r)[10:30, 10:30, 10:30].mean() for m, r in zip(moved, ramps)) > 0.2
    assert abs(np.mean(stretched) - 1) < 0.01 and np.std(stretched) < 0.03


def test_bending_is_in_mm():
    """On voxels half as long, a place of the head comes from the same place: three volumes hold z, y and x in mm."""
    def moved(shape, voxel_size):
        places = [(np.indices(shape)[a] - (n - 1) / 2) * d for a, (n, d) in enumerate(zip(shape, voxel_size))]
        return np.stack([bend(torch.from_numpy(p.astype(np.float32)), voxel_size, np.random.default_rng(1)).numpy()
                         for p in places])

    coarse, fine = moved((24, 24, 24), (2, 2, 2)), moved((48, 24, 24), (1, 2, 2))
    difference = (fine.reshape(3, 24, 2, 24, 24).mean(2) - coarse)[:, 6:-6, 6:-6, 6:-6]
    assert np.abs(difference).max() < 0.05


def test_eight_linear_look_ups_are_a_cubic_spline():
    """The way of a card, taken on the processor, against scipy's own."""
    coefficients = source(blobs((12, 15, 9))).data
    at = torch.rand(3, 4000) * torch.tensor([[13.0], [16.0], [10.0]]) - 1
    expected = augmentation.sample_spline(coefficients, at)
    assert (augmentation._by_look_ups(coefficients, at) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_intensity_curve_is_smooth_and_keeps_zero():
    values = torch.linspace(-0.5, 4, 2000)
    for seed in range(8):
        found = recolour(values, 2.0, np.random.default_rng(seed))
        assert (found[values <= 0] == 0).all() and (found >= 0).all() and found.max() > 0.3
        assert (found[values > 3] == found[-1]).all() and found.diff().abs().max() < 0.05
    assert not torch.equal(found, recolour(values, 2.0, np.random.default_rng(0)))


def test_a_head_is_scaled_and_smooth_in_phase():
    image, size = make_head(source(blobs()), (2, 2), np.random.default_rng(0))
    assert size == (2, 2, 2) and image.dtype == torch.complex64
    assert 0.6 < torch.quantile(image.abs(), 0.99) < 1.6
    step = torch.angle(image[1:] * image[:-1].conj())[(image[1:].abs() > 0.3) & (image[:-1].abs() > 0.3)]
    assert step.abs().mean() < 0.3


def test_anisotropic_volume_keeps_its_coarse_axis():
    person = source(Volume(blobs().data, (1, 1, 3)))
    for seed in range(4):
        _, size = make_head(person, (1, 2), np.random.default_rng(seed))
        assert size[2] == 3 and max(size[:2]) < 2.2


def test_files_are_read_when_their_turn_comes(tmp_path, monkeypatch):
    """What is held does not grow with the data, and a head is the same whether its file is read anew or not."""
    paths = [tmp_path / f"{name}.h5" for name in "abc"]
    for seed, path in enumerate(paths):
        save_volume(path, blobs(seed=seed))
    read = []
    monkeypatch.setattr(augmentation, "load_volume", lambda path: read.append(path) or load_volume(path))
    few = Stream(paths, (2, 4), 8, 16)
    assert not read
    first = next(iter(few))
    assert set(read) == set(paths) and len(read) == 3
    monkeypatch.setattr(augmentation, "KEPT", 1)
    assert same(first, next(iter(Stream(paths, (2, 4), 8, 16)))) and len(read) > 6
    assert same(first, next(iter(Stream([load_volume(p) for p in paths], (2, 4), 8, 16))))


def test_bad_volumes(tmp_path):
    with pytest.raises(ValueError, match="volumes: found none"):
        Stream([], (1, 1))
    with pytest.raises(ValueError, match=r"volumes\[1\]: found shape \(24, 12, 12\).*two axes of 16 voxels"):
        Stream([blobs(), blobs((24, 12, 12))], (2, 2), 4, 16)
    save_volume(tmp_path / "small.h5", blobs((12, 24, 12)))
    with pytest.raises(ValueError, match="small.h5: found shape"):
        Stream([tmp_path / "small.h5"], (2, 2), 4, 16)
    with pytest.raises(FileNotFoundError, match="absent"):
        Stream([tmp_path / "absent.h5"], (2, 2), 4, 16)
    with pytest.raises(ValueError, match="small.h5: found shape.*three axes of 16 voxels"):
        Stream([tmp_path / "small.h5"], (2, 2), 4, 16, dims=3)
    for sizes in ((2,), (0, 2), (3, 2), {}, {0: 1}, {2: 0}, {2: float("inf")}):
        with pytest.raises(ValueError, match="voxel_sizes: found"):
            Stream([blobs()], sizes, 4, 16)


def test_label_heads_have_a_contrast_a_shading_and_a_texture():
    tissues = tissue_map(ball())
    images = [paint(tissues, np.random.default_rng(seed)) for seed in range(20)]
    means = torch.tensor([[image[tissues == place].mean() for place in tissues.unique()] for image in images])
    assert means[:, 0].abs().max() == 0 and (means[:, 1:].std(0) > 0.1).all()      # air is dark, the rest varies
    white = list(TISSUES).index("white matter")
    ratio = torch.stack([image[tissues == white].std() / image[tissues == white].mean() for image in images])
    assert ratio.min() > 0.005 and ratio.mean() < 0.3
    assert torch.equal(images[3], paint(tissues, np.random.default_rng(3)))


def test_borders_of_label_heads_have_partial_volume():
    """A sharp border becomes one of about two voxels."""
    tissues = torch.zeros(16, 16, 16, dtype=torch.int32)
    tissues[:, :, 8:] = 1
    step = augmentation.sample_spline((tissues == 1).float(), torch.stack(torch.meshgrid(
        *[torch.arange(4.0, 12)] * 3, indexing="ij")))
    profile = step.mean((0, 1))
    assert torch.allclose(profile, torch.tensor([0, 0, 0, 1 / 6, 5 / 6, 1, 1, 1]), atol=1e-3)


def test_a_stream_of_label_heads_and_volumes(tmp_path):
    volume = Volume(torch.from_numpy(np.where(ball() > 0, 1.0, 0).astype(np.float32)), (1, 1, 1))
    save_volume(tmp_path / "map.h5", Volume(ball().float(), (1, 1, 1), {"kind": "labels"}))
    both = Stream([volume, tmp_path / "map.h5"], (1, 2), 16, 16)
    assert [both.source(i).data.dtype for i in range(2)] == [torch.float32, torch.int32]
    assert both.odds.tolist() == pytest.approx([1 - augmentation.LABEL_SHARE, augmentation.LABEL_SHARE])
    slices, _ = next(iter(both))
    assert slices.isfinite().all() and slices.abs().amax() > 0.3
    image, _ = make_head(both.source(1), (1, 1), np.random.default_rng(0))      # fades at the faces of the box
    middle = image.abs()[10:20].mean()
    assert all(image.abs().select(axis, end).mean() < 0.3 * middle for axis in range(3) for end in (0, -1))


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match="^labels: found 77, 2035, expected those of"):
        tissue_map(ball((0, 2035, 511, 24, 77, 2)))


@pytest.mark.parametrize("d", list_datasets("labels")[:2], ids=lambda d: d.name)
def test_the_label_maps_are_known(d):
    fetched(d.name)
    volume = load_volume(d.name)
    labels = volume.data.int()
    assert augmentation.header(d.name)[3]["kind"] == "labels"
    assert tuple(labels.shape) == tuple(d.shape) and volume.voxel_size == tuple(d.voxel_size)
    tissues = tissue_map(labels)
    share = torch.bincount(tissues.flatten(), minlength=len(TISSUES)) / tissues.numel()
    brain = share[list(TISSUES).index("white matter")] + share[list(TISSUES).index("cortex")]
    assert 0.1 < brain < 0.4 and share[0] < 0.6
