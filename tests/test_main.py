import json
import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
import torch

from mrilab import commands
from mrilab.__main__ import main
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


@pytest.mark.parametrize("command", ["info", "convert", "simulate", "fetch", "reconstruct", "compare"])
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
    monkeypatch.setattr(commands, "describe", lambda *a: 1 / 0)
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


def test_reconstruct_and_compare(folder, capsys, monkeypatch):
    """Three methods, both containers; each writes image, record and picture; the prior beats zero-filling."""
    monkeypatch.chdir(folder)
    for method, out in (("zero_filled", "zf.h5"), ("cg_sense", "cg.nii"), ("variational", "prior.nii.gz")):
        settings = ["--iterations", 4] if method == "variational" else []
        assert run("reconstruct", "sim.h5", "--out", out, "--method", method, "--quiet", *settings) == 0
        stem = out.split(".")[0]
        record = json.loads((folder / f"{stem}.json").read_text())
        assert record["method"] == method and 0 < record["misfit"] < 1 and record["seconds"] > 0
        assert record["versions"]["torch"] == torch.__version__ and record["voxel_size"] == [8, 6, 6]
        assert (record["network_evaluations"] > 0) == (method == "variational") == ("prior" in record)
        assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
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
        record = json.loads(out.with_suffix(".json").read_text())
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
    record = json.loads((tmp_path / "b.json").read_text())
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
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["input"] == f"{name}.h5"
    if len(how) == 2:
        (tmp_path / "three.h5").write_text("not a scan")
        assert run("reconstruct", tmp_path / "one.h5", tmp_path / "three.h5", "--out", tmp_path / "out", *settings,
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
    counts = [json.loads((tmp_path / f"{n}.json").read_text())["network_evaluations"] for n in ("one", "two")]
    assert counts[0] == counts[1]
