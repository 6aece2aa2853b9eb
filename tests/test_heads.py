import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_augmentation import blobs
from test_datasets import fetched

from mrilab import heads, training
from mrilab.augmentation import augmented, deform, remap_intensity
from mrilab.datasets import list_datasets
from mrilab.files import write_hdf5
from mrilab.heads import EVERY, POOL, Stream, bend, cut, make_head, recolour, sample_spline, source, usable, whole_side
from mrilab.label_heads import TISSUES, paint, tissue_map
from mrilab.priors import load_prior
from mrilab.training import train
from mrilab.volumes import Volume, load_volume, save_volume
from studies import train_priors


def test_bent_and_recoloured_as_by_numpy():
    """The oracle: the slow functions, with the same random numbers."""
    volume = Volume(blobs((24, 30, 20)).data, (2, 1.5, 1))
    person = source(volume)
    for seed in range(3):
        expected = deform(volume.data.numpy(), volume.voxel_size, np.random.default_rng(seed))
        found = bend(person.data, person.voxel_size, np.random.default_rng(seed)).numpy()
        assert np.abs(found - expected).max() < 2e-3 * expected.max()
        expected = remap_intensity(volume.data.numpy(), np.random.default_rng(seed))
        found = recolour(volume.data, person.peak, np.random.default_rng(seed)).numpy()
        assert np.abs(found - expected).max() < 2e-3 * expected.max()


def test_a_head_is_the_one_that_numpy_makes():
    volume = blobs((30, 30, 30))
    image, size = make_head(source(volume), (2, 4), np.random.default_rng(5))
    expected, expected_size = augmented(volume, (2, 4), np.random.default_rng(5))
    assert size == expected_size and image.shape == expected.shape
    assert (image - expected).abs().max() < 0.02 * expected.abs().max()


def test_eight_linear_look_ups_are_a_cubic_spline(monkeypatch):
    """The way of a card, taken on the processor, against scipy's own."""
    coefficients = source(blobs((12, 15, 9))).data
    at = torch.rand(3, 4000) * torch.tensor([[13.0], [16.0], [10.0]]) - 1
    expected = sample_spline(coefficients, at)

    calls = []
    monkeypatch.setattr(heads.ndimage, "map_coordinates", lambda *a, **k: calls.append(1))
    monkeypatch.setattr(heads, "on_processor", lambda tensor: False)
    found = sample_spline(coefficients, at)
    assert not calls and (found - expected).abs().max() < 1e-4 * expected.abs().max()


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


def test_squares_are_mostly_of_tissue():
    image = torch.zeros(40, 64, 64, dtype=torch.complex64)
    image[:, 20:40, 20:40] = 1
    full = [(cut(image, (1, 1, 1), 16, 200, np.random.default_rng(0))[0].abs().mean((1, 2, 3)) > 0.05).float().mean()]
    assert full[0] > 0.6


def small(count=1, begin=0, voxel_sizes=(2, 4), batch=4, people=None, **options):
    stream = Stream(people or [blobs(), blobs(seed=1)], voxel_sizes, batch, 16, begin=begin, **options)
    return list(itertools.islice(stream, count))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_a_step_sees_follows_from_seed_and_step(monkeypatch):
    """A run that starts in the middle sees what a run from the beginning sees there, also past a change of heads."""
    monkeypatch.setattr(heads, "PATCHES", 3 * POOL)
    whole = small(10, whole=32)
    for step in (1, 4, 9):
        assert same(whole[step], small(begin=step, whole=32)[0])
    assert not same(whole[0], whole[1]) and not same(whole[0], small(whole=32, seed=1)[0])
    (slices, sizes), = small(batch=6)
    for rank in range(3):
        assert same(small(batch=6, rank=rank, ranks=3)[0], (slices[rank::3], sizes[rank::3]))
    assert len(torch.unique(small(batch=2 * POOL + 1)[0][0].flatten(1), dim=0)) == 2 * POOL + 1


def test_whole_slices_have_as_many_pixels_as_patches():
    steps = small(2 * EVERY, batch=16, whole=32)
    assert [s.shape[-1] for s, _ in steps] == ([16] * (EVERY - 1) + [32]) * 2
    assert len({s.numel() for s, _ in steps}) == 1
    assert all(s.shape[-1] == 16 for s, _ in small(EVERY, batch=16))
    assert whole_side((1, 4)) >= 216 and whole_side({2: 1, 3: 1}) == whole_side((2, 2))


