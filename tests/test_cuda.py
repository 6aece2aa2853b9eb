"""The card against the processor: every method and network, coil maps, training. Skipped where there is no card.

`MRILAB_CARD=cpu` runs the same code with the processor on both sides, to try the tests themselves.
"""

import itertools
import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_augmentation import blobs
from test_unet import awake

from mrilab import augmentation, training
from mrilab.augmentation import POOL, Stream, bend, make_head, source
from mrilab.coils import estimate_maps
from mrilab.diffusion import bf16, denoising_loss
from mrilab.graphs import Recorded
from mrilab.label_heads import paint
from mrilab.methods import METHODS, find, has, reconstruct
from mrilab.metrics import psnr
from mrilab.priors import load_prior, new_prior
from mrilab.representations import NAMES
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.training import train

CARD = os.environ.get("MRILAB_CARD", "cuda")
pytestmark = pytest.mark.skipif(CARD == "cuda" and not torch.cuda.is_available(), reason="no CUDA device")
QUICK = {"variational": dict(iterations=3), "dds": dict(steps=4), "diffusion_mbir": dict(steps=4),
         "tpdm": dict(steps=4), "iscs": dict(steps=4), "l1_wavelet": dict(iterations=6),
         "total_variation": dict(iterations=6), "cg_sense": dict(iterations=6), "zero_filled": {}}
OPTIONS = {"gaussian": dict(count=2000, iterations=20), "neural_field": dict(width=32, iterations=20)}


@pytest.fixture
def precise(monkeypatch):
    """Both in float32, as exact as they can: what differs is the order of sums."""
    for module in ("mrilab.diffusion", "mrilab.neural_operator"):
        monkeypatch.setattr(f"{module}.bf16", lambda device: False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3, coils=4)


def close(one, other, tolerance):
    """Relative distance of two arrays, wherever they lie."""
    one, other = one.detach().cpu(), other.detach().cpu()
    assert one.shape == other.shape and one.dtype == other.dtype
    assert (one - other).norm() <= tolerance * other.norm(), ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("method", METHODS)
def test_methods(precise, scan, method):
    acquisition, truth = scan
    settings = QUICK[method]
    images = []
    for device in ("cpu", CARD):
        prior = load_prior("fixed_3mm", device) if has(find(method), "prior") else None
        result = reconstruct(method, acquisition.to(device), prior, **settings)
        assert result.image.device.type == torch.device(device).type
        images.append(result.image)
    close(images[1], images[0], 2e-3)


@pytest.mark.parametrize("representation", NAMES)
def test_representations(precise, scan, representation):
    """Those that are fitted by descent may part after some steps: they must then be as near to the truth."""
    acquisition, truth = scan
    other = {} if representation == "voxel" else dict(prior_voxel_size=(9, 9, 9),
                                                      representation_options=OPTIONS.get(representation))
    images = [reconstruct("variational", acquisition.to(device), load_prior("fixed_3mm", device), iterations=3,
                          representation=representation, **other).image.cpu() for device in ("cpu", CARD)]
    if representation in ("gaussian", "neural_field"):
        one, other = (psnr(image, truth) for image in images)
        assert abs(one - other) < 0.5
    else:
        close(images[1], images[0], 5e-3)


@pytest.mark.parametrize("name", ["fixed_3mm", "diverse_conditioned", "operator_2mm"])
def test_priors(precise, name):
    x = 0.5 * torch.randn(3, 2, 45, 52, generator=torch.Generator().manual_seed(0))
    clean = [load_prior(name, device).denoise(x.to(device), 0.2, (2, 1.5)) for device in ("cpu", CARD)]
    close(clean[1], clean[0], 1e-3)
    samples = [load_prior(name, device).sample((2, 32, 32), steps=4, voxel_size=(2, 2)) for device in ("cpu", CARD)]
    close(samples[1], samples[0], 1e-2)


@pytest.mark.parametrize("name", ["fixed_3mm", "diverse_conditioned", "operator_2mm"])
def test_priors_in_bfloat16(name):
    """As they are used: the error of the short numbers is small beside that of the denoising."""
    if CARD == "cuda" and not bf16("cuda"):
        pytest.skip("a card without bfloat16")
    x = 0.5 * torch.randn(3, 2, 45, 52, generator=torch.Generator().manual_seed(0))
    clean = [load_prior(name, device).denoise(x.to(device), 0.2, (2, 1.5)) for device in ("cpu", CARD)]
    close(clean[1], clean[0], 3e-2)


def test_coil_maps(scan):
    acquisition, _ = scan
    maps = [estimate_maps(acquisition.kspace.to(device), acquisition.mask.to(device)) for device in ("cpu", CARD)]
    maps = [m[0] if isinstance(m, tuple) else m for m in maps]
    assert maps[1].device.type == torch.device(CARD).type
    close(maps[1], maps[0], 1e-2)


