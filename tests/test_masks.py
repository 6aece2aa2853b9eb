import numpy as np
import pytest
import torch

from mrilab.masks import equispaced_mask, poisson_disc_mask, random_mask

MASKS = [poisson_disc_mask, random_mask, equispaced_mask]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("acceleration", [4, 8, 12, 16, 24])
@pytest.mark.parametrize("shape", [(64, 64), (96, 96), (45, 61), (40, 33)])     # sigpy's search fails for the second
@pytest.mark.parametrize("calibration", [None, 0, 6])
def test_acceleration_and_calibration_block(mask, shape, acceleration, calibration):
    m = mask(shape, acceleration, calibration)
    assert m.shape == shape and m.dtype == torch.bool
    assert m.numel() / m.sum().item() == pytest.approx(acceleration, rel=0.05)
    side = 3 if calibration is None else calibration        # the default block is smaller at high acceleration
    low = [n // 2 - side // 2 for n in shape]
    assert m[low[0]:low[0] + side, low[1]:low[1] + side].all()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("acceleration", [1, 1.3, 2])
def test_low_acceleration(mask, acceleration):
    assert mask((24, 31), acceleration).sum().item() == pytest.approx(24 * 31 / acceleration, rel=0.05)


def test_default_block_is_16_where_there_is_room():
    m = poisson_disc_mask((128, 160, 100), 8)
    assert m[56:72, 72:88].all() and not m[55:73, 71:89].all()


@pytest.mark.parametrize("mask", MASKS[:2])
def test_seeds(mask):
    state = np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    a, b, c = mask((48, 40), 6, seed=1), mask((48, 40), 6, seed=1), mask((48, 40), 6, seed=2)
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])


def test_poisson_discs_keep_their_distance():
    """Outside the dense centre, hardly any sample has a neighbour beside it; independent samples often do."""
    def touching(m):
        m = m.clone()
        m[40:88, 40:88] = False
        return (m[1:] & m[:-1]).sum() / m.sum()

    assert touching(poisson_disc_mask((128, 128), 8)) < 0.03
    assert touching(torch.rand(128, 128, generator=torch.Generator().manual_seed(0)) < 1 / 8) > 0.08


def test_equispaced_rows_are_shifted_lattices():
    m = equispaced_mask((9, 36), 9, calibration=0)
    assert (m.sum(1) == 4).all() and torch.equal(m[1], m[0].roll(-3)) and m[0].nonzero()[1] == 9


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("arguments", "message"), [
    (((64, 64), 0.5), "acceleration: found 0.5, expected 1 to 4096"),
    (((64, 64), 5000), "acceleration: found 5000"),
    (((64, 64), float("nan")), "acceleration: found nan"),
    (((64, 64), 16, 20), "calibration: found 20, a block of 400 positions, expected no more than the 256"),
    (((64, 64), 4, -1), "calibration: found -1"),
    (((64,), 4), r"shape: found \(64,\)"),
    (((64, 0), 4), r"shape: found \(64, 0\)"),
])
def test_impossible_requests(mask, arguments, message):
    with pytest.raises(ValueError, match=message):
        mask(*arguments)


def test_poisson_disc_needs_room():
    with pytest.raises(ValueError, match=r"shape: found \(1, 64\), expected at least 4"):
        poisson_disc_mask((1, 64), 4)
