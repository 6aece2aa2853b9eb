"""Units, place and phase of images on disk, and that HDF5 and NIfTI hold the same."""

import math
import shutil
import warnings

import h5py
import nibabel
import numpy as np
import pytest
import torch

from mrilab.nifti import phase_path
from mrilab.simulate import simulate_acquisition
from mrilab.volumes import Volume, examine, load_acquisition, load_volume, save_acquisition, save_volume, volume_header

ARRAY = np.random.default_rng(0).random((6, 8, 10)).astype(np.float32)      # x, y, z, as NIfTI counts
OBLIQUE = np.array([[0.3, -1.9, 0.2, 11], [1.4, 0.4, 0.1, -7], [-0.1, 0.1, 2.9, 40], [0, 0, 0, 1]])


def nifti(path, affine, unit="mm", array=ARRAY, qform=None):
    image = nibabel.Nifti1Image(array, affine)
    if qform is not None:
        image.set_qform(qform, 1)
        image.set_sform(affine, 1)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def millimetres(volume, index):
    """Where voxel ``(z, y, x)`` lies."""
    return (volume.info["affine"] @ [*index[::-1], 1])[:3]


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("mm", 1), ("micron", 1e3), ("unknown", 1)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_units_of_length(tmp_path, unit, factor, ending):
    path = nifti(tmp_path / f"a{ending.lower()}", np.diag([factor, factor, factor, 1]) @ OBLIQUE, unit)
    if ending != ending.lower():
        path = shutil.move(path, tmp_path / f"a{ending}")
    volume, right = load_volume(path), load_volume(nifti(tmp_path / "mm.nii", OBLIQUE))
    assert volume.voxel_size == pytest.approx(right.voxel_size, rel=1e-5)
    assert np.allclose(volume.info["affine"], right.info["affine"], atol=1e-3)
    assert volume_header(path)[0] == volume.data.shape
    assert ("names no unit" in " ".join(examine(volume))) == (unit == "unknown")


@pytest.mark.parametrize(("size", "unit"), [
    (1e-3, "mm"), (1000, "mm"), (1, "meter"), (1, "micron"), (0, "mm"), (1e9, "mm")])
def test_lengths_that_no_body_has(tmp_path, size, unit):
    path = nifti(tmp_path / "a.nii", np.diag([size or 1, 1, 1, 1]), unit)
    if size == 0:
        content = bytearray(path.read_bytes())
        content[280:296] = bytes(16)
        path.write_bytes(content)
    with pytest.raises(ValueError, match="a.nii: .*(voxel_size|affine)"):
        load_volume(path)


@pytest.mark.parametrize("where", ["volume", "acquisition"])
@pytest.mark.parametrize("size", [(0.002, 0.002, 0.002), (1, 1, 0.001), (1000, 1, 1)])
def test_doubtful_lengths_are_named(where, size):
    from mrilab.volumes import Acquisition

    with pytest.raises(ValueError, match="voxel_size: found .*expected lengths in mm"):
        k = torch.ones(2, 4, 6, 5, dtype=torch.complex64)
        Volume(ARRAY, size) if where == "volume" else Acquisition(k, k, torch.ones(4, 6), size)


def test_sform_against_qform(tmp_path):
    path = nifti(tmp_path / "a.nii", np.diag([3, 3, 3, 1]), qform=np.diag([2, 2, 2, 1]))
    with pytest.warns(UserWarning, match="a.nii: sform and qform disagree: voxels of 3 x 3 x 3 and 2 x 2 x 2 mm"):
        volume = load_volume(path)
    assert volume.voxel_size == (3, 3, 3) and "disagree" in volume.info["note"] and "disagree" in examine(volume)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "note" not in load_volume(nifti(tmp_path / "b.nii", OBLIQUE)).info
        same = nifti(tmp_path / "c.nii", np.diag([3, 3, 3, 1]), qform=np.diag([3, 3, 3, 1]))
        assert load_volume(same).voxel_size == (3, 3, 3)


def test_no_place_in_the_header(tmp_path):
    image = nibabel.Nifti1Image(ARRAY, None)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii")
    assert "neither sform nor qform" in examine(load_volume(tmp_path / "a.nii"))[0]


