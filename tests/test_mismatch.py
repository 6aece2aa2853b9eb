"""The meters of mismatch: against divergences that are known exactly, and on scans of a phantom."""

import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from mrilab.__main__ import main
from mrilab.checks import PLANES
from mrilab.coils import head_array_maps
from mrilab.commands.fitting import tuned
from mrilab.diffusion import Prior, to_complex
from mrilab.masks import poisson_disc_mask
from mrilab.metrics import head_mask, psnr
from mrilab.mismatch import Reading, by_name, divergence, held_out, mismatch, quiet, solver_settings, start_error
from mrilab.mixture import GaussianMixture
from mrilab.operators import SenseOperator
from mrilab.priors import load_prior, new_prior
from mrilab.problem import Problem
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.variational import reconstruct
from mrilab.volumes import Acquisition, Volume, load_volume, save_acquisition, save_volume

SIZE, SIGMA = 8, (1.0, 0.1)


def smooth(count, size=SIZE, seed=0):
    coarse = torch.randn(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    return 0.4 * torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


def scan_of(mixture, count, size=SIZE, acceleration=1, coils=1, noise=0.02, seed=0):
    """A scan whose slices (z, y), one for each position of the readout, are draws; and its unit of intensity."""
    image = to_complex(mixture.draw(count, seed)).movedim(0, -1)
    maps = head_array_maps(tuple(image.shape), coils) if coils > 1 else torch.ones_like(image)[None]
    mask = torch.ones(size, size, dtype=torch.bool)
    if acceleration > 1:
        mask = poisson_disc_mask(tuple(image.shape), acceleration)
    kspace = SenseOperator(maps, mask).forward(image)
    n = torch.randn(*kspace.shape, 2, generator=torch.Generator().manual_seed(seed + 1))
    kspace += noise * torch.view_as_complex(n) * mask[:, :, None]
    acquisition = Acquisition(kspace, maps, mask, (1, 1, 1), noise)
    return acquisition, Problem(acquisition, mixture).scale


def scaled(mixture, unit):
    return GaussianMixture(mixture.means / unit, mixture.std / unit, mixture.weights)


def kl_of_gaussians(p, q, sigma):
    """Nats per voxel of a slice, noise of level sigma added to both."""
    v, w = p.std**2 + sigma**2, q.std**2 + sigma**2
    channels, shift = p.means[0].numel(), (p.means - q.means).square().sum().item()
    return (channels / 2 * (v / w - 1 - math.log(v / w)) + shift / (2 * w)) / (channels / 2)


def kl_of_mixtures(p, q, sigma, count=20_000):
    x = p.draw(count, seed=5) + sigma * torch.randn(count, *p.means.shape[1:],
                                                     generator=torch.Generator().manual_seed(6))
    return (p.log_density(x, sigma) - q.log_density(x, sigma)).mean().item() / p.means[0, 0].numel()


def measure(p, q, count=1024, levels=10, by_score=False):
    """Reading of both on a scan of p, and both in its unit."""
    acquisition, unit = scan_of(p, count)
    p, q = scaled(p, unit), scaled(q, unit)
    return divergence(acquisition, {"p": p, "q": q}, sigma=SIGMA, levels=levels, planes=["sagittal"], progress=False,
                      reference=p if by_score else None), p, q


GAUSSIAN = GaussianMixture(smooth(1), std=0.2)
OTHERS = {"shifted": GaussianMixture(smooth(1) + 0.1 * smooth(1, seed=1), std=0.2),
          "wider": GaussianMixture(smooth(1), std=0.3), "narrower": GaussianMixture(smooth(1), std=0.15)}


@pytest.mark.parametrize("name", OTHERS)
def test_the_divergence_of_gaussians_is_the_formula_s(name):
    found, p, q = measure(GAUSSIAN, OTHERS[name])
    exact = kl_of_gaussians(p, q, SIGMA[1]) - kl_of_gaussians(p, q, SIGMA[0])
    value, half = found.difference("q", "p")
    assert abs(value - exact) < 1.5 * half and half < 0.3 * exact, (value, half, exact)
    assert found.best == "p" and found.equal == ["p"]


def test_the_divergence_of_mixtures_is_that_of_their_densities():
    p = GaussianMixture(smooth(4), std=0.1, weights=[1, 2, 3, 4])
    q = GaussianMixture(smooth(4), std=0.1, weights=[4, 3, 2, 1])
    far = GaussianMixture(smooth(4, seed=7), std=0.1)
    for other in (q, far):
        found, p_, q_ = measure(p, other)
        exact = kl_of_mixtures(p_, q_, SIGMA[1]) - kl_of_mixtures(p_, q_, SIGMA[0])
        value, half = found.difference("q", "p")
        assert abs(value - exact) < 1.5 * half + 0.02 * exact, (value, half, exact)


def test_the_two_lines_of_the_formula_agree_and_the_estimate_converges():
    """Against a known reference, as Shoushtari et al. have it, the numbers are the same and less uncertain."""
    halves = []
    for count in (128, 2048):
        found, p, q = measure(GAUSSIAN, OTHERS["shifted"], count)
        halves.append(found.difference("q", "p")[1])
    by_score, p, q = measure(GAUSSIAN, OTHERS["shifted"], 128, by_score=True)
    exact = kl_of_gaussians(p, q, SIGMA[1]) - kl_of_gaussians(p, q, SIGMA[0])
    assert halves[1] < halves[0] / 2
    assert by_score.mean("p") == 0 and by_score.mean("q") == pytest.approx(exact, rel=0.03)


def test_the_same_distribution_is_not_behind():
    p = GaussianMixture(smooth(2), std=0.2, weights=[1, 3])
    again = GaussianMixture(smooth(2)[[0, 1, 1]], std=0.2, weights=[1, 2, 1])       # the same, written differently
    found, _, _ = measure(p, again, 256, levels=4)
    value, half = found.difference("q", "p")
    assert abs(value) < 1e-5 and set(found.equal) == {"p", "q"} or abs(value) <= half


def test_undersampled_with_several_coils():
    """Least squares is wrong by a quarter of the lowest level, so the estimate stays near the formula's, below it."""
    size = 16
    p = GaussianMixture(smooth(1, size), std=0.1)
    q = GaussianMixture(smooth(1, size) + 0.1 * smooth(1, size, seed=1), std=0.1)
    wide = GaussianMixture(smooth(1, size), std=0.15)
    acquisition, unit = scan_of(p, 48, size, acceleration=2, coils=8)
    p, q, wide = (scaled(m, unit) for m in (p, q, wide))
    found = divergence(acquisition, {"p": p, "q": q, "wide": wide}, sigma=(1, 0.2), levels=6, planes=["sagittal"],
                       progress=False)
    assert found.equal == ["p"]
    for name, other in (("q", q), ("wide", wide)):
        exact = kl_of_gaussians(p, other, 0.2) - kl_of_gaussians(p, other, 1)
        assert 0.7 * exact < found.difference(name, "p")[0] < exact, name
    error = start_error(acquisition, p) / unit
    problem = Problem(acquisition, p)
    truth = to_complex(GaussianMixture(p.means * unit, p.std * unit).draw(48)).movedim(0, -1) / unit
    assert error == pytest.approx((problem.start - truth).abs().square().mean().item() ** 0.5 / 2**0.5, rel=0.5)


# --- scans of a phantom, shipped priors

@pytest.fixture(scope="module")
def phantom():
    acquisition, truth = simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)
    return acquisition.readout_block(12, 16), truth[..., 12:16]


