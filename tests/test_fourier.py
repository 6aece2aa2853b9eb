import math

import pytest
import torch

from mrilab.fourier import AXES, fft3c, ifft3c, resample, resampled_shape, resize_centred
from mrilab.volumes import Volume

SHAPES = [(8, 10, 12), (7, 9, 11), (6, 9, 5), (1, 8, 3)]


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def inner(a, b):
    return torch.vdot(a.flatten().to(torch.complex128), b.flatten().to(torch.complex128))


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_and_inverse(shape):
    x, k = randn(2, *shape), randn(2, *shape, seed=1)
    assert fft3c(x).shape == x.shape == ifft3c(k).shape
    assert abs(inner(fft3c(x), k) - inner(x, ifft3c(k))) < 1e-5 * x.norm() * k.norm()
    assert (ifft3c(fft3c(x)) - x).norm() < 1e-5 * x.norm()
    assert fft3c(x).norm().item() == pytest.approx(x.norm().item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(24, 30, 28), (25, 31, 27)])
@pytest.mark.parametrize("centre", [(0, 0, 0), (1, -2.5, 0.7)])
def test_gaussian_has_its_analytic_transform(shape, centre):
    """A Gaussian away from the centre: width, amplitude, and the phase that an fftshift mistake would break."""
    widths = (1.8, 2.2, 2.0)
    x, expected = torch.ones(()), torch.ones((), dtype=torch.complex128)
    for axis, n, c, s in zip(AXES, shape, centre, widths):
        i = (torch.arange(n, dtype=torch.float64) - n // 2).reshape(-1, *[1] * (-1 - axis))
        x = x * torch.exp(-(i - c)**2 / (2 * s**2))
        k = i / n
        line = torch.exp(-2 * (math.pi * s * k)**2 - 2j * math.pi * k * c)
        expected = expected * (2 * math.pi / n)**0.5 * s * line
    assert (fft3c(x) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize(("voxel_size", "new"), [
    ((1, 1, 1), (2, 2, 2)), ((1, 1, 3), (2, 1.5, 3)), ((2, 1, 1), (3, 1, 5))])
@pytest.mark.parametrize("shape", [(12, 12, 10), (13, 9, 15)])
def test_downsampling_is_a_crop_of_kspace(shape, voxel_size, new):
    x = randn(*shape)
    small = resample(x, voxel_size, new)
    crop = resize_centred(fft3c(x), small.shape)
    assert small.shape == resampled_shape(shape, voxel_size, new)
    gain = (small.numel() / x.numel()) ** 0.5
    assert (fft3c(small) - gain * crop).norm() < 1e-5 * small.norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_resample_there_and_back(shape):
    x = randn(2, *shape)
    fine = resample(x, (2, 2, 3), (1, 1.5, 1))
    fov = [n * d for n, d in zip(shape, (2, 2, 3))]
    exact = [f / n for f, n in zip(fov, fine.shape[1:])]
    assert (resample(fine, exact, (2, 2, 3)) - x).norm() < 1e-5 * x.norm()


@pytest.mark.parametrize("shape", [(15, 21, 18), (16, 20, 18)])
def test_resampled_values_lie_at_their_places_in_mm(shape):
    """A band-limited function known everywhere: voxel i sits at (i - n // 2) d, before and after."""
    def wave(shape, voxel_size):
        z, y, x = ((torch.arange(n) - n // 2) * d for n, d in zip(shape, voxel_size))
        phase = [2 * math.pi * c * r / f for c, r, f in zip((2, -3, 1), (z, y, x), (48, 63, 54))]
        return torch.exp(1j * (phase[0][:, None, None] + phase[1][:, None] + phase[2]))

    old = tuple(f / n for f, n in zip((48, 63, 54), shape))
    new = (48 / 10, 63 / 9, 54 / 29)
    resampled = resample(wave(shape, old), old, new)
    assert tuple(resampled.shape) == (10, 9, 29)
    assert (resampled - wave((10, 9, 29), new)).abs().max() < 1e-4


@pytest.mark.parametrize(("large", "small"), [((8, 9, 10), (5, 6, 4)), ((7, 8, 9), (4, 8, 3))])
def test_crop_and_pad_are_adjoint(large, small):
    k, q = randn(3, *large), randn(3, *small, seed=1)
    assert resize_centred(k, small).shape == q.shape and resize_centred(q, large).shape == k.shape
    assert abs(inner(resize_centred(k, small), q) - inner(k, resize_centred(q, large))) < 1e-5 * k.norm() * q.norm()


def test_volume_resample_keeps_field_of_view_and_realness():
    v = Volume(torch.rand(11, 20, 15), (1, 1, 1.3)).resample((2, 2, 2))
    assert not v.data.is_complex() and v.data.shape == (6, 10, 10)
    assert v.field_of_view == pytest.approx((11, 20, 19.5))


def test_resample_refuses_what_is_not_a_volume():
    with pytest.raises(ValueError, match=r"volume: found 2 dimensions, expected \(\.\.\., z, y, x\)"):
        resample(torch.ones(3, 3), (1, 1, 1), (2, 2, 2))
    with pytest.raises(ValueError, match="new_voxel_size: found 2"):
        resample(torch.ones(3, 3, 3), (1, 1, 1), 2)
