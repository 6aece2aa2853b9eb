import pytest
import torch

from mrilab import datasets
from mrilab.diffusion import Prior, denoising_loss, to_channels, to_complex
from mrilab.priors import load_prior
from mrilab.unet import UNet

PRIORS = [d.name for d in datasets.list_datasets("prior")]
TAU = 0.5      # standard deviation of the Gaussian the oracle knows


class Oracle(torch.nn.Module):
    """The network that makes the preconditioned denoiser exact for slices of white Gaussian noise.

    The posterior mean of N(0, tau^2) data is tau^2 / (tau^2 + sigma^2) x; solve Prior.forward for F.
    """

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
        self.place = torch.nn.Parameter(torch.zeros(()))       # Prior.sample asks on which device it is

    def forward(self, x, condition):
        sigma, data = torch.exp(4 * condition[:, 0]).reshape(-1, 1, 1, 1), 0.3
        total = (sigma**2 + data**2).sqrt()
        wanted = TAU**2 / (TAU**2 + sigma**2) - data**2 / total**2
        return self.factor * wanted * x * total**2 / (sigma * data)


def test_complex_and_channels():
    x = torch.randn(3, 4, 5, dtype=torch.complex64)
    assert torch.equal(to_complex(to_channels(x)), x)
    assert torch.equal(to_channels(x)[:, 0], x.real) and torch.equal(to_channels(x)[:, 1], x.imag)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_tweedie_on_a_gaussian(sigma):
    """(D - x) / sigma^2 is the exact score -x / (tau^2 + sigma^2) of the noisy slices."""
    prior = Prior(Oracle(), (1, 1))
    x = torch.randn(4, 2, 6, 7)
    score = (prior.denoise(x, sigma) - x) / sigma**2
    assert torch.allclose(score, -x / (TAU**2 + sigma**2), rtol=1e-2, atol=1e-2 / sigma)


def test_the_exact_denoiser_has_the_smallest_loss():
    """The loss is minimised by the posterior mean, and is about 1 for a network that says nothing."""
    generator = torch.Generator().manual_seed(0)
    clean = TAU * torch.randn(64, 2, 16, 16, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    sigma = torch.exp(torch.linspace(-3, 0, 64))
    exact = denoising_loss(Prior(Oracle(), (1, 1)), clean, sigma, noise)
    best = (TAU**2 * sigma**2 / (TAU**2 + sigma**2)) * (sigma**2 + 0.3**2) / (sigma * 0.3) ** 2
    assert torch.allclose(exact, best, rtol=0.25)       # 512 numbers a slice: 4 standard errors
    for factor in (0.9, 1.1):
        off = Prior(Oracle(factor), (1, 1))
        assert denoising_loss(off, clean, sigma, noise).mean() > exact.mean()
    silent = denoising_loss(Prior(UNet((4,)), (1, 1)), 0.3 * clean / TAU, sigma, noise)
    assert torch.allclose(silent.mean(), torch.tensor(1.0), rtol=0.1)


def test_heun_sampler_draws_from_the_gaussian():
    samples = Prior(Oracle(), (1, 1)).sample((200, 8, 8), steps=20, seed=1)
    assert abs(samples.mean()) < 4 * TAU / samples.numel() ** 0.5
    # 3 % for the noise below sigma_min, the step size and the arithmetic of bfloat16
    assert abs(samples.std() / TAU - 1) < 0.03 + 4 / (2 * samples.numel()) ** 0.5
    assert torch.equal(samples, Prior(Oracle(), (1, 1)).sample((200, 8, 8), steps=20, seed=1))


@pytest.mark.parametrize("name", PRIORS)
def test_shipped_prior_denoises_the_test_head(name):
    """Far from noise removal by chance: less than half of the noise is left, at each level."""
    from mrilab.volumes import load_volume

    prior = load_prior(name)
    # an operator on smaller pixels keeps what lies beyond its frequencies: it is held to this at its own voxel size
    size = (1, 1, 1.3) if type(prior) is Prior else (prior.voxel_sizes[0],) * 3
    data = load_volume("qtim_MRHead").resample(size).data
    head = data[len(data) // 2 - 8:][:8] / 134
    generator = torch.Generator().manual_seed(0)
    clean = to_channels(head * torch.exp(torch.tensor(0.7j)))
    for sigma in (0.05, 0.1, 0.2):
        noise = sigma * torch.randn(clean.shape, generator=generator)
        assert (prior.denoise(clean + noise, sigma, size[1:]) - clean).std() < 0.5 * sigma


def test_batches_do_not_change_the_result():
    prior = load_prior("diverse")
    x = torch.randn(5, 2, 20, 24)
    sigma = torch.tensor([0.02, 0.1, 0.1, 0.3, 1.0])
    assert torch.allclose(prior.denoise(x, sigma), prior.denoise(x, sigma, batch_pixels=2 * 20 * 24), atol=2e-2)


def test_conditioned_prior_takes_and_needs_the_voxel_size():
    prior = Prior(UNet((4, 8), conditions=3), (1, 4), conditioned=True)
    torch.nn.init.normal_(prior.net.last.weight)
    for block in prior.net.down:
        torch.nn.init.normal_(block.modulate.weight)
        torch.nn.init.normal_(block.conv2.weight)
    x = torch.randn(2, 2, 8, 8)
    assert not torch.allclose(prior.denoise(x, 0.1, (1, 1)), prior.denoise(x, 0.1, (3, 3)))
    with pytest.raises(ValueError, match="voxel_size"):
        prior.denoise(x, 0.1)


@pytest.mark.parametrize("slices, sigma, name", [
    (torch.zeros(2, 8, 8), 0.1, "slices"), (torch.zeros(1, 3, 8, 8), 0.1, "slices"),
    (torch.zeros(1, 2, 8, 8), 0.0, "sigma"), (torch.zeros(1, 2, 8, 8), float("nan"), "sigma")])
def test_bad_arguments(slices, sigma, name):
    with pytest.raises(ValueError, match=f"^{name}: found"):
        Prior(UNet((4,)), (1, 1)).denoise(slices, sigma)
