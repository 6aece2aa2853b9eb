import pytest
import torch

from mrilab.classical import cg_sense
from mrilab.coils import compression_matrix, noise_level, whitening_matrix
from mrilab.fourier import crop_readout, fft3c, ifft3c, resize_centred
from mrilab.metrics import head_mask, psnr
from mrilab.raw import open_scan, prepare, save_cfl, save_ismrmrd
from mrilab.raw.preparation import interpolate_maps
from mrilab.simulate import head_phantom, simulate_acquisition
from mrilab.volumes import Acquisition


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


MIXED = torch.eye(4) + 0.6 * randn(4, 4)                # correlates the noise of four coils


def test_whitened_noise_is_white():
    noise = MIXED @ randn(4, 20000, seed=1)
    white = whitening_matrix(noise) @ (MIXED @ randn(4, 20000, seed=2))
    covariance = white @ white.mH / 20000
    assert (covariance - 2 * torch.eye(4)).abs().max() < 0.1
    assert ((MIXED @ MIXED.mH) - torch.eye(4)).abs().max() > 0.5           # it was not before


def test_whitening_is_sigpys_but_for_the_scale():
    from sigpy.mri.util import get_cov, whiten

    noise, kspace = MIXED @ randn(4, 5000, seed=1), randn(4, 3, 5, 6)
    ours = torch.tensordot(whitening_matrix(noise), kspace, 1)
    theirs = torch.from_numpy(whiten(kspace.numpy(), get_cov(noise.numpy())))
    ratio = ours.abs().sum() / theirs.abs().sum()
    assert (ours / ratio - theirs).norm() < 1e-3 * theirs.norm()


def test_noise_of_a_dead_coil_is_named():
    with pytest.raises(ValueError, match="noise: found coils whose noise is zero"):
        whitening_matrix(torch.zeros(3, 100, dtype=torch.complex64))


def test_compression_keeps_the_signal():
    """Eight coils that carry three: nothing is lost with three, something with two; rows are orthonormal."""
    kspace = torch.tensordot(randn(8, 3), randn(3, 4, 5, 6, seed=1), 1)
    for coils, lost in ((3, False), (2, True)):
        matrix = compression_matrix(kspace, coils)
        assert torch.allclose(matrix @ matrix.mH, torch.eye(coils, dtype=torch.complex64), atol=1e-5)
        back = torch.tensordot(matrix.mH @ matrix, kspace, 1)
        assert ((back - kspace).norm() > 1e-3 * kspace.norm()) == lost
    with pytest.raises(ValueError, match="coils: found 9, expected 1 to 8"):
        compression_matrix(kspace, 9)


@pytest.mark.parametrize("size", [12, 13])
def test_oversampling(size):
    image = randn(2, 4, 5, size)
    wide = torch.zeros(2, 4, 5, 2 * size, dtype=torch.complex64)
    first = size - size // 2
    wide[..., first:first + size] = image
    narrow = crop_readout(fft3c(wide), first, first + size)
    assert torch.allclose(ifft3c(narrow), image, atol=1e-5)


