import warnings

import pytest
import torch
from test_diffusion import TAU, Oracle
from test_unet import awake

from mrilab import representations
from mrilab.checks import PLANES
from mrilab.classical import cg_sense
from mrilab.coils import noise_level
from mrilab.diffusion import Prior, to_channels, to_complex
from mrilab.metrics import percentile, psnr
from mrilab.operators import SenseOperator, conjugate_gradients
from mrilab.posterior import tpdm
from mrilab.priors import load_prior
from mrilab.problem import MIDDLE, Problem, unexplained
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.unet import UNet
from mrilab.variational import (
    SETTINGS,
    denoised_average,
    draw_slices,
    noise_schedule,
    reconstruct,
    score_difference,
)
from mrilab.volumes import Acquisition, Volume, load_volume


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((6, 6, 8)), acceleration=4, coils=4)


@pytest.mark.parametrize("planes", [tuple(PLANES), ("axial", "sagittal"), ("coronal",)])
def test_sampled_slices_are_unbiased(planes):
    """Over many draws the mean is that of all slices of all planes, for unequal matrix sizes.

    The squared distance of the mean of n draws from its expectation is on average the variance over n.
    The voxels of a slice move together, so there are about as many independent numbers as slices, 7 to
    22, and the ratio scatters like chi-square over its degrees of freedom: below 4 with probability
    0.999. Without the scaling it would be about 90.
    """
    torch.manual_seed(0)
    prior = Prior(awake(UNet((4, 8))), (1, 1))
    x = torch.randn(6, 9, 7, dtype=torch.complex64)
    exact = torch.zeros_like(x)
    for plane in planes:
        slices = x.movedim(PLANES[plane], 0)
        exact += to_complex(prior.denoise(to_channels(slices), 0.3)).movedim(0, PLANES[plane]) / len(planes)
    generator = torch.Generator().manual_seed(1)
    draws = torch.stack([denoised_average(x, prior, 0.3, (1, 1, 1), planes, 0.35, generator)[0] for _ in range(400)])
    distance = (draws.mean(0) - exact).abs().square().sum()
    assert distance / (draws.var(0).sum() / 400) < 4
    everything, used = denoised_average(x, prior, 0.3, (1, 1, 1), planes, 1.0)
    assert torch.allclose(everything, exact, atol=1e-2 * exact.abs().max())     # bfloat16 in other batches
    assert used == sum(x.shape[PLANES[p]] for p in planes)


def test_a_prior_of_volumes_goes_through_the_same_solver(scan):
    """It is shown the volume whole; where it cannot serve, an error says so."""
    acquisition, truth = scan
    prior = Prior(awake(UNet((4, 8), dims=3)), (6, 8), dims=3)
    x = torch.randn(6, 9, 7, dtype=torch.complex64)
    average, used = denoised_average(x, prior, 0.3, (6, 6, 8))
    assert used == 6 and torch.equal(average, to_complex(prior.denoise(to_channels(x[None]), 0.3))[0])
    result = reconstruct(acquisition, Prior(UNet((4,), dims=3), (6, 8), dims=3), iterations=4, progress=False)
    assert result.image.shape == truth.shape and result.network_evaluations == 4 * len(truth)
    assert psnr(result.image, truth) > psnr(cg_sense(acquisition, iterations=1, progress=False).image, truth)
    with pytest.raises(ValueError, match="setting: found 'paper', expected 'fast'"):
        reconstruct(acquisition, prior, setting="paper", progress=False)
    with pytest.raises(ValueError, match="slices: found shape .*expected .volumes, 2, z, y, x"):
        prior.denoise(to_channels(x), 0.3)


@pytest.mark.parametrize("total, fraction, slices, slab", [(12, 0.5, None, 3), (13, 1.0, 5, 5), (7, 0.3, None, 1),
                                                           (4, 1.0, 50, 5)])
def test_every_slice_is_drawn_as_often(total, fraction, slices, slab):
    """Counts of 4000 draws, scaled, against 1: within 5 standard errors, at most 0.2."""
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(total)
    for _ in range(4000):
        slabs, scale = draw_slices(total, fraction, slices, slab, generator)
        drawn = torch.cat(slabs)
        assert len(drawn.unique()) == len(drawn) <= (slices or total)
        assert all(((s.diff() == 1) | (s.diff() == 1 - total)).all() for s in slabs)
        counts[drawn] += scale / 4000
    assert (counts - 1).abs().max() < 5 * ((scale - 1) / 4000) ** 0.5 + 1e-3