@pytest.mark.parametrize("voxel_size", [2, 3])
def test_a_prior_of_one_voxel_size_sees_no_other(voxel_size):
    people = [blobs(), Volume(blobs().data, (4, 1.8, 1.9)), Volume(blobs().data, (2, 2, 1))]
    for _, sizes in small(EVERY, people=people, voxel_sizes=(voxel_size, voxel_size), whole=32, batch=POOL):
        assert (sizes / voxel_size - 1).abs().max() < 0.06          # a matrix of 24 is a whole number
    assert usable([Volume(blobs().data, (4, 3, 1.9))], (2, 2)) == []
    with pytest.raises(ValueError, match="^heads: found none with slices of"):
        small(people=[Volume(blobs().data, (4, 3, 1.9))], voxel_sizes=(2, 2))


def ball(labels=(0, 515, 511, 24, 3, 2), shape=(30, 36, 32)):
    """Shells of labels around white matter."""
    r = np.sqrt(sum((i - (n - 1) / 2) ** 2 for i, n in zip(np.indices(shape), shape)))
    return torch.from_numpy(np.select([r > 15, r > 13, r > 11, r > 10, r > 7], labels[:5], labels[5]).astype(np.int32))


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
    step = sample_spline((tissues == 1).float(), torch.stack(torch.meshgrid(
        *[torch.arange(4.0, 12)] * 3, indexing="ij")))
    profile = step.mean((0, 1))
    assert torch.allclose(profile, torch.tensor([0, 0, 0, 1 / 6, 5 / 6, 1, 1, 1]), atol=1e-3)


def test_a_stream_of_label_heads_and_volumes(monkeypatch):
    volume = Volume(torch.from_numpy(np.where(ball() > 0, 1.0, 0).astype(np.float32)), (1, 1, 1))
    monkeypatch.setattr(heads, "entry_of", lambda name: next(iter(list_datasets("labels"))) if name == "map" else None)
    monkeypatch.setattr(heads, "load_volume", lambda name: Volume(ball().float(), (1, 1, 1)))
    monkeypatch.setattr(heads, "volume_header", lambda name: ((30, 36, 32), (1.0, 1.0, 1.0), {}))
    stream = Stream([volume, "map"], (1, 2), 16, 16)
    assert [s.data.dtype for s in stream.sources] == [torch.float32, torch.int32]
    assert stream.odds.tolist() == pytest.approx([1 - heads.LABEL_SHARE, heads.LABEL_SHARE])
    slices, _ = next(iter(stream))
    assert slices.isfinite().all() and slices.abs().amax() > 0.3
    image, _ = make_head(stream.sources[1], (1, 1), np.random.default_rng(0))      # fades at the faces of the box
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
    assert tuple(labels.shape) == tuple(d.shape) and volume.voxel_size == tuple(d.voxel_size)
    tissues = tissue_map(labels)
    share = torch.bincount(tissues.flatten(), minlength=len(TISSUES)) / tissues.numel()
    brain = share[list(TISSUES).index("white matter")] + share[list(TISSUES).index("cortex")]
    assert 0.1 < brain < 0.4 and share[0] < 0.6


SMALL = dict(batch=4, patch=16, widths=(4, 8), progress=False, heads="torch")


def card(path):
    return json.loads(path.with_suffix(".json").read_text())


def test_training_on_a_stream_stops_in_time_and_goes_on(tmp_path, monkeypatch):
    """A run that was told to stop, and went on, is the run that was not; with whole slices and a change of heads."""
    monkeypatch.setattr(heads, "PATCHES", 3 * POOL)
    monkeypatch.setattr(training, "REPORT", 4)
    whole = train([blobs()], (2, 2), tmp_path / "whole.safetensors", steps=12, **SMALL)
    part = tmp_path / "part.safetensors"
    train([blobs()], (2, 2), part, steps=12, until=0.0, **SMALL)
    assert not part.exists() and torch.load(tmp_path / "part.checkpoint", weights_only=True)["step"] == 4
    with pytest.raises(ValueError, match="heads 'torch', expected 'numpy'"):
        train([blobs()], (2, 2), part, steps=12, **(SMALL | dict(heads="numpy")))
    train([blobs()], (2, 2), part, steps=12, **SMALL)
    one, other = load_file(whole), load_file(part)
    assert all(torch.equal(one[k], other[k]) for k in one) and card(part)["heads"] == "torch"
    with pytest.raises(ValueError, match="^heads: found 'torch' for a network of volumes"):
        train([blobs()], (2, 2), tmp_path / "v.safetensors", steps=1, network="unet3d", **SMALL)


