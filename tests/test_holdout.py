"""The judge without a truth: what is left out, what it says, and that it orders methods as the truth does."""

import functools
import math

import pytest
import torch
from scipy.stats import spearmanr

from mrilab.classical import cg_sense, l1_wavelet, total_variation, zero_filled
from mrilab.coils import estimate_maps
from mrilab.holdout import (
    centre_of,
    choose_settings,
    estimated_psnr,
    held_out_error,
    prediction_error,
    split_samples,
    used_part,
)
from mrilab.metrics import head_mask, psnr
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.volumes import Acquisition, Reconstruction

METHODS = {"zero-filled": zero_filled}
METHODS |= {f"CG {r} {n}": functools.partial(cg_sense, regularization=r, iterations=n, tolerance=0, progress=False)
            for r, n in ((0.005, 3), (0.005, 20), (0.05, 20))}
METHODS |= {f"TV {w}": functools.partial(total_variation, weight=w, progress=False) for w in (0.001, 0.01)}
METHODS |= {f"L1 {w}": functools.partial(l1_wavelet, weight=w, progress=False) for w in (0.004,)}
TOO_MUCH = ("CG 0.05 20", "TV 0.01")       # regularised so strongly that they contradict the samples they were shown


def scan(size, acceleration, block=None, noise=0.01):
    acquisition, truth = simulate_acquisition(head_phantom((size,) * 3), acceleration, noise=noise)
    if block:
        middle = truth.shape[2] // 2
        acquisition, truth = acquisition.readout_block(middle, middle + block), truth[..., middle:middle + block]
    return acquisition, truth


def test_splits_are_disjoint_parts_of_what_was_measured_outside_the_centre():
    acquisition, _ = scan(6, 2, 8)
    held = split_samples(acquisition, share=0.1, splits=10)
    together = torch.stack(held).int().sum(0)
    centre = centre_of(acquisition.mask)
    assert together.max() == 1 and not (together.bool() & (centre | ~acquisition.mask)).any()
    assert together.sum() >= 0.9 * (acquisition.mask & ~centre).sum()
    assert all(torch.equal(a, b) for a, b in zip(held, split_samples(acquisition, 0.1, 10)))
    assert not torch.equal(held[0], split_samples(acquisition, 0.1, 10, seed=1)[0])
    used = used_part(acquisition, held[0])
    assert not used.kspace[:, held[0]].any() and torch.equal(used.mask | held[0], acquisition.mask)
    # the maps come from the centre alone: they do not know what was left out
    assert torch.allclose(estimate_maps(used.kspace, used.mask)[0], estimate_maps(acquisition.kspace,
                                                                                 acquisition.mask)[0], atol=1e-4)


def test_the_truth_leaves_the_noise():
    acquisition, truth = scan(6, 3, noise=0.02)
    held = split_samples(acquisition, 0.2, 1)[0]
    measured = acquisition.kspace[:, held].norm().item()
    expected = 0.02 * (2 * acquisition.kspace[:, held].numel()) ** 0.5 / measured
    assert prediction_error(truth, acquisition, held) == pytest.approx(expected, rel=0.1)
    assert prediction_error(torch.zeros_like(truth), acquisition, held) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "acceleration", "block"), [(4, 4, 2), (3, 8, 1), (2.5, 6, 1)])
def test_held_out_samples_order_methods_as_the_truth_does(size, acceleration, block):
    """The error on them does for images that agree with the samples shown, the PSNR that they let expect for all.

    The latter counts errors of the phase as well, so the truth does here.
    """
    acquisition, truth = scan(size, acceleration, block)
    head, peak, splits = head_mask(truth), truth.abs().max().item(), split_samples(acquisition, 0.1, 3)
    error, expected, quality, whole = {}, {}, {}, {}
    for name, method in METHODS.items():
        images = [method(used_part(acquisition, held)).image for held in splits]
        error[name] = sum(prediction_error(x, acquisition, held) for x, held in zip(images, splits))
        expected[name] = sum(estimated_psnr(x, acquisition, held, peak, int(head.sum()))
                             for x, held in zip(images, splits))
        image = method(acquisition).image
        quality[name], whole[name] = psnr(image, truth, head), -(image - truth)[head].norm().item()
    agree = [name for name in METHODS if name not in TOO_MUCH]
    assert -spearmanr([error[n] for n in agree], [quality[n] for n in agree]).statistic > 0.9, (error, quality)
    assert spearmanr(list(expected.values()), list(whole.values())).statistic > 0.9, (expected, whole)


def test_differences_of_the_psnr_that_the_samples_let_expect():
    """Within a dB where the truth says 4 dB or more."""
    acquisition, truth = scan(4, 6, 4)
    head, peak = head_mask(truth), truth.abs().max().item()
    held, = split_samples(acquisition, 0.15, 1)
    found, real = [], []
    for name in ("CG 0.05 20", "TV 0.001"):
        image = METHODS[name](used_part(acquisition, held)).image
        found.append(estimated_psnr(image, acquisition, held, peak, int(head.sum())))
        real.append(psnr(image, truth, head))
    assert real[1] > real[0] + 2 and abs((found[1] - found[0]) - (real[1] - real[0])) < 1.5


def test_an_image_that_contradicts_the_samples_shown_is_the_misfits_business():
    """Too much regularisation dims the image: held-out samples hardly notice, the expected PSNR does."""
    acquisition, truth = scan(6, 3, 4)
    head, (held,) = head_mask(truth), split_samples(acquisition, 0.15, 1)
    image = METHODS["TV 0.001"](used_part(acquisition, held)).image
    found = {}
    for name, shown in (("image", image), ("dimmed", 0.8 * image)):
        found[name] = estimated_psnr(shown, acquisition, held, 1.0, int(head.sum()))
    assert prediction_error(0.8 * image, acquisition, held) < prediction_error(image, acquisition, held) + 0.15
    assert found["image"] > found["dimmed"] + 5


