from unittest import mock

import pytest
import torch

from mrilab.classical import cg_sense, l1_wavelet, soft_threshold, total_variation, zero_filled
from mrilab.metrics import percentile, psnr
from mrilab.operators import SenseOperator
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.volumes import Acquisition


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((5, 4, 4)), acceleration=4)


def test_zero_filled_is_the_adjoint(scan):
    acq, _ = scan
    result = zero_filled(acq)
    assert torch.equal(result.image, SenseOperator(acq.maps, acq.mask).adjoint(acq.kspace))
    assert (result.network_evaluations, result.operator_applications) == (0, 0)
    assert result.image.is_contiguous() and result.voxel_size == acq.voxel_size


def test_cg_sense_beats_zero_filled_and_reports_its_cost(scan):
    acq, truth = scan
    start, result = zero_filled(acq), cg_sense(acq, progress=False)
    assert psnr(result.image, truth) > psnr(start.image, truth) + 3
    residual = SenseOperator(acq.maps, acq.mask).forward(result.image) - acq.kspace
    assert result.misfit == pytest.approx((residual.norm() / acq.kspace.norm()).item(), rel=1e-4)
    assert result.misfit < start.misfit and 3 < result.operator_applications <= 30 and result.seconds > 0
    assert result.image.shape == truth.shape and result.image.dtype == torch.complex64


def test_cg_sense_agrees_with_sigpy():
    from sigpy.mri.app import SenseRecon

    acq, _ = simulate_acquisition(head_phantom((8, 9, 8)), acceleration=3, coils=4)
    weights = acq.mask[..., None].expand(acq.maps.shape[1:]).float().numpy()
    app = SenseRecon(acq.kspace.numpy(), acq.maps.numpy(), weights=weights, lamda=0.02, max_iter=60, show_pbar=False)
    expected = torch.from_numpy(app.run())
    result = cg_sense(acq, regularization=0.02, iterations=60, tolerance=1e-6, progress=False)
    assert (result.image - expected).norm() < 1e-4 * expected.norm()


def test_full_data_without_noise_give_the_truth_back():
    acq, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=1, coils=4, noise=0)
    result = cg_sense(acq, regularization=0, progress=False)
    assert (result.image - truth).norm() < 1e-4 * truth.norm() and result.misfit < 1e-4
    assert result.operator_applications == 1        # squared maps sum to 1: the normal operator is the identity


def test_weight_damps_and_iterations_are_bounded(scan):
    acq, _ = scan
    small, large = (cg_sense(acq, regularization=w, progress=False) for w in (0.01, 1))
    assert large.image.norm() < 0.8 * small.image.norm() and large.misfit > small.misfit
    assert cg_sense(acq, iterations=2, progress=False).operator_applications == 2


def test_progress_bar(scan, capsys):
    cg_sense(scan[0], progress=False)
    assert capsys.readouterr().err == ""


SPARSE = {"l1_wavelet": l1_wavelet, "total_variation": total_variation}


@pytest.fixture(params=SPARSE)
def method(request):
    return SPARSE[request.param]


@pytest.fixture(scope="module")
def small():
    """Odd and even sizes, voxels that are not cubes, and the scale that the methods bring it to."""
    acq, truth = simulate_acquisition(head_phantom((12, 13, 11)), acceleration=3, coils=4)
    return acq, truth, percentile(cg_sense(acq, iterations=10, progress=False).image, 0.99)


def objective(method, acq, x, weight):
    """As the docstrings define it, written with sigpy and torch.diff; ``weight`` in the units of ``acq``."""
    from sigpy.linop import Wavelet

    if method is l1_wavelet:
        coefficients = Wavelet(tuple(x.shape), wave_name="db4", level=1)(x.numpy())
        penalty = abs(coefficients).sum().item()
    else:
        mean = torch.tensor(acq.voxel_size).double().log().mean().exp().item()
        closed = [torch.cat([x, x.narrow(d, 0, 1)], d) for d in range(3)]
        penalty = sum((mean / size * torch.diff(c, dim=d).abs()).sum().item()
                      for d, (c, size) in enumerate(zip(closed, acq.voxel_size)))
    residual = SenseOperator(acq.maps, acq.mask).forward(x) - acq.kspace
    return 0.5 * residual.abs().square().sum().item() + weight * penalty


def solve(method, acq, weight, iterations=150):
    transform = {"wavelet": "db4"} if method is l1_wavelet else {}
    with mock.patch("mrilab.classical.LEVELS", 1):              # sigpy's, at this size
        return method(acq, weight, iterations=iterations, progress=False, **transform)


