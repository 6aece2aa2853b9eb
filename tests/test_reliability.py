"""Spread against error, conformal intervals and the detection of lesions, where the answers are known."""

import math

import pytest
import torch
from scipy.stats import norm

from mrilab.reliability import auc, conformal_factor, lesion, matched_filter, place, reliability_curve


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_reliability_curve_of_calibrated_and_of_meaningless_spread():
    spread = noise(40000).abs() + 0.1
    expected, found = reliability_curve(spread, spread * noise(40000, seed=1))
    assert torch.allclose(found, expected, rtol=0.06) and (expected.diff() > 0).all()
    _, found = reliability_curve(spread, noise(40000, seed=1))
    assert torch.allclose(found, torch.ones(10), atol=0.06)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_conformal_intervals_cover_new_voxels_whatever_the_spread(level):
    spread, error = noise(20000).abs() + 0.01, 3 * noise(20000, seed=1)
    factor = conformal_factor(spread[:10000], error[:10000], level)
    assert (error[10000:].abs() <= factor * spread[10000:]).float().mean() == pytest.approx(level, abs=0.015)


def test_conformal_factor_is_the_rank_of_the_theorem():
    error = torch.arange(1.0, 11.0)
    assert conformal_factor(torch.ones(10), error, 0.9) == 10       # ceil(11 x 0.9) = 10
    assert conformal_factor(torch.ones(10), error, 0.8) == 9
    assert conformal_factor(torch.zeros(10), torch.zeros(10), 0.9) == 0
    assert conformal_factor(torch.zeros(10), error, 0.9) == math.inf
    with pytest.raises(ValueError, match="level: found 0.95, expected a share that 10 voxels can give, up to 0.909"):
        conformal_factor(torch.ones(10), error, 0.95)


def test_a_lesion_has_its_volume_at_any_voxel_size():
    for voxel_size in ((1, 1, 1), (2, 2, 2), (1, 1, 3), (3, 1.3, 0.7)):
        volume = lesion(10, voxel_size).sum().item() * math.prod(voxel_size)
        assert volume == pytest.approx(math.pi / 6 * 10**3, rel=0.03)


def test_matched_filter_reads_the_contrast_off_any_background_level():
    ball = lesion(6, (2, 2, 1))
    image = 0.7 - 0.2 * place(ball, [(10, 9, 15), (20, 20, 30)], (30, 28, 46))
    found = matched_filter(image * torch.exp(torch.tensor(0.4j)), ball)
    assert found[10, 9, 15] == pytest.approx(-0.2, abs=1e-5) and found[20, 20, 30] == pytest.approx(-0.2, abs=1e-5)
    assert found[24, 9, 30] == pytest.approx(0, abs=1e-5)


def test_lesions_stay_inside_the_volume():
    ball = lesion(6, (2, 2, 2))
    corner = place(ball, [(0, 0, 0)], (12, 12, 12))
    assert torch.equal(corner[:4, :4, :4], ball[3:, 3:, 3:])
    assert corner.sum() == ball[3:, 3:, 3:].sum()


def test_auc_in_noise_is_that_of_the_ideal_observer():
    """In white noise of standard deviation s, the filter's d' is contrast x |template| / s."""
    ball = lesion(4, (2, 2, 2))
    template = ball - ball.mean()
    sensitivity = 1.5
    contrast = sensitivity / template.norm().item()
    centres = [(z, y, x) for z in range(4, 56, 6) for y in range(4, 56, 6) for x in range(4, 56, 6)]
    at = tuple(torch.tensor(centres).T)
    absent = matched_filter(noise(60, 60, 60), ball)[at]
    present = matched_filter(noise(60, 60, 60, seed=1) + contrast * place(ball, centres, (60, 60, 60)), ball)[at]
    assert auc(present, absent) == pytest.approx(norm.cdf(sensitivity / 2**0.5), abs=0.03)
    assert (present - absent).mean() == pytest.approx(contrast, rel=0.1)


def test_auc_by_counting():
    present, absent = noise(30).round(decimals=1), noise(20, seed=1).round(decimals=1)
    pairs = [(p > a) + 0.5 * (p == a) for p in present.tolist() for a in absent.tolist()]
    assert auc(present, absent) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("call, message", [
    (lambda: reliability_curve(torch.ones(3), torch.ones(4)), r"error: found shape \(4,\), expected that of spread"),
    (lambda: reliability_curve(torch.ones(3), torch.ones(3), bins=4), "bins: found 4, expected 1 to 3"),
    (lambda: reliability_curve(-torch.ones(3), torch.ones(3)), "spread, error: found NaN, infinite or negative"),
    (lambda: conformal_factor(torch.ones(3), torch.tensor([1.0, 2.0, torch.nan])), "spread, error: found NaN"),
    (lambda: lesion(-1, (1, 1, 1)), "diameter: found -1, expected a length in mm"),
    (lambda: lesion(4, (1, 1)), r"voxel_size: found \(1, 1\)"),
    (lambda: place(torch.ones(3, 3, 3), [(5, 5, 9)], (8, 8, 8)), r"centres: found \(5, 5, 9\), expected a voxel"),
    (lambda: matched_filter(torch.ones(5, 5), torch.ones(3, 3, 3)), "x, profile: found shapes"),
    (lambda: matched_filter(torch.ones(5, 5, 5), torch.ones(2, 3, 3)), "odd sides"),
    (lambda: matched_filter(torch.ones(5, 5, 5), torch.ones(3, 3, 3)), "profile: found nothing that varies"),
    (lambda: auc(torch.ones(3), torch.ones(0)), "present, absent: found 3 and 0 scores"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
