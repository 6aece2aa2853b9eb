import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import torch

from mrilab.operators import SenseOperator
from mrilab.volumes import Acquisition, Volume, load_acquisition, load_volume, save_acquisition, save_volume

KSPACE = torch.ones(2, 4, 6, 5, dtype=torch.complex64)
BAD = torch.tensor([float("nan"), float("inf")])


@pytest.mark.parametrize("voxel_size", [
    (0, 1, 1), (1, -1, 1), (1, 1), 2, (1, 1, 1, 1), (1, 1, float("nan")), "abc", None])
def test_bad_voxel_sizes(voxel_size):
    with pytest.raises(ValueError, match=r"voxel_size: found .*, expected three positive numbers \(dz, dy, dx\)"):
        Volume(torch.ones(2, 2, 2), voxel_size)


@pytest.mark.parametrize(("data", "message"), [
    (torch.ones(3, 3), r"data: found shape \(3, 3\), expected 3 dimensions"),
    (torch.ones(0, 3, 3), "data: found shape .* no empty axis"),
    (BAD[0].expand(2, 2, 2), "data: found NaN or infinite"),
    (BAD[1].expand(2, 2, 2) * 1j, "data: found NaN or infinite"),
])
def test_bad_volumes(data, message):
    with pytest.raises(ValueError, match=message):
        Volume(data, (1, 1, 1))


@pytest.mark.parametrize(("change", "message"), [
    ({"kspace": KSPACE[0]}, "kspace: found shape .* expected 4 dimensions"),
    ({"kspace": KSPACE * BAD[0]}, "kspace: found NaN"),
    ({"maps": KSPACE[:, :3]}, r"maps: found shape \(2, 3, 6, 5\), expected that of kspace"),
    ({"maps": KSPACE[:1]}, "maps: found shape .*, expected that of kspace"),
    ({"maps": KSPACE * BAD[1]}, "maps: found NaN or infinite"),
    ({"mask": torch.zeros(4, 6)}, "mask: found no measured position"),
    ({"mask": torch.ones(6, 5)}, r"mask: found shape \(6, 5\), expected \(4, 6\)"),
    ({"mask": torch.ones(4, 6, 5)}, "mask: found shape .* expected 2 dimensions"),
    ({"mask": torch.full((4, 6), 0.5)}, "mask: found values other than 0 and 1"),
    ({"voxel_size": (1, 1, 0)}, "voxel_size: found"),
    ({"noise": -1}, "noise: found -1"),
])
def test_bad_acquisitions(change, message):
    good = {"kspace": KSPACE, "maps": KSPACE, "mask": torch.ones(4, 6), "voxel_size": (1, 1, 1)}
    Acquisition(**good)
    with pytest.raises(ValueError, match=message):
        Acquisition(**good | change)


ARRAY = np.random.default_rng(0).integers(0, 100, (4, 6, 5)).astype(np.float64)


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("change", [
    lambda a: a[::-1][::-1], lambda a: np.flip(np.flip(a).copy()), lambda a: np.asfortranarray(a), frozen,
    lambda a: a.astype(">f4"), lambda a: a.astype(">i2"), lambda a: a.astype(np.float16), lambda a: a.astype("g"),
    lambda a: a.astype(np.uint8), lambda a: a.astype(np.uint16), lambda a: a.astype(np.int64), lambda a: a.tolist(),
    lambda a: np.repeat(a, 2, 0)[::2], lambda a: np.ma.array(a), lambda a: torch.from_numpy(a).flip(0).flip(0),
    lambda a: np.broadcast_to(a, (1, *a.shape))[0], lambda a: frozen(a.astype(np.float32)), lambda a: a.astype("G")],
    ids=range(18))