def test_noise_schedules():
    """The highest and lowest level are met, and none lies outside."""
    for schedule in ("falling", "uniform", "descending", "bounded"):
        levels = noise_schedule(schedule, (2.0, 0.01), 400, torch.Generator().manual_seed(0))
        drawn = [level() for level in levels]
        assert 0.009 < min(drawn) < 0.03 and 1.5 < max(drawn) < 2.01
        if schedule in ("falling", "descending"):
            assert drawn == sorted(drawn, reverse=True)


def test_reaches_the_posterior_mode_of_a_gaussian(scan, monkeypatch):
    """For white Gaussian images the maximum a posteriori solves a linear system, if data steps are exact.

    At noise level sigma the prior is the Gaussian blurred to variance tau^2 + sigma^2.
    """
    monkeypatch.setattr(representations, "TOLERANCE", 1e-7)
    acquisition, _ = scan
    scale = percentile(cg_sense(acquisition, iterations=10, progress=False).image, 0.99)
    operator = SenseOperator(acquisition.maps, acquisition.mask)
    rho = (acquisition.noise / scale) ** 2 / (TAU**2 + 0.2**2)
    mode, _ = conjugate_gradients(lambda v: operator.normal(v) + rho * v, operator.adjoint(acquisition.kspace),
                                  iterations=300)
    result = reconstruct(acquisition, Prior(Oracle(), (1, 9)), planes="axial", iterations=40, fraction=1.0,
                         sigma=(0.2, 0.2), weight=1.0, cg_iterations=10, progress=False)
    assert (result.image - mode).norm() < 0.02 * mode.norm()


def test_without_a_prior_it_is_least_squares(scan):
    """A weight of zero: both settings end at the solution of the normal equations, which data determine."""
    acquisition, _ = simulate_acquisition(head_phantom((9, 9, 9)), acceleration=1, coils=2)
    operator = SenseOperator(acquisition.maps, acquisition.mask)
    exact, _ = conjugate_gradients(operator.normal, operator.adjoint(acquisition.kspace), iterations=100)
    prior = Prior(Oracle(), (1, 99))
    fast = reconstruct(acquisition, prior, weight=0, cg_iterations=30, progress=False).image
    assert (fast - exact).norm() < 1e-3 * exact.norm()
    paper = reconstruct(acquisition, prior, setting="paper", weight=0, iterations=300, slices=1, slab=1,
                        progress=False).image
    assert (paper - exact).norm() < 2e-2 * exact.norm()


def test_of_a_single_slice_only_its_own_plane_is_denoised(scan):
    acquisition = scan[0].readout_block(8, 9)
    result = reconstruct(acquisition, load_prior("diverse"), iterations=2, progress=False)
    own = reconstruct(acquisition, load_prior("diverse"), iterations=2, planes="sagittal", progress=False)
    assert result.network_evaluations == own.network_evaluations == 2 and torch.equal(result.image, own.image)


def test_the_authors_direction_for_a_gaussian(scan):
    """There it is 2 sigma^(p - 1) alpha (1 - c) x / n on average, whichever slices are drawn: no backward pass."""
    acquisition, _ = scan
    prior, sigma, weight = Prior(Oracle(), (1, 99)), 0.5, 1.0
    c, alpha = TAU**2 / (TAU**2 + sigma**2), (1 + sigma**2) ** -0.5
    x = torch.randn(5, 4, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    for slices, power in ((None, 1.0), (2, 1.0), (2, 0.5)):
        drawn = torch.stack([score_difference(x, prior, lambda: sigma, (1, 1, 1), slices=slices, power=power,
                                              generator=torch.Generator().manual_seed(n))[0] for n in range(800)])
        expected = 2 * sigma ** (power - 1) * alpha * (1 - c) * x / x.numel()
        variance = drawn.var(0).sum() / 800
        assert (drawn.mean(0) - expected).abs().square().sum() < 2 * variance < 0.01 * expected.abs().square().sum()
    problem = Problem(acquisition, prior)
    rho = weight * problem.samples * alpha * (1 - c) / problem.start.numel()
    exact, _ = conjugate_gradients(lambda v: problem.operator.normal(v) + rho * v, problem.measured, iterations=300)
    result = reconstruct(acquisition, prior, setting="paper", sigma=(sigma, sigma), weight=weight,
                         progress=False)
    assert (result.image / problem.scale - exact).norm() < 0.2 * exact.norm()


def test_noise_levels_are_drawn_for_each_slice():
    levels = iter(torch.linspace(0.1, 1, 11).tolist())
    seen = []
    prior = Prior(Oracle(), (1, 99))
    denoise = prior.denoise
    prior.denoise = lambda x, s, size: seen.append(s) or denoise(x, s, size)
    score_difference(torch.ones(5, 6, 7, dtype=torch.complex64), prior, lambda: next(levels), (1, 1, 1),
                     planes=("axial", "coronal"))
    assert [len(s) for s in seen] == [5, 6] and len(torch.cat(seen).unique()) == 11


def test_stops_when_the_noise_explains_the_misfit(scan):
    """Morozov's principle: the prior's pull ends as soon as the data are fitted no better than their noise."""
    acquisition, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3, noise=0.05)
    prior = load_prior("diverse")
    problem = Problem(acquisition, prior)
    misfits = []
    result = reconstruct(acquisition, prior, weight=3.0, discrepancy=1.0, progress=False,
                         callback=lambda i, image, misfit: misfits.append(misfit))
    assert 1 < len(misfits) < 16 and misfits[-2] <= problem.noise_misfit < misfits[-1] == result.misfit
    residual = SenseOperator(acquisition.maps, acquisition.mask).forward(result.image) - acquisition.kspace
    per_number = (residual.abs().square().sum() / (2 * problem.samples)).sqrt()
    assert per_number == pytest.approx(acquisition.noise, rel=0.5)


