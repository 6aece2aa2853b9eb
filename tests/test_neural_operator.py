import json
import math

import pytest
import torch
from test_augmentation import blobs
from test_unet import awake

from mrilab.datasets import list_datasets
from mrilab.diffusion import Prior, to_channels
from mrilab.fourier import resample
from mrilab.neural_operator import (
    KERNEL_INTERPOLATIONS,
    OperatorPrior,
    beyond,
    convolve,
    low_pass,
    resampling,
    taps,
)
from mrilab.priors import load_prior, save_prior
from mrilab.training import train
from mrilab.unet import UNet
from mrilab.volumes import load_volume

WIDTHS = (4, 4, 8)


def operator(voxel_size=1.0, **options):
    torch.manual_seed(0)
    prior = OperatorPrior(WIDTHS, (voxel_size, voxel_size), **options)
    awake(prior.net)
    return prior.requires_grad_(False).eval()


@pytest.mark.parametrize("interpolation", KERNEL_INTERPOLATIONS)
def test_kernels_at_the_training_size_are_the_stored_ones(interpolation):
    assert torch.allclose(taps(1.0, interpolation), torch.eye(5), atol=1e-6)
    x = torch.randn(2, 2, 19, 22)
    expected = operator().denoise(x, 0.2, (1, 1))
    assert torch.equal(operator(interpolation=interpolation).denoise(x, 0.2, (1, 1)), expected)
    # matrix sizes are whole numbers: the field of view rarely is a multiple of the training size
    assert torch.allclose(operator(interpolation=interpolation).denoise(x, 0.2, (1.01, 1 / 1.01)), expected, atol=0.02)