def test_a_batch_too_large_for_the_card_goes_in_parts(tmp_path, monkeypatch, capsys):
    """As of a card on which three slices at a time are too many: the result is that of one with room."""
    monkeypatch.setattr("mrilab.diffusion.bf16", lambda device: False)
    whole = train([blobs()], (2, 2), tmp_path / "whole.safetensors", steps=4, **SMALL)
    loss = training.denoising_loss

    def tight(model, clean, *others):
        if len(clean) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return loss(model, clean, *others)

    monkeypatch.setattr(training, "denoising_loss", tight)
    parts = train([blobs()], (2, 2), tmp_path / "parts.safetensors", steps=4, **SMALL)
    assert "parts: too large for the card; from now on 2 parts a batch" in capsys.readouterr().out
    one, other = load_file(whole), load_file(parts)
    assert all(torch.allclose(one[k].float(), other[k].float(), atol=1e-3) for k in one)
    monkeypatch.setattr(training, "denoising_loss", lambda *a: tight(a[0], [0] * 9))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        train([blobs()], (2, 2), tmp_path / "none.safetensors", steps=4, **SMALL)


def test_budgets_are_equal_and_fit():
    """Three priors of 10, 10 and 20 ms a patch: nine tenths of 400 seconds, and twice as many for two at a time."""
    assert train_priors.budget([100, 100, 50], 1, 400) == 9000
    assert train_priors.budget([100, 100, 50], 2, 400) == 18000


def test_people_at_hand_are_used(tmp_path, monkeypatch):
    """Files of a folder take the place of those by reference, and of a prior of 1 mm only fine heads are left."""
    monkeypatch.setenv("MRILAB_MIRROR", str(tmp_path / "none"))
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path / "none"))
    shipped = train_priors.people()
    assert {"pycortex_S1", "pyhrf_realdata", "ds000031_sub01"} == set(shipped)
    for name, size in (("fnndsc_adi_T2", (2.5, 0.43, 0.43)), ("fnndsc_adi_T1", (1.15, 1.15, 1.0))):
        save_volume(tmp_path / f"{name}.h5", Volume(blobs().data, size, {"kind": "reference", "person": "adi"}))
    write_hdf5(tmp_path / "synthseg_01.h5", {"data": ball().short()}, {"voxel_size": (1, 1, 1), "kind": "labels"})
    found = train_priors.people(tmp_path)
    assert [str(f) for f in found[:3]] == shipped and [f.stem for f in found[3:]] == [
        "fnndsc_adi_T1", "fnndsc_adi_T2", "synthseg_01"]
    assert [f.stem for f in usable(found, (1, 1))[3:]] == ["fnndsc_adi_T2", "synthseg_01"]
    assert source(found[-1]).data.dtype == torch.int32


@pytest.mark.slow
def test_all_priors_side_by_side(tmp_path, monkeypatch):
    """The command of a GPU, small: plan, weights, cards, report; the same command again has nothing to do."""
    command = [sys.executable, "-m", "studies.train_priors", "fixed_3mm", "diverse", "--patches", "8", "--batch", "2",
               "--minutes", "9", "--beside", "2", "--out", str(tmp_path), "--device", "cpu"]
    environment = {k: v for k, v in os.environ.items() if k != "MRILAB_MIRROR"} | {"MRILAB_CACHE": str(tmp_path)}
    environment["PYTHONPATH"] = str(train_priors.ROOT)
    for _ in range(2):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "not at hand: fnndsc_adi_T1" in result.stdout
        report = json.loads((tmp_path / "report.json").read_text())
        assert [p["name"] for p in report["priors"] if p["finished"] and p["patches"] == 8] == ["fixed_3mm", "diverse"]
    assert load_prior(tmp_path / "diverse.safetensors").voxel_sizes == (1, 4)
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_light_prior_says_so_on_its_card(tmp_path):
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=2, light=True, **SMALL)
    assert card(path)["light"] and load_prior(path).net.down[0].conv2.kernel_size == (1, 1)
    with pytest.raises(ValueError, match="^initial: found .*, light True, expected .*, light False"):
        train([blobs()], (2, 2), tmp_path / "q.safetensors", steps=2, initial=path, **SMALL)
