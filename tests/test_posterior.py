import itertools

import pytest
import torch
from test_diffusion import Oracle

from mrilab.checks import PLANES
from mrilab.classical import cg_sense
from mrilab.diffusion import Prior
from mrilab.fourier import fft3c
from mrilab.metrics import psnr
from mrilab.mixture import GaussianMixture
from mrilab.operators import SenseOperator
from mrilab.posterior import _tv_step, dds, diffusion_mbir, iscs, slerp_noise, tpdm
from mrilab.priors import load_prior
from mrilab.problem import Problem
from mrilab.simulate import head_phantom, simulate_acquisition, white_noise
from mrilab.volumes import Acquisition, Volume, load_volume

pytestmark = pytest.mark.filterwarnings("ignore:voxel size")
SAMPLERS = (dds, diffusion_mbir, tpdm, iscs)
STD = 0.1                                       # of the Gaussian prior about its mean
N, WIDTH = 8, 10
# The prior's mean changes along x only, and z and y have the same length: axial and coronal slices have one prior.
MEAN = (0.6 + 0.3 * torch.cos(torch.linspace(0, 3, WIDTH))) * torch.exp(torch.tensor(0.3j))


def gaussian_prior():
    prior = GaussianMixture(torch.view_as_real(MEAN.expand(N, WIDTH)).movedim(-1, 0)[None], STD)
    prior.sigma_data = STD                      # what gamma=None takes for the spread of the slices
    return prior


def gaussian_volume():
    return Volume(MEAN + STD * white_noise((N, N, WIDTH), torch.Generator().manual_seed(0)), (2, 2, 2))


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((6, 6, 8)), acceleration=4, coils=4)


@pytest.fixture(scope="module")
def gaussian():
    """The acquisition of a volume that a Gaussian drew; mean and spread of its posterior in closed form."""
    acquisition, _ = simulate_acquisition(gaussian_volume(), acceleration=2, coils=4, noise=0.03)
    problem = Problem(acquisition, gaussian_prior())
    size = N * N * WIDTH
    normal = problem.operator.normal(torch.eye(size, dtype=torch.complex64).reshape(size, N, N, WIDTH))
    rho = (problem.noise / STD) ** 2
    precision = normal.reshape(size, size).mT + rho * torch.eye(size)
    right = problem.measured + rho * MEAN
    mean = torch.linalg.solve(precision, right.flatten()).reshape(right.shape)
    spread = (2 * problem.noise**2 * torch.linalg.inv(precision).diagonal().real.sum()).sqrt()
    return acquisition, problem.scale, mean, spread


def draws(sampler, acquisition, count, **changes):
    arguments = dict(steps=8, sigma=(1.0, 0.01), cg_iterations=10, progress=False) | changes
    return torch.stack([sampler(acquisition, gaussian_prior(), seed=s, **arguments).image for s in range(count)])


@pytest.mark.parametrize("sampler, changes", [
    (dds, {}), (dds, dict(eta=0.0)), (diffusion_mbir, dict(tv=0)), (tpdm, {}), (iscs, {})])
def test_mean_over_draws_is_the_posterior_mean(gaussian, sampler, changes):
    """The bound: 1.3 standard errors of the mean of 48 draws, 2.5 % of the image.

    The error is a length over hundreds of independent numbers and scatters by a few per cent, so 1.3 is far out.
    """
    acquisition, scale, mean, _ = gaussian
    images = draws(sampler, acquisition, 48, **changes) / scale
    chance = (images.var(0).sum() / len(images)).sqrt()
    assert chance < 0.02 * mean.norm()
    assert (images.mean(0) - mean).norm() < 1.3 * chance


def test_spread_of_the_draws(gaussian):
    """Right without new noise and in small steps; else too small, and with ISCS alike in neighbouring slices."""
    acquisition, scale, _, spread = gaussian

    def deviations(sampler, **changes):
        images = draws(sampler, acquisition, 16, **changes) / scale
        return images - images.mean(0)

    def relative(d):
        return (d.abs().square().sum() / (len(d) - 1)).sqrt() / spread

    def neighbours(d):
        return (d[:, 1:] * d[:, :-1].conj()).sum().real / d.abs().square().sum()

    assert relative(deviations(dds, eta=0.0, steps=40)) == pytest.approx(1, abs=0.08)
    renewed, shared = deviations(dds, eta=0.85), deviations(iscs)
    assert 0.7 < relative(renewed) < 0.9
    assert neighbours(renewed) < 0 and neighbours(shared) > 0.5