def test_a_prior_of_noise_is_behind_on_both_meters(phantom):
    """One that was trained on heads beats one that believes in nothing but noise about zero."""
    acquisition, _ = phantom
    nothing = Blind()
    found = mismatch(acquisition, {"diverse": load_prior("diverse"), "nothing": nothing}, progress=False)
    for meter in ("divergence", "held-out"):
        value, half = found[meter].behind("nothing")
        assert found[meter].equal == ["diverse"] and value > half > 0, meter
    assert found["held-out"].difference("nothing", "diverse")[0] > 1        # dB


class Blind(Prior):
    """The denoiser of white noise, of any size."""

    def __init__(self):
        super().__init__(None, (0.5, 10.0))
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x, sigma, voxel_size=None):
        s = sigma.reshape(-1, 1, 1, 1)
        return x * self.weight * 0.3**2 / (0.3**2 + s**2)


def test_scans_with_too_few_samples_say_how_many_it_takes():
    acquisition, _ = simulate_acquisition(head_phantom((16, 16, 16)), acceleration=4)
    for meter in (divergence, held_out):
        with pytest.raises(ValueError, match=r"^acquisition: found \d+ positions measured outside .* at least 35 to"):
            meter(acquisition, ["diverse"], progress=False)


def test_a_slice_and_few_parts():
    """A readout of one position has its parts in k-space, and a slice counts in its own plane."""
    acquisition, _ = simulate_acquisition(head_phantom((4, 4, 4)), acceleration=3)
    single = acquisition.readout_block(20, 21)
    found = divergence(single, ["diverse", "fixed_3mm"], levels=2, progress=False)
    assert all(len(values) == 8 and min(values) > 0 for values in found.values.values())
    again = divergence(single, ["diverse"], levels=2, planes=tuple(PLANES), progress=False)
    assert again.values["diverse"] == pytest.approx(found.values["diverse"])
    _, truth = simulate_acquisition(head_phantom((4, 4, 4)), acceleration=1)
    maps = torch.ones(1, 1, *truth.shape[1:], dtype=torch.complex64)
    mask = torch.rand(1, truth.shape[1], generator=torch.Generator().manual_seed(0)) < 0.6
    mask[0, truth.shape[1] // 2 - 4:truth.shape[1] // 2 + 4] = True
    lines = Acquisition(SenseOperator(maps, mask).forward(truth[20:21]), maps, mask, (4, 4, 4), 0.001)
    axial = divergence(lines, ["diverse"], levels=2, progress=False, sigma=(1, 0.3))
    assert all(0 < value < 1 for value in axial.values["diverse"])


def test_a_prior_of_volumes_and_a_scan_without_noise():
    acquisition, _ = simulate_acquisition(head_phantom((8, 8, 8)), acceleration=1, noise=0)
    block = acquisition.readout_block(8, 16)
    found = divergence(block, {"volumes": new_prior("unet3d", (1, 4), (4, 4)), "slices": load_prior("diverse")},
                       levels=2, progress=False)
    assert found.best == "slices" and found.behind("volumes")[0] > 0.1


def test_what_the_meters_refuse(phantom):
    acquisition, _ = phantom
    with pytest.raises(ValueError, match="^priors: found none"):
        mismatch(acquisition, [])
    with pytest.raises(ValueError, match="^priors: found diverse, diverse, expected one or more, each once"):
        by_name(["diverse", "diverse"])
    with pytest.raises(ValueError, match="^sigma: found"):
        divergence(acquisition, ["diverse"], sigma=(0.1, 0.2))
    with pytest.raises(ValueError, match="^levels: found 1, expected 2 or more"):
        divergence(acquisition, ["diverse"], levels=1)


def test_one_part_tells_nothing_apart():
    found = Reading("held-out", "dB", {"a": (-9.0,), "b": (-8.0,)})
    assert found.best == "a" and found.equal == ["a", "b"] and math.isnan(found.behind("b")[1])


# --- settings without a truth

@pytest.mark.parametrize("by", ["held-out", "discrepancy"])
def test_the_solver_s_weight_without_a_truth_costs_little(phantom, by):
    acquisition, truth = phantom
    prior = load_prior("diverse")
    fixed = dict(iterations=4, planes="sagittal")
    chosen = solver_settings(acquisition, prior, {"weight": (0.02, 5.0)}, trials=8, by=by, progress=False, **fixed)

    def quality(weight):
        with quiet():
            image = reconstruct(acquisition, prior, weight=weight, progress=False, **fixed).image
        return psnr(image, truth, head_mask(truth))

    found = {trial["settings"]["weight"]: quality(trial["settings"]["weight"]) for trial in chosen.trials}
    assert max(found.values()) - found[chosen.settings["weight"]] < 1.0 < max(found.values()) - min(found.values())


def test_the_last_noise_level_is_handed_over_as_sigma(phantom):
    acquisition, _ = phantom
    chosen = solver_settings(acquisition, "diverse", {"weight": (0.3, 0.4), "last": (0.01, 0.05)}, trials=8,
                             progress=False, iterations=1, planes="sagittal")
    assert chosen.settings.keys() == {"weight", "sigma", "iterations", "planes"} and chosen.settings["sigma"][0] == 0.1
    assert 0.001 < chosen.settings["sigma"][1] <= 0.1 and "last" in chosen.trials[0]["settings"]


# --- the command

def test_check_says_which_prior_fits(phantom, tmp_path, capsys):
    save_acquisition(tmp_path / "scan.h5", phantom[0])
    assert main(["check", str(tmp_path / "scan.h5"), "--priors", "diverse", "fixed_3mm", "--quiet"]) in (0, 1)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert not said.err and any("6 x 6 x 6 mm, R = 3" in line for line in lines)
    assert sum(line.startswith(("diverse ", "fixed_3mm ")) for line in lines) == 2
    assert lines[-1].startswith("fits best: ") and "(divergence); " in lines[-1] and lines[-1].endswith("(held-out)")


def test_check_refuses_priors_and_scans_that_cannot_be_judged(tmp_path, capsys):
    acquisition, truth = simulate_acquisition(head_phantom((16, 16, 16)), acceleration=4)
    scan, image = str(tmp_path / "small.h5"), str(tmp_path / "image.h5")
    save_acquisition(scan, acquisition)
    save_volume(image, Volume(truth, acquisition.voxel_size))
    for arguments, message in (([scan, "--priors", "absent.safetensors"], "absent.safetensors"),
                               ([scan, "--priors", "diverse", "--quiet"], "expected at least 35 to leave out a share"),
                               ([image, "--priors", "diverse"], "an image, expected a scan"),
                               ([scan, "--priors", "diverse", "--device", "abacus"], "--device")):
        assert main(["check", *arguments]) == 1
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said and len(said.splitlines()) == 1, said


def test_trials_of_a_long_readout_see_its_middle(monkeypatch):
    scan = simulate_acquisition(head_phantom((8, 8, 4)), acceleration=2, coils=2)[0]
    seen = []

    def instead(used, *rest, **options):                        # noqa: ARG001
        seen.append(used.kspace.shape[-1])
        return SimpleNamespace(misfit=0.1)

    monkeypatch.setattr(sys.modules["mrilab.mismatch"], "reconstruct", instead)
    options = SimpleNamespace(tune="discrepancy", seed=0, representation="voxel")
    tuned(scan, load_prior("fixed_3mm"), options, {}, False)
    assert scan.kspace.shape[-1] > 24 and set(seen) == {24} and len(seen) == 14


def test_reconstruct_tunes_for_the_scan(phantom, tmp_path, capsys):
    scan, out = str(tmp_path / "scan.h5"), tmp_path / "image.h5"
    save_acquisition(scan, phantom[0])
    how = ["--iterations", "1", "--planes", "sagittal", "--quiet"]
    assert main(["reconstruct", scan, "--out", str(out), "--tune", "discrepancy", *how]) == 0
    record = json.loads((tmp_path / "image.h5.mrilab.json").read_text())["tuned"]
    assert record["by"] == "discrepancy" and record["settings"].keys() == {"weight", "sigma"}
    assert len(record["trials"]) == 14 and out.is_file()
    plain = main(["reconstruct", scan, "--out", str(tmp_path / "again.h5"), *how, "--weight",
                  str(record["settings"]["weight"]), "--set", f"sigma={record['settings']['sigma']}"])
    assert plain == 0 and torch.equal(load_volume(out).data, load_volume(tmp_path / "again.h5").data)
    capsys.readouterr()
    for wrong, message in ((["--tune", "--weight", "1"], "--tune: found weight = 1.0"),
                           (["--tune", "--method", "cg_sense"], "--tune: found the method cg_sense")):
        assert main(["reconstruct", scan, "--out", str(tmp_path / "no.h5"), *wrong]) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "no.h5").exists()
