"""Each format is written with its own library and read back: values, axes, voxel size, place."""

import math
import shutil
import subprocess

import h5py
import ismrmrd
import nibabel
import numpy as np
import pytest
import torch

from mrilab import nifti, raw
from mrilab.coils import head_array_maps
from mrilab.datasets import Dataset
from mrilab.evidence import check_sampling
from mrilab.files import write_hdf5
from mrilab.fourier import fft3c, ifft3c
from mrilab.raw.recorded import scan_of
from mrilab.volumes import Acquisition, Volume, load_acquisition, load_volume, save_acquisition, save_volume


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def body(*shape, coils=3, noise=1e-3):
    """k-space of an object that differs along every axis, with coils and a little noise."""
    z, y, x = torch.meshgrid(*((torch.arange(n) - n // 2) / (n / 2) if n > 1 else torch.zeros(1) for n in shape),
                             indexing="ij")
    image = ((z / 0.8)**2 + (y / 0.8)**2 + (x / 0.65)**2 < 1).float()
    image += 1.5 * (((z - 0.4) / 0.3)**2 + ((y - 0.35) / 0.2)**2 + ((x - 0.3) / 0.15)**2 < 1)
    maps = head_array_maps(shape, coils) if coils > 1 else torch.ones(1, *shape)
    return fft3c(image * maps) + noise * random(coils, *shape)


def close(a, b, tolerance=1e-4):
    return a.shape == b.shape and (a - b).norm() <= tolerance * b.norm()


def block_of(kspace, start, stop):
    return fft3c(ifft3c(kspace, axes=(-1,))[..., start:stop], axes=(-1,))


HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>123</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>{m[2]}</x><y>{m[1]}</y><z>{m[0]}</z></matrixSize>
<fieldOfView_mm><x>{f[2]}</x><y>{f[1]}</y><z>{f[0]}</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{r}</x><y>{m[1]}</y><z>{m[0]}</z></matrixSize>
<fieldOfView_mm><x>{rf}</x><y>{f[1]}</y><z>{f[0]}</z></fieldOfView_mm></reconSpace>
<encodingLimits>{limits}</encodingLimits><trajectory>{trajectory}</trajectory></encoding>{user}</ismrmrdHeader>"""


def header(matrix, fov, recon=None, recon_fov=None, centres=(None, None), trajectory="cartesian", user=""):
    limits = "".join(f"<kspace_encoding_step_{i}><minimum>0</minimum><maximum>9</maximum><center>{c}</center>"
                     f"</kspace_encoding_step_{i}>" for i, c in zip((2, 1), centres) if c is not None)
    return HEADER.format(m=matrix, f=fov, r=recon or matrix[2], rf=recon_fov or fov[2], limits=limits,
                         trajectory=trajectory, user=user)


def write_mrd(path, xml, lines, noise=None):
    """Lines are (values (coils, samples), counters, extra header fields), written by the ismrmrd package."""
    with ismrmrd.Dataset(str(path), "dataset", mode="w") as file:
        file.write_xml_header(xml.encode())
        if noise is not None:
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(noise))
            line.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            file.append_acquisition(line)
        for values, counters, extra in lines:
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values))
            for key, value in counters.items():
                setattr(line.idx, key, value)
            for key, value in extra.items():
                if key == "flag":
                    line.setFlag(value)
                elif isinstance(value, tuple):
                    getattr(line, key)[:] = value
                else:
                    setattr(line, key, value)
            file.append_acquisition(line)


def grid_lines(kspace, mask, **extra):
    size = kspace.shape[-1]
    return [(kspace[:, z, y].numpy(), {"kspace_encode_step_1": y, "kspace_encode_step_2": z},
             {"center_sample": size // 2} | extra) for z, y in np.argwhere(mask.numpy())]


# --- ISMRMRD ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("shape", "coils"), [((6, 9, 11), 3), ((7, 8, 10), 1), ((1, 5, 4), 2)])
def test_ismrmrd_3d(tmp_path, shape, coils):
    """Undersampled, odd sizes, one coil; the part along x equals that part of the whole."""
    kspace = random(coils, *shape)
    mask = torch.rand(*shape[:2], generator=torch.Generator().manual_seed(1)) < 0.6
    mask[0, 0] = True
    fov = [n * d for n, d in zip(shape, (3.0, 1.25, 0.5))]
    write_mrd(tmp_path / "a.h5", header(shape, fov), grid_lines(kspace, mask), noise=random(coils, 50).numpy())
    scan = raw.open_scan(tmp_path / "a.h5")
    assert (scan.format, scan.coils, scan.shape) == ("ismrmrd", coils, shape)
    assert scan.voxel_size == pytest.approx((3.0, 1.25, 0.5)) and torch.equal(scan.mask, mask)
    assert scan.noise.shape == (coils, 50) and torch.equal(scan.noise, random(coils, 50))
    expected = kspace * mask[..., None]
    assert torch.equal(scan.read(), expected)
    assert close(scan.read(1, 3), block_of(expected, 1, 3))


def test_ismrmrd_counters_partial_fourier_and_echo(tmp_path):
    """Counters start at the edge that was measured; a centre in the header and in the line says where 0 is."""
    full = random(2, 6, 8, 12)
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[1:, 3:] = True                         # kz from -2, ky from -1: partial Fourier in both
    lines = [(full[:, z, y, 2:].numpy(), {"kspace_encode_step_1": y - 3, "kspace_encode_step_2": z - 1},
              {"center_sample": 4}) for z, y in np.argwhere(mask.numpy())]      # the echo is asymmetric as well
    write_mrd(tmp_path / "a.h5", header((6, 8, 12), (6, 8, 12), centres=(2, 1)), lines)
    scan = raw.open_scan(tmp_path / "a.h5")
    expected = full * mask[..., None]
    expected[..., :2] = 0
    assert torch.equal(scan.mask, mask) and torch.equal(scan.read(), expected)


def test_ismrmrd_oversampling_average_and_what_is_left_out(tmp_path):
    kspace = random(2, 4, 5, 16)
    mask = torch.ones(4, 5, dtype=torch.bool)
    lines = [*grid_lines(2 * kspace, mask), *grid_lines(0 * kspace, mask),              # two averages
             *grid_lines(kspace, mask, flag=ismrmrd.ACQ_IS_NAVIGATION_DATA)]
    second = [(values, counters | {"contrast": 1}, extra) for values, counters, extra in grid_lines(kspace, mask)]
    write_mrd(tmp_path / "a.h5", header((4, 5, 16), (8, 10, 32), recon=8, recon_fov=16), lines + second)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert scan.wanted == 8 and scan.voxel_size == (2, 2, 2)
    assert close(scan.read(), kspace) and "1 x contrast" in scan.info["note"]


def test_ismrmrd_reversed_line_and_sign_alternation(tmp_path):
    """A line read backwards; and GE's alternating sign, which ChopY = 0 says is still in the data."""
    kspace = random(1, 2, 4, 8)
    sign = torch.tensor([1.0, -1, 1, -1])[:, None]
    lines = grid_lines(kspace * sign, torch.ones(2, 4, dtype=torch.bool))
    values, counters, extra = lines[0]
    lines[0] = (values[:, ::-1], counters, {"center_sample": 3, "flag": ismrmrd.ACQ_IS_REVERSE})
    user = ("<userParameters><userParameterLong><name>ChopY</name><value>0</value></userParameterLong>"
            "</userParameters>")
    write_mrd(tmp_path / "a.h5", header((2, 4, 8), (2, 4, 8), user=user), lines)
    assert torch.equal(raw.open_scan(tmp_path / "a.h5").read(), kspace)


def test_ismrmrd_slices_become_z(tmp_path):
    """Lines with a slice counter: images along z, as in 2D scans and the Stanford knees."""
    kspace = random(2, 3, 4, 6)
    lines = [(kspace[:, s, y].numpy(), {"kspace_encode_step_1": y, "slice": s},
              {"center_sample": 3, "position": (0.0, 0.0, 4.0 * s), "read_dir": (1.0, 0, 0),
               "phase_dir": (0, 1.0, 0), "slice_dir": (0, 0, 1.0)}) for s in range(3) for y in (1, 2)]
    write_mrd(tmp_path / "a.h5", header((1, 4, 6), (4, 8, 6)), lines)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert scan.shape == (3, 4, 6) and scan.voxel_size == (4, 2, 1)
    expected = kspace.clone()
    expected[:, :, [0, 3]] = 0
    assert close(scan.read(), fft3c(expected, axes=(-3,)))
    assert scan.mask.tolist() == [[False, True, True, False]] * 3
    assert np.allclose(scan.affine @ [3, 2, 0, 1], [0, 0, 0, 1])        # slice 0 lies at 0 mm
    assert np.allclose(scan.affine @ [4, 2, 2, 1], [-1, 0, 8, 1])       # +x of the scanner is toward the left


def test_ismrmrd_place_in_the_scanner(tmp_path):
    """The voxel in the middle of the grid lies at the position of the lines, turned as their directions say."""
    kspace = random(1, 4, 6, 8)
    extra = {"position": (10.0, 20.0, 30.0), "read_dir": (0, 1.0, 0), "phase_dir": (0, 0, 1.0),
             "slice_dir": (1.0, 0, 0)}
    write_mrd(tmp_path / "a.h5", header((4, 6, 8), (8, 6, 4)), grid_lines(kspace, torch.ones(4, 6) > 0, **extra))
    affine = raw.open_scan(tmp_path / "a.h5").affine
    assert np.allclose(affine @ [4, 3, 2, 1], [-10, -20, 30, 1])        # left, posterior to right, anterior
    assert np.allclose(affine[:3, :3], [[0, 0, -2], [-0.5, 0, 0], [0, 1, 0]])


def test_ismrmrd_written_by_us_is_read_by_the_package_and_by_us(tmp_path):
    kspace, mask = random(2, 4, 5, 6), torch.rand(4, 5) < 0.5
    mask[2, 2] = True
    raw.save_ismrmrd(tmp_path / "a.h5", kspace, mask, (1.5, 1, 2), noise=random(2, 7).numpy())
    with ismrmrd.Dataset(str(tmp_path / "a.h5"), mode="r") as file:
        head = ismrmrd.xsd.CreateFromDocument(file.read_xml_header())
        assert head.encoding[0].encodedSpace.fieldOfView_mm.z == 6
        assert file.number_of_acquisitions() == mask.sum() + 1
        assert file.read_acquisition(0).isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert scan.voxel_size == (1.5, 1, 2) and torch.equal(scan.read(), kspace * mask[..., None])
    assert torch.equal(scan.noise, random(2, 7))


@pytest.mark.parametrize(("xml", "message"), [
    (header((4, 4, 4), (4, 4, 4), trajectory="radial"), "trajectory: found 'radial'"),
    (header((60000, 60000, 4), (4, 4, 4)), "header: found a matrix"),
    (header((4, 4, 0), (4, 4, 4)), "matrixSize = .* expected three positive"),
    (header((4, 4, 4), (4, "nan", 4)), "fieldOfView_mm = .* expected three positive"),
    ("<ismrmrdHeader", "XML that does not parse"), ("<a/>", "no <encoding>"),
    ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type"),
])
def test_ismrmrd_headers_that_cannot_be_used(tmp_path, xml, message):
    write_mrd(tmp_path / "a.h5", xml, grid_lines(random(1, 4, 4, 4), torch.ones(4, 4) > 0))
    with pytest.raises(ValueError, match=rf"a\.h5: .*{message}"):
        raw.open_scan(tmp_path / "a.h5")


def test_ahead_maps(tmp_path):
    maps = random(3, 4, 5, 6)
    with h5py.File(tmp_path / "coilsens.h5", "w") as file:
        file["0real"], file["1imag"] = maps.real.numpy(), maps.imag.numpy()
    assert torch.equal(raw.read_ahead_maps(tmp_path / "coilsens.h5"), maps)
    assert torch.equal(raw.read_ahead_maps(tmp_path / "coilsens.h5", 2, 5), maps[..., 2:5])


# --- ISMRMRD as scanners and converters write it -----------------------------------------------------------------

SHAPE = (12, 16, 20)
DIRECTIONS = {"read_dir": (1.0, 0, 0), "phase_dir": (0, 1.0, 0), "slice_dir": (0, 0, 1.0)}


@pytest.fixture(scope="module")
def full():
    return body(*SHAPE)


def everything(full, **extra):
    return grid_lines(full, torch.ones(full.shape[1:3]) > 0, **extra)


def opened(path, lines, xml=None, **options):
    write_mrd(path, xml or header(SHAPE, (24, 32, 40), centres=(6, 8)), lines)
    return raw.open_scan(path, **options)


def test_the_last_line_is_a_line(tmp_path, full):
    """LAST_IN_MEASUREMENT says where a line stands, not what it is; here it is that of k = 0."""
    lines = sorted(everything(full), key=lambda line: (line[1]["kspace_encode_step_1"], line[1]["kspace_encode_step_2"])
                   == (8, 6))
    lines[-1] = (*lines[-1][:2], lines[-1][2] | {"flag": ismrmrd.ACQ_LAST_IN_MEASUREMENT})
    scan = opened(tmp_path / "a.h5", lines)
    assert scan.mask.all() and close(scan.read(), full) and not scan.info


@pytest.mark.parametrize("flag", ["NAVIGATION_DATA", "PHASECORR_DATA", "HPFEEDBACK_DATA", "DUMMYSCAN_DATA",
                                  "RTFEEDBACK_DATA", "SURFACECOILCORRECTIONSCAN_DATA", "PHASE_STABILIZATION_REFERENCE",
                                  "PHASE_STABILIZATION"])
def test_lines_of_another_kind_never_mix_in(tmp_path, full, flag):
    others = everything(3 * full.flip(1, 2), flag=getattr(ismrmrd, f"ACQ_IS_{flag}"))[::5]
    scan = opened(tmp_path / "a.h5", everything(full) + others)
    assert close(scan.read(), full) and f"left out: {len(others)}" in scan.info["note"]


@pytest.mark.parametrize("counter", ["contrast", "repetition", "phase", "set"])
def test_images_after_the_first_are_left_out(tmp_path, full, counter):
    others = [(values, index | {counter: 1}, extra) for values, index, extra in everything(full.flip(3))]
    scan = opened(tmp_path / "a.h5", [line for pair in zip(everything(full), others) for line in pair])
    assert close(scan.read(), full) and f"1 x {counter}" in scan.info["note"]


def test_other_encoding_spaces_and_other_coils_are_left_out(tmp_path, full):
    lines = everything(full) + everything(full.flip(1), encoding_space_ref=1) + everything(full[:2].flip(2))[:9]
    scan = opened(tmp_path / "a.h5", lines)
    assert close(scan.read(), full)
    assert "1 x encoding space" in scan.info["note"] and "9 lines of another number of coils" in scan.info["note"]


def calibrated(xml, mode):
    parallel = f"<parallelImaging><calibrationMode>{mode}</calibrationMode></parallelImaging>" if mode else ""
    return xml.replace("</trajectory>", f"</trajectory>{parallel}")


@pytest.mark.parametrize("mode", ["separate", "external", ""])
def test_separate_calibration_serves_the_maps_alone(tmp_path, full, mode):
    mask = torch.zeros(SHAPE[:2], dtype=torch.bool)
    mask[:, ::2] = True
    block = torch.zeros(SHAPE[:2], dtype=torch.bool)
    block[2:10, 4:12] = True
    other = 5 * body(*SHAPE, noise=2e-3)
    lines = grid_lines(other, block, flag=ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) + grid_lines(full, mask)
    scan = opened(tmp_path / "a.h5", lines, calibrated(header(SHAPE, (24, 32, 40), centres=(6, 8)), mode))
    assert torch.equal(scan.mask, mask) and close(scan.read(), full * mask[..., None])
    assert torch.equal(scan.calibration.mask, block) and close(scan.calibration.read(), other * block[..., None])
    ready = raw.prepare(scan)
    assert ready.info["maps"] == "ESPIRiT from a block of 8, from calibration lines of their own"


@pytest.mark.parametrize(("fov", "used"), [((24, 32, 40), True), ((24, 48, 60), False)])
def test_calibration_in_an_encoding_space_of_its_own(tmp_path, full, fov, used):
    """A smaller matrix over the same field of view is its centre; over another one it cannot serve."""
    xml = header(SHAPE, (24, 32, 40), centres=(6, 8))
    other = header((8, 10, 12), fov, centres=(4, 5))
    other = other[other.index("<encoding>"):other.index("</ismrmrdHeader>")]
    xml = xml.replace("</encoding>", f"</encoding>{other}", 1)
    small = full[:, 2:10, 3:13, 4:16]
    lines = everything(small, flag=ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, encoding_space_ref=1)
    mask = torch.zeros(SHAPE[:2], dtype=torch.bool)
    mask[:, ::2] = True
    scan = opened(tmp_path / "a.h5", lines + grid_lines(full, mask), calibrated(xml, "separate"))
    assert close(scan.read(), full * mask[..., None])
    if not used:
        assert scan.calibration is None and "another field of view" in scan.info["note"]
        return
    expected = torch.zeros_like(full)
    expected[:, 2:10, 3:13, 4:16] = small
    assert close(scan.calibration.read(), expected)


@pytest.mark.parametrize(("mode", "flag"), [("embedded", ismrmrd.ACQ_IS_PARALLEL_CALIBRATION),
                                            ("embedded", ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING),
                                            ("", ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)])
def test_embedded_calibration_is_data(tmp_path, full, mode, flag):
    mask, block = torch.zeros(2, *SHAPE[:2], dtype=torch.bool)
    mask[:, ::2] = block[:, 5:12:2] = True
    scan = opened(tmp_path / "a.h5", grid_lines(full, mask) + grid_lines(full, block, flag=flag),
                  calibrated(header(SHAPE, (24, 32, 40), centres=(6, 8)), mode))
    assert torch.equal(scan.mask, mask | block) and scan.calibration is None


def partial(full, first, **user):
    """Partial Fourier along y: lines from ``first`` on, counted from 0."""
    return [(values, index | {"kspace_encode_step_1": index["kspace_encode_step_1"] - first}, extra)
            for values, index, extra in everything(full) if index["kspace_encode_step_1"] >= first]


@pytest.mark.parametrize(("centres", "said"), [((6, 8), "found 8 by the header"), ((None, None), ""),
                                               ((6, 4), None)])
def test_centre_of_ky_is_where_the_energy_is(tmp_path, full, centres, said):
    """Partial Fourier without the first four lines: k = 0 is line 4, whatever the header says."""
    scan = opened(tmp_path / "a.h5", partial(full, 4), header(SHAPE, (24, 32, 40), centres=centres))
    expected = full.clone()
    expected[:, :, :4] = 0
    assert close(scan.read(), expected) and not scan.mask[:, :4].any() and scan.mask[:, 4:].all()
    assert (said in scan.info.get("note", "")) if said is not None else not scan.info


def test_centre_that_the_lines_of_siemens_carry(tmp_path, full):
    lines = partial(full, 4)
    write_mrd(tmp_path / "a.h5", header(SHAPE, (24, 32, 40), centres=(6, 6)), [])
    with ismrmrd.Dataset(str(tmp_path / "a.h5"), mode="r+") as file:
        for values, index, extra in lines:
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values), **extra)
            for key, value in index.items():
                setattr(line.idx, key, value)
            line.idx.user[5], line.idx.user[6] = 4, 6
            file.append_acquisition(line)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert scan.mask[:, 4:].all() and not scan.mask[:, :4].any()
    assert "6 by the header and 4 by the lines" in scan.info["note"]


