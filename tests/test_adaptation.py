"""Adaptation of a prior to a scan: against least squares where the network is linear, and what it must not do."""

import math
import warnings

import pytest
import torch

from mrilab import adaptation, diffusion
from mrilab.adaptation import adapt, denoised_volume, low_rank, updated
from mrilab.diffusion import Prior, to_channels, to_complex
from mrilab.holdout import split_samples, used_part
from mrilab.metrics import percentile
from mrilab.operators import SenseOperator
from mrilab.priors import new_prior
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.variational import reconstruct

SIGMA = 0.2


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    monkeypatch.setattr(diffusion, "bf16", lambda device: False)


@pytest.fixture(scope="module")
def scan():
    return simulate_acquisition(head_phantom((6, 6, 6)), acceleration=3)[0].readout_block(12, 18)


class Linear(torch.nn.Module):
    """``F`` multiplies both channels of each pixel by a matrix: the denoiser is linear in it."""

    def __init__(self, matrix):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.as_tensor(matrix)[:, :, None, None], requires_grad=False)

    def forward(self, x, condition):
        return torch.nn.functional.conv2d(x, self.weight)


def unet(seed=0, **kinds):
    """A small network in which no matrix is zero, so that gradients reach all of it."""
    torch.manual_seed(seed)
    prior = new_prior(kinds.pop("network", "unet"), (6.0, 6.0), (4, 8), **kinds).eval().requires_grad_(False)
    for weight in prior.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return prior


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return adapt(*args, progress=False, **options)


def least_squares(scan, prior, draws=16, seed=0):
    """The matrix of a linear network that best predicts the samples to learn from, over draws of the noise."""
    judge, = split_samples(scan, 0.1, 1, seed)
    rest = used_part(scan, judge)
    targets, = split_samples(rest, 0.3, 1, seed + 1)
    image = reconstruct(used_part(rest, targets), prior, seed=seed, progress=False, iterations=1).image
    scale, operator = percentile(image, 0.99), SenseOperator(scan.maps, targets)
    measured = torch.view_as_real(scan.kspace * targets[..., None] / scale).flatten()
    generator, normal, right = torch.Generator().manual_seed(9), 0, 0
    for _ in range(draws):
        x = image / scale + SIGMA * torch.view_as_complex(torch.randn(*image.shape, 2, generator=generator))

        def predicted(matrix, x=x):
            clean = to_complex(Prior(Linear(matrix), (6, 6)).denoise(to_channels(x), SIGMA))
            return torch.view_as_real(operator.forward(clean)).flatten()

        zero = predicted(torch.zeros(2, 2))
        columns = torch.stack([predicted(torch.eye(4)[i].reshape(2, 2)) - zero for i in range(4)], 1)
        normal, right = normal + columns.T @ columns, right + columns.T @ (measured - zero)
    return torch.linalg.solve(normal, right).reshape(2, 2)


def test_wrong_linear_denoiser_becomes_that_of_least_squares(scan):
    start = [[-1.0, 0.0], [0.0, -1.0]]
    prior = Prior(Linear(start), (6, 6))
    adapted, found = quietly(scan, prior, rank=2, steps=150, learning_rate=0.1, sigma=(SIGMA, SIGMA),
                             iterations=1)
    assert found.kept and found.after < found.before and len(found.losses) == 150
    assert adapted.net.weight[:, :, 0, 0] == pytest.approx(least_squares(scan, prior), abs=0.03)
    assert torch.equal(prior.net.weight[:, :, 0, 0], torch.tensor(start))


def test_update_has_the_rank_and_begins_at_the_prior():
    prior = unet()
    factors = low_rank(prior, 3, torch.Generator().manual_seed(0))
    assert all(torch.equal(w, prior.get_parameter(name)) for name, w in updated(prior, factors).items())
    with torch.no_grad():
        for b, _ in factors.values():
            b.normal_()
    change = updated(prior, factors)["net.middle.conv1.weight"] - prior.net.middle.conv1.weight
    assert torch.linalg.matrix_rank(change.detach().flatten(1)) == 3
    assert {name for name, w in prior.named_parameters() if w.ndim > 1} == set(factors)