@pytest.mark.parametrize("affine", [OBLIQUE, np.diag([-2.0, -2, 3, 1]), np.diag([2.0, 1, 3, 1])[[1, 0, 2, 3]],
                                    np.diag([1.0, 1, 1, 1])], ids=["oblique", "flipped", "turned", "plain"])
@pytest.mark.parametrize("complex", [False, True])
def test_the_same_image_in_both_formats(tmp_path, affine, complex):
    """Values, axes, voxel size and place; through one format and then the other."""
    data = torch.from_numpy(ARRAY.transpose(2, 1, 0).copy())
    if complex:
        data = torch.polar(data, 6 * torch.rand(data.shape) - 3)
    sizes = tuple(np.linalg.norm(affine[:3, 2::-1], axis=0))
    volume = Volume(data, sizes, {"affine": affine})
    for name in ("a.h5", "a.nii.gz"):
        save_volume(tmp_path / name, volume)
    one = load_volume(tmp_path / "a.h5")
    two = load_volume(tmp_path / "a.nii.gz", phase_path(tmp_path / "a.nii.gz") if complex else None)
    save_volume(tmp_path / "b.h5", two)
    for other in (two, load_volume(tmp_path / "b.h5")):
        assert torch.allclose(other.data, one.data, atol=1e-5) and other.data.dtype == one.data.dtype
        assert other.voxel_size == pytest.approx(one.voxel_size, rel=1e-5)
        assert np.allclose(other.info["affine"], one.info["affine"], atol=1e-4)
    assert volume_header(tmp_path / "a.h5")[0] == volume_header(tmp_path / "a.nii.gz")[0] == one.data.shape
    index = tuple(np.argwhere(one.data.abs().numpy() == one.data.abs().max().item())[0])
    before = tuple(np.argwhere(data.abs().numpy() == data.abs().max().item())[0])
    assert np.allclose(millimetres(one, index), millimetres(volume, before), atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 10, 12), (9, 11, 13), (8, 9, 10), (1, 20, 21)])