@pytest.mark.parametrize("shape", [(1, 40, 20), (40, 30, 1)])
def test_slices_and_lines(shape):
    """A slice with one phase-encoding axis, and one with a readout of a single position."""
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(2, *shape, dtype=torch.complex64, generator=generator)
    mask = torch.rand(shape[:2], generator=generator) < 0.5
    mask[shape[0] // 2 - 4 * (shape[0] > 1):shape[0] // 2 + 4, shape[1] // 2 - 4:shape[1] // 2 + 4] = True
    acquisition = Acquisition(kspace * mask[..., None], torch.ones_like(kspace), mask, (1, 1, 1))
    found = held_out_error(acquisition, zero_filled, share=0.3, splits=3)
    assert len(found.errors) == 3 and found.error == pytest.approx(1) and found.spread < 1e-4


@pytest.mark.parametrize(("change", "message"), [
    (dict(share=0), "share, splits: found 0 and 4"), (dict(share=0.3, splits=4), "splits that together leave out no"),
    (dict(splits=0), "share, splits"), (dict(share=0.01), "positions measured outside of the fully measured centre, "
                                        "expected at least 350 to leave out a share of 0.01")])
def test_what_cannot_be_left_out(change, message):
    acquisition, _ = scan(6, 6)
    with pytest.raises(ValueError, match=message):
        split_samples(acquisition, **change)


def test_noise_and_samples_are_needed_for_a_psnr():
    acquisition, truth = scan(8, 3)
    with pytest.raises(ValueError, match="^held: found no position"):
        estimated_psnr(truth, acquisition, torch.zeros_like(acquisition.mask), 1.0, 100)
    acquisition.noise = None
    with pytest.raises(ValueError, match="^acquisition: found no noise level"):
        estimated_psnr(truth, acquisition, acquisition.mask, 1.0, 100)


def test_settings_of_a_method_for_a_scan():
    """Held-out samples choose a regularisation near the one the truth would; edges are told and gone beyond."""
    acquisition, truth = scan(6, 4, 4)
    head = head_mask(truth)
    method = functools.partial(cg_sense, iterations=15, tolerance=0, progress=False)
    chosen = choose_settings(acquisition, method, {"regularization": (1e-4, 3.0)}, trials=12, progress=False)
    quality = {t["settings"]["regularization"]: psnr(method(acquisition, **t["settings"]).image, truth, head)
               for t in chosen.trials}
    assert len(quality) == 12 and not chosen.edges
    assert max(quality.values()) - quality[chosen.settings["regularization"]] < 0.5
    assert max(quality.values()) - min(quality.values()) > 5
    low = choose_settings(acquisition, method, {"regularization": (0.5, 3.0)}, trials=8, progress=False)
    assert low.settings["regularization"] < 0.5


def test_the_discrepancy_principle_stops_at_the_noise():
    """A fake method whose misfit is its setting, to be found to a quarter of a dB by refining the grid."""
    acquisition, truth = scan(8, 2)
    alone = acquisition.noise * (2 * int(acquisition.mask.sum()) * acquisition.kspace[:, 0, 0].numel()) ** 0.5
    alone /= acquisition.kspace.norm().item()

    def method(_, share):
        return Reconstruction(truth, (8, 8, 8), 0, 0, 0.0, share * alone)

    chosen = choose_settings(acquisition, method, {"share": (0.3, 2.0)}, trials=14, by="discrepancy", progress=False)
    assert abs(chosen.settings["share"] - 1) < 0.06 and abs(min(t["misfit"] for t in chosen.trials)) > 0.25
    acquisition.noise = 0.0
    with pytest.raises(ValueError, match="^acquisition: found a noise level of 0"):
        choose_settings(acquisition, method, {"share": (0.3, 2.0)}, by="discrepancy")


def test_edges_are_told_and_images_that_are_not_finite_count_as_worst(capsys):
    acquisition, truth = scan(8, 2)

    def method(_, amount):
        return Reconstruction(truth * (math.nan if amount > 3 else 1 + 1 / amount), (8, 8, 8), 0, 0, 0.0, 0.0)

    chosen = choose_settings(acquisition, method, {"amount": (0.5, 2.0)}, trials=9)
    assert chosen.settings["amount"] == pytest.approx(2.76, abs=0.3) and len(chosen.trials) == 9
    assert [t["error"] for t in chosen.trials if t["settings"]["amount"] > 3] in ([], [None], [None, None])
    low = choose_settings(acquisition, lambda a, amount: method(a, 1 / amount), {"amount": (9.0, 99.0)}, trials=8)
    assert low.edges == {"amount": -1} and "best at the edge of what was tried for amount" in capsys.readouterr().err
    with pytest.raises(ValueError, match="^trials: found no finite image in 4"):
        choose_settings(acquisition, method, {"amount": (4.0, 9.0)}, trials=8, progress=False)


@pytest.mark.parametrize(("change", "message"), [
    (dict(ranges={}), "ranges: found {}"), (dict(ranges={"weight": (1, 0.1)}), "ranges: found {'weight'"),
    (dict(trials=7), "trials: found 7, expected 8 or more"), (dict(by="eye"), "by: found 'eye', expected one of")])
def test_what_cannot_be_chosen(change, message):
    acquisition, _ = scan(6, 6)
    with pytest.raises(ValueError, match=f"^{message}"):
        choose_settings(acquisition, zero_filled, **{"ranges": {"weight": (0.1, 1.0)}} | change)