def test_warns_of_a_voxel_size_the_prior_does_not_know(scan):
    with pytest.warns(UserWarning, match="voxel size 6 x 6 x 8 mm: the prior was trained on 1 to 4 mm"):
        Problem(scan[0], load_prior("diverse"))


def test_warns_once_and_goes_on(scan):
    for solve, options in ((reconstruct, dict(iterations=3)), (tpdm, dict(steps=3))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = solve(scan[0], load_prior("diverse"), progress=False, **options)
        assert [str(w.message) for w in caught] == ["voxel size 6 x 6 x 8 mm: the prior was trained on 1 to 4 mm"]
        assert psnr(result.image, scan[1]) > 15


def test_without_maps_they_are_estimated():
    acquisition, truth = simulate_acquisition(load_volume("qtim_MRHead").resample((4, 4, 4)), 3, coils=4)
    a = acquisition
    with pytest.warns(UserWarning, match="without maps: estimated, ESPIRiT"):
        blind = Acquisition(a.kspace, None, a.mask, a.voxel_size, a.noise)
    prior = load_prior("diverse")
    blind, known = (psnr(reconstruct(s, prior, progress=False).image, truth) for s in (blind, a))
    assert blind > known - 4


def test_counts_misfit_and_callback(scan):
    acquisition, truth = scan
    seen = []
    result = reconstruct(acquisition, load_prior("diverse"), iterations=4, progress=False,
                         callback=lambda i, image, misfit: seen.append((i, image.shape, misfit)))
    assert result.network_evaluations == 4 * sum(round(n / 3) for n in truth.shape)
    problem = Problem(acquisition, load_prior("diverse"))
    assert problem.variance >= problem.noise**2             # which takes applications too
    assert 4 * 3 <= result.operator_applications - problem.applications <= 4 * 22
    assert result.image.dtype == torch.complex64 and result.voxel_size == acquisition.voxel_size
    operator = SenseOperator(acquisition.maps, acquisition.mask)
    residual = operator.forward(result.image) - acquisition.kspace
    assert result.misfit == pytest.approx((residual.norm() / acquisition.kspace.norm()).item(), rel=1e-3)
    assert seen == [(i, truth.shape, m) for i, (_, _, m) in enumerate(seen)] and seen[-1][2] == result.misfit


def test_what_least_squares_leaves_tells_a_wrong_model():
    """1 where model and noise are right, in any part of the readout; as much more as the noise is told too low."""
    scan, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=4, noise=0.05)
    assert scan.kspace.shape[-1] > MIDDLE
    assert unexplained(scan, scan.noise)[0] == pytest.approx(1, abs=0.05)
    assert unexplained(scan.readout_block(6, 20), scan.noise)[0] == pytest.approx(1, abs=0.05)
    assert unexplained(scan, scan.noise / 3)[0] == pytest.approx(3, rel=0.05)
    assert unexplained(scan, 3 * scan.noise)[0] == 1
    wrong = Acquisition(scan.kspace, scan.maps.roll(3, -2), scan.mask, scan.voxel_size, scan.noise)
    assert unexplained(wrong, scan.noise)[0] > 1.2
    alone, _ = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=4, coils=1)
    assert unexplained(alone, alone.noise / 5)[0] == 1              # a single coil: nothing is left to tell by


def test_seed_repeats_and_matters(scan):
    prior = load_prior("diverse")
    one, same, other = (reconstruct(scan[0], prior, seed=s, iterations=3, progress=False).image for s in (1, 1, 2))
    assert (one - same).norm() < 1e-4 * one.norm()
    assert (one - other).norm() > 1e-4 * one.norm()