def test_soft_threshold_solves_its_problem():
    z = torch.view_as_complex(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    best = soft_threshold(z, 0.4)
    cost = (best - z).abs().square() / 2 + 0.4 * best.abs()
    for angle in torch.arange(0, 6.28, 0.3):
        other = best + 0.01 * torch.exp(1j * angle)
        assert ((other - z).abs().square() / 2 + 0.4 * other.abs() >= cost - 1e-6).all()
    assert ((best == 0) == (z.abs() <= 0.4)).all()


def test_sparsity_reaches_the_objective_of_sigpys_solver(method):
    """sigpy's own apps, on voxels that are cubes, where its total variation is ours."""
    from sigpy.mri.app import L1WaveletRecon, TotalVariationRecon

    acq, truth = simulate_acquisition(head_phantom((11, 11, 11)), acceleration=3, coils=4)
    scale = percentile(cg_sense(acq, iterations=10, progress=False).image, 0.99)
    mask = acq.mask[..., None].expand(acq.maps.shape[1:]).float().numpy()
    arguments = dict(weights=mask, show_pbar=False)
    if method is l1_wavelet:
        app = L1WaveletRecon(acq.kspace.numpy(), acq.maps.numpy(), 0.01 * scale, max_iter=300, **arguments)
    else:
        app = TotalVariationRecon(acq.kspace.numpy(), acq.maps.numpy(), 0.01 * scale, max_iter=600, **arguments)
    theirs = torch.from_numpy(app.run())
    ours = solve(method, acq, 0.01).image
    costs = [objective(method, acq, x, 0.01 * scale) for x in (ours, theirs, truth)]
    assert costs[0] <= 1.001 * costs[1] and costs[1] < 1.01 * costs[0] < costs[2]
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_no_image_nearby_is_better(method, small):
    acq, truth, scale = small
    x = solve(method, acq, 0.01).image
    best = objective(method, acq, x, 0.01 * scale)
    noise = torch.view_as_complex(torch.randn(*x.shape, 2, generator=torch.Generator().manual_seed(0)))
    for step in (noise, x, truth - x, zero_filled(acq).image - x):
        for size in (-0.01, 0.01):
            assert objective(method, acq, x + size * x.norm() / step.norm() * step, 0.01 * scale) > best


def test_default_iterations_are_enough(method, small):
    acq, _, scale = small
    weight = 0.001
    early, default, late = (solve(method, acq, weight, n).image for n in (3, 30, 150))
    costs = [objective(method, acq, x, weight * scale) for x in (early, default, late)]
    assert costs[1] < 1.01 * costs[2] and costs[0] > costs[1]


def test_without_weight_it_is_least_squares(method):
    acq, _ = simulate_acquisition(head_phantom((12, 13, 11)), acceleration=1.1, coils=6)
    expected = cg_sense(acq, regularization=0, iterations=200, tolerance=1e-6, progress=False).image
    for weight in (0, 1e-7):
        assert (solve(method, acq, weight).image - expected).norm() < 1e-3 * expected.norm()


def test_units_of_intensity_do_not_matter(method, small):
    acq, _, _ = small
    one, other = (method(Acquisition(factor * acq.kspace, acq.maps, acq.mask, acq.voxel_size), iterations=4,
                         progress=False) for factor in (1, 1e4))
    assert (other.image / 1e4 - one.image).norm() < 1e-4 * one.image.norm()
    assert one.misfit == pytest.approx(other.misfit, rel=1e-3)


def test_differences_count_per_mm():
    """Voxels three times as long along z: a step along z loses a third of what one along y does."""
    maps, losses = torch.ones(1, 12, 12, 4), []
    for axis in (0, 1):
        step = torch.zeros(12, 12, 4, dtype=torch.complex64)
        step.narrow(axis, 0, 6).fill_(1)
        kspace = SenseOperator(maps, torch.ones(12, 12)).forward(step)
        image = total_variation(Acquisition(kspace, maps, torch.ones(12, 12), (3, 1, 1)), weight=0.1,
                                iterations=60, progress=False).image.real
        losses.append(1 - (image.max() - image.min()).item())
    assert losses[1] == pytest.approx(3 * losses[0], rel=0.02)


def test_sparsity_beats_cg_sense_and_reports_its_cost(method, scan):
    acq, truth = scan
    result = method(acq, progress=False)
    assert psnr(result.image, truth) > psnr(cg_sense(acq, progress=False).image, truth) + 0.3
    residual = SenseOperator(acq.maps, acq.mask).forward(result.image) - acq.kspace
    assert result.misfit == pytest.approx((residual.norm() / acq.kspace.norm()).item(), rel=1e-4)
    assert 30 < result.operator_applications <= 160 and result.network_evaluations == 0 and result.seconds > 0
    assert result.image.shape == truth.shape and result.image.dtype == torch.complex64
    assert result.image.is_contiguous() and result.voxel_size == acq.voxel_size


def test_one_coil_and_a_single_slice(method):
    kspace = torch.view_as_complex(torch.randn(1, 1, 9, 7, 2, generator=torch.Generator().manual_seed(0)))
    acq = Acquisition(kspace, torch.ones_like(kspace), torch.ones(1, 9), (2, 1, 1))
    assert torch.isfinite(method(acq, iterations=2, progress=False).image.abs()).all()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"weight": -1}, "weight: found -1, expected"),
    ({"weight": float("nan")}, "weight: found nan, expected"),
    ({"iterations": 0}, "iterations: found 0, expected"),
])
def test_bad_input_to_sparsity(method, scan, arguments, message):
    with pytest.raises(ValueError, match=message):
        method(scan[0], **arguments)
    with pytest.raises(ValueError, match="acquisition: found Tensor, expected an Acquisition"):
        method(scan[1])
    empty = Acquisition(0 * scan[0].kspace, scan[0].maps, scan[0].mask, (5, 4, 4))
    with pytest.raises(ValueError, match="acquisition: found k-space of zeros"):
        method(empty)


def test_bad_wavelets(scan):
    for name in ("bior2.2", "db99"):
        with pytest.raises(ValueError, match=f"wavelet: found '{name}', expected"):
            l1_wavelet(scan[0], wavelet=name)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"regularization": -1}, "regularization: found -1, expected"),
    ({"iterations": 0}, "iterations: found 0, expected"),
])
def test_bad_input(scan, arguments, message):
    with pytest.raises(ValueError, match=message):
        cg_sense(scan[0], **arguments)
    with pytest.raises(ValueError, match="acquisition: found Tensor, expected an Acquisition"):
        cg_sense(scan[1])
