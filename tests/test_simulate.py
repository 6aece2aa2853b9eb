import pytest
import torch

from mrilab.classical import cg_sense
from mrilab.fourier import resample, resize_centred
from mrilab.operators import SenseOperator
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.volumes import Volume, load_volume


@pytest.fixture(scope="module")
def head():
    return head_phantom((5, 5, 5))


def test_noise_has_the_asked_variance(head):
    """Sample deviation of n values: sigma (1 +- 1 / sqrt(2 n)); five of those, and of the mean's sigma / sqrt(n)."""
    noisy, truth = simulate_acquisition(head, 3, noise=0.05)
    clean, same = simulate_acquisition(head, 3, noise=0)
    assert torch.equal(truth, same) and torch.equal(noisy.mask, clean.mask) and noisy.noise == 0.05
    noise = (noisy.kspace - clean.kspace).movedim(-1, 0)[..., noisy.mask]
    for part in (noise.real, noise.imag):
        assert part.std().item() == pytest.approx(0.05, rel=5 / (2 * part.numel()) ** 0.5)
        assert abs(part.mean().item()) < 5 * 0.05 / part.numel() ** 0.5
    correlation = (noise.real * noise.imag).mean().item() / 0.05**2
    assert abs(correlation) < 5 / noise.numel() ** 0.5


def test_acquisition_is_the_forward_model(head):
    acq, truth = simulate_acquisition(head, 6, coils=5, noise=0)
    expected = SenseOperator(acq.maps, acq.mask).forward(truth)
    assert acq.kspace.shape == (5, *head.data.shape) and acq.voxel_size == head.voxel_size
    assert (acq.kspace - expected).norm() < 1e-5 * expected.norm()
    assert acq.acceleration == pytest.approx(6, rel=0.05)
    assert (acq.kspace.movedim(-1, 0)[..., ~acq.mask] == 0).all()


def test_a_coarse_scan_is_the_middle_of_a_fine_one():
    """Of the volume's own k-space, coil by coil; the noise falls with the root of the voxel's volume."""
    volume = load_volume("colin27_ch2").resample((4, 4, 4))
    fine, whole = simulate_acquisition(volume, 1, coils=4, noise=0, voxel_size=(4, 4, 4))
    coarse, truth = simulate_acquisition(volume, 1, coils=4, noise=0, voxel_size=(8, 8, 12))
    share = (truth.numel() / whole.numel()) ** 0.5
    assert torch.allclose(coarse.kspace, share * resize_centred(fine.kspace, truth.shape), atol=1e-5)
    assert torch.allclose(truth, resample(whole, (4, 4, 4), (8, 8, 12)), atol=1e-5)
    noisy = simulate_acquisition(volume, 1, coils=4, noise=0.1, voxel_size=(8, 8, 12))[0]
    spread = torch.view_as_real(noisy.kspace - coarse.kspace).std().item()
    assert noisy.noise == pytest.approx(0.1 * share) and spread == pytest.approx(0.1 * share, rel=0.02)
    assert noisy.noise == pytest.approx(0.1 * (64 / (8 * 8 * 12)) ** 0.5, rel=0.05)


def test_simulation_and_reconstruction_share_no_grid():
    """Least squares of a fully sampled, noiseless coarse scan is close to the truth, but not the truth."""
    volume = load_volume("colin27_ch2").resample((2, 2, 2))
    acquisition, truth = simulate_acquisition(volume, 1, noise=0, voxel_size=(6, 6, 6))
    image = cg_sense(acquisition, regularization=0, progress=False).image
    assert 1e-4 < (image - truth).norm() / truth.norm() < 0.03