def test_intensity_unit_does_not_matter(scan):
    """A scan in other units gives the same image in those units."""
    a, prior = scan[0], load_prior("diverse")
    scaled = Acquisition(50 * a.kspace, a.maps, a.mask, a.voxel_size, 50 * a.noise)
    image, same = (reconstruct(s, prior, iterations=3, progress=False).image for s in (a, scaled))
    assert (same - 50 * image).norm() < 1e-2 * same.norm()


@pytest.mark.parametrize("voxel_size, coils", [((7, 9, 5), 1), ((6, 6, 18), 3)])
def test_odd_sizes_anisotropic_voxels_and_one_coil(voxel_size, coils):
    acquisition, truth = simulate_acquisition(head_phantom(voxel_size), acceleration=2, coils=coils)
    result = reconstruct(acquisition, load_prior("diverse"), iterations=6, progress=False)
    assert psnr(result.image, truth) > psnr(cg_sense(acquisition, progress=False).image, truth)


@pytest.mark.parametrize("options", [{}, dict(setting="paper", sigma=(0.3, 0.01), weight=0.01, learning_rate=0.02)])
def test_slices_far_smaller_than_the_receptive_field(options):
    """Of a few voxels, too few for one step of the network's coarsest level: handled, and no worse than the start."""
    acquisition, truth = simulate_acquisition(head_phantom((24, 27, 34)), acceleration=1.5, coils=2)
    assert max(truth.shape) < 10 and min(truth.shape) == 5
    result = reconstruct(acquisition, load_prior("diverse"), iterations=4, progress=False, **options)
    start = Problem(acquisition, load_prior("diverse"))
    assert psnr(result.image, truth) > psnr(start.start * start.scale, truth) - 1


def test_images_without_phase():
    """A magnitude is a complex image like any other: real data give a real image, but for their noise."""
    head = load_volume("colin27_ch2_slab").resample((3, 3, 3)).data
    acquisition, truth = simulate_acquisition(Volume(head.cfloat(), (3, 3, 3)), acceleration=4)
    assert truth.imag.abs().max() == 0
    result = reconstruct(acquisition, load_prior("diverse"), progress=False)
    assert psnr(result.image, truth) > psnr(cg_sense(acquisition, progress=False).image, truth) + 2
    assert result.image.imag.norm() < 0.1 * result.image.real.norm()


def test_noise_level_is_estimated_when_it_is_not_known(scan):
    acquisition, truth = simulate_acquisition(load_volume("qtim_MRHead").resample((2, 2, 2)), 4, noise=0.03)
    assert noise_level(acquisition.kspace, acquisition.mask) == pytest.approx(0.03, rel=0.1)
    a, prior = scan[0], load_prior("diverse")
    estimate = noise_level(a.kspace, a.mask)
    unknown, known = (Acquisition(a.kspace, a.maps, a.mask, a.voxel_size, n) for n in (None, estimate))
    images = [reconstruct(s, prior, iterations=3, progress=False).image for s in (unknown, known)]
    assert (images[0] - images[1]).norm() < 1e-4 * images[0].norm()


@pytest.mark.slow
def test_beats_cg_sense_on_the_validation_slab():
    acquisition, truth = simulate_acquisition(load_volume("colin27_ch2_slab").resample((2, 2, 2)), acceleration=8)
    classical = max(psnr(cg_sense(acquisition, weight, progress=False).image, truth) for weight in (1e-3, 3e-3, 1e-2))
    result = reconstruct(acquisition, load_prior("diverse"), progress=False)
    assert psnr(result.image, truth) > classical + 2


@pytest.mark.parametrize("change, message", [
    (dict(planes=("axial", "oblique")), "planes: found .*oblique.*expected"), (dict(planes=()), "planes"),
    (dict(sigma=(0.01, 0.1)), "sigma"), (dict(sigma=(0.1, 0)), "sigma"), (dict(iterations=0), "iterations"),
    (dict(setting="quick"), "setting: found 'quick', expected one of fast, paper"), (dict(slab=0), "slab"),
    (dict(schedule="up"), "schedule"), (dict(slices=0), "slices: found 0, expected a whole number of 1 or more"),
    (dict(setting="paper", learning_rate=0), "learning_rate"), (dict(discrepancy=-1.0), "discrepancy"),
    (dict(fraction=0), "fraction"), (dict(weight=-1), "weight"), (dict(cg_iterations=1.5), "cg_iterations"),
    (dict(prior="diverse"), "prior: found str"), (dict(acquisition=None), "acquisition: found NoneType")])
