import pytest
import torch

from mrilab.coils import espirit_maps, estimate_maps, head_array_maps, noise_level
from mrilab.fourier import fft3c
from mrilab.masks import poisson_disc_mask
from mrilab.metrics import head_mask
from mrilab.simulate import head_phantom
from mrilab.volumes import load_volume


def test_maps_belong_to_the_field_of_view_not_to_the_matrix():
    """Voxels of two matrices at the same place, index (i - n // 2) / n, have the same sensitivity."""
    fine = head_array_maps((24, 60, 36))
    assert (fine[:, ::2, ::2, ::2] - head_array_maps((12, 30, 18))).abs().max() < 1e-5
    thirds = head_array_maps((8, 20, 12))
    assert (fine[:, ::3, ::3, ::3] - thirds).abs().max() < 1e-5
    odd = head_array_maps((24, 15, 9))                 # centres: 60 // 2 = 2 + 4 * 7, 36 // 2 = 2 + 4 * 4
    assert (fine[:, :, 2::4, 2::4] - odd).abs().max() < 1e-5


@pytest.mark.parametrize("coils", [1, 4, 8, 13, 32])
def test_head_array_fills_the_field_of_view(coils):
    maps = head_array_maps((9, 16, 11), coils)
    assert maps.shape == (coils, 9, 16, 11) and maps.dtype == torch.complex64
    assert torch.allclose(maps.abs().square().sum(0), torch.ones(9, 16, 11), atol=1e-5)


def test_a_loop_has_the_field_of_a_loop():
    """On the axis of a circle of radius a: proportional to a^2 / (a^2 + z^2)^1.5, along the axis."""
    from mrilab.coils import loop_field

    normal = torch.nn.functional.normalize(torch.tensor([0.2, -0.5, 0.9], dtype=torch.float64), dim=0)
    centre = torch.tensor([5.0, 1.0, -3.0], dtype=torch.float64)
    heights = torch.tensor([0.0, 10, 40, 120], dtype=torch.float64)
    field = loop_field(centre + heights[:, None] * normal, centre, normal, 50.0)
    expected = 48 * 50 / (50**2 + heights**2) ** 1.5           # of 48 pieces of unit length
    assert torch.allclose(field @ normal, expected, rtol=1e-6)
    assert (field - (field @ normal)[:, None] * normal).norm(dim=1).max() < 1e-9 * expected.max()