def test_slices_in_batches_have_the_same_gradient(monkeypatch):
    """And it is the slope of the loss, by differences."""
    prior, x = unet(), torch.randn(6, 10, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for pixels in (2**19, 160):
        monkeypatch.setattr(adaptation, "BATCH_PIXELS", pixels)
        factors = low_rank(prior, 2, torch.Generator().manual_seed(2))
        loss = denoised_volume(x, prior, updated(prior, factors), SIGMA, (6, 6, 6), "coronal").abs().square().sum()
        loss.backward()
        gradients.append(factors["net.down.0.conv1.weight"][0].grad)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4 * gradients[0].abs().max().item())
    b, step = factors["net.down.0.conv1.weight"][0], 1e-2
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            b += sign * step * gradients[0] / gradients[0].norm()
            values.append(denoised_volume(x, prior, updated(prior, factors), SIGMA, (6, 6, 6), "coronal")
                          .abs().square().sum().item())
            b -= sign * step * gradients[0] / gradients[0].norm()
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradients[0].norm().item(), rel=0.02)


def test_seed_decides_and_the_judge_is_not_learned_from(scan):
    settings = dict(steps=4, iterations=2, learning_rate=1e-2)
    prior = unet()
    before = {name: w.clone() for name, w in prior.state_dict().items()}
    losses = [quietly(scan, prior, seed=seed, **settings)[1].losses for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert all(torch.equal(w, before[name]) for name, w in prior.state_dict().items())
    judge, = split_samples(scan, 0.1, 1, 0)
    other = used_part(scan, torch.zeros_like(judge))
    other.kspace[:, judge] *= 3
    found = quietly(other, prior, **settings)[1]
    assert found.losses == losses[0] and found.before > -7


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_prior_that_diverges_is_left_as_it_was(scan, rate):
    prior = unet()
    with pytest.warns(UserWarning, match=r"the prior is left as it was .*diverged at step \d") as told:
        adapted, found = adapt(scan, prior, steps=20, iterations=2, learning_rate=rate, progress=False)
    assert adapted is prior and not found.kept and math.isnan(found.after) and len(found.losses) < 20
    assert len(told) == 1 and "\n" not in str(told[0].message)


def test_prior_that_predicts_worse_is_left_as_it_was(scan):
    """The best linear denoiser at the samples to learn from, then learned at others: no better where neither was."""
    prior = Prior(Linear(torch.eye(2)), (6, 6))
    prior.net.weight[:, :, 0, 0] = least_squares(scan, prior)
    with pytest.warns(UserWarning, match="left as it was .* dB after, .* dB before") as told:
        adapted, found = adapt(scan, prior, steps=1, learning_rate=0.8, sigma=(SIGMA, SIGMA), iterations=1,
                               progress=False)
    assert adapted is prior and found.after >= found.before and len(told) == 1


@pytest.mark.parametrize("kinds", [dict(conditioned=True), dict(network="unet3d"), dict(network="operator")])
def test_every_kind_of_prior(scan, kinds):
    prior = new_prior("operator", (6.0, 6.0), (4, 4, 8)) if kinds.get("network") == "operator" else unet(**kinds)
    adapted, found = quietly(scan, prior.requires_grad_(False), steps=2, iterations=2)
    assert len(found.losses) == 2 and math.isfinite(found.after) and type(adapted) is type(prior)


def test_errors_name_what_was_found(scan):
    small = simulate_acquisition(head_phantom((24, 24, 24)), acceleration=3)[0]
    with pytest.raises(ValueError, match="acquisition: found .* positions .*, expected at least 35 to leave out"):
        adapt(small, unet(), progress=False)
    for wrong in (dict(rank=0), dict(steps=0), dict(learning_rate=0), dict(share=1.5), dict(sigma=(0.1, 0.2)),
                  dict(colour=1)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            quietly(scan, unet(), **wrong)
