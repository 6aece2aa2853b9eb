import pytest
import torch

from mrilab.coils import birdcage_maps, espirit_maps
from mrilab.fourier import fft3c
from mrilab.metrics import head_mask
from mrilab.simulate import head_phantom


@pytest.mark.parametrize("coils", [1, 4, 6, 8, 13])
def test_squares_sum_to_one(coils):
    maps = birdcage_maps((9, 16, 11), coils)
    assert maps.shape == (coils, 9, 16, 11) and maps.dtype == torch.complex64
    assert torch.allclose(maps.abs().square().sum(0), torch.ones(9, 16, 11), atol=1e-5)


def test_maps_are_sigpys():
    """On even sizes sigpy's grid is ours: what is left is the error of the spline."""
    from sigpy.mri import birdcage_maps as sigpy_maps

    shape = (20, 36, 28)
    assert (birdcage_maps(shape, 8) - torch.from_numpy(sigpy_maps((8, *shape), nzz=4))).abs().max() < 5e-4


def test_maps_belong_to_the_field_of_view_not_to_the_matrix():
    """Voxels of two matrices at the same place, index (i - n // 2) / n, have the same sensitivity."""
    fine = birdcage_maps((24, 60, 36))
    assert (fine[:, ::2, ::2, ::2] - birdcage_maps((12, 30, 18))).abs().max() < 1e-5
    thirds = birdcage_maps((8, 20, 12))
    assert (fine[:, ::3, ::3, ::3] - thirds).abs().max() < 1e-5
    odd = birdcage_maps((24, 15, 9))                 # centres: 60 // 2 = 2 + 4 * 7, 36 // 2 = 2 + 4 * 4
    assert (fine[:, :, 2::4, 2::4] - odd).abs().max() < 1e-5


def test_two_rings_encode_z():
    maps = birdcage_maps((32, 32, 32), 8).abs()
    assert maps[:4, 4, 16, 16].sum() != pytest.approx(maps[4:, 4, 16, 16].sum().item(), rel=0.2)


def test_espirit_finds_the_maps():
    """Up to the phase of the first coil, inside the head."""
    head = head_phantom((8, 8, 8)).data
    maps = birdcage_maps(tuple(head.shape), 4)
    estimated = espirit_maps(fft3c(maps * head), calibration=14, kernel=4)
    expected = maps * torch.exp(-1j * maps[:1].angle())
    inside = head_mask(head) & (estimated.abs().sum(0) > 0)
    assert inside.sum() > 0.8 * head_mask(head).sum()
    assert (estimated - expected)[:, inside].norm() < 0.1 * expected[:, inside].norm()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: birdcage_maps((4, 4)), r"shape: found \(4, 4\), expected three positive"),
    (lambda: birdcage_maps((4, 0, 4)), "shape: found"),
    (lambda: birdcage_maps((4, 4, 4), 0), "coils: found 0, expected"),
    (lambda: espirit_maps(torch.ones(4, 8, 8)), "kspace: found shape"),
    (lambda: espirit_maps(torch.ones(4, 8, 8, 8)), "calibration: found 24, expected a block side from 6"),
    (lambda: espirit_maps(torch.zeros(4, 8, 8, 8), calibration=6), "kspace: found zeros in the central 6"),
    (lambda: espirit_maps(torch.ones(4, 8, 8, 8) * float("nan"), calibration=6), "kspace: found NaN"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