def test_counters_from_one(tmp_path, full):
    lines = [(values, {name: n + 1 for name, n in index.items()}, extra) for values, index, extra in everything(full)]
    scan = opened(tmp_path / "a.h5", lines, header(SHAPE, (24, 32, 40)))
    assert scan.mask.all() and close(scan.read(), full)


def test_the_last_of_several_measurements(tmp_path, full):
    for name, kspace in (("dataset_2", full.flip(1)), ("dataset_10", full)):
        with ismrmrd.Dataset(str(tmp_path / "a.h5"), name, mode="a") as file:
            file.write_xml_header(header(SHAPE, (24, 32, 40), centres=(6, 8)).encode())
            for values, index, extra in everything(kspace):
                line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values), **extra)
                for key, value in index.items():
                    setattr(line.idx, key, value)
                file.append_acquisition(line)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert close(scan.read(), full) and scan.info["measurement"] == "dataset_10 of dataset_2, dataset_10"
    for other in ("dataset_2", 0):
        assert close(raw.open_scan(tmp_path / "a.h5", measurement=other).read(), full.flip(1))
    with pytest.raises(ValueError, match=r"a\.h5: measurement: found 'x', expected one of dataset_2, dataset_10"):
        raw.open_scan(tmp_path / "a.h5", measurement="x")