@pytest.mark.parametrize("size", [(2, 2, 2), (0.7, 1.1, 0.9), (3, 1, 1.5)])
def test_resampling_keeps_the_place(shape, size):
    """The middle, index n // 2, stays; a point in mm is found where the new grid has it."""
    affine = OBLIQUE.copy()
    old = Volume(torch.rand(shape), tuple(np.linalg.norm(affine[:3, 2::-1], axis=0)), {"affine": affine})
    new = old.resample(size)
    middles = [millimetres(v, [n // 2 for n in v.data.shape]) for v in (old, new)]
    assert np.allclose(*middles, atol=1e-9)
    assert np.allclose(np.linalg.norm(new.info["affine"][:3, 2::-1], axis=0), new.voxel_size)
    offset = np.array([1.5, -2, 3])             # voxels of the old grid from the middle
    in_new = offset * np.array(old.voxel_size) / np.array(new.voxel_size)
    points = [millimetres(v, np.array([n // 2 for n in v.data.shape]) + o) for v, o in ((old, offset), (new, in_new))]
    assert np.allclose(*points, atol=1e-9)
    assert np.allclose(old.info["affine"], affine)


def test_a_bright_point_keeps_its_place_through_resampling():
    data = torch.zeros(20, 20, 20)
    data[8, 12, 14] = 1
    old = Volume(data, (2, 2, 2), {"affine": np.diag([2.0, 2, 2, 1])})
    new = old.resample((1, 1, 1))
    index = np.unravel_index(new.data.numpy().argmax(), new.data.shape)
    assert np.allclose(millimetres(new, index), millimetres(old, (8, 12, 14)))


def test_simulation_keeps_the_place(tmp_path):
    volume = Volume(torch.rand(8, 10, 12), (3, 2, 1), {"affine": np.diag([1.0, 2, 3, 1])}).resample((3, 2, 2))
    acquisition, truth = simulate_acquisition(volume, 2, coils=2)
    save_acquisition(tmp_path / "a.h5", acquisition)
    assert np.allclose(load_acquisition(tmp_path / "a.h5").info["affine"], volume.info["affine"])
    assert truth.shape == volume.data.shape


@pytest.mark.parametrize("affine", [
    np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), "here", np.diag([2.0, 1, 1, 1])])
def test_an_affine_must_fit(affine):
    with pytest.raises(ValueError, match="affine: found"):
        Volume(ARRAY, (1, 1, 1), {"affine": affine})


def test_info_does_not_change_values_or_lengths(tmp_path):
    """An acquisition's info has a scale, which on a volume's file would be a factor."""
    save_volume(tmp_path / "a.h5", Volume(ARRAY, (1, 1, 1), {"scale": 5.0, "voxel_size": (9, 9, 9)}))
    volume = load_volume(tmp_path / "a.h5")
    assert np.array_equal(volume.data, ARRAY) and volume.voxel_size == (1, 1, 1)


@pytest.mark.parametrize(("values", "radians"), [
    (lambda p: p.astype(np.float32), lambda p: p),
    (lambda p: (p % (2 * np.pi)).astype(np.float32), lambda p: p),
    (lambda p: np.round(p * 4096 / np.pi).astype(np.int16), lambda p: p),
    (lambda p: np.round((p + np.pi) * 4095 / 2 / np.pi).astype(np.int16), lambda p: p),
    (lambda p: np.round(p * 1000).astype(np.int16), lambda p: p),
    (lambda p: np.zeros_like(p, np.float32), lambda p: 0 * p),
    (lambda p: np.zeros_like(p, np.int16), lambda p: 0 * p)],
    ids=["radians", "0 to 2 pi", "-4096 to 4096", "0 to 4095", "thousandths", "zero", "whole zero"])
def test_units_of_phase(tmp_path, values, radians):
    phase = np.linspace(-np.pi, np.pi, ARRAY.size).reshape(ARRAY.shape)
    nifti(tmp_path / "m.nii", np.eye(4))
    nifti(tmp_path / "p.nii", np.eye(4), array=values(phase))
    data = load_volume(tmp_path / "m.nii", tmp_path / "p.nii").data.numpy().transpose(2, 1, 0)
    assert np.allclose(data, ARRAY * np.exp(1j * radians(phase)), atol=3e-3)


@pytest.mark.parametrize("top", [180.5, 20000])
def test_phase_in_other_units_is_refused(tmp_path, top):
    nifti(tmp_path / "m.nii", np.eye(4))
    nifti(tmp_path / "p.nii", np.eye(4), array=(top * (2 * ARRAY - 1)).astype(np.float32))
    with pytest.raises(ValueError, match="p.nii: found phase values"):
        load_volume(tmp_path / "m.nii", tmp_path / "p.nii")


@pytest.mark.parametrize("phase", [0.0, math.pi, -2.0])
def test_complex_pair_keeps_its_phase(tmp_path, phase):
    data = torch.polar(torch.rand(4, 5, 6) + 0.1, torch.full((4, 5, 6), phase))
    save_volume(tmp_path / "a.nii", Volume(data, (1, 1, 1)))
    assert torch.allclose(load_volume(tmp_path / "a.nii", tmp_path / "a_phase.nii").data, data, atol=1e-6)


@pytest.mark.parametrize("kind", [">f4", ">i2", "f2", "g", ">c8", "G", "u2", "i8", "?"])
def test_hdf5_of_any_kind_of_number(tmp_path, kind):
    array = (100 * ARRAY).round().astype(kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = array
        file.attrs["voxel_size"] = (1, 1, 1)
    assert np.allclose(load_volume(tmp_path / "a.h5").data, array.astype(np.complex64))


def test_what_looks_wrong_with_an_image(tmp_path):
    assert examine(Volume(100 * ARRAY, (5, 5, 5))) == []
    assert "field of view is 0.6 mm, less" in examine(Volume(ARRAY[:2, :2, :2], (0.3, 0.3, 0.3)))[0]
    assert "more than a part of a body" in examine(Volume(ARRAY, (100, 100, 100)))[0]
    assert "all values have the magnitude 1" in examine(Volume(np.ones((9, 9, 9)), (5, 5, 5)))[0]
    assert "no magnitude has those" in examine(Volume(ARRAY - 0.5, (5, 5, 5)))[0]
    assert "clipped" in examine(Volume(np.minimum(ARRAY, 0.8), (5, 5, 5)))[0]
