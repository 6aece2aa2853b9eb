import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from test_augmentation import ball, blobs

from mrilab.augmentation import source, usable
from mrilab.files import write_hdf5
from mrilab.priors import load_prior
from mrilab.volumes import Volume, save_volume
from studies import train_priors


def test_budgets_are_equal_and_fit():
    """Three priors of 10, 10 and 20 ms a patch: nine tenths of 400 seconds, and twice as many for two at a time."""
    assert train_priors.budget([100, 100, 50], 1, 400) == 9000
    assert train_priors.budget([100, 100, 50], 2, 400) == 18000


def test_people_at_hand_are_used(tmp_path, monkeypatch):
    """Files of a folder take the place of those by reference, and of a prior of 1 mm only fine heads are left."""
    monkeypatch.setenv("MRILAB_MIRROR", str(tmp_path / "none"))
    monkeypatch.setenv("MRILAB_CACHE", str(tmp_path / "none"))
    shipped = train_priors.people()
    assert {"pycortex_S1", "pyhrf_realdata", "ds000031_sub01"} == set(shipped)
    for name, size in (("fnndsc_adi_T2", (2.5, 0.43, 0.43)), ("fnndsc_adi_T1", (1.15, 1.15, 1.0))):
        save_volume(tmp_path / f"{name}.h5", Volume(blobs().data, size, {"kind": "reference", "person": "adi"}))
    write_hdf5(tmp_path / "synthseg_01.h5", {"data": ball().short()}, {"voxel_size": (1, 1, 1), "kind": "labels"})
    found = train_priors.people(tmp_path)
    assert [str(f) for f in found[:3]] == shipped and [f.stem for f in found[3:]] == [
        "fnndsc_adi_T1", "fnndsc_adi_T2", "synthseg_01"]
    assert [f.stem for f in usable(found, (1, 1))[3:]] == ["fnndsc_adi_T2", "synthseg_01"]
    assert source(found[-1]).data.dtype == torch.int32


def test_a_plan_holds_until_all_are_finished(tmp_path, monkeypatch):
    """Speeds are measured once; an error and an unfinished training are in the report, and the next call goes on."""
    options = SimpleNamespace(names=["diverse", "fixed_1mm"], out=tmp_path, minutes=2, patches=None, batch=2, beside=1,
                              device="cpu", started=time.time())
    monkeypatch.setattr(train_priors, "probe", lambda name, _: {"diverse": 10, "fixed_1mm": 30}[name])
    monkeypatch.setattr(train_priors, "train_one", lambda name, _, patches, until: dict(
        name=name, finished=1 / (name != "fixed_1mm") == 1, patches=patches))
    assert not train_priors.train_all(options)
    report = json.loads((tmp_path / "report.json").read_text())
    assert 650 < report["patches"] < 676            # 2 minutes less 20 seconds, at 7.5 patches a second of each
    assert [p["finished"] for p in report["priors"]] == [True, False] and "ZeroDivision" in report["priors"][1]["error"]
    monkeypatch.setattr(train_priors, "probe", None)
    monkeypatch.setattr(train_priors, "train_one", lambda name, _, patches, until: dict(
        name=name, finished=True, patches=patches))
    assert train_priors.train_all(options)
    assert {p["patches"] for p in json.loads((tmp_path / "report.json").read_text())["priors"]} == {report["patches"]}


@pytest.mark.slow
def test_all_priors_side_by_side(tmp_path, monkeypatch):
    """The command of a GPU, small: plan, weights, cards, report; the same command again has nothing to do."""
    command = [sys.executable, "-m", "studies.train_priors", "fixed_3mm", "diverse", "--patches", "8", "--batch", "2",
               "--minutes", "9", "--beside", "2", "--out", str(tmp_path), "--device", "cpu"]
    environment = {k: v for k, v in os.environ.items() if k != "MRILAB_MIRROR"} | {"MRILAB_CACHE": str(tmp_path)}
    environment["PYTHONPATH"] = str(train_priors.ROOT)
    for _ in range(2):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "not at hand: fnndsc_adi_T1" in result.stdout
        report = json.loads((tmp_path / "report.json").read_text())
        assert {p["name"] for p in report["priors"] if p["finished"] and p["patches"] == 8} == {"fixed_3mm", "diverse"}
    assert load_prior(tmp_path / "diverse.safetensors").voxel_sizes == (1, 4)
    assert not list(tmp_path.glob("*.checkpoint"))