def test_a_single_slice_whose_header_says_two(tmp_path):
    full = body(1, 16, 20)
    xml = header((2, 16, 20), (10, 32, 40)).replace("<z>2</z></matrixSize>\n<fieldOfView_mm><x>40</x><y>32</y><z>10",
                                                    "<z>1</z></matrixSize>\n<fieldOfView_mm><x>40</x><y>32</y><z>5")
    xml = xml.replace("<z>1</z>", "<z>2</z>", 1).replace("<z>5</z>", "<z>10</z>", 1)
    scan = opened(tmp_path / "a.h5", everything(full), xml)
    assert scan.shape == (1, 16, 20) and scan.voxel_size[0] == 5 and close(scan.read(), full)


def test_twice_as_many_samples_as_the_header_says(tmp_path, full):
    image = ifft3c(full, axes=(-1,))
    wide = fft3c(torch.nn.functional.pad(image, (10, 10)), axes=(-1,))
    scan = opened(tmp_path / "a.h5", everything(wide))
    assert (scan.shape[2], scan.wanted, scan.voxel_size) == (40, 20, (2, 2, 2)) and close(scan.read(10, 30), full, 1e-3)


def test_reversed_lines_whose_centre_is_off_by_one(tmp_path, full):
    """Bipolar readouts of an asymmetric echo, as Siemens counts them."""
    lines = [(values[:, 5:][:, ::-1], index, {"center_sample": 10, "flag": ismrmrd.ACQ_IS_REVERSE}) if n % 2 else
             (values[:, 5:], index, {"center_sample": 5}) for n, (values, index, _) in enumerate(everything(full))]
    scan = opened(tmp_path / "a.h5", lines)
    expected = full.clone()
    expected[..., :5] = 0
    assert close(scan.read(), expected) and "centre of kx" in scan.info["note"]


@pytest.mark.parametrize(("dwell", "averages", "factor"), [((5, 10), 1, 0.5**0.5), ((10, 10), 4, 0.5), ((0, 10), 1, 1)])
def test_noise_scan_is_brought_to_the_noise_of_the_image(tmp_path, full, dwell, averages, factor):
    """Variance falls with the time that a sample takes, and with the number of averages."""
    noise = 0.05 * 2**0.5 * random(3, 4000)
    lines = [line for _ in range(averages) for line in everything(full, sample_time_us=dwell[1])]
    write_mrd(tmp_path / "a.h5", header(SHAPE, (24, 32, 40), centres=(6, 8)), [
        (noise.numpy(), {}, {"flag": ismrmrd.ACQ_IS_NOISE_MEASUREMENT, "sample_time_us": dwell[0]}), *lines])
    ready = raw.prepare(tmp_path / "a.h5")
    assert ready.info["whitened"] and ready.noise == pytest.approx(0.05 * factor, rel=0.05)


# --- place and units ---------------------------------------------------------------------------------------------

