import math

import numpy as np
import pytest
import torch

from mrilab.metrics import haarpsi, head_mask, percentile, psnr, ssim, vif
from mrilab.simulate import head_phantom

TRUTH = torch.randn(12, 15, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
NOISY = TRUTH + 0.1 * torch.randn(12, 15, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


METRICS = (psnr, ssim, vif, haarpsi)


def picture(height, width):
    """A formula, so that other programs can be given the same picture: x and truth, one slice each."""
    i, j = torch.arange(height)[:, None].double(), torch.arange(width).double()
    disc = torch.hypot(i - height / 2, j - width / 3) < 12
    truth = 2 + torch.cos(0.31 * i) * torch.cos(0.17 * j + 0.002 * i * j) + disc
    return (0.9 * truth - 0.2 * torch.cos(0.05 * i) + 0.15 * torch.cos(2.3 * i + 1.1 * j * j))[None], truth[None]


def test_against_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = TRUTH.abs().numpy(), NOISY.abs().numpy()
    assert psnr(NOISY, TRUTH) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=a.max()), abs=1e-4)
    assert ssim(NOISY, TRUTH) == pytest.approx(structural_similarity(a, b, data_range=a.max()), abs=1e-5)


def test_vif_against_torchmetrics():
    """Values of torchmetrics 1.9.0 for the pictures with grey values up to 255; even and odd sides."""
    assert vif(*picture(64, 90)) == pytest.approx(0.512778644, abs=1e-6)
    assert vif(*picture(47, 61)) == pytest.approx(0.510898319, abs=1e-6)


def test_haarpsi_against_piq():
    """Values of piq 0.8.0, itself tested against the authors' program; even sides, which it pads as they do."""
    assert haarpsi(*picture(64, 90)) == pytest.approx(0.959081781, abs=1e-6)
    assert haarpsi(*picture(30, 44)) == pytest.approx(0.945820609, abs=1e-6)


@pytest.fixture(scope="module")
def head():
    return head_phantom((6, 6, 6)).data


@pytest.mark.parametrize("metric", METRICS)
def test_more_noise_or_blur_is_worse(metric, head):
    noise = torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    frequency = sum(torch.fft.fftfreq(n).square().view([-1 if a == d else 1 for a in range(3)])
                    for d, n in enumerate(head.shape))
    noisy = [head + s * noise for s in (0.01, 0.03, 0.1, 0.3)]
    blurred = [torch.fft.ifftn(torch.fft.fftn(head) * torch.exp(-s * frequency)).real for s in (2, 5, 10, 20)]
    for images in (noisy, blurred):
        values = [metric(image, head, mask) for mask in (None, head_mask(head)) for image in images]
        assert values[:4] == sorted(values[:4], reverse=True) and values[4:] == sorted(values[4:], reverse=True)
        assert min(values) >= 0 and len(set(values)) == 8


@pytest.mark.parametrize("metric", METRICS)
def test_all_planes_alike_and_nothing_counts_outside_the_mask(metric, head):
    noise = 0.05 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    turned = metric((head + noise).permute(2, 0, 1), head.permute(2, 0, 1))
    assert turned == pytest.approx(metric(head + noise, head), rel=1e-5)
    mask = torch.zeros(head.shape, dtype=torch.bool)
    mask[10:18, 12:24, 10:18] = True
    outside = noise.clone()
    outside[1:27, 3:33, 1:27] = 0                       # only the tails of VIF's widest window reach that far
    assert metric(head + outside, head, mask) == pytest.approx(metric(head, head, mask), abs=1e-4)
    assert metric(head + noise, head, mask) < metric(head, head, mask)


def test_contrast():
    """More contrast is more information (VIF above 1), and not more similarity."""
    _, truth = picture(64, 90)
    raised = truth + 0.3 * (truth - truth.mean())
    assert vif(raised, truth) > 1.05 and haarpsi(raised, truth) < 1
    assert vif(truth, truth) == pytest.approx(1) and haarpsi(truth, truth) == pytest.approx(1)


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


@pytest.mark.parametrize("metric", METRICS)
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
    for metric, side in ((vif, 17), (haarpsi, 16)):
        with pytest.raises(ValueError, match=rf"truth: found shape \(12, 15, 10\), expected slices of at least {side}"):
            metric(NOISY, TRUTH)
        truth = torch.ones(40, 40, 40)
        truth[:10] = 0
        with pytest.raises(ValueError, match="truth: found nothing that varies"):
            metric(truth, truth, truth.bool() & (torch.arange(40) == 20) & (torch.arange(40)[:, None] == 20)
                   & (torch.arange(40)[:, None, None] == 30))
