"""The exact denoiser of a Gaussian mixture, and a trained one held against it."""

import pytest
import torch

from mrilab.classical import cg_sense
from mrilab.diffusion import Prior, denoising_loss
from mrilab.metrics import psnr
from mrilab.mixture import GaussianMixture
from mrilab.simulate import simulate_acquisition
from mrilab.unet import UNet
from mrilab.variational import reconstruct
from mrilab.volumes import Volume

LEVELS = (0.03, 0.1, 0.3, 1.0, 3.0)


def smooth_means(count, size, seed=0):
    coarse = torch.randn(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    return 0.4 * torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


MIXTURE = GaussianMixture(smooth_means(4, 8), std=0.1, weights=[1, 2, 3, 4])


def noisy(sigma, count=256, mixture=MIXTURE, seed=0):
    clean = mixture.draw(count, seed)
    return clean, clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed + 1))


def rms(x):
    return x.square().mean().sqrt().item()


@pytest.mark.parametrize("sigma", [0.0, *LEVELS])
def test_score_is_the_gradient_of_the_log_density(sigma):
    x = noisy(sigma, count=32)[1].double().requires_grad_()
    gradient, = torch.autograd.grad(MIXTURE.log_density(x, sigma).sum(), x)
    assert torch.allclose(MIXTURE.score(x, sigma), gradient, rtol=1e-6, atol=1e-6)


def test_density_integrates_to_one():
    mixture = GaussianMixture(torch.tensor([[-0.5, 0.2], [0.6, 0.1]])[..., None, None], 0.1, weights=[1, 3])
    line = torch.linspace(-3, 3, 301)
    grid = torch.cartesian_prod(line, line)[..., None, None]
    for sigma in (0.0, 0.2):
        assert abs(mixture.log_density(grid, sigma).exp().sum() * 0.02**2 - 1) < 1e-4


@pytest.mark.parametrize("sigma", [0.05, 0.2, 1.0])
def test_tweedie_gives_the_posterior_mean(sigma):
    """E[clean | noisy] from draws alone: each weighted by how likely it makes the noisy value."""
    mixture = GaussianMixture(torch.tensor([[-0.5, 0.2], [0.6, 0.1], [0.0, -0.4]])[..., None, None], 0.1, [1, 3, 2])
    clean = mixture.draw(200_000, seed=3).flatten(1).double()
    for x in noisy(sigma, 5, mixture)[1].double():
        weight = (-(clean - x.flatten()).square().sum(1) / (2 * sigma**2)).softmax(dim=0)[:, None]
        mean = (weight * clean).sum(0)
        error = (weight * (clean - mean)).square().sum(0).sqrt()      # standard error of the weighted mean
        exact = mixture.denoise(x[None].float(), sigma).flatten()
        score = mixture.score(x[None].float(), sigma).flatten()
        assert ((exact - mean).abs() < 5 * error + 1e-4).all()
        assert torch.allclose(exact, x.flatten().float() + sigma**2 * score, atol=1e-6)


def test_draws_have_the_mixture_s_weights_spread_and_scale():
    x = MIXTURE.draw(4000)
    nearest = torch.cdist(x.flatten(1), MIXTURE.means.flatten(1)).argmin(dim=1)
    shares = torch.bincount(nearest) / len(x)
    assert torch.allclose(shares, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.04)        # 5 standard errors
    assert abs(rms(x - MIXTURE.means[nearest]) / 0.1 - 1) < 0.01
    assert abs(rms(x) / MIXTURE.sigma_data - 1) < 0.02
    assert torch.equal(x, MIXTURE.draw(4000)) and not torch.equal(x, MIXTURE.draw(4000, seed=1))


def test_inherited_sampler_finds_the_components():
    """Heun's method with the exact denoiser ends at draws of the mixture: right shares, right spread."""
    x = MIXTURE.sample((1000, 8, 8), steps=20)
    distance, nearest = torch.cdist(x.flatten(1), MIXTURE.means.flatten(1)).min(dim=1)
    assert torch.allclose(torch.bincount(nearest) / 1000, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.08)
    assert abs(rms(x - MIXTURE.means[nearest]) / 0.1 - 1) < 0.05
    assert distance.max() < 2 * 0.1 * 128**0.5        # none between two components