def stack(positions, counters=None, **directions):
    """Lines of slices at these positions along z, mm; slice s holds the value s + 1 at the centre of k-space."""
    kspace = 0.01 * random(2, len(positions), 8, 10)
    kspace[:, :, 4, 5] = 10.0 * (torch.arange(len(positions)) + 1)
    return [(kspace[:, s, y].numpy(), {"kspace_encode_step_1": y, "slice": s if counters is None else counters[s]},
             {"center_sample": 5, "position": (0.0, 0.0, float(positions[s]))} | DIRECTIONS | directions)
            for s in range(len(positions)) for y in range(8)]


@pytest.mark.parametrize(("positions", "spacing"), [
    ((0, 6, 12, 18, 24), 6), ((24, 18, 12, 6, 0), 6), ((0, 12, 24, 6, 18), 6), ((-3, 3), 6), ((7,), 3)])
def test_place_of_slices_is_their_own(tmp_path, positions, spacing):
    """Slices of 3 mm every 6 mm, in any order and number: each is where its lines say."""
    write_mrd(tmp_path / "a.h5", header((1, 8, 10), (3, 16, 20), centres=(None, 4)), stack(positions))
    scan = raw.open_scan(tmp_path / "a.h5")
    assert scan.shape == (len(positions), 8, 10) and scan.voxel_size == (spacing, 2, 2)
    kspace = ifft3c(scan.read(), axes=(-3,)) if len(positions) > 1 else scan.read()
    slices = (kspace[0, :, 4, 5].real / 10).round().int() - 1
    assert sorted(slices.tolist()) == list(range(len(positions)))
    for z, s in enumerate(slices.tolist()):
        assert np.allclose(scan.affine @ [5, 4, z, 1], [0, 0, positions[s], 1])


def test_uneven_slices_and_slices_without_position_are_named(tmp_path):
    write_mrd(tmp_path / "a.h5", header((1, 8, 10), (3, 16, 20), centres=(None, 4)), stack((0, 6, 15)))
    assert "distances from 6 to 9 mm" in raw.open_scan(tmp_path / "a.h5").info["note"]
    write_mrd(tmp_path / "b.h5", header((1, 8, 10), (3, 16, 20), centres=(None, 4)), stack((0, 0, 0)))
    scan = raw.open_scan(tmp_path / "b.h5")
    assert scan.voxel_size[0] == 3 and "same position" in scan.info["note"]


def test_slices_measured_at_different_lines(tmp_path):
    lines = stack((0, 6, 12))
    write_mrd(tmp_path / "a.h5", header((1, 8, 10), (3, 16, 20), centres=(None, 4)), lines[1:])
    scan = raw.open_scan(tmp_path / "a.h5")
    assert not scan.mask[:, 0].any() and scan.mask[:, 1:].all() and "7 common ones" in scan.info["note"]
    assert not scan.read()[:, :, 0].any()


def test_a_localiser_is_refused(tmp_path):
    lines = stack((0, 6)) + stack((0, 6), (2, 3), read_dir=(0, 1.0, 0), phase_dir=(0, 0, 1.0), slice_dir=(1.0, 0, 0))
    write_mrd(tmp_path / "a.h5", header((1, 8, 10), (3, 16, 20), centres=(None, 4)), lines)
    with pytest.raises(ValueError, match=r"a\.h5: data: found lines in several directions"):
        raw.open_scan(tmp_path / "a.h5")


def test_rounded_directions_are_made_orthonormal(tmp_path, full):
    rounded = {"read_dir": (-0.33, 0.38, -0.86), "phase_dir": (0.75, 0.66, 0.0), "slice_dir": (-0.57, 0.65, 0.5)}
    affine = opened(tmp_path / "a.h5", everything(full, **rounded)).affine
    axes = affine[:3, :3] / 2
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.allclose(axes, np.diag([-1, -1, 1]) @ np.array(list(rounded.values())).T, atol=0.01)


