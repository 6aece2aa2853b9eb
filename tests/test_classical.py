import pytest
import torch

from mrilab.classical import cg_sense, zero_filled
from mrilab.metrics import psnr
from mrilab.operators import SenseOperator
from mrilab.simulate import head_phantom, simulate_acquisition


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


@pytest.mark.parametrize(("arguments", "message"), [
    ({"regularization": -1}, "regularization: found -1, expected"),
    ({"iterations": 0}, "iterations: found 0, expected"),
])
def test_bad_input(scan, arguments, message):
    with pytest.raises(ValueError, match=message):
        cg_sense(scan[0], **arguments)
    with pytest.raises(ValueError, match="acquisition: found Tensor, expected an Acquisition"):
        cg_sense(scan[1])
