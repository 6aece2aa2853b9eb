import shutil
import subprocess
from unittest import mock

import numpy as np
import pytest
import torch

from mrilab.classical import cg_sense, l1_wavelet, soft_threshold, total_variation, zero_filled
from mrilab.metrics import percentile, psnr
from mrilab.operators import SenseOperator
from mrilab.raw import read_cfl, save_cfl
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.volumes import Acquisition, load_volume
from mrilab.wavelets import WaveletTransform, filter_matrix


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
    """As the docstrings define it, with wavelets that stay where they are; ``weight`` in the units of ``acq``."""
    if method is l1_wavelet:
        W = WaveletTransform(x.shape, "db4")
        penalty = torch.hypot(W.forward(x.real), W.forward(x.imag)).sum().item()
    else:
        mean = torch.tensor(acq.voxel_size).double().log().mean().exp().item()
        closed = [torch.cat([x, x.narrow(d, 0, 1)], d) for d in range(3)]
        penalty = sum((mean / size * torch.diff(c, dim=d).abs()).sum().item()
                      for d, (c, size) in enumerate(zip(closed, acq.voxel_size)))
    residual = SenseOperator(acq.maps, acq.mask).forward(x) - acq.kspace
    return 0.5 * residual.abs().square().sum().item() + weight * penalty


def solve(method, acq, weight, iterations=150):
    """Without the shifts of the wavelets there is one objective."""
    if method is l1_wavelet:
        with mock.patch("mrilab.classical.torch.randint", lambda *_, **__: torch.zeros(3, dtype=int)):
            return method(acq, weight, iterations=4 * iterations, progress=False)
    return method(acq, weight, iterations=iterations, progress=False)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5", "coif1"])
def test_wavelets_are_those_of_pywavelets(wavelet):
    import pywt

    taps = pywt.Wavelet(wavelet).dec_len
    x = torch.randn(32, generator=torch.Generator().manual_seed(0))
    expected = np.concatenate(pywt.dwt(x.numpy(), wavelet, mode="periodization"))
    assert np.allclose((filter_matrix(32, wavelet) @ x.roll(taps // 2 - 1)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 16, 24), (7, 20, 9), (33, 5, 40)])
def test_wavelet_transform_is_an_isometry_at_every_shift(shape):
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    for shift in ((0, 0, 0), (1, 7, 3)):
        W = WaveletTransform(shape, "db2", shift)
        c = W.forward(x)
        assert c.norm() == pytest.approx(x.norm().item(), rel=1e-5) and torch.allclose(W.adjoint(c), x, atol=1e-5)
        other = torch.randn(c.shape, generator=torch.Generator().manual_seed(1))
        assert (W.forward(x) * other).sum().item() == pytest.approx((x * W.adjoint(other)).sum().item(), abs=1e-2)


def test_wavelets_of_a_shifted_volume_are_shifted():
    x = torch.randn(16, 8, 24, generator=torch.Generator().manual_seed(0))
    moved = WaveletTransform(x.shape, "db4").forward(x.roll((-3, -5, -6), (0, 1, 2)))
    assert torch.allclose(WaveletTransform(x.shape, "db4", (3, 5, 6)).forward(x), moved, atol=1e-5)


def test_soft_threshold_solves_its_problem():
    z = torch.view_as_complex(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    best = soft_threshold(z, 0.4)
    cost = (best - z).abs().square() / 2 + 0.4 * best.abs()
    for angle in torch.arange(0, 6.28, 0.3):
        other = best + 0.01 * torch.exp(1j * angle)
        assert ((other - z).abs().square() / 2 + 0.4 * other.abs() >= cost - 1e-6).all()
    assert ((best == 0) == (z.abs() <= 0.4)).all()


def test_total_variation_reaches_the_objective_of_sigpys_solver():
    """On voxels that are cubes, where sigpy's total variation is ours."""
    from sigpy.mri.app import TotalVariationRecon

    acq, truth = simulate_acquisition(head_phantom((11, 11, 11)), acceleration=3, coils=4)
    scale = percentile(cg_sense(acq, iterations=10, progress=False).image, 0.99)
    mask = acq.mask[..., None].expand(acq.maps.shape[1:]).float().numpy()
    app = TotalVariationRecon(acq.kspace.numpy(), acq.maps.numpy(), 0.01 * scale, max_iter=600, weights=mask,
                              show_pbar=False)
    theirs = torch.from_numpy(app.run())
    ours = solve(total_variation, acq, 0.01).image
    costs = [objective(total_variation, acq, x, 0.01 * scale) for x in (ours, theirs, truth)]
    assert costs[0] <= 1.001 * costs[1] and costs[1] < 1.01 * costs[0] < costs[2]
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_l1_wavelet_is_as_good_as_that_of_bart(tmp_path):
    """Each with the best of its weights."""
    acq, truth = simulate_acquisition(load_volume("colin27_ch2"), 6, noise=0.03, voxel_size=(3, 4, 3.75))
    scale = percentile(cg_sense(acq, iterations=10, progress=False).image, 0.99)
    save_cfl(tmp_path / "kspace.cfl", acq.kspace / scale)
    save_cfl(tmp_path / "maps.cfl", acq.maps)
    ours, theirs = [], []
    for weight in (0.0003, 0.0006, 0.0012):
        subprocess.run(["bart", "pics", "-S", "-i", "100", "-R", f"W:7:0:{weight}", "kspace", "maps", "out"],
                       cwd=tmp_path, check=True, capture_output=True)
        theirs.append(psnr(torch.from_numpy(np.array(read_cfl(tmp_path / "out.cfl")))[0] * scale, truth))
        ours.append(psnr(l1_wavelet(acq, weight, progress=False).image, truth))
    assert max(ours) > max(theirs) - 0.1 and max(theirs) > psnr(cg_sense(acq, progress=False).image, truth) + 1


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