@pytest.fixture(scope="module")
def trained():
    """A network of 0.1 M parameters after 900 steps of 64 draws; the loss sees draws, never the mixture."""
    torch.manual_seed(0)
    prior = Prior(UNet((16, 32)), (1, 1), sigma_data=MIXTURE.sigma_data)
    generator = torch.Generator().manual_seed(3)
    steps, batch = 900, 64
    optimizer = torch.optim.Adam(prior.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for clean in MIXTURE.draw(batch * steps, seed=5).split(batch):
        sigma = torch.exp(torch.empty(batch).uniform_(-4, 1.3, generator=generator))
        loss = denoising_loss(prior, clean, sigma, torch.randn(clean.shape, generator=generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return prior.eval()


def close_to_exact(prior, sigma):
    """Within a fifth of sigma, and its mean squared error at most 1.36 times the least there is."""
    clean, x = noisy(sigma)
    exact = MIXTURE.denoise(x, sigma)
    gap = rms(prior.denoise(x, sigma) - exact)
    return gap < 0.2 * sigma and gap < 0.6 * rms(exact - clean)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", LEVELS)
def test_training_reaches_the_exact_denoiser(trained, sigma):
    assert close_to_exact(trained, sigma)
    torch.manual_seed(0)
    assert not close_to_exact(Prior(UNet((16, 32)), (1, 1), sigma_data=MIXTURE.sigma_data), sigma)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", LEVELS)
def test_tweedie_makes_the_trained_denoiser_a_score(trained, sigma):
    x = noisy(sigma)[1]
    exact = MIXTURE.score(x, sigma)
    assert rms((trained.denoise(x, sigma) - x) / sigma**2 - exact) < 0.3 * rms(exact)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["exact", "trained"])
def test_each_slice_has_its_own_noise_level(which, request):
    prior = MIXTURE if which == "exact" else request.getfixturevalue("trained")
    sigma = torch.tensor(LEVELS)
    x = noisy(0.3, count=1)[1].expand(len(sigma), -1, -1, -1)
    together = prior.denoise(x, sigma)
    for i, s in enumerate(LEVELS):
        alone = prior.denoise(x[:1], s)[0]
        assert rms(together[i] - alone) < 0.02 * min(s, 1)          # the arithmetic may be bfloat16
        others = [rms(together[j] - alone) for j in range(len(LEVELS)) if j != i]
        assert min(others) > 0.01                                   # another level is another answer
    assert torch.allclose(together.flip(0), prior.denoise(x, sigma.flip(0)), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["exact", "trained"])
@pytest.mark.parametrize("sigma", LEVELS[:3])
def test_sigma_is_the_standard_deviation_of_each_channel(which, sigma, request):
    """Told sigma of the complex noise (sqrt(2) times that), or the reverse, the denoiser does worse."""
    prior = MIXTURE if which == "exact" else request.getfixturevalue("trained")
    clean, x = noisy(sigma, count=1000)
    error = {factor: rms(prior.denoise(x, factor * sigma) - clean) for factor in (0.5**0.5, 1, 2**0.5)}
    assert error[1] < 0.999 * min(error[0.5**0.5], error[2**0.5])
    if sigma <= 0.1:        # components are far apart: per channel, that of one Gaussian
        expected = (0.1**2 * sigma**2 / (0.1**2 + sigma**2)) ** 0.5
        assert abs(error[1] / expected - 1) < (0.01 if which == "exact" else 0.05)


def test_the_solver_takes_it_for_a_prior():
    """Volumes whose axial slices are draws: the exact prior helps, one with other means does not."""
    mixture = GaussianMixture(smooth_means(3, 24, seed=1), std=0.02)
    volume = torch.view_as_complex(mixture.draw(24, seed=2).movedim(1, -1).contiguous())
    acq, truth = simulate_acquisition(Volume(volume, (2, 2, 2)), acceleration=6, coils=4, noise=0.02)
    scale = (volume.abs().max() / truth.abs().max()).item()
    known, wrong = (GaussianMixture(smooth_means(3, 24, seed=s) / scale, std=0.02 / scale) for s in (1, 9))
    start = psnr(cg_sense(acq, progress=False).image, truth)
    settings = dict(planes="axial", sigma=(0.3, 0.02), flip=False, progress=False)     # mirror images are not draws
    with_known, with_wrong = (psnr(reconstruct(acq, p, **settings).image, truth) for p in (known, wrong))
    assert with_known > start + 6
    assert with_wrong < with_known - 6


@pytest.mark.parametrize("change, name", [
    ({"means": torch.zeros(4, 8, 8)}, "means"), ({"means": torch.zeros(4, 3, 8, 8)}, "means"),
    ({"means": torch.full((1, 2, 3, 3), float("nan"))}, "means"), ({"std": -0.1}, "std"),
    ({"std": float("nan")}, "std"), ({"weights": [1, 2]}, "weights"), ({"weights": [1, 1, 1, -1]}, "weights"),
    ({"weights": [0, 0, 0, 0]}, "weights")])
def test_bad_mixtures(change, name):
    with pytest.raises(ValueError, match=f"^{name}: found"):
        GaussianMixture(**{"means": torch.zeros(4, 2, 8, 8), "std": 0.1, **change})


def test_bad_arguments():
    x = torch.zeros(2, 2, 8, 8)
    for call in (MIXTURE.score, MIXTURE.log_density, MIXTURE.denoise):
        with pytest.raises(ValueError, match="^slices: found"):
            call(torch.zeros(2, 2, 8, 9), 0.1)
        with pytest.raises(ValueError, match="^sigma: found"):
            call(x, -0.1)
    with pytest.raises(ValueError, match="^sigma: found 0.0"):
        GaussianMixture(torch.zeros(4, 2, 8, 8), std=0).score(x, 0.0)