def test_a_fixed_gamma_leans_to_the_data(gaussian):
    """The papers' rule is no sampler of the posterior: the larger gamma, the further off the mean."""
    acquisition, scale, mean, _ = gaussian
    errors = [(draws(dds, acquisition, 16, gamma=g).mean(0) / scale - mean).norm() / mean.norm() for g in (10, 100)]
    assert 0.08 < errors[0] < errors[1]


def test_a_fixed_gamma_where_the_data_say_all_or_nothing():
    """One coil: each position of k-space is measured or not. Nearly noiseless, the first is data, the second prior."""
    volume, mask = gaussian_volume(), torch.rand(N, N, generator=torch.Generator().manual_seed(1)) < 0.5
    kspace = fft3c(volume.data)[None] * mask[..., None]
    acquisition = Acquisition(kspace, torch.ones_like(kspace), mask, (2, 2, 2), 1e-3)
    scale = Problem(acquisition, gaussian_prior()).scale
    images = draws(dds, acquisition, 48, gamma=10) / scale
    mean = fft3c(images.mean(0))
    expected = torch.where(mask[..., None], kspace[0] / scale, fft3c(MEAN.expand(N, N, WIDTH)))
    chance = (images.var(0).sum() / len(images)).sqrt()
    assert (mean - expected)[mask].norm() < 0.01 * expected.norm()
    assert (mean - expected)[~mask].norm() < 1.3 * chance < 0.03 * expected.norm()


def test_total_variation_step_reaches_the_minimum():
    """Two slices, all of k-space: the minimum keeps their mean and shrinks the magnitude of their difference."""
    generator = torch.Generator().manual_seed(0)
    truth, clean = white_noise((2, 2, 6, 5), generator)
    acquisition = Acquisition(fft3c(truth)[None], torch.ones(1, 2, 6, 5), torch.ones(2, 6), (1, 1, 1), 0.01)
    problem = Problem(acquisition, Prior(Oracle(), (1, 1)))
    rho, tv = 0.5, 0.6
    step, image = _tv_step(0, tv, 1.0), clean
    for _ in range(200):
        image = step(problem, clean, rho, image, 10)
    quadratic = (truth / problem.scale + rho * clean) / (1 + rho)
    half = (quadratic[1] - quadratic[0]) / 2
    half = half * (1 - tv / (1 + rho) / half.abs()).clamp(min=0)
    middle = quadratic.mean(0)
    assert 5 < (half == 0).sum() < 25           # the threshold matters, and not everywhere
    assert torch.allclose(image, torch.stack([middle - half, middle + half]), atol=1e-3)