def test_heads():
    volume = blobs((40, 44, 36))
    there, here = source(volume, CARD), source(volume)
    close(bend(there.data, there.voxel_size, np.random.default_rng(1)),
          bend(here.data, here.voxel_size, np.random.default_rng(1)), 1e-3)
    (one, size), (other, same) = (make_head(p, (2, 4), np.random.default_rng(2)) for p in (there, here))
    assert size == same
    close(one, other, 5e-3)
    streams = [itertools.islice(Stream([volume], (2, 4), 32, 16, 32, device=device), 6) for device in (CARD, "cpu")]
    for (one, size), (other, same) in zip(*streams):
        assert one.device.type == torch.device(CARD).type
        close(size, same, 1e-6)
        close(one, other, 1e-2)
    tissues = torch.zeros(12, 12, 12, dtype=torch.int32, device=CARD)
    tissues[3:9, 3:9, 3:9] = 1
    image = paint(tissues, np.random.default_rng(0))
    assert torch.equal(image, paint(tissues, np.random.default_rng(0))) and image[0].max() == 0 < image[5].max()


@pytest.mark.parametrize("network", ["unet", "operator"])
def test_gradients(precise, network):
    generator = torch.Generator().manual_seed(0)
    clean, noise = 0.5 * torch.randn(2, 4, 2, 32, 32, generator=generator)
    gradients = []
    for device in ("cpu", CARD):
        torch.manual_seed(0)
        prior = new_prior(network, (2.0, 2.0), (8, 8, 16))
        awake(prior.net)
        prior = prior.to(device, memory_format=torch.channels_last)
        denoising_loss(prior, clean.to(device), torch.full((4,), 0.2, device=device), noise.to(device),
                       torch.full((4, 2), 2.0, device=device)).mean().backward()
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in prior.parameters()]))
    close(gradients[1], gradients[0], 1e-3)


def test_a_recorded_step_is_the_step_itself():
    """A graph of forward and backward pass, for two shapes in turn, with other values each time."""
    torch.manual_seed(0)
    prior = awake(new_prior("unet", (1.0, 4.0), (8, 16)).net)
    prior = prior.to(CARD)

    def gradients(x):
        for p in prior.parameters():
            p.grad = None
        loss = prior(x, torch.zeros(len(x), 1, device=CARD)).square().mean()
        loss.backward()
        return [loss.detach(), *(p.grad for p in prior.parameters())]

    recorded = Recorded(gradients, torch.device(CARD))
    for seed, side in enumerate((16, 32, 16, 32, 16)):
        x = torch.randn(2, 2, side, side, generator=torch.Generator().manual_seed(seed)).to(CARD)
        found = [t.clone() for t in recorded(x)]
        close(found[0], gradients(x)[0], 1e-4)
        close(torch.cat([g.flatten() for g in found]), torch.cat([g.flatten() for g in gradients(x)]), 1e-3)
    assert recorded.possible == (CARD == "cuda") and len(recorded.graphs) == 2 * (CARD == "cuda")


@pytest.mark.parametrize("network", ["unet", "operator"])
def test_training_stops_and_goes_on(tmp_path, monkeypatch, network):
    """On the card; the losses are about those of the processor, which draws other noise."""
    monkeypatch.setattr(augmentation, "PATCHES", 3 * POOL)
    monkeypatch.setattr(training, "REPORT", 5)
    small = dict(voxel_sizes=(2, 2), steps=10, batch=16, patch=16, widths=(8, 8, 16), progress=False,
                 network=network)
    whole = train([blobs()], out=tmp_path / "whole.safetensors", device=CARD, **small)
    part = tmp_path / "part.safetensors"
    train([blobs()], out=part, until=0.0, device=CARD, **small)
    assert (tmp_path / "part.checkpoint").exists() and not part.exists()
    train([blobs()], out=part, device=CARD, **small)
    here = train([blobs()], out=tmp_path / "here.safetensors", **small)
    losses = [json.loads(p.with_suffix(".json").read_text())["losses"]["mean"] for p in (whole, part, here)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2) and losses[0] == pytest.approx(losses[2], rel=0.3)
    one, other = load_file(whole), load_file(part)
    for k in one:
        if one[k].float().norm() > 0.1:
            close(one[k].float(), other[k].float(), 0.02)


def test_a_lack_of_memory_halves_the_batch(tmp_path, monkeypatch, capsys):
    """Parts of a batch that do fit: a real lack of memory is too slow to make, so the first try says it."""
    loss, tries = training.denoising_loss, []

    def tight(model, clean, *others):
        if len(clean) > 8:
            tries.append(len(clean))
            raise torch.cuda.OutOfMemoryError("no room")
        return loss(model, clean, *others)

    monkeypatch.setattr(training, "denoising_loss", tight)
    train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=3, batch=16, patch=16, widths=(8, 8), device=CARD,
          progress=False)
    assert tries and "from now on 2 parts a batch" in capsys.readouterr().out
