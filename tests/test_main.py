import json
import os
import shutil
import signal
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pytest
import torch

from mrilab import commands
from mrilab.__main__ import main
from mrilab.datasets import locate
from mrilab.raw import open_scan, save_cfl, save_ismrmrd
from mrilab.representations import NAMES
from mrilab.volumes import Volume, load_acquisition, load_volume, save_acquisition, save_volume


def run(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated scan of a coarse head, and its truth."""
    folder = tmp_path_factory.mktemp("scans")
    assert run("simulate", "qtim_MRHead", folder / "sim.h5", "--voxel-size", 8, 6, 6, "--acceleration", 2, "--coils", 4,
               "--truth", folder / "truth.h5") == 0
    return folder


def test_help_of_training(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--voxel-size" in text and "examples:" in text and "torchrun" in text


@pytest.mark.parametrize("command", ["info", "check", "convert", "simulate", "fetch", "reconstruct", "compare"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and f"examples:\n  mrilab {command}" in text
    assert command != "reconstruct" or all(name in text for name in NAMES)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["reconstruct", "scan.h5"], ["info"], ["compare", "a.h5"],
                                       ["compare", "a.h5", "--truth", "b.h5", "--config", "c.json"],
                                       ["reconstruct", "a.h5", "--out", "b.h5", "--method", "magic"]])
def test_usage_errors_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "usage:" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    out = str(tmp_path / "p.safetensors")
    assert main(["train", str(tmp_path / "absent.h5"), "--voxel-size", "1", "--out", out]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mrilab: ") and "absent.h5: no such file" in error and error.count("\n") == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["info", "absent.h5"], "absent.h5: no such file"),
    (["info", "text.h5"], "text.h5: found neither HDF5"),
    (["convert", "text.h5", "out.h5"], "text.h5: found neither HDF5"),
    (["convert", "bare.cfl", "out.h5"], "bare.cfl: voxel_size: found none"),
    (["convert", "bare.cfl", "no/folder/out.h5"], "no/folder: no such folder"),
    (["convert", "bare.cfl", "out.nii", "--voxel-size", "1", "1", "1"], "out: found"),
    (["simulate", "absent", "out.h5"], "absent: no such file"),
    (["simulate", "qtim_MRHead", "out.h5", "--acceleration", "-3", "--voxel-size", "9", "9", "9"],
     "acceleration: found"),
    (["reconstruct", "absent.h5", "--out", "out.h5"], "absent.h5: no such file"),
    (["reconstruct", "bare.cfl", "--out", "out.txt"], "--out: found"),
    (["reconstruct", "bare.cfl", "--out", "out.h5", "--voxel-size", "1", "1", "-1"], "voxel_size: found"),
    (["reconstruct", "bare.cfl", "--out", "out.h5", "--readout", "3", "99", "--voxel-size", "1", "1", "1"],
     "readout: found"),
    (["fetch", "nothing"], "name: found 'nothing'"),
    (["compare", "absent.h5", "--truth", "absent.h5"], "absent.h5: no such file"),
])
def test_errors_say_what_to_do_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("this is not HDF5")
    save_cfl("bare.cfl", torch.ones(2, 8, 8, 8))
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("mrilab: ") and error.count("\n") == 1 and message in error
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_debug_shows_where(tmp_path):
    with pytest.raises(FileNotFoundError):
        run("--debug", "info", tmp_path / "absent.h5")
    with pytest.raises(FileNotFoundError):
        run("info", tmp_path / "absent.h5", "--debug")


def test_a_bug_is_one_line_as_well(monkeypatch, capsys):
    monkeypatch.setattr(commands.looking, "contents", lambda *a: 1 / 0)
    assert run("info", "x") == 1
    assert capsys.readouterr().err == "mrilab: unexpected ZeroDivisionError: division by zero (--debug shows where)\n"


def test_simulated_scan(folder, capsys):
    assert run("info", "--json", folder / "sim.h5", "qtim_MRHead", folder / "truth.h5") == 0
    scan, shipped, truth = json.loads(capsys.readouterr().out)
    acq = load_acquisition(folder / "sim.h5")
    assert scan["coils"] == 4 and scan["matrix"] == list(acq.kspace.shape[1:]) == truth["matrix"]
    assert scan["voxel_size"] == [8, 6, 6] and scan["acceleration"] == 2
    assert scan["memory"] > acq.kspace.nbytes * 3 and scan["seconds_variational"] > scan["seconds_cg_sense"] > 0
    assert shipped["licence"] == "Apache-2.0" and shipped["matrix"] == [96, 240, 120]
    assert run("info", "--quick", folder / "sim.h5") == 0
    assert "8 x 6 x 6 mm" in capsys.readouterr().out


def test_a_recorded_scan_by_its_name(tmp_path, capsys, monkeypatch):
    """The one that ships is at hand for every command; of one that is not there it is said how to get it."""
    assert run("info", "--quick", "phantom_siemens") == 0
    text = capsys.readouterr().out
    assert "1 x 160 x 160" in text and "4 x 1.25 x 1.25 mm" in text and "recorded at 3 T" in text
    assert run("check", "phantom_siemens") == 1 and "phantom_siemens: vendor Siemens" in capsys.readouterr().out
    out = tmp_path / "phantom.nii.gz"
    assert run("reconstruct", "phantom_siemens", "--method", "cg_sense", "--out", out, "--quiet") == 0
    record = json.loads((tmp_path / "phantom.nii.gz.mrilab.json").read_text())
    assert record["matrix"] == [1, 160, 160] and record["coils"] == 2 and 0.05 < record["misfit"] < 0.15
    monkeypatch.delenv("MRILAB_MIRROR", raising=False)
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path))
    assert run("info", "sigpy_brain8ch") == 0
    text = capsys.readouterr().out
    assert "not here: mrilab fetch sigpy_brain8ch" in text and "voxel size and noise scan are not in the file" in text


def test_picture_of_a_single_slice_shows_that_slice(tmp_path):
    """Across it there are lines, which as pictures would be a hundred times higher than wide."""
    assert run("reconstruct", "phantom_siemens", "--out", tmp_path / "a.h5", "--method", "zero_filled", "--quiet") == 0
    height, width, _ = plt.imread(tmp_path / "a.h5.png").shape
    assert 0.5 < height / width < 2


def test_reconstruct_and_compare(folder, capsys, monkeypatch):
    """Three methods, both containers; each writes image, record and picture; the prior beats zero-filling."""
    monkeypatch.chdir(folder)
    for method, out in (("zero_filled", "zf.h5"), ("cg_sense", "cg.nii"), ("variational", "prior.nii.gz")):
        settings = ["--iterations", 4] if method == "variational" else []
        assert run("reconstruct", "sim.h5", "--out", out, "--method", method, "--quiet", *settings) == 0
        record = json.loads((folder / f"{out}.mrilab.json").read_text())
        assert record["method"] == method and 0 < record["misfit"] < 1 and record["seconds"] > 0
        assert record["versions"]["torch"] == torch.__version__ and record["voxel_size"] == [8, 6, 6]
        assert (record["network_evaluations"] > 0) == (method == "variational") == ("prior" in record)
        assert (folder / f"{out}.png").read_bytes().startswith(b"\x89PNG")
        assert load_volume(folder / out).voxel_size == pytest.approx((8, 6, 6))
    assert load_volume("zf.h5").data.is_complex()
    capsys.readouterr()
    assert run("compare", "--json", "zf.h5", "cg.nii", "prior.nii.gz", "--truth", "truth.h5") == 0
    zf, cg, prior = json.loads(capsys.readouterr().out)
    assert prior["psnr"] > zf["psnr"] + 2 and cg["psnr"] > zf["psnr"] and 0 < cg["ssim"] < 1
    assert run("compare", "zf.h5", "--truth", "truth.h5", "--match") == 0
    assert "PSNR, dB" in capsys.readouterr().out
    save_volume("other.nii", Volume(torch.ones(12, 40, 26), (8, 6, 5)))
    assert run("compare", "other.nii", "--truth", "truth.h5") == 1
    assert "expected that of the truth" in capsys.readouterr().err


def test_every_method_has_its_settings(folder, tmp_path, capsys):
    """A sampler and a classical method; what a method does not have is refused before the work, in one line."""
    for method, settings, key in (("dds", ["--steps", 2, "--set", "eta=0.5", "cg_iterations=2"], "network_evaluations"),
                                  ("total_variation", ["--weight", 0.001, "--iterations", 2], "misfit")):
        out = tmp_path / f"{method}.h5"
        assert run("reconstruct", folder / "sim.h5", "--out", out, "--method", method, "--quiet", *settings) == 0
        record = json.loads((tmp_path / f"{out.name}.mrilab.json").read_text())
        assert record["method"] == method and record[key] > 0 and ("prior" in record) == (method == "dds")
    warning = "mrilab: warning: voxel size 8 x 6 x 6 mm: the prior was trained on 1 to 4 mm\n"
    assert capsys.readouterr().err.count(warning) == 1
    for settings, message in ((["--method", "cg_sense", "--weight", 1], "cg_sense: found the setting 'weight'"),
                              (["--method", "zero_filled", "--steps", 1], "'steps', expected none"),
                              (["--method", "dds", "--representation", "trilinear"], "expected 'voxel'"),
                              (["--set", "weight"], "--set: found 'weight', expected NAME=VALUE"),
                              (["--set", "weigth=1"], "weigth: not an option")):
        assert run("reconstruct", folder / "sim.h5", "--out", tmp_path / "no.h5", "--quiet", *settings) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("mrilab: ") == 1 and not (tmp_path / "no.h5").exists()


def test_same_seed_same_image(folder):
    for name in ("a", "b"):
        assert run("reconstruct", folder / "sim.h5", "--out", folder / f"{name}.h5", "--iterations", 2, "--readout", 8,
                   14, "--planes", "axial", "--quiet", "--seed", 3) == 0
    images = [load_volume(folder / f"{name}.h5").data for name in "ab"]
    assert torch.equal(*images) and images[0].shape[2] == 6


def test_raw_scan_to_an_image_in_its_place(folder, tmp_path):
    """ISMRMRD with a noise scan: converted, and reconstructed at once, give the same image; the affine arrives."""
    acq = load_acquisition(folder / "sim.h5")
    noise = 0.01 * torch.randn(4, 500, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    save_ismrmrd(tmp_path / "raw.h5", acq.kspace, acq.mask, acq.voxel_size, noise=noise)
    assert run("convert", tmp_path / "raw.h5", tmp_path / "ready.h5", "--coils", 3) == 0
    ready = load_acquisition(tmp_path / "ready.h5")
    assert len(ready.kspace) == 3 and ready.noise > 0 and ready.info["whitened"]
    common = ["--method", "cg_sense", "--quiet"]
    assert run("reconstruct", tmp_path / "ready.h5", "--out", tmp_path / "a.nii.gz", "--complex", *common) == 0
    assert run("reconstruct", tmp_path / "raw.h5", "--coils", 3, "--out", tmp_path / "b.nii.gz", *common) == 0
    a, b = (nibabel.load(tmp_path / f"{name}.nii.gz") for name in "ab")
    assert np.allclose(a.get_fdata(), b.get_fdata(), atol=1e-3)
    assert (tmp_path / "a_phase.nii.gz").exists() and not (tmp_path / "b_phase.nii.gz").exists()
    assert np.allclose(a.affine, open_scan(tmp_path / "raw.h5").affine)
    record = json.loads((tmp_path / "b.nii.gz.mrilab.json").read_text())
    assert record["preparation"]["compressed"] == "4 to 3 coils"


def test_convert_between_containers(folder, tmp_path):
    data = torch.rand(4, 5, 6)
    save_volume(tmp_path / "m.nii.gz", Volume(data, (3, 2, 1)))
    save_volume(tmp_path / "p.nii.gz", Volume(data - 0.5, (3, 2, 1)))
    assert run("convert", tmp_path / "m.nii.gz", tmp_path / "v.h5", "--phase", tmp_path / "p.nii.gz") == 0
    volume = load_volume(tmp_path / "v.h5")
    assert torch.allclose(volume.data, torch.polar(data, data - 0.5), atol=1e-6)
    assert run("convert", tmp_path / "v.h5", tmp_path / "back.nii") == 0
    assert torch.allclose(load_volume(tmp_path / "back.nii").data, data, atol=1e-6)
    acq = load_acquisition(folder / "sim.h5")
    for name in ("k.cfl", "k.mrd"):
        assert run("convert", folder / "sim.h5", tmp_path / name) == 0
        scan = open_scan(tmp_path / name)
        assert torch.equal(scan.read(), acq.kspace) and scan.voxel_size == pytest.approx(acq.voxel_size)


@pytest.fixture
def inputs(folder, tmp_path, monkeypatch):
    """A folder with one input of each kind, what is in it, and where the commands run."""
    monkeypatch.chdir(tmp_path)
    for name in ("sim.h5", "truth.h5"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    acq = load_acquisition("sim.h5")
    save_cfl("k.cfl", acq.kspace, acq.voxel_size)
    save_cfl("m.cfl", acq.maps)
    save_volume("v.nii.gz", Volume(load_volume("truth.h5").data, acq.voxel_size))
    for ending in (".safetensors", ".json"):
        (tmp_path / f"p{ending}").write_bytes(locate("diverse", "prior").with_suffix(ending).read_bytes())
    (tmp_path / "link.h5").symlink_to("sim.h5")
    os.link("truth.h5", "hard.h5")
    return tmp_path


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("arguments", [
    "convert sim.h5 sim.h5", "convert sim.h5 link.h5", "convert link.h5 sim.h5", "convert truth.h5 truth.h5",
    "convert truth.h5 hard.h5", "convert v.nii.gz v.nii.gz", "convert v.nii.gz v_phase.nii.gz --phase v_phase.nii.gz",
    "convert v_phase.nii.gz v.nii.gz", "convert k.cfl k.cfl", "convert k.hdr k.cfl", "convert k.cfl m.cfl --maps m.cfl",
    "convert m_maps.cfl m.cfl --voxel-size 1 1 1",
    "simulate truth.h5 truth.h5", "simulate hard.h5 truth.h5", "simulate truth.h5 s.h5 --truth truth.h5",
    "simulate v.nii.gz s.h5 --truth v.nii.gz", "reconstruct sim.h5 --out sim.h5", "reconstruct sim.h5 --out link.h5",
    "reconstruct sim.h5 --out .", "reconstruct sim.h5 k.cfl --out .", "reconstruct sim.h5 truth.h5 --out . --jobs 2",
    "reconstruct k.cfl --out m.h5 --maps m.h5", "reconstruct sim.h5 --out p.h5 --prior p.safetensors",
    "train truth.h5 --voxel-size 8 --out truth.h5",
    "train truth.h5 --voxel-size 8 --out p.safetensors --initial p.safetensors",
    "train truth.h5 --voxel-size 8 --out v.safetensors --validation v.json"])
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
def test_no_command_writes_over_an_input(inputs, arguments, force, capsys, monkeypatch):
    """Nor over anything else without --force, and all of it is found before the work."""
    for work in ("mrilab.raw.prepare", "mrilab.methods.reconstruct", "mrilab.simulate.simulate_acquisition",
                 "mrilab.training.train", "mrilab.volumes.save_volume", "mrilab.raw.save_cfl"):
        monkeypatch.setattr(work, lambda *a, **k: pytest.fail("worked"))
    (inputs / "m_maps.cfl").symlink_to("m.cfl")
    (inputs / "m_maps.hdr").symlink_to("m.hdr")
    shutil.copy("truth.h5", "m.h5")
    shutil.copy("truth.h5", "v.json")
    for name in ("p.h5.png", "p.h5.mrilab.json"):
        (inputs / name).symlink_to("p.json")
    before = content(inputs)
    assert main([*arguments.split(), *force]) == 1
    assert "found an output that is an input" in capsys.readouterr().err
    assert content(inputs) == before


@pytest.mark.parametrize(("arguments", "there"), [
    ("convert truth.h5 new.h5", "new.h5"), ("convert truth.h5 new.nii", "new_phase.nii"),
    ("convert sim.h5 new.cfl", "new_maps.hdr"), ("convert truth.h5 new.cfl", "new.hdr"),
    ("simulate truth.h5 new.h5", "new.h5"), ("simulate truth.h5 new.h5 --truth t.nii.gz", "t_phase.nii.gz"),
    ("reconstruct sim.h5 --out new.nii.gz --method zero_filled", "new.nii.gz.mrilab.json"),
    ("reconstruct sim.h5 --out new.h5 --method zero_filled", "new.h5.png"),
    ("reconstruct sim.h5 --out new.nii --complex --method zero_filled", "new_phase.nii"),
    ("reconstruct sim.h5 truth.h5 --out new --method zero_filled", "new/truth.h5"),
    ("train truth.h5 --voxel-size 8 --out new.safetensors", "new.json")])
def test_files_that_exist_are_kept_without_force(inputs, arguments, there, capsys):
    (inputs / "new").mkdir()
    (inputs / there).write_text("mine")
    before = content(inputs)
    assert main(arguments.split()) == 1
    assert f"{there.rpartition('/')[2]}: exists already" in capsys.readouterr().err and content(inputs) == before


def test_force_replaces_and_keeps_sidecars(inputs):
    """A BIDS sidecar beside the image is nobody's business but its owner's."""
    (inputs / "image.json").write_text("{}")
    call = ["reconstruct", "sim.h5", "--out", "image.nii.gz", "--method", "zero_filled", "--quiet"]
    assert run(*call) == 0 and run(*call) == 1 and run(*call, "--force") == 0
    assert (inputs / "image.json").read_text() == "{}"
    assert json.loads((inputs / "image.nii.gz.mrilab.json").read_text())["method"] == "zero_filled"


def test_a_link_as_output_is_followed(inputs):
    (inputs / "disk").mkdir()
    (inputs / "out.h5").symlink_to("disk/real.h5")
    assert run("reconstruct", "sim.h5", "--out", "out.h5", "--method", "zero_filled", "--quiet") == 0
    assert (inputs / "out.h5").is_symlink() and load_volume("disk/real.h5").data.any()


@pytest.mark.parametrize("how", [[], pytest.param(["--jobs", 2], marks=pytest.mark.slow)], ids=["", "jobs"])
def test_one_bad_file_does_not_stop_the_others(inputs, how, capsys):
    (inputs / "bad.h5").write_bytes((inputs / "sim.h5").read_bytes()[:3000])
    shutil.copy("sim.h5", "two.h5")
    assert run("reconstruct", "sim.h5", "bad.h5", "absent.h5", "two.h5", "--out", "out", "--method", "zero_filled",
               "--quiet", *how) == 1
    text = capsys.readouterr()
    assert sorted(text.out.split()) == ["out/sim.h5", "out/two.h5"]
    assert text.err.count("mrilab: ") == 2 and "bad.h5: not a readable" in text.err and "absent.h5: no such" in text.err
    assert sorted(p.name for p in (inputs / "out").glob("*.h5")) == ["sim.h5", "two.h5"]
    if not how:
        assert run("info", "--quick", "--json", "sim.h5", "bad.h5", "truth.h5") == 1
        text = capsys.readouterr()
        assert [row["file"] for row in json.loads(text.out)] == ["sim.h5", "truth.h5"]
        assert text.err.count("\n") == 1 and "bad.h5: not a readable" in text.err


def test_same_numbers_in_both_formats(inputs, capsys):
    """Of a raw scan, whose axes the scanner turns and whose units are its own."""
    acq = load_acquisition("sim.h5")
    save_ismrmrd("raw.h5", 1e-12 * acq.kspace, acq.mask, acq.voxel_size)
    for out in ("r.h5", "r.nii.gz"):
        assert run("reconstruct", "raw.h5", "--out", out, "--method", "cg_sense", "--quiet", "--complex") == 0
    one, two = load_volume("r.h5"), load_volume("r.nii.gz", "r_phase.nii.gz")
    assert torch.allclose(one.data, two.data, atol=1e-17) and 0.5e-12 < one.data.abs().quantile(0.99) < 2e-12
    assert np.allclose(one.info["affine"], two.info["affine"], atol=1e-3)
    records = [json.loads((inputs / f"{out}.mrilab.json").read_text()) for out in ("r.h5", "r.nii.gz")]
    assert records[0]["intensities"] == records[1]["intensities"] == "in the units of the input"
    assert run("convert", "r.h5", "r2.nii.gz") == 0
    capsys.readouterr()
    assert run("compare", "--json", "r.nii.gz", "r2.nii.gz", "--truth", "r.h5") == 0
    assert all(row["psnr"] > 90 for row in json.loads(capsys.readouterr().out))
    save_volume("away.h5", Volume(one.data, one.voxel_size, {"affine": one.info["affine"] + 50 * np.eye(4, k=3)}))
    assert run("compare", "away.h5", "--truth", "r.h5") == 1
    assert "away.h5: found its middle at" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["mps", "cuda", "gpu", "cuda:99"])
@pytest.mark.parametrize("command", ["reconstruct absent.h5 --out a.h5",
                                     "train absent.h5 --voxel-size 2 --out a.safetensors"])
def test_a_device_that_is_not_there_is_named(command, device, capsys):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    assert main([*command.split(), "--device", device]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"mrilab: --device: found '{device}', expected a device") and error.count("\n") == 1


@pytest.mark.parametrize("arguments", ["--method cg_sense --weight 1", "--method dds --representation trilinear",
                                       "--set weight", "--prior absent.safetensors", "--device nonsense"])
def test_settings_are_refused_before_the_work(inputs, arguments, monkeypatch, capsys):
    monkeypatch.setattr("mrilab.commands.reconstruction.acquire", lambda *a: pytest.fail("worked"))
    assert main(["reconstruct", "sim.h5", "--out", "no.h5", *arguments.split()]) == 1
    assert capsys.readouterr().err.count("mrilab: ") == 1 and not (inputs / "no.h5").exists()


def test_what_looks_wrong(inputs, capsys):
    save_volume("good.h5", Volume(torch.rand(8, 8, 8), (8, 8, 8)))
    save_volume("tiny.nii", Volume(torch.rand(8, 8, 8), (0.1, 0.1, 0.1)))
    assert run("check", "good.h5") == 0 and capsys.readouterr().out == "good.h5: nothing looks wrong\n"
    assert run("check", "good.h5", "tiny.nii") == 1
    text = capsys.readouterr()
    assert "tiny.nii: the longest side of the field of view is 0.8 mm" in text.out and text.err == ""
    assert run("check", "absent.h5") == 1 and "absent.h5: no such file" in capsys.readouterr().err
    assert run("check", "sim.h5") in (0, 1) and "sim.h5: " in capsys.readouterr().out
    assert run("info", "--quick", "tiny.nii") == 0 and "doubtful" in capsys.readouterr().out


def shell(command, folder, **environment):
    command = command.replace("mrilab", f"{sys.executable} -m mrilab")
    return subprocess.run(["bash", "-c", command], cwd=folder, text=True, capture_output=True, errors="replace",
                          env={**os.environ, **environment})


def test_terminals_and_pipes(inputs):
    """Names that a terminal cannot show, a pipe that closes, a full disk behind the output, a home directory."""
    shutil.copy("truth.h5", "k\u00f6pf chen.h5")
    done = shell("mrilab convert k\u00f6pf\\ chen.h5 b\u00fc.nii.gz", inputs, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout == "b\\xfc.nii.gz\n", done
    assert (inputs / "b\u00fc.nii.gz").is_file()
    done = shell("mrilab info --quick abs\u00e9nt.h5", inputs, PYTHONIOENCODING="ascii")
    assert done.returncode == 1 and done.stderr == "mrilab: abs\\xe9nt.h5: no such file\n"
    done = shell("mrilab fetch | true; echo ${PIPESTATUS[0]}", inputs)
    assert done.stderr == "" and done.stdout.strip() in ("0", "141")
    done = shell("mrilab fetch > /dev/full", inputs)
    assert done.returncode == 1 and done.stderr.endswith("No space left on device\n") and done.stderr.count("\n") == 1
    done = shell("mrilab fetch > /dev/full", inputs, PYTHONUNBUFFERED="1")
    assert done.returncode == 1 and done.stderr.endswith("No space left on device\n") and done.stderr.count("\n") == 1
    done = shell("mrilab convert '~/truth.h5' '~/copy.nii'", "/", HOME=str(inputs))
    assert done.returncode == 0 and (inputs / "copy.nii").is_file(), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_while_replacing(tmp_path, how):
    """With --force the old image is there until the new one is whole."""
    load_or_make(tmp_path)
    (tmp_path / "image.h5").write_text("old")
    process = subprocess.Popen(
        [sys.executable, "-m", "mrilab", "reconstruct", "scan.h5", "--out", "image.h5", "--force",
         "--iterations", "100000"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"TQDM_DISABLE": "", "TQDM_MININTERVAL": "0"})
    seen, deadline = "", time.time() + 120
    while "misfit" not in seen and time.time() < deadline:
        seen += process.stderr.read(1)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGKILL)
    assert (tmp_path / "image.h5").read_text() == "old" and (tmp_path / "scan.h5").stat().st_size > 1000


@pytest.mark.slow
def test_interrupted(tmp_path):
    """Ctrl-C in the middle: status 130, one line, no file."""
    acq = load_or_make(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "mrilab", "reconstruct", acq, "--out", "image.nii.gz", "--iterations", "100000"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"TQDM_DISABLE": "", "TQDM_MININTERVAL": "0"})
    seen, deadline = "", time.time() + 120
    while "misfit" not in seen and time.time() < deadline:
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, seen + rest
    assert rest.endswith("mrilab: interrupted\n") and "Traceback" not in rest
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def load_or_make(folder):
    from mrilab.simulate import head_phantom, simulate_acquisition

    acq, _ = simulate_acquisition(head_phantom((10, 10, 10)), acceleration=2, coils=2)
    save_acquisition(folder / "scan.h5", acq)
    return "scan.h5"


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--jobs", 2], ["--jobs", 2, "--scheduler", "local"]], ids=["joblib", "dask"])
def test_many_scans(folder, tmp_path, how, capsys):
    """Two scans in two processes give the images that one process gives; a broken one is named."""
    for name in ("one.h5", "two.h5"):
        (tmp_path / name).write_bytes((folder / "sim.h5").read_bytes())
    settings = ["--method", "cg_sense", "--quiet", "--iterations", 5]
    assert run("reconstruct", folder / "sim.h5", "--out", tmp_path / "alone.h5", *settings) == 0
    capsys.readouterr()
    assert run("reconstruct", tmp_path / "one.h5", tmp_path / "two.h5", "--out", tmp_path / "out", *settings, *how) == 0
    assert sorted(capsys.readouterr().out.split()) == [str(tmp_path / "out" / n) for n in ("one.h5", "two.h5")]
    for name in ("one", "two"):
        images = [load_volume(path).data for path in (tmp_path / "out" / f"{name}.h5", tmp_path / "alone.h5")]
        assert torch.allclose(*images, atol=1e-5)
        assert json.loads((tmp_path / "out" / f"{name}.h5.mrilab.json").read_text())["input"] == f"{name}.h5"
    if len(how) == 2:
        (tmp_path / "three.h5").write_text("not a scan")
        assert run("reconstruct", tmp_path / "one.h5", tmp_path / "three.h5", "--out", tmp_path / "new", *settings,
                   *how) == 1
        error = capsys.readouterr().err
        assert "mrilab: " in error and "three.h5: found neither HDF5" in error and "Traceback" not in error


def test_scans_of_the_same_name_are_refused(folder, tmp_path, capsys):
    (tmp_path / "sim.h5").write_bytes((folder / "sim.h5").read_bytes())
    assert run("reconstruct", folder / "sim.h5", tmp_path / "sim.h5", "--out", tmp_path / "out") == 1
    assert "two with the same file name" in capsys.readouterr().err


def test_options_that_would_be_ignored_are_refused(folder, tmp_path, capsys):
    assert run("reconstruct", folder / "sim.h5", "--out", tmp_path / "a.h5", "--coils", 2) == 1
    assert "--coils: found" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_share_the_slices_of_one_scan(folder, tmp_path):
    """As torchrun would start them, one for each GPU; here both on the CPU."""
    options = ["reconstruct", folder / "sim.h5", "--iterations", 3, "--out"]
    assert run(*options, tmp_path / "one.h5", "--quiet") == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "mrilab"]
    done = subprocess.run([*launch, *map(str, options), str(tmp_path / "two.h5")], capture_output=True, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "two.h5")]            # the second process keeps quiet
    one, two = (load_volume(tmp_path / f"{n}.h5").data for n in ("one", "two"))
    assert (one - two).norm() < 0.01 * one.norm()           # bfloat16 rounds other batches otherwise
    counts = [json.loads((tmp_path / f"{n}.h5.mrilab.json").read_text())["network_evaluations"] for n in ("one", "two")]
    assert counts[0] == counts[1]