def test_siemens_axes_run_against_their_directions_and_that_is_said(tmp_path, full):
    """With exp(+ikr) the conjugate of k-space is stored: the image is mirrored, its place in mm must not be."""
    vendor = ("<acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor></acquisitionSystemInformation>"
              "<experimentalConditions>")
    xml = header(SHAPE, (24, 32, 40), centres=(6, 8))
    plain = opened(tmp_path / "a.h5", everything(full, **DIRECTIONS, position=(5.0, -7.0, 11.0)), xml)
    mirrored = fft3c(ifft3c(full).flip(1, 2, 3).roll((1, 1, 1), (1, 2, 3)))
    siemens = opened(tmp_path / "b.h5", everything(mirrored, **DIRECTIONS, position=(5.0, -7.0, 11.0)),
                     xml.replace("<experimentalConditions>", vendor))
    image, other = ifft3c(plain.read())[0], ifft3c(siemens.read())[0]
    for z, y, x in ((8, 10, 13), (3, 5, 9)):
        zz, yy, xx = (2 * (n // 2) - i for n, i in zip(SHAPE, (z, y, x)))
        assert torch.allclose(image[z, y, x], other[zz, yy, xx], atol=1e-4)
        assert np.allclose(plain.affine @ [x, y, z, 1], siemens.affine @ [xx, yy, zz, 1])
    assert "vendor Siemens" in siemens.info["note"] and "check left and right" in siemens.info["note"]


def test_written_with_an_affine_it_lies_where_it_did(tmp_path, full):
    tilted = DIRECTIONS | {"read_dir": (0, 1.0, 0), "phase_dir": (1.0, 0, 0), "position": (5.0, -7.0, 11.0)}
    affine = opened(tmp_path / "a.h5", everything(full, **tilted)).affine
    raw.save_ismrmrd(tmp_path / "b.mrd", full, torch.ones(SHAPE[:2]) > 0, (2, 2, 2), affine=affine)
    assert np.allclose(raw.open_scan(tmp_path / "b.mrd").affine, affine)
    with pytest.raises(ValueError, match="affine: found"):
        raw.save_ismrmrd(tmp_path / "c.mrd", full, torch.ones(SHAPE[:2]) > 0, (2, 2, 2), affine=np.zeros((4, 4)))
    assert not (tmp_path / "c.mrd").exists()


def test_metres_are_refused_and_an_odd_field_of_view_is_named(tmp_path, full):
    with pytest.raises(ValueError, match=r"a\.h5: voxel_size: found \(0.002, 0.002, 0.002\), .*metres\?"):
        opened(tmp_path / "a.h5", everything(full), header(SHAPE, (0.024, 0.032, 0.040), centres=(6, 8)))
    with pytest.raises(ValueError, match="metres"):
        raw.open_scan(tmp_path / "a.h5", voxel_size=(0.002, 0.002, 0.002))
    scan = opened(tmp_path / "b.h5", everything(full), header(SHAPE, (2.4, 3.2, 4.0), centres=(6, 8)))
    assert "field of view: found 2.4 mm" in scan.info["note"]


# --- fastMRI ---------------------------------------------------------------------------------------------------

def write_fastmri(path, images, xml=None, mask=None, lines=slice(None)):
    """images (coils, z, y, x) to the published layout: (slices, coils, x, y) k-space of each slice."""
    kspace = fft3c(images, axes=(-2, -1)).permute(1, 0, 3, 2)[..., lines]
    if mask is not None:
        kspace = kspace * mask
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.numpy()
        if xml:
            file["ismrmrd_header"] = xml
        if mask is not None:
            file["mask"] = mask.numpy()


@pytest.mark.parametrize("coils", [1, 4])
def test_fastmri(tmp_path, coils):
    images = random(coils, 3, 7, 10)
    mask = torch.tensor([1.0, 0, 1, 1, 1, 0, 1])
    write_fastmri(tmp_path / "a.h5", images, header((1, 7, 10), (5, 14, 10), recon=5, recon_fov=5), mask)
    scan = raw.open_scan(tmp_path / "a.h5")
    assert (scan.format, scan.coils, scan.shape, scan.wanted) == ("fastmri", coils, (3, 7, 10), 5)
    assert scan.voxel_size == (5, 2, 1)
    expected = fft3c(images) * mask[:, None]
    assert close(scan.read(), expected) and close(scan.read(2, 7), block_of(expected, 2, 7))
    assert torch.equal(scan.mask, mask.bool().expand(3, 7))


def test_fastmri_lines_beyond_the_stored_ones_are_not_measured(tmp_path):
    """Stored lines are 2 to 7 of 8; the header's centre says where they belong."""
    images = random(2, 3, 8, 6)
    write_fastmri(tmp_path / "a.h5", images, header((1, 8, 6), (3, 8, 6), centres=(None, 2)), lines=slice(2, 8))
    scan = raw.open_scan(tmp_path / "a.h5")
    expected = fft3c(images)
    expected[:, :, :2] = 0
    assert close(scan.read(), expected) and scan.voxel_size == (3, 1, 1)


def test_fastmri_without_header_asks_for_the_voxel_size(tmp_path):
    images = random(2, 3, 7, 10)
    write_fastmri(tmp_path / "a.h5", images)
    with pytest.raises(ValueError, match="a.h5: voxel_size: found none.*--voxel-size"):
        raw.open_scan(tmp_path / "a.h5")
    scan = raw.open_scan(tmp_path / "a.h5", voxel_size=(5, 1, 1))
    assert scan.voxel_size == (5, 1, 1) and scan.wanted == 10 and close(scan.read(), fft3c(images))


def test_fastmri_mask_that_is_true_in_the_padding(tmp_path):
    """Zero columns at both ends were not measured, whatever the mask says."""
    images = ifft3c(body(3, 24, 20))
    mask = torch.zeros(24)
    mask[::3], mask[9:15] = 1, 1
    acquired = torch.zeros(24, dtype=torch.bool)
    acquired[4:20] = True
    write_fastmri(tmp_path / "a.h5", images, header((1, 24, 20), (5, 48, 40)), mask * acquired)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["mask"][...] = mask
    scan = raw.open_scan(tmp_path / "a.h5")
    assert torch.equal(scan.mask, (mask.bool() & acquired).expand(3, 24)) and "hold zeros" in scan.info["note"]


@pytest.mark.parametrize("shape", [(24,), (1, 1, 24, 1), (3, 24), (20, 24)])
def test_fastmri_mask_of_any_shape_on_full_data(tmp_path, shape):
    images = ifft3c(body(3, 24, 20))
    mask = torch.zeros(24)
    mask[::3], mask[9:15] = 1, 1
    write_fastmri(tmp_path / "a.h5", images, header((1, 24, 20), (5, 48, 40)))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["mask"] = 255 * (mask.reshape(shape) if math.prod(shape) == 24 else mask.expand(shape)).numpy()
    scan = raw.open_scan(tmp_path / "a.h5")
    assert torch.equal(scan.mask, mask.bool().expand(3, 24)) and not scan.read()[:, :, mask == 0].any()
    assert "hold data that the mask leaves out" in scan.info["note"]


def test_fastmri_axes_in_another_order_are_refused(tmp_path):
    images = ifft3c(body(3, 24, 20, coils=8))
    write_fastmri(tmp_path / "a.h5", images)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        kspace = file["kspace"][()]
        for name, order in (("b.h5", (0, 2, 3, 1)), ("c.h5", (1, 2, 0, 3))):
            with h5py.File(tmp_path / name, "w") as other:
                other["kspace"] = kspace.transpose(order)
        with h5py.File(tmp_path / "d.h5", "w") as other:
            other["kspace"], other["ismrmrd_header"] = kspace.transpose(0, 1, 3, 2), header((1, 24, 20), (5, 48, 40))
        with h5py.File(tmp_path / "e.h5", "w") as other:
            other["kspace"] = np.fft.ifft(kspace, axis=2)
    for name, message in (("b.h5", "is the order of the axes another"), ("c.h5", "is the order of the axes another"),
                          ("d.h5", "in the header x = 20, y = 24"), ("e.h5", "the axis for x in image space")):
        with pytest.raises(ValueError, match=rf"{name}: kspace: found .*{message}"):
            raw.open_scan(tmp_path / name, voxel_size=(5, 1, 1))


# --- Calgary-Campinas ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", [".npy", ".h5"])
@pytest.mark.parametrize("shape", [(6, 8, 10), (5, 7, 9)])
def test_calgary(tmp_path, ending, shape):
    """Plain numpy transforms of an image in the middle of the array, its spectrum shifted to the middle."""
    images = random(2, *shape)
    kspace = np.fft.fftshift(np.fft.fft2(images.numpy(), axes=(1, 2), norm="ortho"), axes=(1, 2))
    kspace[:, -1] = 0                                                           # the zeros of its partial Fourier
    stored = np.moveaxis(kspace, 0, -1).transpose(2, 1, 0, 3)                   # (x, y, z, coils)
    stored = np.stack([stored.real, stored.imag], -1).reshape(*stored.shape[:3], -1).astype(np.float32)
    path = tmp_path / f"e1{ending}"
    if ending == ".npy":
        np.save(path, stored)
    else:
        with h5py.File(path, "w") as file:
            file["kspace"] = stored
    scan = raw.open_scan(path)
    expected = fft3c(images)
    expected[:, -1] = 0
    assert (scan.format, scan.coils, scan.shape, scan.voxel_size) == ("calgary", 2, shape, (1, 1, 1))
    assert close(scan.read(), expected) and close(scan.read(2, 5), block_of(expected, 2, 5))
    assert not scan.mask[-1].any() and scan.mask[:-1].all()
    assert raw.open_scan(path, voxel_size=(1, 2, 3)).voxel_size == (1, 2, 3)


def hybrid(kspace):
    """As Calgary-Campinas stores it, complex ``(x, y, z, coils)``; a shift of the object does not matter here."""
    return ifft3c(kspace, axes=(-1,)).permute(3, 2, 1, 0)


def pairs(data):
    return torch.view_as_real(data.resolve_conj().contiguous()).flatten(3).numpy()


@pytest.mark.parametrize("form", [np.asfortranarray, lambda a: a.astype(">f8"), lambda a: a[::-1][::-1]])
def test_calgary_in_any_memory_order(tmp_path, form):
    data = pairs(hybrid(body(16, 24, 20, coils=4)))
    for name, array in (("a.npy", data), ("b.npy", form(data))):
        np.save(tmp_path / name, array)
    assert close(raw.open_scan(tmp_path / "b.npy").read(), raw.open_scan(tmp_path / "a.npy").read(), 1e-6)


@pytest.mark.parametrize(("change", "message"), [
    (lambda data: torch.cat([data.real, data.imag], 3).numpy(), "all real parts first"),
    (lambda data: pairs(data).__abs__(), "no negative value"),
    (lambda data: pairs(data.permute(2, 1, 0, 3)), "the axis for x in k-space"),
    (lambda data: pairs(torch.fft.fftshift(torch.fft.fft(data, dim=0), 0)), "the axis for x in k-space"),
])
def test_calgary_that_is_something_else_is_refused(tmp_path, change, message):
    np.save(tmp_path / "a.npy", change(hybrid(body(16, 24, 20, coils=4))))
    with pytest.raises(ValueError, match=rf"a\.npy: kspace: found .*{message}"):
        raw.open_scan(tmp_path / "a.npy")


def test_calgary_not_shifted_is_put_right(tmp_path):
    data = hybrid(body(16, 24, 20, coils=4))
    np.save(tmp_path / "a.npy", pairs(data))
    np.save(tmp_path / "b.npy", pairs(torch.fft.ifftshift(data, dim=(1, 2))))
    right, put = raw.open_scan(tmp_path / "a.npy"), raw.open_scan(tmp_path / "b.npy")
    assert close(ifft3c(put.read()).abs(), ifft3c(right.read()).abs(), 1e-4)
    assert "k = 0 at the first index along z, y, moved" in put.info["note"]


# --- BART ------------------------------------------------------------------------------------------------------

def test_cfl_round_trip(tmp_path):
    kspace = random(3, 4, 5, 6)
    kspace[:, 1, 2] = 0
    raw.save_cfl(tmp_path / "a.cfl", kspace, (1.25, 1, 0.7))
    for name in ("a.cfl", "a.hdr"):
        scan = raw.open_scan(tmp_path / name)
        assert scan.voxel_size == (1.25, 1, 0.7) and torch.equal(scan.read(), kspace)
        assert not scan.mask[1, 2] and scan.mask.sum() == 19
    assert isinstance(raw.read_cfl(tmp_path / "a.cfl"), np.memmap)
    raw.save_cfl(tmp_path / "b.cfl", kspace)
    with pytest.raises(ValueError, match="--voxel-size"):
        raw.open_scan(tmp_path / "b.cfl")


@pytest.mark.skipif(not shutil.which("bart"), reason="BART is not installed")
def test_cfl_and_bart_agree(tmp_path):
    """BART's centred unitary transform of our file is ours of the array; and BART's phantom comes in."""
    def bart(*arguments):
        subprocess.run(["bart", *arguments], cwd=tmp_path, check=True, capture_output=True)

    images = random(2, 4, 5, 6)
    raw.save_cfl(tmp_path / "images.cfl", images, (1, 1, 2))
    bart("fft", "-u", "7", "images", "kspace")
    assert close(torch.from_numpy(np.array(raw.read_cfl(tmp_path / "kspace.cfl"))), fft3c(images), 1e-5)
    bart("phantom", "-3", "-k", "-x", "12", "-s", "3", "phantom")
    bart("phantom", "-3", "-x", "12", "-s", "3", "truth")
    scan = raw.open_scan(tmp_path / "phantom.cfl", voxel_size=(1, 1, 1))
    assert scan.coils == 3 and scan.shape == (12, 12, 12)
    image, truth = ifft3c(scan.read()).abs(), torch.from_numpy(np.array(raw.read_cfl(tmp_path / "truth.cfl"))).abs()
    correlation = torch.corrcoef(torch.stack([image.flatten(), truth.flatten()]))[0, 1]
    assert correlation > 0.9            # analytic k-space against samples of the object: alike, not equal


@pytest.mark.parametrize(("text", "message"), [
    ("", "# Dimensions"), ("# Dimensions\n5 4 x\n", "# Dimensions"), ("# Dimensions\n-5 -4 3\n", "# Dimensions"),
    ("# Dimensions\n5 4 3 2 1 7\n", "dimensions: found"),
    ("# Dimensions\n900000 900000 900000 900\n", "found 480 bytes"),
])
def test_bad_cfl(tmp_path, text, message):
    raw.save_cfl(tmp_path / "a.cfl", random(1, 3, 4, 5), (1, 1, 1))
    (tmp_path / "a.hdr").write_text(text)
    with pytest.raises(ValueError, match=message):
        raw.open_scan(tmp_path / "a.cfl")


# --- arrays: NumPy, and what the data say about masks and layouts --------------------------------------------------

@pytest.mark.parametrize("form", [np.asarray, lambda a: a.astype(">c16"), np.asfortranarray,
                                  lambda a: a[:, ::-1][:, ::-1]])
def test_npy(tmp_path, form):
    kspace = body(8, 16, 20)
    kspace[:, :, 3] = 0
    np.save(tmp_path / "a.npy", form(kspace.numpy()))
    with pytest.raises(ValueError, match=r"a\.npy: voxel_size: found none in a NumPy file"):
        raw.open_scan(tmp_path / "a.npy")
    scan = raw.open_scan(tmp_path / "a.npy", voxel_size=(3, 2, 1))
    assert (scan.format, scan.coils, scan.shape, scan.voxel_size) == ("npy", 3, (8, 16, 20), (3, 2, 1))
    assert close(scan.read(), kspace, 1e-6) and close(scan.read(3, 9), block_of(kspace, 3, 9))
    assert not scan.mask[:, 3].any() and scan.mask.sum() == 8 * 15


@pytest.mark.parametrize("order", [(1, 2, 3, 0), (2, 0, 1, 3), (3, 2, 1, 0)])
def test_npy_with_the_coils_elsewhere_is_refused(tmp_path, order):
    np.save(tmp_path / "a.npy", body(16, 24, 20, coils=8).numpy().transpose(order))
    with pytest.raises(ValueError, match="is the order of the axes another"):
        raw.open_scan(tmp_path / "a.npy", voxel_size=(1, 1, 1))


@pytest.mark.parametrize("axes", [(-3, -2, -1), (-1,), (-2,)])
def test_images_are_not_k_space(tmp_path, axes):
    raw.save_cfl(tmp_path / "a.cfl", ifft3c(body(16, 24, 20), axes=axes), (1, 1, 1))
    with pytest.raises(ValueError, match=f"the axis for {'zyx'[axes[0]]} in image space, expected it in k-space"):
        raw.open_scan(tmp_path / "a.cfl")


@pytest.mark.parametrize("axes", [(-3, -2, -1), (-2, -1), (-1,)])
def test_k_space_from_the_corner_is_put_right(tmp_path, axes):
    """Plain np.fft.fftn: k = 0 at the first index. The image's phase is then as if the object lay there, no more."""
    kspace = body(16, 23, 20)
    raw.save_cfl(tmp_path / "a.cfl", torch.fft.ifftshift(kspace, dim=axes), (1, 1, 1))
    scan = raw.open_scan(tmp_path / "a.cfl")
    assert close(scan.read(), kspace) and close(scan.read(3, 9), block_of(kspace, 3, 9))
    assert f"k = 0 at the first index along {', '.join('zyx'[a] for a in axes)}" in scan.info["note"]


def undersampled():
    mask = torch.zeros(16, 24, dtype=torch.bool)
    mask[::2, ::2], mask[4:12, 8:16] = True, True
    return body(16, 24, 20) * mask[..., None], mask


def test_sampling_of_arrays():
    kspace, mask = undersampled()
    same, agreed, notes = check_sampling(kspace, mask)
    assert torch.equal(same, kspace) and torch.equal(agreed, mask) and notes == []
    for wrong, said in ((torch.fft.ifftshift(mask), "k = 0 at the first index, shifted"),
                        (torch.ones_like(mask), "hold zeros and were not measured")):
        same, agreed, (note,) = check_sampling(kspace, wrong)
        assert torch.equal(same, kspace) and torch.equal(agreed, mask) and said in note
    full = body(16, 24, 20)
    same, agreed, (note,) = check_sampling(full, mask)
    assert torch.equal(same, kspace) and torch.equal(agreed, mask) and "leaves out" in note
    with pytest.raises(ValueError, match="k = 0 at the first index along z, y, x, expected it in the middle"):
        check_sampling(torch.fft.ifftshift(kspace, dim=(1, 2, 3)), torch.fft.ifftshift(mask))
    with pytest.raises(ValueError, match="mask: found no position at which k-space holds data"):
        check_sampling(kspace * 0 + full * torch.eye(16, 24)[..., None], torch.eye(16, 24) == 0)
    noise = random(2, 16, 24, 20)                       # says nothing about its centre
    assert check_sampling(noise, torch.ones(16, 24) > 0)[2] == []


def test_an_acquisition_asks_its_data():
    """Mask put right with a warning; k = 0 in the corner and lines with holes refused; echoes may be partial."""
    kspace, mask = undersampled()
    maps, rest = torch.ones_like(kspace), ((1, 1, 1),)
    for wrong in (torch.ones_like(mask), torch.fft.ifftshift(mask)):
        with pytest.warns(UserWarning, match="mask: "):
            acq = Acquisition(kspace, maps, wrong, *rest)
        assert torch.equal(acq.mask, mask) and torch.equal(acq.kspace, kspace)
    with pytest.raises(ValueError, match="k = 0 at the first index"):
        Acquisition(torch.fft.ifftshift(kspace, dim=(1, 2, 3)), maps, torch.fft.ifftshift(mask), *rest)
    holes = torch.rand(16, 24, 20, generator=torch.Generator().manual_seed(0)) < 0.4
    with pytest.raises(ValueError, match="% zeros inside the lines along x, expected x, the readout, fully sampled"):
        Acquisition(kspace * holes, maps, mask, *rest)
    echo = kspace.clone()
    echo[:, ::2, :, :6], echo[:, 1::2, :, -6:] = 0, 0
    assert torch.equal(Acquisition(echo, maps, mask, *rest).kspace, echo)


def test_acquisition_file_whose_mask_lies(tmp_path):
    kspace, mask = undersampled()
    arrays = {"kspace": kspace, "maps": kspace, "mask": torch.ones(16, 24)}
    write_hdf5(tmp_path / "a.h5", arrays, {"voxel_size": (1, 1, 1)})
    scan = raw.open_scan(tmp_path / "a.h5")
    assert torch.equal(scan.mask, mask) and "hold zeros" in scan.info["note"]


def test_what_looks_wrong(tmp_path):
    kspace, mask = undersampled()
    kspace += 0.02 * random(3, 16, 24, 20) * mask[..., None]
    raw.save_cfl(tmp_path / "a.cfl", kspace, (2, 2, 2))
    assert [text.split(":")[0] for text in raw.examine(tmp_path / "a.cfl")] == ["position"]
    raw.save_cfl(tmp_path / "a.cfl", kspace)
    assert "voxel_size: found none in a BART file" in raw.examine(tmp_path / "a.cfl")[0]
    damaged = kspace.clone()
    damaged[0, 2, 2, 3] += 50                                                          # a spike
    damaged[1] = 0                                                                     # a dead coil
    limit = damaged[2].real.abs().max().item() / 10
    damaged[2] = torch.complex(damaged[2].real.clamp(-limit, limit), damaged[2].imag)  # clipped
    raw.save_cfl(tmp_path / "b.cfl", damaged, (2, 2, 2))
    found = " | ".join(raw.examine(tmp_path / "b.cfl"))
    for text in ("spikes: 1 sample stands out", "(2, 2, 3)", "coil 1: no signal, zeros only", "clipped: ", "of coil 2"):
        assert text in found
    raw.save_cfl(tmp_path / "c.cfl", random(3, 16, 24, 20), (2, 2, 2))
    assert any("brightest voxels are 1." in text for text in raw.examine(tmp_path / "c.cfl"))
    shifted = fft3c(ifft3c(body(16, 24, 20)).roll((8, 12), (1, 2)))
    found = raw.examine(Acquisition(shifted, head_array_maps((16, 24, 20), 3), torch.ones(16, 24), (2, 2, 2)))
    assert sum("shifted by half of it" in text for text in found) == 2
    sparse = kspace.clone()
    sparse[:, 1::2] = 0
    raw.save_cfl(tmp_path / "d.cfl", sparse, (2, 2, 2))
    assert any(text.startswith("calibration: R = ") for text in raw.examine(tmp_path / "d.cfl"))
    (tmp_path / "e.h5").write_bytes(b"no")
    assert "e.h5: found neither HDF5" in raw.examine(tmp_path / "e.h5")[0]
    with pytest.raises(FileNotFoundError):
        raw.examine(tmp_path / "nowhere.h5")


# --- hostile files -------------------------------------------------------------------------------------------------

def shared_heap(path, copies, size):
    """An ISMRMRD file whose lines all point at one object of the file's heap; each claims to be ``size`` numbers."""
    raw.save_ismrmrd(path, torch.ones(1, copies, 4, 8, dtype=torch.complex64), torch.ones(copies, 4) > 0, (1, 1, 1))
    with h5py.File(path, "r+") as file:
        data = file["dataset/data"]
        type_ = data.id.get_type()
        one = data[:1]
        one[0]["data"] = np.ones(size, np.float32)
        data[:1] = one
        where = data.id.get_chunk_info(0).byte_offset
        member = next(i for i in range(type_.get_nmembers()) if type_.get_member_name(i) == b"data")
        at, places = type_.get_member_offset(member), []
        data.id.chunk_iter(lambda chunk: places.append(chunk.byte_offset))
        assert data.chunks == (1,) and len(places) == len(data)
    content = bytearray(path.read_bytes())
    pointer = content[where + at:where + at + 16]
    for offset in places:
        content[offset + at:offset + at + 16] = pointer
    path.write_bytes(bytes(content))


def peak_memory(call):
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def test_lines_that_share_one_object_of_the_heap(tmp_path):
    """200 lines of 8 MB each in a file of 10: refused with little memory, whatever the heads admit."""
    shared_heap(tmp_path / "a.h5", 50, 2_000_000)
    used, message = peak_memory(lambda: raw.open_scan(tmp_path / "a.h5").read())
    assert used < 100e6 and "a.h5: found 1600000000 bytes" in message and (tmp_path / "a.h5").stat().st_size < 20e6


def test_ismrmrd_repacked(tmp_path, full):
    """The same lines compressed, and in one piece, as other programs store them."""
    raw.save_ismrmrd(tmp_path / "a.h5", full, torch.ones(SHAPE[:2]) > 0, (2, 2, 2))
    for name, how in (("b.h5", {"chunks": (64,), "compression": "gzip"}), ("c.h5", {})):
        with h5py.File(tmp_path / "a.h5") as source, h5py.File(tmp_path / name, "w") as file:
            file["dataset/xml"] = source["dataset/xml"][0]
            file["dataset"].create_dataset("data", data=source["dataset/data"][()], **how)
        assert torch.equal(raw.open_scan(tmp_path / name).read(), full)


def test_endless_header(tmp_path):
    raw.save_ismrmrd(tmp_path / "a.h5", random(1, 4, 4, 4), torch.ones(4, 4) > 0, (2, 2, 2))
    for xml in ("<a>" * 4_000_000, "<a/>" * 4_000_000):
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            del file["dataset/xml"]
            file["dataset/xml"] = [xml] * 3
        used, message = peak_memory(lambda: raw.open_scan(tmp_path / "a.h5"))
        assert "expected a text of at most" in message and used < 100e6


def test_zeros_that_compress_a_thousandfold(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("kspace", (40, 4, 320, 320), np.complex64, chunks=(1, 4, 320, 320), compression=9)
        for n in range(40):
            data[n] = 0
    used, message = peak_memory(lambda: raw.open_scan(tmp_path / "a.h5", voxel_size=(5, 1, 1)))
    assert used < 20e6 and "expected a measurement, which is mostly noise" in message


# --- NIfTI -----------------------------------------------------------------------------------------------------

OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.array([[0, 0, -2.0], [-1.0, 0, 0], [0, 3.0, 0]]), [5, -7, 11])


@pytest.mark.parametrize("affine", [np.diag([2.0, 1, 3, 1]), np.diag([-2.0, -1, 3, 1]), OBLIQUE],
                         ids=["RAS", "LPS", "oblique"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_keeps_values_where_they_were(tmp_path, affine, ending):
    """Whatever order the file has, ours is z up, y front, x right; written again, each mm holds its value."""
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"a{ending}")
    volume = load_volume(tmp_path / f"a{ending}")
    assert nibabel.aff2axcodes(volume.info["affine"]) == ("R", "A", "S")
    assert sorted(volume.voxel_size) == pytest.approx([1, 2, 3])
    shape, sizes = nifti.nifti_shape(tmp_path / f"a{ending}")
    assert shape == tuple(volume.data.shape) and sizes == pytest.approx(volume.voxel_size)
    save_volume(tmp_path / "b.nii.gz", volume)
    back = nibabel.load(tmp_path / "b.nii.gz")
    assert back.header.get_zooms() == pytest.approx(volume.voxel_size[::-1])
    for index in [(0, 0, 0), (3, 1, 2), (2, 4, 5)]:
        mm = affine @ [*index, 1]
        i, j, k = np.round(np.linalg.solve(back.affine, mm))[:3].astype(int)
        assert np.asarray(back.dataobj)[i, j, k] == values[index]


def test_nifti_pair_and_complex(tmp_path):
    data = random(4, 5, 6)
    save_volume(tmp_path / "a.nii.gz", Volume(data, (3, 1, 2)))
    back = load_volume(tmp_path / "a.nii.gz", phase=tmp_path / "a_phase.nii.gz")
    assert close(back.data, data, 1e-5) and back.voxel_size == (3, 1, 2)
    assert torch.allclose(load_volume(tmp_path / "a.nii.gz").data, data.abs())
    nibabel.save(nibabel.Nifti1Image(data.numpy().transpose(2, 1, 0), np.eye(4)), tmp_path / "c.nii")
    assert torch.equal(load_volume(tmp_path / "c.nii").data, data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "a_phase.nii.gz", "c.nii"]


@pytest.mark.parametrize(("offset", "factor"), [(0, 4096 / math.pi), (math.pi, 4096 / (2 * math.pi))])
def test_phase_in_whole_numbers(tmp_path, offset, factor):
    data = random(4, 5, 6)
    steps = ((data.angle() + offset) * factor).round().to(torch.int16)
    for name, values in (("m", data.abs()), ("p", steps)):
        nibabel.save(nibabel.Nifti1Image(values.numpy().transpose(2, 1, 0), np.eye(4)), tmp_path / f"{name}.nii")
    assert close(load_volume(tmp_path / "m.nii", phase=tmp_path / "p.nii").data, data, 2e-3)


def test_bad_nifti(tmp_path):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4)), path)
    good = path.read_bytes()
    huge = bytearray(good)
    huge[42:48] = np.array([30000] * 3, "<i2").tobytes()
    for content, message in ((good[:-100], "not a whole file"), (bytes(huge), "not a whole file"),
                             (b"text", "not a readable NIfTI")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.nii: .*{message}"):
            load_volume(path)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6, 2), np.float32), np.eye(4)), path)
    with pytest.raises(ValueError, match="expected one volume of three axes"):
        load_volume(path)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4)), path)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 7), np.float32), np.eye(4)), tmp_path / "p.nii")
    with pytest.raises(ValueError, match="p.nii: found a phase image of shape"):
        load_volume(path, phase=tmp_path / "p.nii")