def test_arrays_as_people_have_them(change):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = Volume(change(ARRAY), (1, 1, 1)).data
        kspace = np.stack([ARRAY, 1j * ARRAY])
        turned = np.stack([change(ARRAY), change(ARRAY)]) * np.array([1, 1j]).reshape(2, 1, 1, 1)
        acq = Acquisition(turned.astype(">c16"), turned[:, ::-1][:, ::-1], np.ones((4, 6), ">i4")[::-1], (1, 1, 1))
    assert np.array_equal(data.abs(), ARRAY) and data.dtype in (torch.float32, torch.complex64)
    assert np.array_equal(acq.kspace, kspace) and np.array_equal(acq.maps, kspace)
    data += 1                                           # ours alone, or at least writable


@pytest.mark.parametrize(("data", "message"), [
    (np.array(["a"]), "data: found values of type <U1, expected numbers"),
    (np.array([None]), "data: found values of type object"), ([[1], [1, 2]], "data: found rows of different lengths"),
    (np.ma.array(ARRAY, mask=ARRAY > 50), "data: found masked values"),
    (ARRAY * 1e300, "data: found NaN or infinite"),
    (np.zeros((2, 2, 2), "M8[s]"), "data: found values of type datetime64"),
    (ARRAY * 1e20, "data: found values up to .*, expected at most 1e.15"),
    ("image.h5", "data: found values of type <U8")])
def test_what_is_no_array_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        Volume(data, (1, 1, 1))


@pytest.mark.parametrize("noise", [
    0.5, np.float32(0.5), torch.tensor(0.5), np.array([0.5]), [0.5], np.array(0.5, ">f8")])
def test_noise_is_one_number(noise):
    assert Acquisition(KSPACE, KSPACE, torch.ones(4, 6), (1, 1, 1), noise).noise == 0.5


@pytest.mark.parametrize(("noise", "message"), [
    (np.full(2, 0.5), "noise: found 2 values, expected one .*divide the k-space and the maps of each by its own"),
    ([0.1, 0.2], "noise: found 2 values"), ("loud", "noise: found 'loud'"), (1j, "noise: found 1j"),
    ([], "noise: found"),
    (float("nan"), "noise: found nan"), (np.inf, "noise: found inf"), (-0.1, "noise: found -0.1")])
def test_other_noise_is_refused_by_name(noise, message):
    with pytest.raises(ValueError, match=message):
        Acquisition(KSPACE, KSPACE, torch.ones(4, 6), (1, 1, 1), noise)


def test_a_device_that_is_not_there():
    acq = Acquisition(KSPACE, KSPACE, torch.ones(4, 6), (1, 1, 1))
    assert acq.to("cpu").kspace.shape == KSPACE.shape
    for device in ("mps", "gpu", "meta"):
        with pytest.raises(ValueError, match=f"device: found '{device}', expected a device"):
            acq.to(device)


def test_home_in_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_volume("~/v.h5", Volume(ARRAY, (1, 1, 1)))
    save_volume("~/v.nii.gz", Volume(ARRAY, (1, 1, 1)))
    save_acquisition("~/a.h5", Acquisition(KSPACE, KSPACE, torch.ones(4, 6), (1, 1, 1)))
    assert load_volume("~/v.h5").data.shape == load_volume("~/v.nii.gz").data.shape == ARRAY.shape
    assert load_acquisition("~/a.h5").kspace.shape == KSPACE.shape == load_acquisition("~/a.h5", (0, 5)).kspace.shape


def test_mask_broadcasts():
    assert Acquisition(KSPACE, KSPACE, torch.tensor([[1, 0, 0, 1, 0, 0]]), (1, 1, 1)).acceleration == 3


@pytest.mark.parametrize("data", [torch.rand(3, 4, 5), torch.randn(3, 4, 5, dtype=torch.complex64)])
def test_volume_round_trip(tmp_path, data):
    save_volume(tmp_path / "v.h5", Volume(data, (1, 2, 0.7), {"source": "test"}))
    v = load_volume(tmp_path / "v.h5")
    assert torch.equal(v.data, data) and v.voxel_size == (1, 2, 0.7) and v.info == {"source": "test"}