def smooth(voxel_size, shift=(0, 0), extent=60):
    """A slowly varying function on a centred grid, or its values at a distance (mm) from there."""
    y, x = torch.meshgrid(*((torch.arange(round(extent / d)) - round(extent / d) // 2) * d + s
                            for d, s in zip(voxel_size, shift)), indexing="ij")
    return torch.cos(2 * torch.pi * x / 24) + torch.sin(2 * torch.pi * (x / 24 + y / 30))


@pytest.mark.parametrize("voxel_size", [(0.5, 0.5), (0.8, 1.0), (1.5, 1.5), (2.0, 1.0), (2.0, 2.0), (3.0, 3.0)])
def test_an_interpolated_kernel_is_the_same_integral(voxel_size):
    """The oracle: the stored weights on the function itself, at their places in mm. Constants pass exactly."""
    layer = torch.nn.Conv2d(1, 1, 5, bias=False).requires_grad_(False)
    torch.nn.init.uniform_(layer.weight, 0, 0.08)
    oracle = sum(layer.weight[0, 0, i, j] * smooth(voxel_size, (i - 2, j - 2)) for i in range(5) for j in range(5))
    inner = (..., *(slice(math.ceil(3 / d), -math.ceil(3 / d)) for d in voxel_size))
    error = {}
    for interpolation in KERNEL_INTERPOLATIONS:
        matrices = [taps(d, interpolation) for d in voxel_size]
        found = convolve(smooth(voxel_size)[None, None], layer, matrices)[0, 0]
        error[interpolation] = ((found - oracle)[inner].std() / oracle[inner].std()).item()
        if interpolation != "zero_padded":
            assert torch.allclose((matrices[0] @ layer.weight @ matrices[1].T).sum(), layer.weight.sum(), rtol=1e-4)
    assert error["bilinear"] < 0.08 and error["fourier"] < 0.06
    assert min(voxel_size) != 2 or error["zero_padded"] > 0.5


def test_zero_padding_keeps_the_numbers():
    assert torch.equal(taps(2.0, "zero_padded"), torch.eye(5)[1:4])
    assert torch.equal(taps(0.5, "zero_padded")[3:8], torch.eye(5)) and taps(0.5, "zero_padded").sum() == 5


@pytest.mark.parametrize("count, pitch, new_count, new_pitch", [
    (96, 1.0, 48, 2.0), (47, 2.0, 94, 1.0), (33, 3.0, 50, 2.0), (64, 1.5, 48, 2.0), (48, 2.0, 48, 2.0)])
def test_resampling_keeps_slow_functions(count, pitch, new_count, new_pitch):
    old, new = ((torch.arange(n) - n // 2) * d for n, d in ((count, pitch), (new_count, new_pitch)))
    matrix = resampling(count, pitch, new_count, new_pitch)
    inner = new.abs() < 36
    assert torch.allclose(matrix @ torch.ones(count), torch.ones(new_count), atol=1e-5)
    assert torch.allclose((matrix @ torch.cos(old / 4))[inner], torch.cos(new / 4)[inner], atol=0.02)


@pytest.mark.parametrize("voxel_size", [(1, 1), (2, 2), (1, 2)])
def test_covariance_of_the_noise_does_not_depend_on_the_grid(voxel_size):
    length = 2.0
    white = torch.randn(40, 64, 64, generator=torch.Generator().manual_seed(0)) / math.prod(voxel_size) ** 0.5
    field = low_pass(white, voxel_size, length)
    for axis, d in zip((-2, -1), voxel_size):
        for distance in (0, 2, 4, 8):
            found = (field * field.roll(round(distance / d), axis)).mean().item()
            expected = math.exp(-(distance**2) / (4 * length**2)) / (4 * math.pi * length**2)
            assert abs(found - expected) < 0.05 / (4 * math.pi * length**2)


def test_density_of_the_noise_stays_on_larger_pixels():
    """There the noise, as a scanner would see it, is weaker: a density of 1 on pixels of 16 mm^2."""
    field = torch.randn(8, 64, 64, generator=torch.Generator().manual_seed(0)) / math.sqrt(2 * 1.5)
    assert abs(low_pass(field, (2, 1.5), finest=4).std() - 1 / 4) < 0.02


def samplings(sigma):
    """Noisy slices on pixels of 2 mm, and the same functions on pixels of 1 mm."""
    slab = load_volume("colin27_ch2_slab").resample((2, 2, 2)).data[8:17:8]
    clean = to_channels(slab / slab.abs().flatten().quantile(0.99) * torch.exp(torch.tensor(0.7j)))
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return noisy, resample(noisy, (1, 2, 2), (1, 1, 1)).real


def disagreement(prior, sigma, told):
    """Of the outputs for both samplings, over the noise; ``told`` is the noise level on 1 mm."""
    coarse, fine = samplings(sigma)
    of_fine = resample(prior.denoise(fine, told, (1, 1)), (1, 1, 1), (1, 2, 2)).real
    return ((prior.denoise(coarse, sigma, (2, 2)) - of_fine).std() / sigma).item()


@pytest.mark.parametrize("name", [d.name for d in list_datasets("prior") if d.name.startswith("operator")])
@pytest.mark.parametrize("sigma, error", [(0.2, 0.3), (0.5, 0.12), (1.0, 0.08)])
def test_two_samplings_of_one_function(name, sigma, error):
    """The operator makes about the same of both, the U-Net does not.

    The noise is one function. Its density, which the operator looks at, is that of white noise of 2 sigma on 1 mm
    and of sigma on 2 mm; a U-Net goes by the pixels, which have sigma on both. At lower noise levels both networks
    hardly change the image, and what is left is how well the operator's kernels are interpolated.
    """
    prior, plain = load_prior(name), load_prior(name.replace("operator", "fixed"))
    prior.interpolation = "fourier"
    found = disagreement(prior, sigma, 2 * sigma)
    assert found < error and found < 0.8 * disagreement(plain, sigma, sigma)


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (15, 33), (1, 9)])
@pytest.mark.parametrize("voxel_size", [(1, 1), (2, 1.5), (0.7, 3.1)])
def test_any_size_and_pixels_that_are_not_square(size, voxel_size):
    x = torch.randn(3, 2, *size)
    prior = operator()
    clean = prior.denoise(x, 0.3, voxel_size)
    assert clean.shape == x.shape and clean.isfinite().all()
    turned = prior.net.state_dict()         # the same network, turned, on turned slices
    turned = {k: v.transpose(-1, -2).contiguous() if v.ndim == 4 else v for k, v in turned.items()}
    prior.net.load_state_dict(turned)
    other = prior.denoise(x.transpose(-1, -2).contiguous(), 0.3, voxel_size[::-1]).transpose(-1, -2)
    assert torch.allclose(clean, other, atol=0.05)


def test_slices_do_not_mix():
    prior, x, sigma = operator(), torch.randn(2, 2, 24, 24), torch.tensor([0.05, 0.5])
    both = prior.denoise(x, sigma, (0.6, 1.7))
    for i in range(2):
        assert torch.allclose(both[i:i + 1], prior.denoise(x[i:i + 1], sigma[i], (0.6, 1.7)), atol=2e-2)


def test_frequencies_beyond_the_training_pixels():
    """Noise goes, a signal well above it stays."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 2, 64, 64, generator=generator)
    noise -= low_pass(noise, (0.5, 0.5), finest=1)
    sigma = torch.tensor(0.1).reshape(1, 1, 1, 1)
    assert beyond(0.1 * noise, sigma, 0.25).std() < 0.1 * noise.std() * 0.1
    signal = noise.roll(9, -1)
    assert (beyond(signal + 0.1 * noise, sigma, 0.25) - signal).std() < 0.11 * noise.std()
    x = torch.randn(1, 2, 64, 64, generator=generator)
    change = operator().denoise(x + 0.1 * noise, 0.1, (0.5, 0.5)) - operator().denoise(x, 0.1, (0.5, 0.5))
    assert change.std() > 0.5 * 0.1 * noise.std()           # x is as strong there: what comes on top of it stays
    x = low_pass(x, (0.5, 0.5), finest=1)
    change = operator().denoise(x + 0.1 * noise, 0.1, (0.5, 0.5)) - operator().denoise(x, 0.1, (0.5, 0.5))
    assert change.std() < 0.1 * 0.1 * noise.std()


def test_short_training_save_and_load(tmp_path):
    path = train([blobs()], (2, 2), tmp_path / "p.safetensors", steps=100, batch=4, patch=16, widths=WIDTHS,
                 learning_rate=1e-2, network="operator", whole=0, progress=False)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["network"] == "operator" and card["conditioned"]
    assert card["losses"]["mean"][-1] < 0.95 * card["losses"]["mean"][0]
    prior = load_prior(path)
    assert isinstance(prior, OperatorPrior) and isinstance(prior, Prior)
    assert prior.net.voxel_size == 2 and prior.voxel_sizes == (2, 2)
    assert prior.sample((2, 12, 15), steps=3, voxel_size=(3, 2)).isfinite().all()
    train([blobs()], (2, 2), tmp_path / "q.safetensors", steps=1, batch=4, patch=16, widths=WIDTHS, initial=path,
          learning_rate=1e-9, network="operator", progress=False)
    x = torch.randn(1, 2, 16, 16)
    assert torch.allclose(load_prior(tmp_path / "q.safetensors").denoise(x, 0.1, (2, 2)),
                          prior.denoise(x, 0.1, (2, 2)), atol=2e-2)
    with pytest.raises(ValueError, match="initial: found a prior with network operator, .* expected network unet,"):
        train([blobs()], (2, 2), tmp_path / "r.safetensors", steps=1, batch=4, patch=16, widths=WIDTHS, initial=path,
              progress=False)


def test_a_card_decides_the_network(tmp_path):
    path = tmp_path / "p.safetensors"
    card = dict(voxel_sizes=[1, 1], conditioned=False, sigma_data=0.3, widths=WIDTHS)
    save_prior(path, Prior(UNet(WIDTHS), (1, 1)), card)
    assert type(load_prior(path)) is Prior              # cards from before there were operators
    save_prior(path, Prior(UNet(WIDTHS), (1, 1)), dict(card, network="operator"))
    with pytest.raises(ValueError, match="weights do not fit"):
        load_prior(path)
    with pytest.raises(ValueError, match="network: found 'other', expected 'unet', 'unet3d' or 'operator'"):
        save_prior(path, Prior(UNet(WIDTHS), (1, 1)), dict(card, network="other"))


@pytest.mark.parametrize("voxel_size", [None, (1,), (1, 1, 1), (1, 0), (1, float("nan"))])
def test_the_voxel_size_is_needed(voxel_size):
    with pytest.raises(ValueError, match=r"^voxel_size: found .*, expected \(height, width\) in mm"):
        operator().denoise(torch.zeros(1, 2, 8, 8), 0.1, voxel_size)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="^voxel_sizes: found .*, expected one size"):
        OperatorPrior(WIDTHS, (1, 4))
    with pytest.raises(ValueError, match="^interpolation: found .cubic., expected one of bilinear, fourier, zero_p"):
        OperatorPrior(WIDTHS, (1, 1), interpolation="cubic")
    with pytest.raises(ValueError, match="^interpolation: found 'cubic'"):
        taps(2.0, "cubic")
    with pytest.raises(ValueError, match="^voxel_sizes: found .*, expected one size"):
        train([blobs()], (2, 4), tmp_path / "p.safetensors", network="operator", widths=WIDTHS)
    with pytest.raises(ValueError, match="^network: found 'fno', expected 'unet', 'unet3d' or 'operator'"):
        train([blobs()], (2, 2), tmp_path / "p.safetensors", network="fno", widths=WIDTHS)