# --- ours, and recognition -------------------------------------------------------------------------------------

def test_part_of_an_acquisition_is_the_block_of_the_whole(tmp_path):
    kspace, mask = random(2, 4, 5, 9), torch.rand(4, 5) < 0.6
    mask[0, 0] = True
    affine = np.diag([3.0, 2, 1, 1])
    acq = Acquisition(kspace, random(2, 4, 5, 9, seed=1), mask, (1, 2, 3), 0.1, {"affine": affine})
    save_acquisition(tmp_path / "a.h5", acq)
    part, block = load_acquisition(tmp_path / "a.h5", readout=(2, 6)), acq.readout_block(2, 6)
    assert close(part.kspace, block.kspace, 1e-6) and torch.equal(part.maps, block.maps)
    assert np.allclose(part.info["affine"], block.info["affine"])
    assert np.allclose(part.info["affine"] @ [0, 0, 0, 1], affine @ [2, 0, 0, 1])
    assert np.allclose(load_acquisition(tmp_path / "a.h5").info["affine"], affine)


def test_large_scan_is_not_loaded_whole(tmp_path):
    """A 160 MB scan, 4 of 128 readout positions: far less memory than the file."""
    import tracemalloc

    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("kspace", (128, 100, 100, 32), np.float32)
        data[::16] = 1.0
        data[64] = 1.0
    scan = raw.open_scan(tmp_path / "a.h5")
    tracemalloc.start()
    assert scan.read(0, 4).shape == (16, 100, 100, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 < (tmp_path / "a.h5").stat().st_size


def test_recognition(tmp_path):
    save_volume(tmp_path / "v.h5", Volume(torch.ones(2, 2, 2), (1, 1, 1)))
    save_volume(tmp_path / "v.nii.gz", Volume(torch.ones(2, 2, 2), (1, 1, 1)))
    assert raw.recognise(tmp_path / "v.h5") == "volume" and raw.recognise(tmp_path / "v.nii.gz") == "nifti"
    with pytest.raises(ValueError, match="found a volume file, an image, expected a scan"):
        raw.open_scan(tmp_path / "v.h5")
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["other"] = 1
    with pytest.raises(ValueError, match=r"o\.h5: found HDF5 with \['other'\]"):
        raw.recognise(tmp_path / "o.h5")
    (tmp_path / "t.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"t\.txt: found neither"):
        raw.recognise(tmp_path / "t.txt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        raw.open_scan(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("link", ["external", "soft", "storage", "virtual"])
def test_nothing_outside_the_file_is_read(tmp_path, link):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kspace"] = np.ones((4, 4, 4, 4), np.float32)
    (tmp_path / "raw").write_bytes(b"\1" * 1024)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if link == "external":
            file["kspace"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "kspace")
        elif link == "soft":
            file["kspace"] = h5py.SoftLink("/elsewhere")
        elif link == "storage":
            file.create_dataset("kspace", (4, 4, 4, 4), np.float32, external=[(str(tmp_path / "raw"), 0, 1024)])
        else:
            layout = h5py.VirtualLayout((4, 4, 4, 4), np.float32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "kspace", (4, 4, 4, 4))
            file.create_virtual_dataset("kspace", layout)
    with pytest.raises(ValueError, match=r"a\.h5: found .*(link to elsewhere|stored in another file)"):
        raw.open_scan(tmp_path / "a.h5")


def test_no_pickle(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: "):
        raw.open_scan(tmp_path / "a.npy")


def recorded(tmp_path, layout, content, shape, voxel_size=(1, 1, 1)):
    """A scan by reference whose file holds this: an array, or arrays by their names in MATLAB's format."""
    import scipy.io

    path = tmp_path / ("scan.mat" if isinstance(content, dict) else "scan.npy")
    if isinstance(content, dict):
        scipy.io.savemat(path, content)
    else:
        np.save(path, content)
    entry = Dataset("scan", "scan", path.name, layout=layout, shape=shape, voxel_size=voxel_size, note="all is assumed")
    return scan_of(entry, path)


def test_recorded_layouts_come_onto_our_axes(tmp_path):
    """A slice of phase-encoding axes, a stack of slices, an image with its measured sensitivities."""
    kspace = body(24, 20, 1)
    scan = recorded(tmp_path, "slice", kspace[..., 0].numpy(), (24, 20, 1))
    assert torch.equal(scan.read(), kspace) and scan.info["note"] == "all is assumed"
    stack = body(1, 24, 20, coils=1).expand(-1, 4, -1, -1).numpy()
    scan = recorded(tmp_path, "stack", {"kspace": stack[0].transpose(1, 2, 0)}, (4, 24, 20), (10, 2, 2))
    acquisition = raw.prepare(scan)
    assert close(ifft3c(acquisition.kspace, axes=(-3,)), torch.from_numpy(stack.copy()))
    assert acquisition.voxel_size == (10, 2, 2) and acquisition.info["maps"] == "one coil: sensitivity 1"
    maps, image = random(3, 24, 20), ifft3c(kspace)[0, ..., 0]
    scan = recorded(tmp_path, "maps", {"xGT": image.numpy(), "S": maps.permute(1, 2, 0)[:, :, None].numpy()},
                    (24, 20, 1))
    acquisition = raw.prepare(scan)
    norm = maps.norm(dim=0)
    assert acquisition.info["maps"] == "measured" and close(acquisition.maps[..., 0], maps / norm)
    assert close(ifft3c(acquisition.kspace)[..., 0], maps * image)


@pytest.mark.parametrize(("layout", "content", "message"), [
    ("slice", np.ones((6, 5), np.complex64), r"kspace: found shape \(6, 5\), expected \(coils, ky, kz\)"),
    ("slice", np.ones((2, 6, 6), np.complex64), r"kspace: found shape \(6, 6, 1\), expected \(6, 5, 1\)"),
    ("slice", np.zeros((2, 6, 5), np.complex64), "kspace: found zeros only"),
    ("stack", {"image": np.ones((6, 5, 4))}, r"kspace: found {'image': \(6, 5, 4\)}, expected it with 3 axes"),
    ("maps", {"xGT": np.ones((6, 5)), "S": np.ones((6, 5))}, "^.*S: found .*, expected it with 4 axes")])
def test_a_recorded_file_of_another_kind(tmp_path, layout, content, message):
    with pytest.raises(ValueError, match=f"scan.(npy|mat): {message}" if message[0] != "^" else message):
        recorded(tmp_path, layout, content, (6, 5, 1))
