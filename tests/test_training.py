import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mrilab import training
from mrilab.diffusion import Prior, load_prior
from mrilab.training import Slices, augmented, deform, remap_intensity, train
from mrilab.unet import UNet
from mrilab.volumes import Volume


def blobs(shape=(24, 24, 24), voxel_size=(2, 2, 2), seed=0):
    """A smooth random magnitude volume."""
    rng = np.random.default_rng(seed)
    k = np.fft.fftn(rng.normal(size=shape))
    f = [np.fft.fftfreq(n) for n in shape]
    radius = sum(g**2 for g in np.meshgrid(*f, indexing="ij"))
    data = np.abs(np.fft.ifftn(k * np.exp(-radius * 60)))
    return Volume(torch.from_numpy((data / data.max()).astype(np.float32)), voxel_size)


SMALL = dict(batch=4, patch=16, widths=(4, 8), progress=False)


def test_batch_depends_on_seed_and_step_only():
    """A run that starts at step 90 sees what a run from the beginning sees there."""
    one, other = (Slices([blobs()], (2, 6), batch=4, patch=16) for _ in range(2))
    for step in (0, 50, 89):
        one(step)
    for a, b in zip(one(90), other(90)):
        assert torch.equal(a, b)
    assert not torch.equal(one(90)[0], Slices([blobs()], (2, 6), batch=4, patch=16, seed=1)(90)[0])


@pytest.mark.parametrize("voxel_sizes", [(2, 2), (2, 8)])
def test_patches_have_the_asked_voxel_sizes(voxel_sizes):
    slices, sizes = Slices([blobs()], voxel_sizes, batch=40, patch=16)(0)
    assert slices.shape == (40, 2, 16, 16) and slices.dtype == torch.float32
    assert slices.isfinite().all() and slices.abs().amax() > 0.3
    # the matrix is a whole number: a small volume meets the asked size to within half a voxel in it
    assert sizes.min() >= 2 * 0.95 and sizes.max() <= voxel_sizes[1] * 1.25
    if voxel_sizes[1] > voxel_sizes[0]:
        assert sizes.max() > 4 and (sizes[:, 0] != sizes[:, 1]).any() and (sizes[:, 0] == sizes[:, 1]).any()


def test_deformation_moves_the_head_but_keeps_its_scale():
    """Lengths change by 2 % or so: more would be a change of voxel size for a fixed-resolution prior."""
    shape, rng = (40, 40, 40), np.random.default_rng(3)
    ramps = [np.indices(shape, dtype=np.float32)[a] for a in range(3)]
    stretched = []
    for seed in range(3):
        moved = [deform(r, (1, 1, 1), np.random.default_rng(seed)) for r in ramps]
        jacobian = np.array([[np.gradient(m, axis=a)[10:30, 10:30, 10:30] for a in range(3)] for m in moved])
        stretched.append(np.sqrt((jacobian**2).sum(0)))       # length of a unit step in each direction
        assert max(np.abs(m - r)[10:30, 10:30, 10:30].mean() for m, r in zip(moved, ramps)) > 0.2
    assert abs(np.mean(stretched) - 1) < 0.01 and np.std(stretched) < 0.03
    assert np.array_equal(remap_intensity(np.zeros((3, 3, 3)) + [0, 0.5, 1], rng)[..., 0], np.zeros((3, 3)))


def test_augmented_volume_is_scaled_and_smooth_in_phase():
    image, size = augmented(blobs(), (2, 2), np.random.default_rng(0))
    assert size == (2, 2, 2) and image.dtype == torch.complex64
    assert 0.6 < torch.quantile(image.abs(), 0.99) < 1.6
    step = torch.angle(image[1:] * image[:-1].conj())[(image[1:].abs() > 0.3) & (image[:-1].abs() > 0.3)]
    assert step.abs().mean() < 0.3


def test_training_learns_to_denoise(tmp_path):
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=150, learning_rate=5e-3, **SMALL)
    clean, _ = Slices([blobs(seed=7)], (2, 2), batch=32, patch=16, seed=5)(0)
    noise = 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    trained = (load_prior(path).denoise(clean + noise, 0.2) - clean).std()
    untrained = (Prior(UNet((4, 8)), (2, 2)).denoise(clean + noise, 0.2) - clean).std()
    assert trained < 0.8 * untrained < 0.8 * 0.2
    card = json.loads(path.with_suffix(".json").read_text())
    assert {"voxel_sizes", "people", "steps", "hardware", "date", "sha256", "seconds"} <= set(card)


def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch):
    train([blobs()], (2, 4), tmp_path / "whole.safetensors", steps=7, checkpoint_every=2, **SMALL)
    calls, loss = [], training.denoising_loss

    def killed(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(training, "denoising_loss", killed)
    args = ([blobs()], (2, 4), tmp_path / "halves.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(*args, steps=7, checkpoint_every=2, **SMALL)
    assert (tmp_path / "halves.checkpoint").exists() and not (tmp_path / "halves.safetensors").exists()
    train(*args, steps=7, checkpoint_every=2, **SMALL)
    assert len(calls) == 6 + 3        # steps 4, 5, 6 after the checkpoint at 4
    whole, halves = (load_file(tmp_path / f"{n}.safetensors") for n in ("whole", "halves"))
    assert all(torch.equal(whole[k], halves[k]) for k in whole)
    assert not (tmp_path / "halves.checkpoint").exists()


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    loss = training.denoising_loss
    steps = iter(range(100))
    monkeypatch.setattr(training, "denoising_loss",
                        lambda *a: loss(*a) * (float("nan") if next(steps) == 3 else 1))
    with pytest.raises(FloatingPointError, match="loss is nan at step 3.*p.checkpoint"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=5, checkpoint_every=2, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["p.checkpoint"]


def test_no_training_volume():
    with pytest.raises(ValueError, match="volumes: found none"):
        Slices([], (1, 1))
