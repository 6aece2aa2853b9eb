import itertools
import pickle

import numpy as np
import pytest
import torch

from mrilab.augmentation import (
    POOL,
    REFRESH,
    Heads,
    augmented,
    batches,
    cut_patch,
    deform,
    draw_voxel_size,
    remap_intensity,
)
from mrilab.volumes import Volume, load_volume, save_volume


def blobs(shape=(24, 24, 24), voxel_size=(2, 2, 2), seed=0):
    """A smooth random magnitude volume."""
    rng = np.random.default_rng(seed)
    k = np.fft.fftn(rng.normal(size=shape))
    f = [np.fft.fftfreq(n) for n in shape]
    radius = sum(g**2 for g in np.meshgrid(*f, indexing="ij"))
    data = np.abs(np.fft.ifftn(k * np.exp(-radius * 60)))
    return Volume(torch.from_numpy((data / data.max()).astype(np.float32)), voxel_size)


def stream(begin=0, count=1, voxel_sizes=(2, 6), batch=4, **options):
    found = batches([blobs(), blobs(seed=1)], voxel_sizes, batch=batch, patch=16, begin=begin, **options)
    return list(itertools.islice(found, count))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batch_depends_on_seed_and_step_only():
    """A run that starts in the middle sees what a run from the beginning sees there."""
    whole = stream(count=2 * REFRESH + 3)
    for step in (1, REFRESH, 2 * REFRESH + 2):
        assert same(whole[step], stream(step)[0])
    assert not same(whole[0], whole[1]) and not same(whole[0], stream(seed=1)[0])


def test_batch_does_not_depend_on_workers():
    for one, other in zip(stream(count=REFRESH + 2), stream(count=REFRESH + 2, workers=2)):
        assert same(one, other)


def test_processes_share_a_batch():
    (slices, sizes), = stream(batch=6)
    for rank in range(3):
        assert same(stream(batch=6, rank=rank, ranks=3)[0], (slices[rank::3], sizes[rank::3]))


def test_a_batch_larger_than_the_pool_repeats_no_patch():
    (slices, _), = stream(batch=2 * POOL + 1)
    assert len(torch.unique(slices.flatten(1), dim=0)) == 2 * POOL + 1


@pytest.mark.parametrize("voxel_sizes", [(2, 2), (2, 8)])
def test_patches_have_the_asked_voxel_sizes(voxel_sizes):
    (slices, sizes), = stream(voxel_sizes=voxel_sizes, batch=POOL)
    assert slices.shape == (POOL, 2, 16, 16) and slices.dtype == torch.float32
    assert slices.isfinite().all() and slices.abs().amax() > 0.3
    # the matrix is a whole number: a small volume meets the asked size to within half a voxel in it
    assert sizes.min() >= 2 * 0.95 and sizes.max() <= voxel_sizes[1] * 1.25
    if voxel_sizes[1] > voxel_sizes[0]:
        assert sizes.max() > 4 and (sizes[:, 0] != sizes[:, 1]).any() and (sizes[:, 0] == sizes[:, 1]).any()


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
    assert same(stream(1, voxel_sizes={2: 1, 4: 2})[0], stream(0, 2, voxel_sizes={2: 1, 4: 2})[1])


def test_cubes_are_parts_of_the_volume():
    """Of a volume that counts its voxels along each axis, a cube counts on, up or down."""
    shape = (10, 12, 9)
    for axis in range(3):
        ramp = torch.from_numpy(1 + np.indices(shape)[axis]).to(torch.complex64)
        cube, size = cut_patch(ramp, (1, 2, 3), 8, np.random.default_rng(axis), dims=3)
        assert cube.shape == (8, 8, 8) and size == [1, 2, 3]
        assert cube.abs().std(axis).min() > 2 and torch.allclose(cube.abs().diff(dim=axis).abs(), torch.tensor(1.0))
        assert cube.abs().std([a for a in range(3) if a != axis]).max() < 1e-5
    small, _ = cut_patch(torch.ones(3, 12, 9, dtype=torch.complex64), (1, 1, 1), 8, np.random.default_rng(0), dims=3)
    assert abs(small.abs().sum() - 3 * 8 * 8) < 1e-2
    (slices, sizes), = stream(dims=3)
    assert slices.shape == (4, 2, 16, 16, 16) and sizes.shape == (4, 3)