def test_bad_arguments(scan, change, message):
    arguments = dict(acquisition=scan[0], prior=Prior(Oracle(), (1, 1)), progress=False) | change
    with pytest.raises(ValueError, match=message):
        reconstruct(**arguments)


@pytest.mark.parametrize("setting, option, allowed", [
    ("fast", dict(power=1.0), "iterations, fraction, slices, slab, schedule, sigma, weight, cg_iterations, "
     "momentum, flip$"),
    ("fast", dict(learning_rate=0.1), "flip$"), ("fast", dict(generator=None), "flip$"),
    ("paper", dict(cg_iterations=3),
     "iterations, fraction, slices, slab, schedule, sigma, weight, power, learning_rate$")])
def test_an_option_of_the_other_setting_is_rejected(scan, setting, option, allowed):
    """By an error that names those which the setting takes."""
    name, = option
    with pytest.raises(ValueError, match=f"{name}: not an option of the setting '{setting}', which has .*{allowed}"):
        reconstruct(scan[0], Prior(Oracle(), (1, 1)), setting=setting, progress=False, **option)


def test_the_settings_are_what_their_solvers_say():
    assert SETTINGS["fast"]["weight"] == 0.7 and SETTINGS["paper"]["slab"] == 5
    assert set(SETTINGS["fast"]) - set(SETTINGS["paper"]) == {"cg_iterations", "momentum", "flip"}
    assert set(SETTINGS["paper"]) - set(SETTINGS["fast"]) == {"power", "learning_rate"}


def test_kspace_of_zeros(scan):
    a = scan[0]
    with pytest.raises(ValueError, match="k-space of zeros"):
        reconstruct(Acquisition(0 * a.kspace, a.maps, a.mask, a.voxel_size), Prior(Oracle(), (1, 1)), progress=False)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_is_a_share(scan, momentum):
    with pytest.raises(ValueError, match="momentum: found .*, expected a share of the last step, from 0 to below 1"):
        reconstruct(scan[0], load_prior("diverse"), momentum=momentum, progress=False)


def test_momentum_looks_ahead(scan):
    """The first step is that without; each later one denoises what lies half of the last step ahead."""
    acquisition, _ = scan
    seen = []
    prior = Prior(Oracle(), (1, 9))
    denoise = prior.denoise
    prior.denoise = lambda x, *more: seen.append(to_complex(x)) or denoise(x, *more)
    images = []
    reconstruct(acquisition, prior, planes="axial", iterations=3, fraction=1.0, momentum=0.5, flip=False,
                progress=False, callback=lambda i, image, misfit: images.append(image))
    scale = Problem(acquisition, Prior(Oracle(), (1, 9))).scale
    order = torch.randperm(len(images[0]), generator=torch.Generator().manual_seed(0))
    start = Problem(acquisition, Prior(Oracle(), (1, 9))).start
    assert torch.allclose(seen[0], start[order], atol=1e-5)
    after = [sorted(slices.abs().mean().item() for slices in volume) for volume in
             (seen[2], (images[1] + 0.5 * (images[1] - images[0])) / scale)]
    assert after[0] == pytest.approx(after[1], rel=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_mirror_images_change_nothing_for_a_prior_that_has_no_side(dims):
    """And average a prior that has one over both sides; where each slice was, it still is."""
    class Shift(torch.nn.Module):       # what it adds grows along the last axis
        def forward(self, x, *_):
            return self.sided * torch.linspace(0, 1, x.shape[-1]).expand_as(x) + 0.5 * x

    x = torch.randn(6, 7, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    prior = Prior(Oracle(), (1, 1))
    prior.dims, net = dims, Shift()
    prior.denoise = lambda x, *_: net(x)
    net.sided = 0
    for seed in range(4):
        found, _ = denoised_average(x, prior, 0.1, (1, 1, 1), fraction=1.0, flip=True,
                                    generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(found, x / 2, atol=1e-6)
    net.sided = 1
    found = torch.stack([denoised_average(x, prior, 0.1, (1, 1, 1), fraction=1.0, flip=True, generator=generator)[0]
                         for generator in [torch.Generator().manual_seed(1)] for _ in range(200)])
    added = (found - x / 2).mean(0).real
    assert (added - 0.5).abs().max() < 0.1 and (found - x / 2).real.std(0).max() > 0.1


def test_flip_is_true_or_false(scan):
    with pytest.raises(ValueError, match="flip: found 'no', expected True or False"):
        reconstruct(scan[0], load_prior("diverse"), flip="no", progress=False)