def test_interpolated_maps_lie_where_they_were():
    """The position (i - n // 2) / n is the same on both grids; a shift by half a voxel would cost 0.01."""
    def ramp(shape):
        z, y, x = torch.meshgrid(*((torch.arange(n) - n // 2) / n for n in shape), indexing="ij")
        maps = torch.stack([1 + 0.2 * z + 0.1j * y, 0.8 - 0.3 * x + 0j * y]).to(torch.complex64)
        return maps / torch.linalg.vector_norm(maps, dim=0)

    fine, coarse = ramp((20, 18, 30)), ramp((10, 9, 15))
    carried = interpolate_maps(coarse, (20, 18, 30))
    inner = (slice(None), slice(0, 19), slice(0, 17), slice(0, 29))          # beyond the last point it is constant
    assert (carried - fine)[inner].abs().max() < 6e-3
    assert torch.equal(interpolate_maps(coarse, (20, 18, 30), 4, 9), carried[..., 4:9])


@pytest.fixture(scope="module")
def simulated():
    return simulate_acquisition(head_phantom((6, 6, 6)), acceleration=2, coils=4, noise=0.005)


def oversampled(kspace):
    """Twice as many readout positions, over twice the field of view."""
    size = kspace.shape[-1]
    image = ifft3c(kspace, axes=(-1,))
    image = resize_centred(image, (*image.shape[1:3], 2 * size))
    return fft3c(image, axes=(-1,))


def quality(acquisition, truth):
    """PSNR in the head: how much air the maps keep, and its noise with it, is no matter here."""
    image, inside = cg_sense(acquisition, progress=False).image.abs(), head_mask(truth)
    truth = truth.abs()
    return psnr(image * (image * truth).sum() / image.square().sum(), truth, inside)


def test_a_raw_scan_in_one_call(tmp_path, simulated):
    """Oversampled readout, correlated noise, other units: as good as the simulation with its true maps, nearly."""
    acq, truth = simulated
    wide = oversampled(acq.kspace)
    generator = torch.Generator().manual_seed(5)
    white = torch.view_as_complex(torch.randn(4, wide[0].numel(), 2, generator=generator)).view(wide.shape)
    coloured = 1e-6 * torch.tensordot(MIXED, wide + 0.02 * white * acq.mask[..., None], 1)
    noise = 1e-6 * MIXED @ (0.02 * torch.view_as_complex(torch.randn(4, 3000, 2, generator=generator)))
    save_ismrmrd(tmp_path / "raw.h5", coloured, acq.mask, acq.voxel_size, noise=noise)
    scan = open_scan(tmp_path / "raw.h5")
    scan.wanted = truth.shape[2]                    # the prescribed field of view
    ready = prepare(scan)
    assert ready.kspace.shape == acq.kspace.shape and ready.voxel_size == pytest.approx(acq.voxel_size)
    assert ready.info["whitened"] and ready.info["oversampling"] == 2 and ready.info["maps"].startswith("ESPIRiT")
    assert ready.info["scale"] == 1                             # the file's own units
    mean = 1e-6 * 0.02 * MIXED.abs().square().sum(1).mean().sqrt().item()
    assert ready.noise == pytest.approx(mean, rel=0.05)         # that of the measured coils, on average
    assert noise_level(ready.kspace, ready.mask) == pytest.approx(ready.noise, rel=0.1)
    best = quality(acq, truth)
    assert quality(ready, truth) > best - 3         # four times the noise
    given = prepare(scan, maps=torch.tensordot(MIXED, acq.maps, 1))      # they are mixed with the data
    assert given.info["maps"] == "given"
    image = cg_sense(given, progress=False).image
    correlation = torch.vdot(image.flatten(), truth.flatten()).abs() / (image.norm() * truth.norm())
    unmixed = cg_sense(prepare(scan, maps=acq.maps), progress=False).image
    wrong = torch.vdot(unmixed.flatten(), truth.flatten()).abs() / (unmixed.norm() * truth.norm())
    assert correlation > 0.97 > wrong + 0.02                        # the phase agrees as well; maps must be mixed too
    unwhitened = prepare(scan, whiten=False)
    assert "whitened" not in unwhitened.info


def test_compressed_and_in_part(tmp_path, simulated):
    acq, truth = simulated
    save_cfl(tmp_path / "raw.cfl", 1e4 * acq.kspace, acq.voxel_size)
    whole = prepare(tmp_path / "raw.cfl", coils=3)
    assert whole.kspace.shape[0] == 3 and quality(whole, truth) > quality(acq, truth) - 4
    part = prepare(tmp_path / "raw.cfl", coils=3, readout=(8, 14))
    block = whole.readout_block(8, 14)
    assert (part.kspace - block.kspace).norm() < 1e-5 * block.kspace.norm()
    assert torch.allclose(part.maps, block.maps, atol=1e-5)
    with pytest.raises(ValueError, match="readout: found"):
        prepare(tmp_path / "raw.cfl", readout=(10, 1000))


@pytest.mark.parametrize("unit", [1e-14, 1e9])
def test_units_do_not_matter(tmp_path, simulated, unit):
    """AHEAD's numbers are of the order of 1e-14."""
    acq, _ = simulated
    results = []
    for factor in (1, unit):
        save_cfl(tmp_path / "raw.cfl", factor * acq.kspace, acq.voxel_size)
        results.append(prepare(tmp_path / "raw.cfl"))
    plain, scaled = results
    same = scaled.kspace.to(torch.complex128) * scaled.info["scale"] / unit
    assert (plain.kspace - same).norm() < 1e-5 * plain.kspace.norm()
    assert (plain.maps - scaled.maps).norm() < 1e-2 * plain.maps.norm()
    assert scaled.noise * scaled.info["scale"] == pytest.approx(unit * plain.noise, rel=1e-3)
    assert plain.info["scale"] == 1 and 1e-8 < scaled.kspace.abs().max() < 1e15       # their squares fit a float32
    image, same = (cg_sense(acquisition, progress=False).image for acquisition in results)
    assert (same * (scaled.info["scale"] / unit) - image).norm() < 1e-3 * image.norm()


def test_noise_estimate(simulated):
    acq, _ = simulated
    assert noise_level(acq.kspace, acq.mask) >= 0.005      # a coarse matrix has signal everywhere
    noise = 0.3 * randn(2, 8, 8, 64) * 2**0.5
    noise[..., :20] = 0                             # a partial echo
    assert noise_level(noise, torch.ones(8, 8) > 0) == pytest.approx(0.3, rel=0.1)


def test_given_maps(tmp_path, simulated):
    acq, truth = simulated
    save_cfl(tmp_path / "raw.cfl", acq.kspace, acq.voxel_size)
    ready = prepare(tmp_path / "raw.cfl", maps=acq.maps)
    assert quality(ready, truth) == pytest.approx(quality(acq, truth), abs=0.5) and ready.info["maps"] == "given"
    with pytest.raises(ValueError, match="maps: found shape"):
        prepare(tmp_path / "raw.cfl", maps=acq.maps[..., 1:])


def test_few_slices_and_one_coil(tmp_path, simulated):
    """ESPIRiT works slice by slice; JSENSE where lines differ between slices; one coil needs no maps."""
    acq, _ = simulated
    thin = fft3c(ifft3c(acq.kspace, axes=(-3,))[:, 10:14], axes=(-3,))
    save_cfl(tmp_path / "thin.cfl", thin * acq.mask[14:15, :, None], acq.voxel_size)
    ready = prepare(tmp_path / "thin.cfl")
    assert ready.info["maps"].startswith("ESPIRiT") and ready.info["maps"].endswith("slice by slice")
    assert cg_sense(ready, progress=False).misfit < 0.1
    save_cfl(tmp_path / "thin.cfl", thin * acq.mask[12:16, :, None], acq.voxel_size)
    ready = prepare(tmp_path / "thin.cfl")
    assert ready.info["maps"].startswith("JSENSE")
    assert cg_sense(ready, progress=False).misfit < 0.1
    save_cfl(tmp_path / "one.cfl", acq.kspace[:1], acq.voxel_size)
    assert (prepare(tmp_path / "one.cfl").maps.abs() - 1).abs().max() < 1e-5


def test_calibration_that_is_not_there(tmp_path, simulated):
    acq, _ = simulated
    save_cfl(tmp_path / "raw.cfl", acq.kspace, acq.voxel_size)
    with pytest.raises(ValueError, match="calibration: found 24, expected a fully measured block"):
        prepare(tmp_path / "raw.cfl", calibration=24)


@pytest.mark.parametrize("axis", [0, 2])
def test_one_slice_and_one_position(tmp_path, axis):
    """End to end, undersampled: 2D maps, the noise that was added, an image as good as with the true maps, nearly."""
    acq, truth = simulate_acquisition(head_phantom((4, 4, 4)), acceleration=1, coils=6, noise=0.01)
    middle = acq.kspace.shape[axis + 1] // 2
    kspace = fft3c(ifft3c(acq.kspace).narrow(axis + 1, middle, 1))
    mask = torch.zeros(kspace.shape[1:3], dtype=torch.bool)
    mask[:, ::2] = True
    depth, height = mask.shape
    mask[max(0, depth // 2 - 8):depth // 2 + 8, height // 2 - 8:height // 2 + 8] = True
    save_ismrmrd(tmp_path / "a.h5", kspace, mask, acq.voxel_size)
    ready = prepare(tmp_path / "a.h5")
    assert ready.info["maps"] in ("ESPIRiT from a block of 16", "ESPIRiT from a block of 17")
    assert ready.noise == pytest.approx(0.01, rel=0.15)
    known = Acquisition(ready.kspace, acq.maps.narrow(axis + 1, middle, 1), ready.mask, ready.voxel_size)
    truth = truth.narrow(axis, middle, 1)
    assert quality(ready, truth) > quality(known, truth) - 2


def test_noise_measurements_that_cannot_serve(tmp_path, simulated):
    """Of too few samples: said, and not used. Of a dead coil: that coil is left out."""
    acq, truth = simulated
    noise = 0.005 * 2**0.5 * randn(4, 4000)
    save_ismrmrd(tmp_path / "a.h5", acq.kspace, acq.mask, acq.voxel_size, noise=noise[:, :12])
    assert "12 samples for 4 coils" in prepare(tmp_path / "a.h5").info["not whitened"]
    alive = torch.tensor([0, 1, 1, 1])
    save_ismrmrd(tmp_path / "b.h5", acq.kspace * alive[:, None, None, None], acq.mask, acq.voxel_size,
                 noise=noise * alive[:, None])
    ready = prepare(tmp_path / "b.h5")
    assert ready.info["left out"] == "coils without noise: [0]" and len(ready.kspace) == 3
    assert ready.noise == pytest.approx(0.005, rel=0.05)
    maps = acq.maps[1:] / torch.linalg.vector_norm(acq.maps[1:], dim=0)
    known = Acquisition(acq.kspace[1:], maps, acq.mask, acq.voxel_size)         # what the other coils can give
    assert quality(ready, truth) > quality(known, truth) - 2