def test_deformation_moves_the_head_but_keeps_its_scale():
    """Lengths change by 2 % or so: more would be a change of voxel size for a fixed-resolution prior."""
    shape = (40, 40, 40)
    ramps = [np.indices(shape, dtype=np.float32)[a] for a in range(3)]
    stretched = []
    for seed in range(3):
        moved = [deform(r, (1, 1, 1), np.random.default_rng(seed)) for r in ramps]
        jacobian = np.array([[np.gradient(m, axis=a)[10:30, 10:30, 10:30] for a in range(3)] for m in moved])
        stretched.append(np.sqrt((jacobian**2).sum(0)))       # length of a unit step in each direction
        assert max(np.abs(m - r)[10:30, 10:30, 10:30].mean() for m, r in zip(moved, ramps)) > 0.2
    assert abs(np.mean(stretched) - 1) < 0.01 and np.std(stretched) < 0.03


def test_intensity_map_keeps_zero():
    rng = np.random.default_rng(3)
    assert np.array_equal(remap_intensity(np.zeros((3, 3, 3)) + [0, 0.5, 1], rng)[..., 0], np.zeros((3, 3)))


def test_augmented_volume_is_scaled_and_smooth_in_phase():
    image, size = augmented(blobs(), (2, 2), np.random.default_rng(0))
    assert size == (2, 2, 2) and image.dtype == torch.complex64
    assert 0.6 < torch.quantile(image.abs(), 0.99) < 1.6
    step = torch.angle(image[1:] * image[:-1].conj())[(image[1:].abs() > 0.3) & (image[:-1].abs() > 0.3)]
    assert step.abs().mean() < 0.3


def test_anisotropic_volume_keeps_its_coarse_axis():
    volume = Volume(blobs().data, (1, 1, 3))
    for seed in range(4):
        _, size = augmented(volume, (1, 2), np.random.default_rng(seed))
        assert size[2] == 3 and max(size[:2]) < 2.2


def test_files_are_read_when_their_turn_comes(tmp_path):
    """What is sent to the workers does not grow with the data."""
    save_volume(tmp_path / "a.h5", blobs())
    save_volume(tmp_path / "b.h5", blobs(seed=1))
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    heads, small = Heads(paths, (2, 4), 16, 3), Heads([load_volume(p) for p in paths], (2, 4), 16, 3)
    assert len(pickle.dumps(heads)) < 1000 < 24**3 < len(pickle.dumps(small))
    assert same(heads[5][1:], small[5][1:])


def test_bad_volumes(tmp_path):
    with pytest.raises(ValueError, match="volumes: found none"):
        next(batches([], (1, 1)))
    with pytest.raises(ValueError, match=r"volumes\[1\]: found shape \(24, 12, 12\).*two axes of 16 voxels"):
        Heads([blobs(), blobs((24, 12, 12))], (2, 2), 16, 1)
    save_volume(tmp_path / "small.h5", blobs((12, 24, 12)))
    with pytest.raises(ValueError, match="small.h5: found shape"):
        Heads([tmp_path / "small.h5"], (2, 2), 16, 1)
    with pytest.raises(FileNotFoundError, match="absent"):
        Heads([tmp_path / "absent.h5"], (2, 2), 16, 1)
    with pytest.raises(ValueError, match="small.h5: found shape.*three axes of 16 voxels"):
        Heads([tmp_path / "small.h5"], (2, 2), 16, 1, dims=3)
    for sizes in ((2,), (0, 2), (3, 2), {}, {0: 1}, {2: 0}, {2: float("inf")}):
        with pytest.raises(ValueError, match="voxel_sizes: found"):
            Heads([blobs()], sizes, 16, 1)