def test_total_variation_draws_neighbours_together(scan):
    def roughness(tv):
        image = diffusion_mbir(scan[0], load_prior("diverse"), steps=4, tv=tv, progress=False).image
        return torch.diff(image, dim=0).abs().sum()

    plain, weak, strong = (roughness(tv) for tv in (0, 0.005, 0.1))
    assert strong < weak < plain
    assert plain == torch.diff(dds(scan[0], load_prior("diverse"), steps=4, progress=False).image, dim=0).abs().sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slerp_noise(axis):
    """White within a slice; neighbours are correlated by the cosine of the angle from one to the next."""
    shape = (30, 32, 34)
    noise = slerp_noise(shape, torch.Generator().manual_seed(0), axis).movedim(axis, 0)
    n = shape[axis]
    power = torch.view_as_real(noise).square().mean(dim=(1, 2))
    assert (power - 1).abs().max() < 5 * (2 / noise[0].numel()) ** 0.5
    unit = noise.flatten(1) / noise.flatten(1).norm(dim=1, keepdim=True)
    cosines = (unit[1:] * unit[:-1].conj()).sum(1).real
    assert (cosines - torch.cos(torch.tensor(torch.pi / 2 / n))).abs().max() < 1e-3
    assert (noise[:, 1:] * noise[:, :-1].conj()).mean().abs() < 5 * (2 * 2 / noise[0].numel()) ** 0.5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_counts_misfit_and_callback(scan, sampler, monkeypatch):
    acquisition, truth = scan
    normal, applied, slices, seen = SenseOperator.normal, [], [], []
    monkeypatch.setattr(SenseOperator, "normal", lambda self, x: applied.append(1) or normal(self, x))
    prior = Prior(Oracle(), (1, 9))
    denoise = prior.denoise
    monkeypatch.setattr(prior, "denoise", lambda s, *rest: slices.append(len(s)) or denoise(s, *rest))
    result = sampler(acquisition, prior, steps=5, progress=False, callback=lambda *step: seen.append(step))
    planes = ("axial", "coronal") if sampler is tpdm else ("axial",)
    expected = [truth.shape[PLANES[p]] for p in itertools.islice(itertools.cycle(planes), 5)]
    assert slices == expected and result.network_evaluations == sum(expected)
    assert result.operator_applications == len(applied)
    assert result.image.dtype == torch.complex64 and result.voxel_size == acquisition.voxel_size
    assert [i for i, _, _ in seen] == list(range(5)) and seen[-1][2] == result.misfit
    assert torch.equal(seen[-1][1], result.image)
    residual = SenseOperator(acquisition.maps, acquisition.mask).forward(result.image) - acquisition.kspace
    assert result.misfit == pytest.approx((residual.norm() / acquisition.kspace.norm()).item(), rel=1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seed_repeats_and_matters(scan, sampler):
    prior = load_prior("diverse")
    one, same, other = (sampler(scan[0], prior, seed=s, steps=3, progress=False).image for s in (1, 1, 2))
    assert (one - same).norm() < 1e-4 * one.norm()
    assert (one - other).norm() > 1e-2 * one.norm()


@pytest.mark.parametrize("sampler, gamma", [*itertools.product(SAMPLERS, (None,)), (dds, 5.0)])
def test_intensity_unit_does_not_matter(scan, sampler, gamma):
    a, prior = scan[0], load_prior("diverse")
    scaled = Acquisition(50 * a.kspace, a.maps, a.mask, a.voxel_size, 50 * a.noise)
    image, same = (sampler(s, prior, steps=3, gamma=gamma, progress=False).image for s in (a, scaled))
    assert (same - 50 * image).norm() < 1e-2 * same.norm()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("voxel_size, coils", [((7, 9, 5), 1), ((6, 6, 18), 3)])
def test_odd_sizes_anisotropic_voxels_and_one_coil(sampler, voxel_size, coils):
    acquisition, truth = simulate_acquisition(head_phantom(voxel_size), acceleration=2, coils=coils)
    result = sampler(acquisition, load_prior("diverse"), steps=4, sigma=(0.1, 0.02), progress=False)
    assert result.image.shape == truth.shape
    assert psnr(result.image, truth) > 15


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_better_than_least_squares_on_the_validation_slab(sampler):
    acquisition, truth = simulate_acquisition(load_volume("colin27_ch2_slab").resample((2, 2, 2)), acceleration=4)
    acquisition, truth = acquisition.readout_block(29, 61), truth[..., 29:61]
    least_squares = psnr(cg_sense(acquisition, 0.003, 10, progress=False).image, truth)
    result = sampler(acquisition, load_prior("diverse"), steps=20, sigma=(0.1, 0.01), progress=False)
    assert psnr(result.image, truth) > least_squares + 1


BAD = [(dds, dict(plane="oblique"), "plane: found 'oblique', expected one of"), (iscs, dict(plane=0), "plane"),
       (tpdm, dict(planes=("axial",)), "planes: found .*expected two or three"),
       (tpdm, dict(planes=("axial", "axial")), "planes"), (tpdm, dict(planes=("axial", "oblique")), "plane: found"),
       (dds, dict(sigma=(0.01, 0.1)), "sigma"), (dds, dict(sigma=(float("inf"), 0.1)), "sigma"),
       (iscs, dict(steps=0), "steps"), (dds, dict(cg_iterations=1.5), "cg_iterations"),
       (dds, dict(gamma=0), "gamma: found 0, expected a positive number"), (dds, dict(gamma=float("nan")), "gamma"),
       (dds, dict(eta=1.1), "eta"), (diffusion_mbir, dict(tv=-1), "tv"),
       (dds, dict(prior="diverse"), "prior: found str"), (dds, dict(acquisition=None), "acquisition: found NoneType")]


@pytest.mark.parametrize("sampler, change, message", BAD)
def test_bad_arguments(scan, sampler, change, message):
    arguments = dict(acquisition=scan[0], prior=Prior(Oracle(), (1, 1)), progress=False) | change
    with pytest.raises(ValueError, match=message):
        sampler(**arguments)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_kspace_of_zeros(scan, sampler):
    a = scan[0]
    with pytest.raises(ValueError, match="k-space of zeros"):
        sampler(Acquisition(0 * a.kspace, a.maps, a.mask, a.voxel_size), Prior(Oracle(), (1, 1)), progress=False)