def test_truth_is_scaled_and_its_phase_smooth(head):
    _, truth = simulate_acquisition(head, 8)
    assert truth.dtype == torch.complex64
    assert truth.abs().quantile(0.99).item() == pytest.approx(1, abs=0.01)
    ones = Volume(torch.ones(24, 24, 24), (2, 2, 2))
    _, phase = simulate_acquisition(ones, 8)
    for axis in range(3):
        step = (phase.narrow(axis, 1, 23) * phase.narrow(axis, 0, 23).conj()).angle()
        assert step.abs().max() < 0.5             # 24 voxels across the field of view
    assert phase.angle().std() > 0.3


def test_seeds_and_complex_volumes(head):
    a, b, c = (simulate_acquisition(head, 8, seed=s) for s in (0, 0, 1))
    assert torch.equal(a[0].kspace, b[0].kspace) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0].mask, c[0].mask) and not torch.allclose(a[1], c[1], atol=0.1)
    own_phase = Volume(2 * a[1], head.voxel_size)
    assert torch.allclose(simulate_acquisition(own_phase, 8)[1], a[1], atol=1e-5)
    # what is below zero stays below zero, with the same phase
    assert torch.allclose(simulate_acquisition(Volume(-head.data, head.voxel_size), 8)[1], -a[1], atol=1e-5)


def test_phase_and_coils_are_placed_in_the_field_of_view():
    fine, coarse = (simulate_acquisition(Volume(torch.ones(n, n, 20), (48 / n, 48 / n, 2)), 4) for n in (24, 12))
    assert torch.allclose(fine[1][::2, ::2], coarse[1], atol=1e-5)
    assert torch.allclose(fine[0].maps[:, ::2, ::2], coarse[0].maps, atol=1e-5)


@pytest.mark.parametrize(("fine", "coarse"), [((1, 1, 1), (2, 2, 2)), ((1, 0.75, 1), (2, 3, 4))])
def test_phantom_is_one_object_at_all_voxel_sizes(fine, coarse):
    """Also where the fine one was evaluated on a finer grid than the coarse one."""
    small = head_phantom(coarse)
    resampled = head_phantom(fine).resample(coarse)
    assert resampled.voxel_size == small.voxel_size == tuple(map(float, coarse))
    assert (resampled.data - small.data).norm() < 0.01 * small.data.norm()


def test_phantom_is_a_head():
    """Air around, several tissues inside, another head for another seed."""
    data = head_phantom((2, 2, 2)).data
    assert data.shape == (84, 108, 84) and data.dtype == torch.float32
    border = torch.cat([data[[0, -1]].flatten(), data[:, [0, -1]].flatten(), data[..., [0, -1]].flatten()])
    assert border.abs().max() < 0.03
    histogram = torch.histc(data, bins=20, min=0, max=1)
    peaks = (histogram[1:-1] > histogram[:-2]) & (histogram[1:-1] > histogram[2:])
    assert peaks.sum() >= 3                              # CSF, grey and white matter at least
    other = head_phantom((2, 2, 2), seed=1).data
    assert 0.1 < (other - data).norm() / data.norm() < 1


@pytest.mark.parametrize(("call", "message"), [
    (lambda v: head_phantom((1, 1)), r"voxel_size: found \(1, 1\)"),
    (lambda v: simulate_acquisition(v.data, 4), "volume: found Tensor, expected a Volume"),
    (lambda v: simulate_acquisition(Volume(0 * v.data, (1, 1, 1)), 4), "volume: found a 99th percentile of 0"),
    (lambda v: simulate_acquisition(v, 0.5), "acceleration: found 0.5"),
    (lambda v: simulate_acquisition(v, 4, coils=0), "coils: found 0"),
    (lambda v: simulate_acquisition(v, 4, noise=-0.1), "noise: found -0.1"),
    (lambda v: simulate_acquisition(v, 4, voxel_size=(0.5, 4, 4)), r"voxel_size: found \(0.5, 4, 4\) mm"),
    (lambda v: simulate_acquisition(v, 4, voxel_size=(4, 4)), "voxel_size: found"),
])
def test_bad_input(head, call, message):
    with pytest.raises(ValueError, match=message):
        call(head)
