import math

import numpy as np
import pytest
import torch

from mrilab.metrics import head_mask, percentile, psnr, ssim
from mrilab.simulate import head_phantom

TRUTH = torch.randn(12, 15, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
NOISY = TRUTH + 0.1 * torch.randn(12, 15, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


def test_against_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = TRUTH.abs().numpy(), NOISY.abs().numpy()
    assert psnr(NOISY, TRUTH) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=a.max()), abs=1e-4)
    assert ssim(NOISY, TRUTH) == pytest.approx(structural_similarity(a, b, data_range=a.max()), abs=1e-5)


def test_phase_does_not_count_and_scale_does():
    turned = TRUTH * torch.exp(torch.tensor(2j))
    assert psnr(turned, TRUTH) > 120 and ssim(turned, TRUTH) == pytest.approx(1)
    assert psnr(TRUTH, TRUTH) == math.inf
    assert psnr(2 * NOISY, 2 * TRUTH) == pytest.approx(psnr(NOISY, TRUTH), abs=1e-4)
    assert psnr(2 * NOISY, TRUTH) < psnr(NOISY, TRUTH) - 10


def test_mask_leaves_the_air_out():
    truth = torch.zeros(10, 10, 10)
    truth[3:7, 3:7, 3:7] = 1
    x = 0.9 * truth
    assert psnr(x, truth, mask=head_mask(truth)) == pytest.approx(20, abs=1e-3)
    assert psnr(x, truth) == pytest.approx(20 + 10 * math.log10(1000 / 64), abs=1e-3)


def test_small_volumes_take_a_smaller_window():
    assert ssim(TRUTH[:4], TRUTH[:4]) == pytest.approx(1)


def test_head_mask_is_one_filled_head():
    truth = head_phantom((4, 4, 4)).data
    mask = head_mask(truth)
    assert mask[21, 27, 21] and not mask[0, 0, 0] and not mask[:, 0].any()
    ellipsoid = 4 / 3 * math.pi * 73 * 93 * 67 / 4**3
    assert mask.sum().item() == pytest.approx(ellipsoid, rel=0.15)


def test_percentile():
    x = torch.arange(1001.0)
    assert percentile(x - 2000, 0.99) == pytest.approx(np.quantile(2000 - x, 0.99), abs=1)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(("x", "truth", "message"), [
    (TRUTH[:5], TRUTH, r"x: found shape \(5, 15, 10\), expected that of truth"),
    (TRUTH[0], TRUTH[0], "three dimensions"),
    (TRUTH * float("nan"), TRUTH, "x: found NaN"),
    (TRUTH, TRUTH * float("inf"), "truth: found NaN or infinite"),
    (TRUTH, 0 * TRUTH, "truth: found only zeros"),
])
def test_bad_input(metric, x, truth, message):
    with pytest.raises(ValueError, match=message):
        metric(x, truth)


def test_bad_masks():
    with pytest.raises(ValueError, match=r"mask: found shape \(12, 15\)"):
        psnr(NOISY, TRUTH, mask=torch.ones(12, 15))
    with pytest.raises(ValueError, match="with 0 voxels"):
        psnr(NOISY, TRUTH, mask=torch.zeros(12, 15, 10))
    with pytest.raises(ValueError, match="truth: found no voxel"):
        head_mask(torch.zeros(5, 5, 5))
    with pytest.raises(ValueError, match=r"truth: found shape \(2, 15, 10\), expected at least 3"):
        ssim(TRUTH[:2], TRUTH[:2])