@pytest.mark.parametrize("name", ["colin27_ch2", "qtim_MRHead"])
def test_g_factors_are_those_of_a_head_array(name):
    """At 2 x 2 with 32 coils: mean between 1.1 and 1.6, largest under 3, as published for arrays of 32."""
    from studies.recorded import g_factor

    volume = load_volume(name).resample((6, 6, 6))
    head = head_mask(volume.data)
    found = []
    for coils in (8, 32):
        maps = head_array_maps(tuple(head.shape), coils, volume.field_of_view) * head
        z, y = (n // 2 * 2 for n in head.shape[:2])
        g = torch.stack([g_factor(maps[:, :z, :y, x]) for x in range(head.shape[2])], dim=-1)
        values = g[head[:z, :y]]
        found.append((values.mean().item(), values.max().item()))
    (_, _), (mean, largest) = found
    assert 1.1 < mean < 1.6 and largest < 3
    assert mean < found[0][0] < 1.8 and found[0][1] < 4             # eight coils do somewhat less


def test_two_rings_encode_z():
    maps = head_array_maps((32, 32, 32), 8).abs()
    low, high = maps[:, 4].sum((1, 2)), maps[:, 28].sum((1, 2))
    assert (low > 1.2 * high).any() and (high > 1.2 * low).any()


def test_espirit_finds_the_maps():
    """Up to the phase of the first coil, inside the head."""
    head = head_phantom((8, 8, 8)).data
    maps = head_array_maps(tuple(head.shape), 4)
    estimated = espirit_maps(fft3c(maps * head), calibration=14, kernel=4)
    expected = maps * torch.exp(-1j * maps[:1].angle())
    inside = head_mask(head) & (estimated.abs().sum(0) > 0)
    assert inside.sum() > 0.8 * head_mask(head).sum()
    assert (estimated - expected)[:, inside].norm() < 0.1 * expected[:, inside].norm()


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_espirit_of_a_plane(axis):
    """One slice, or one position along x or y: 2D, and as good as in 3D."""
    head = head_phantom((4, 4, 4)).data
    maps = head_array_maps(tuple(head.shape), 4)
    plane = (maps * head).narrow(axis, head.shape[axis - 1] // 2, 1)
    expected = (maps * torch.exp(-1j * maps[:1].angle())).narrow(axis, head.shape[axis - 1] // 2, 1)
    estimated, what = estimate_maps(fft3c(plane), torch.ones(plane.shape[1:3]))
    assert what == "ESPIRiT from a block of 24"
    inside = (plane.abs().sum(0) > 0.1) & (estimated.abs().sum(0) > 0)
    assert inside.sum() > 0.8 * (plane.abs().sum(0) > 0.1).sum()
    assert (estimated - expected)[:, inside].norm() < 0.05 * expected[:, inside].norm()


def test_thin_along_x_and_a_dead_first_coil():
    """Positions along x are calibrated one by one; the phase is relative to the first coil that has signal."""
    head = head_phantom((6, 6, 6)).data[..., 12:15]
    maps = head_array_maps(tuple(head.shape), 4)
    kspace = fft3c(maps * head)
    kspace[0] = 0
    estimated, what = estimate_maps(kspace, torch.ones(head.shape[:2]))
    assert what == "ESPIRiT from a block of 24, slice by slice; nothing from coils [0]"
    inside = (head > 0.1) & (estimated.abs().sum(0) > 0)
    seen = maps[1:] / torch.linalg.vector_norm(maps[1:], dim=0)
    expected = seen * torch.exp(-1j * seen[:1].angle())
    assert not estimated[0].any() and inside.sum() > 0.8 * (head > 0.1).sum()
    assert (estimated[1:] - expected)[:, inside].norm() < 0.05 * expected[:, inside].norm()


def test_a_narrow_centre_is_calibrated_from_all_samples():
    """Few lines of large voxels: an error of 8 % in the maps, where the centre alone leaves 10 %."""
    head = head_phantom((5, 5, 5)).data
    maps = head_array_maps(tuple(head.shape), 6)
    mask = poisson_disc_mask(head.shape[:2], 5, calibration=6)
    kspace = fft3c(maps * head) * mask[..., None]
    kspace = kspace + 0.01 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(0))
    estimated, what = estimate_maps(kspace, mask)
    assert what == "JSENSE, for the centre has no fully measured block of 8"
    expected = maps * torch.exp(-1j * maps[:1].angle())
    inside = head_mask(head)

    def error(found):
        return ((found - expected)[:, inside].norm() / expected[:, inside].norm()).item()

    assert error(estimated) < 0.085 < 0.095 < error(espirit_maps(kspace, 6))


def test_maps_from_noise_are_finite():
    kspace, mask = torch.randn(2, 24, 24, 24, dtype=torch.complex64), torch.ones(24, 24)
    mask[10] = 0
    for part, lines in ((kspace, mask), (kspace[:, :4, :, :4], mask[9:13])):
        maps, what = estimate_maps(part, lines)
        assert what.startswith("JSENSE") and maps.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_maps_and_noise_of_data_on_a_gpu():
    kspace = torch.randn(2, 16, 16, 16, dtype=torch.complex64, device="cuda")
    for mask in (torch.ones(16, 16), torch.ones(16, 16, device="cuda"), torch.eye(16)):
        assert estimate_maps(kspace, mask)[0].is_cuda
        assert noise_level(kspace, mask) == pytest.approx(0.5**0.5, rel=0.1)


def anatomy(voxel_size, part, axis):
    head = load_volume("qtim_MRHead").resample(voxel_size).data
    maps = head_array_maps(tuple(head.shape), 8)
    n = head.shape[axis]
    return fft3c((maps * head / head.flatten().kthvalue(int(0.99 * head.numel())).values).narrow(
        axis + 1, n // 2 - part // 2, part))


@pytest.mark.parametrize("acceleration", [1, 4])
@pytest.mark.parametrize(("axis", "part"), [(2, 64), (2, 32), (2, 16), (2, 8), (2, 4), (2, 2), (2, 1),
                                            (0, 1), (0, 2), (0, 4), (0, 8)])
def test_noise_level_of_a_head_at_every_length(axis, part, acceleration):
    """Of the readout, and of the stack: within 10 % of what was added."""
    kspace = anatomy((2, 2, 2), part, axis)
    mask = torch.ones(kspace.shape[1:3], dtype=torch.bool)
    if acceleration > 1:
        depth, height = mask.shape
        mask = (torch.arange(depth)[:, None] + 2 * torch.arange(height)) % acceleration == 0
        mask[depth // 2 - 6 if depth > 12 else 0:depth // 2 + 6, height // 2 - 6:height // 2 + 6] = True
    noise = torch.randn(*kspace.shape, 2, generator=torch.Generator().manual_seed(0))
    kspace = (kspace + 0.02 * torch.view_as_complex(noise)) * mask[..., None]
    assert noise_level(kspace, mask) == pytest.approx(0.02, rel=0.1)
    assert noise_level(1e-14 * kspace, mask) == pytest.approx(2e-16, rel=0.1)


def test_noise_level_of_a_partial_echo_and_of_zeros():
    kspace = anatomy((3, 3, 3), 48, 2)
    noise = torch.view_as_complex(torch.randn(*kspace.shape, 2, generator=torch.Generator().manual_seed(0)))
    kspace += 0.02 * noise
    kspace[..., :12] = 0
    assert noise_level(kspace, torch.ones(kspace.shape[1:3])) == pytest.approx(0.02, rel=0.1)
    assert noise_level(0 * kspace, torch.ones(kspace.shape[1:3])) == 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda: head_array_maps((4, 4)), r"shape: found \(4, 4\), expected three positive"),
    (lambda: head_array_maps((4, 0, 4)), "shape: found"),
    (lambda: head_array_maps((4, 4, 4), 0), "coils: found 0, expected"),
    (lambda: espirit_maps(torch.ones(4, 8, 8)), "kspace: found shape"),
    (lambda: espirit_maps(torch.ones(4, 8, 8, 8)), "calibration: found 24, expected a block side from 6"),
    (lambda: espirit_maps(torch.zeros(4, 8, 8, 8), calibration=6), "kspace: found zeros in the central 6"),
    (lambda: espirit_maps(torch.ones(4, 8, 8, 8) * float("nan"), calibration=6), "kspace: found NaN"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