def test_acquisition_round_trip(tmp_path):
    k = torch.randn(2, 4, 6, 5, dtype=torch.complex64)
    acq = Acquisition(k, 2 * k, torch.rand(4, 6) < 0.7, (1, 2, 3), noise=0.02)
    save_acquisition(tmp_path / "a.h5", acq)
    back = load_acquisition(tmp_path / "a.h5")
    assert all(torch.equal(getattr(back, n), getattr(acq, n)) for n in ("kspace", "maps", "mask"))
    assert (back.voxel_size, back.noise) == (acq.voxel_size, acq.noise)


def break_file(path, how):
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "text":
        path.write_text("not HDF5")
    else:
        with h5py.File(path, "a") as file:
            if how == "voxel size":
                file.attrs["voxel_size"] = 2.0
            elif how == "no voxel size":
                del file.attrs["voxel_size"]
            else:
                name = "kspace" if "kspace" in file else "data"
                old = file.pop(name)[()]
                if how == "NaN":
                    file[name] = old * np.nan
                elif how == "group":
                    file.create_group(name)
                elif how == "words":
                    file[name] = ["a", "b"]


@pytest.mark.parametrize("kind", ["volume", "acquisition"])
@pytest.mark.parametrize(("how", "message"), [
    ("truncated", "not a readable HDF5 file"), ("text", "not a readable HDF5 file"),
    ("no data set", "expected a data set named"), ("group", "expected a data set named"),
    ("no voxel size", "expected 'voxel_size'"), ("voxel size", "voxel_size: found"),
    ("NaN", "found NaN"), ("words", "found"),
])
def test_broken_files_are_named(tmp_path, kind, how, message):
    path = tmp_path / "broken.h5"
    if kind == "volume":
        save_volume(path, Volume(torch.rand(8, 8, 8), (1, 1, 1)))
    else:
        save_acquisition(path, Acquisition(KSPACE, KSPACE, torch.ones(4, 6), (1, 1, 1)))
    break_file(path, how)
    with pytest.raises(ValueError, match=rf"broken\.h5: .*{message}"):
        (load_volume if kind == "volume" else load_acquisition)(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.h5"):
        load_acquisition(tmp_path / "nowhere.h5")


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "v.h5"
    save_volume(path, Volume(torch.zeros(2, 2, 2), (1, 1, 1)))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_volume(path, Volume(torch.ones(2, 2, 2), (1, 1, 1), {"cannot be stored": object()}))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_imports_stay_light():
    """The package needs under 2 s to import; sigpy, matplotlib, scikit-image and widgets wait for their use."""
    code = """
import sys, time
start = time.perf_counter()
import mrilab
assert time.perf_counter() - start < 2 and "torch" not in sys.modules
from mrilab import classical, coils, fourier, metrics, masks, operators, simulate, volumes
heavy = {"sigpy", "numba", "matplotlib", "skimage", "scipy", "h5py", "ipywidgets", "anywidget"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_readout_block_is_a_problem_of_its_own():
    """The operator on the block gives the block of what it gives on the whole, and the noise stays as it is."""
    torch.manual_seed(0)
    maps, mask = torch.randn(2, 6, 7, 9, dtype=torch.complex64), torch.rand(6, 7) < 0.5
    x = torch.randn(6, 7, 9, dtype=torch.complex64)
    whole = SenseOperator(maps, mask)
    block = Acquisition(whole.forward(x), maps, mask, (1, 1, 1), noise=0.1).readout_block(2, 6)
    part = SenseOperator(block.maps, block.mask)
    assert torch.allclose(block.kspace, part.forward(x[..., 2:6]), atol=1e-5)
    assert torch.allclose(part.adjoint(block.kspace), whole.normal(x)[..., 2:6], atol=1e-5)
    assert block.noise == 0.1 and block.voxel_size == (1, 1, 1)
    with pytest.raises(ValueError, match="start, stop: found 5, 3"):
        block.readout_block(5, 3)
