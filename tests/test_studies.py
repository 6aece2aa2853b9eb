"""The studies: jobs that are killed or fail, tables, results. The methods are fakes that count their calls."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mrilab import methods
from mrilab.datasets import list_datasets
from mrilab.volumes import Reconstruction, Volume, load_volume, save_volume
from studies import limits, results, runner, scans, sweep, tuning
from studies.__main__ import main
from studies.runner import Runner
from studies.scans import reconstruction


def counted(acquisition, folder, seed=0, seconds=0.0, amplitude=1.0, kill="", fail=()):
    """A fake method: it writes when it starts and when it ends, and may fail or kill its process on the way."""
    key = f"{acquisition.voxel_size[0]:.0f}mm_R{acquisition.acceleration:.1f}_seed{seed}_{amplitude}"
    file = f"{folder}/{key}_{os.getpid()}_{time.time_ns()}"
    Path(file + ".started").touch()
    if seed in fail:
        raise RuntimeError("no luck\ntoday")
    if seed == 1 and (kill == "always" or kill == "once" and not (Path(folder) / "killed").exists()):
        (Path(folder) / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    image = amplitude * acquisition.kspace.sum(0)
    Path(file + ".ended").touch()
    return Reconstruction(image, acquisition.voxel_size, 3, 2, seconds, 0.5)


def peaked(acquisition, weight, iterations=1):
    """A fake method that is best at weight 0.3 and 20 iterations."""
    error = np.log(weight / 0.3) ** 2 + np.log(iterations / 20) ** 2
    return Reconstruction((1 + error) * torch.ones(acquisition.maps.shape[1:], dtype=torch.complex64),
                          acquisition.voxel_size, 0, 0, 0.0, 0.0)


FAKES = {"counted": counted, "other": counted, "peaked": peaked, "peaked2": peaked}


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / "head.h5"
    z, y, x = (torch.linspace(-1.3, 1.3, n) for n in (14, 18, 14))
    inside = torch.sigmoid(20 * (1 - z[:, None, None] ** 2 - y[:, None] ** 2 - x**2))
    save_volume(path, Volume(inside * (1 + 0.3 * torch.cos(9 * y[:, None] + 5 * x)), (12, 12, 12)))
    return str(path)


def sweep_of(head, calls, seeds=(0,), **settings):
    calls.mkdir(exist_ok=True)
    return {"volumes": [head], "voxel_sizes": [12, 16], "accelerations": [2, 3], "seeds": list(seeds), "coils": 2,
            "methods": [{"method": "counted", "settings": {"folder": str(calls), **settings}}]}


def table(settings):
    return sweep.make_jobs(sweep.check_sweep(settings, FAKES))


def measure(jobs, folder, methods=FAKES, **how):
    how = dict(progress=False) | how
    return sweep.measure(Runner(folder, **how), jobs, methods)


def file_of(job):
    return runner.make_job(reconstruction, job, sweep.name).file


def ended(calls):
    return Counter(p.name.rsplit("_", 2)[0] for p in calls.glob("*.ended"))


def test_order_is_balanced_wherever_it_stops(head):
    """Of any prefix: methods differ by at most one job, voxel sizes and accelerations by at most one cell."""
    shapes = [(4, 6), (3, 3), (2, 5), (1, 4)]
    for sizes, rates in shapes:
        settings = {"volumes": [head], "voxel_sizes": list(range(10, 10 + sizes)), "seeds": [0, 1, 2],
                 "accelerations": list(range(2, 2 + rates)), "blocks": [None, [-2, 2]],
                 "methods": [{"method": "cg_sense"}, {"method": "zero_filled"},
                             {"method": "variational", "priors": ["diverse", "fixed_1mm"]}]}
        jobs = sweep.make_jobs(sweep.check_sweep(settings))
        assert len(jobs) == 3 * 2 * sizes * rates * 4 == len({file_of(job) for job in jobs})
        assert [job["seed"] for job in jobs] == sorted(job["seed"] for job in jobs)
        for n in range(1, len(jobs) + 1):
            for key, values, jump in (("label", 4, 1), ("voxel_size", sizes, 4), ("acceleration", rates, 4)):
                counts = Counter(job[key] for job in jobs[:n])
                most, least = max(counts.values()), min(counts.values()) if len(counts) == values else 0
                assert most - least <= jump * (2 if key == "acceleration" else 1), (n, key)
    assert sweep.make_jobs(sweep.check_sweep(settings)) == jobs


def test_names(head):
    settings = {"volumes": [head], "voxel_sizes": [[1, 1, 3], 1.5], "accelerations": [8], "seeds": [7],
             "blocks": [[-8, 8]], "methods": [{"method": "variational", "name": "paper", "priors": ["diverse"],
                                              "settings": {"setting": "paper"}}]}
    names = [sweep.name(job) for job in table_of(settings)]
    assert names == ["paper-diverse_head_1x1x3mm_R8_x-8to8_seed7", "paper-diverse_head_1.5mm_R8_x-8to8_seed7"]


def table_of(settings):
    return sweep.make_jobs(sweep.check_sweep(settings))


def test_the_digest_changes_with_everything_asked(head):
    job = table_of({"volumes": [head], "voxel_sizes": [12], "accelerations": [2], "seeds": [0],
                    "methods": [{"method": "variational", "priors": ["diverse"]}]})[0]
    assert file_of(job).startswith("variational-diverse_head_12mm_R2_seed0-")
    assert [len(digest) for digest in runner.digests(job).values()] == [64, 64]
    for key in job:
        others = {"prior": "fixed_1mm", "volume": "qtim_MRHead", "block": [1, 2], "label": "other", "method": "other"}
        assert file_of(job) != file_of(job | {key: others.get(key, 5)}), key


def test_the_digest_changes_with_the_weights_and_the_volume(tmp_path):
    """Files by their content, shipped ones by their entry in the registry."""
    weights, found = tmp_path / "a.safetensors", []
    for content in ("one", "another", "one"):
        weights.write_text(content)
        found.append(runner.make_job(print, {"settings": {"prior": str(weights)}}).file)
    assert found[0] == found[2] != found[1]
    assert runner.digests(["diverse", "nothing", {"a": "qtim_MRHead"}]).keys() == {"diverse", "qtim_MRHead"}
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="a.safetensors: no such file"):
        runner.make_job(print, {"prior": str(weights)})


CROSS = {"volumes": ["qtim_MRHead"], "voxel_sizes": [4], "accelerations": [8], "seeds": [0],
         "methods": [{"method": "cg_sense"}]}
VARIATIONAL = {"method": "variational", "priors": ["diverse"]}


@pytest.mark.parametrize(("change", "message"), [
    ({"methods": [{"method": "magic"}]}, "method: found 'magic', expected one of zero_filled, cg_sense"),
    ({"methods": [VARIATIONAL | {"priors": ["giant"]}]}, "giant: no such file, and no shipped prior (fixed_1mm"),
    ({"methods": [{"method": "variational"}]}, "priors: found None for variational, expected the name of a prior"),
    ({"methods": [{"method": "cg_sense", "priors": ["diverse"]}]}, "found 'diverse' for cg_sense, expected none"),
    ({"methods": [VARIATIONAL | {"representations": ["lego"]}]}, "found 'lego', expected one of voxel, nearest"),
    ({"methods": [{"method": "cg_sense", "representations": ["trilinear"]}]}, "expected 'voxel': cg_sense has no"),
    ({"methods": [{"method": "cg_sense", "settings": {"lambda": 1}}]}, "found the setting 'lambda', expected regular"),
    ({"methods": [{"method": "cg_sense", "tune": {"regularization": [1, 0]}}]},
     "methods[0].tune.regularization[1]: found 0, expected greater"),
    ({"methods": [{"method": "cg_sense", "prior": "diverse"}]},
     "methods[0].prior: found 'diverse', expected no such key"),
    ({"methods": [{"method": "cg_sense", "name": "../away"}]}, "methods[0].name: found '../away', expected"),
    ({"methods": [{"method": "cg_sense", "tune": {"regularization": [2, 1]}}]},
     "tune: found [2, 1] for regularization"),
    ({"noise": float("nan")}, "noise: found nan, expected"),
    ({"methods": [{"method": "cg_sense"}, {"method": "cg_sense"}]}, "two with the name cg_sense_qtim_MRHead_4mm_R8_"),
    ({"methods": []}, "methods: found [], expected List should have at least 1 item"),
    ({"volumes": ["nobody"]}, "nobody: no such file, and no shipped volume (pycortex_S1"),
    ({"voxel_sizes": [0]}, "voxel_sizes[0]: found 0, expected"),
    ({"accelerations": ["8"]}, "accelerations[0]: found '8', expected"),
    ({"seeds": 3}, "seeds: found 3"),
    ({"blocks": [[4, 4]]}, "blocks: found"),
    ({"colour": 1}, "colour: found 1, expected no such key"),
    ({"tuned": "absent.json"}, "absent.json"),
])
def test_bad_settings_are_one_line(tmp_path, change, message, capsys):
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(CROSS | change))
    arguments = ["--config", str(path), "--out", str(tmp_path / "a.csv"), "--folder", str(tmp_path), "--quiet"]
    assert main(["compare", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("studies: ") and error.count("\n") == 1 and message in error
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.json"]


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.json", "{", "a.json: not JSON"), ("a.toml", "a = ", "a.toml: not TOML"),
    ("a.json", "[]", "a.json: found [], expected"), ("a.json", '{"seeds": [0]}',
     "volumes: found nothing, expected this field")])
def test_unreadable_settings(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        sweep.load_sweep(tmp_path / name)


def test_toml_and_tuned_settings(tmp_path):
    (tmp_path / "tuned.json").write_text(json.dumps({"best": {"cg_sense": {"settings": {"regularization": 0.02}}}}))
    (tmp_path / "a.toml").write_text('tuned = "tuned.json"\nvolumes = ["qtim_MRHead"]\nvoxel_sizes = [4]\nseeds = [0]\n'
                                     'accelerations = [8]\n[[methods]]\nmethod = "cg_sense"\n')
    settings = sweep.load_sweep(tmp_path / "a.toml")
    assert sweep.make_jobs(settings)[0]["settings"] == {"regularization": 0.02}
    settings["methods"].append(sweep.Entry(method="zero_filled").model_dump())
    with pytest.raises(ValueError, match="tuned: found no settings of 'zero_filled', expected it among cg_sense"):
        sweep.make_jobs(settings)


@pytest.mark.parametrize("name", ["small", "full"])
def test_shipped_settings(name):
    path = Path(__file__).parents[1] / "studies" / "configs" / f"{name}.json"
    jobs = sweep.make_jobs(sweep.load_sweep(path))
    assert not any("colin27" in job["volume"] for job in jobs)
    assert {"cg_sense", "variational-diverse"} <= {job["label"] for job in jobs}


def test_nothing_is_computed_twice_and_only_what_is_new(head, tmp_path):
    calls = tmp_path / "calls"
    rows, failed = measure(table(sweep_of(head, calls)), tmp_path / "out")
    assert len(rows) == 4 and not failed and set(ended(calls).values()) == {1} and len(ended(calls)) == 4
    more = table(sweep_of(head, calls, seeds=[0, 1]))
    rows, _ = measure(more, tmp_path / "out")
    assert len(rows) == 8 and set(ended(calls).values()) == {1} and len(ended(calls)) == 8
    assert [sweep.name(row) for row in rows] == [sweep.name(job) for job in more]
    assert all(row["hardware"] and row["date"] and row["network_evaluations"] == 3 for row in rows)
    measure(table(sweep_of(head, calls, amplitude=2.0)), tmp_path / "out")
    assert len(ended(calls)) == 12


def test_one_failing_job(head, tmp_path, capfd):
    calls = tmp_path / "calls"
    jobs = table(sweep_of(head, calls, seeds=[0, 1, 2], fail=[1]))
    rows, failed = measure(jobs, tmp_path / "out", progress=True)
    assert len(rows) == 8 and {row["seed"] for row in rows} == {0, 2}
    assert set(failed.values()) == {"RuntimeError: no luck today"} and all("seed1" in name for name in failed)
    error = capfd.readouterr().err
    assert error.count("RuntimeError: no luck today") == 4 and "Traceback" not in error and "12/12" in error
    assert len(list((tmp_path / "out").iterdir())) == 8


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: "", lambda text: "{}",
                                    lambda text: "[1]"])
def test_truncated_result(head, tmp_path, damage, capsys):
    """Computed again by a run, in one line; refused by a reader."""
    calls, out = tmp_path / "calls", tmp_path / "out"
    jobs = table(sweep_of(head, calls))
    before, _ = measure(jobs, out)
    path = out / file_of(jobs[2])
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=f"{path.name}: found .*, expected"):
        runner.load_record(path)
    capsys.readouterr()
    rows, _ = measure(jobs, out)
    assert capsys.readouterr().err.count("\n") == 1
    assert [row["psnr"] for row in rows] == [row["psnr"] for row in before]
    assert sorted(ended(calls).values()) == [1, 1, 1, 2]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_studies as t
from pathlib import Path
calls = Path({calls!r})
if __name__ == "__main__":
    jobs = t.table(t.sweep_of({head!r}, calls, seeds=range(4), seconds=0.15))
    t.measure(jobs, {out!r})
"""


def test_killed_half_way_and_resumed(head, tmp_path):
    """SIGKILL: what was done stays done, and what was not is done; no file is half written."""
    calls, out = tmp_path / "calls", tmp_path / "out"
    script = SCRIPT.format(tests=str(Path(__file__).parent), calls=str(calls), head=head, out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.time() + 120
    while len(list(calls.glob("*.ended"))) < 6 and time.time() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = {p.name: runner.load_record(p) for p in out.glob("[!.]*.json")}
    assert 5 <= len(kept) <= 7
    for p in calls.glob("*.started"):               # the one that was cut off may start again
        p.unlink()
    jobs = table(sweep_of(head, calls, seeds=range(4), seconds=0.15))
    rows, failed = measure(jobs, out)
    assert len(rows) == 16 and not failed
    assert len(list(calls.glob("*.started"))) == 16 - len(kept)
    for name, record in kept.items():
        assert runner.load_record(out / name) == record
    repeated = [count for count in ended(calls).values() if count > 1]
    assert len(repeated) <= 1                       # ended, but killed before its result was written


@pytest.mark.slow
def test_dask_with_a_worker_killed_half_way(head, tmp_path):
    """A worker of a local cluster dies in the middle of a job: nothing lost, nothing twice."""
    calls = tmp_path / "calls"
    jobs = table(sweep_of(head, calls, seeds=range(4), kill="once"))
    rows, failed = measure(jobs, tmp_path / "out", count=2, scheduler="local")
    assert (calls / "killed").exists()
    assert len(rows) == 16 == len(ended(calls)) and not failed and set(ended(calls).values()) == {1}
    assert 17 <= len(list(calls.glob("*.started"))) <= 18           # the killed one, and its neighbour at most


@pytest.mark.slow
def test_processes_and_one_that_dies(head, tmp_path):
    """Two processes do what one does, also when one is killed; jobs that always kill theirs do not stop the others."""
    calls = tmp_path / "calls"
    jobs = table(sweep_of(head, calls, seeds=[0, 1], kill="once") | {"accelerations": [2]})
    rows, failed = measure(jobs, tmp_path / "out", count=2)
    assert (calls / "killed").exists() and len(rows) == 4 and not failed
    alone, _ = measure(jobs, tmp_path / "alone")
    assert [row["psnr"] for row in rows] == pytest.approx([row["psnr"] for row in alone], abs=1e-6)
    jobs = table(sweep_of(head, calls, seeds=[1, 2], kill="always") | {"accelerations": [2]})
    with pytest.raises(OSError, match="processes: TerminatedWorkerError again and again after 2 of 4 jobs"):
        measure(jobs, tmp_path / "lethal", count=2)
    left = Runner(tmp_path / "lethal", progress=False).left(
        [runner.make_job(reconstruction, job, sweep.name) for job in jobs])
    assert {job.asked["seed"] for job in left.values()} == {1}


def test_rows_as_csv(head, tmp_path):
    settings = sweep_of(head, tmp_path / "calls") | {"voxel_sizes": [[12, 12, 14]], "blocks": [[-3, 3]]}
    rows, _ = measure(table(settings), tmp_path / "out")
    results.write_rows(tmp_path / "rows.csv", rows)
    assert results.read_rows(tmp_path / "rows.csv") == [
        {key: row[key] for key in results.COLUMNS} | {"prior": None, "commit": row["commit"] or None} for row in rows]
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text[:-250])
    with pytest.raises(ValueError, match="rows.csv: found a truncated line 3"):
        results.read_rows(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="rows.csv: found the columns"):
        results.read_rows(tmp_path / "rows.csv")


def test_slices_are_kept(head, tmp_path):
    """The truth's slice comes back to within the rounding; a result without slices is made again if wanted."""
    calls = tmp_path / "calls"
    jobs = table(sweep_of(head, calls))[:1]
    measure(jobs, tmp_path / "out")
    (row,), _ = measure([job | {"keep_slices": 60} for job in jobs], tmp_path / "out")
    assert set(ended(calls).values()) == {2}
    truth = load_volume(head).resample((12, 12, 12)).data.abs()
    for plane, axis in {"axial": 0, "coronal": 1, "sagittal": 2}.items():
        found = results.unpack_slices(row["slices"], plane)["truth"]
        expected = truth.select(axis, truth.shape[axis] // 2) / truth.max() * 255
        middle = [slice((n - 5) // 2, (n - 5) // 2 + 5) for n in expected.shape]
        assert found.shape == (5, 5) and np.abs(found - expected[*middle].numpy()).max() <= 0.51


def test_measured_values_are_those_of_the_method(tmp_path):
    """One real job against the same by hand, on a block of the readout."""
    from mrilab import classical, metrics, simulate

    settings = {"volumes": ["qtim_MRHead"], "voxel_sizes": [8], "accelerations": [3], "seeds": [5], "coils": 4,
             "blocks": [[-4, 90]], "methods": [{"method": "cg_sense", "settings": {"iterations": 7}}]}
    (row,), _ = measure(table_of(settings), tmp_path, methods.METHODS)
    head = load_volume("qtim_MRHead")       # 0.01 is the noise of voxels of 1 mm; its own have 1.3
    acquisition, truth = simulate.simulate_acquisition(head, 3, 4, 0.01 / 1.3**0.5, 5, (8, 8, 8))
    middle, end = truth.shape[2] // 2, truth.shape[2]
    truth = truth[:, :, middle - 4 :]
    result = classical.cg_sense(acquisition.readout_block(middle - 4, end), iterations=7, progress=False)
    assert row["psnr"] == pytest.approx(metrics.psnr(result.image, truth), abs=1e-3)
    assert row["psnr_head"] == pytest.approx(metrics.psnr(result.image, truth, metrics.head_mask(truth)), abs=1e-3)
    assert row["ssim"] == pytest.approx(metrics.ssim(result.image, truth), abs=1e-4)
    assert row["operator_applications"] == result.operator_applications and row["prior_sha256"] is None


def test_summary_of_rows_that_have_no_pair():
    cell = {"volume": "qtim_MRHead", "acceleration": 8, "block": None, "coils": 8, "noise": 0.01, "seed": 0}
    rows = [cell | {"label": m, "voxel_size": d, "psnr": 30 + (m == "new")} for d in (1.0, 2.0) for m in ("new", "old")]
    assert [found["voxel_size"] for found in results.over_people(rows, "new", "old")] == [1.0, 2.0]
    assert [found["voxel_size"] for found in results.over_people(rows[:3], "new", "old")] == [1.0]
    assert results.over_people([rows[0], rows[3]], "new", "old") == []
    with pytest.raises(ValueError, match="label: found 'newer', expected one of new, old"):
        results.over_people(rows, "newer", "old")


def test_tuning_finds_the_best_with_equal_effort(tmp_path, head):
    settings = sweep.check_sweep({
        "volumes": [head], "voxel_sizes": [12], "accelerations": [2, 3], "seeds": [0], "coils": 2, "methods": [
            {"method": "peaked", "tune": {"weight": [0.01, 10]}, "settings": {"iterations": 20}},
            {"method": "peaked2", "tune": {"weight": [0.03, 3], "iterations": [5, 80]}},
            {"method": "counted", "settings": {"folder": str(tmp_path)}}]}, FAKES)
    record = tuning.tune(Runner(tmp_path / "out", progress=False), settings, FAKES)
    best = record["best"]
    assert best["peaked"]["settings"]["weight"] == pytest.approx(0.3, rel=0.2)
    assert best["peaked2"]["settings"]["weight"] == pytest.approx(0.3, rel=0.4)
    assert best["peaked2"]["settings"]["iterations"] in range(14, 29)
    assert [len(record["trials"][label]) for label in ("peaked", "counted")] == [14, 1]
    assert 14 <= len(record["trials"]["peaked2"]) <= 16 and not record["edges"]
    assert max(t["psnr"] for t in record["trials"]["peaked"]) == best["peaked"]["psnr"]
    assert len(list((tmp_path / "out").iterdir())) == 2 * (14 + len(record["trials"]["peaked2"]) + 1)


def test_a_search_that_ends_at_its_edge_goes_on_and_says_so_where_it_still_does(tmp_path, head, capsys):
    settings = sweep.check_sweep({
        "volumes": [head], "voxel_sizes": [12], "accelerations": [2], "seeds": [0], "coils": 2, "methods": [
            {"method": "peaked", "tune": {"weight": [0.5, 5]}, "settings": {"iterations": 20}},
            {"method": "peaked2", "tune": {"weight": [300, 400]}, "settings": {"iterations": 20}}]}, FAKES)
    record = tuning.tune(Runner(tmp_path / "out", progress=False), settings, FAKES)
    assert record["best"]["peaked"]["settings"]["weight"] == pytest.approx(0.3, rel=0.2)
    assert record["edges"] == {"peaked2": ["weight"]}
    assert "peaked2: best at the edge of what was tried for weight" in capsys.readouterr().err


def test_people_are_the_unit_of_an_interval():
    """Seeds and volumes of one person count as one; the interval is that of Student's t over people."""
    from scipy.stats import t

    volumes = {"qtim_MRHead": 1.0, "allineate_arc2017": 2.0, "cstar_stroke_T1": 4.0, "seg3d_MR": 3.0}
    cell = {"voxel_size": 3.0, "acceleration": 8, "block": None, "coils": 8, "noise": 0.01}
    rows = [cell | {"volume": v, "seed": s, "label": m, "psnr": 30 + s + (d + 0.1 * (s - 1) if m == "new" else 0)}
            for v, d in volumes.items() for s in (0, 1, 2) for m in ("new", "old")]
    found, = results.over_people(rows, "new", "old")
    people = [1.0, 3.0, 3.0]                        # the two volumes of one person: their mean
    half = t.ppf(0.975, 2) * np.std(people, ddof=1) / 3**0.5
    assert (found["people"], found["pairs"]) == (3, 12)
    assert found["difference"] == pytest.approx(np.mean(people))
    assert (found["low"], found["high"]) == pytest.approx((np.mean(people) - half, np.mean(people) + half))
    one, = results.over_people(rows[:6], "new", "old")
    assert one["people"] == 1 and np.isnan(one["low"]) and one["difference"] == pytest.approx(1.0)


def test_intervals_over_people_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(0), 0
    names = ["qtim_MRHead", "allineate_arc2017", "seg3d_MR", "brainchop_T1"]
    for _ in range(300):
        own = rng.normal(0.5, 0.2, 4)
        rows = [{"volume": v, "voxel_size": 1, "acceleration": 8, "block": None, "coils": 8, "noise": 0, "seed": s,
                 "label": m, "psnr": (d + rng.normal(0, 0.05)) * (m == "new")}
                for v, d in zip(names, own) for s in (0, 1, 2) for m in ("new", "old")]
        cell, = results.over_people(rows, "new", "old")
        held += cell["low"] <= 0.5 <= cell["high"]
    assert 0.91 < held / 300 < 0.98


def test_no_tuning_on_a_test_volume(tmp_path):
    for volume in ("qtim_MRHead", "qtim_MRBrainTumor2", "mskt_knee_mese"):
        with pytest.raises(ValueError, match=f"volumes: found {volume}, which is for testing"):
            tuning.tune(Runner(tmp_path, progress=False), sweep.check_sweep(CROSS | {"volumes": [volume]}))


def test_command_line(head, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    Path("a.json").write_text(json.dumps({
        "volumes": [head], "voxel_sizes": [12], "accelerations": [2], "seeds": [0, 1], "coils": 2,
        "methods": [{"method": "zero_filled"}, {"method": "cg_sense", "tune": {"regularization": [0.001, 0.1]}}]}))
    assert main(["compare", "--config", "a.json", "--out", "results/a.csv"]) == 1
    assert "results: no such folder; it is where a.csv should go" in capsys.readouterr().err
    for done in (0, 4):
        assert main(["compare", "--config", "a.json", "--out", "a.csv", "--quiet"]) == 0
        told = capsys.readouterr()
        assert told.out == "a.csv\n" and f"4 jobs, {done} done, {4 - done} left" in told.err
        assert "4 done, 0 failed" in told.err
    rows = results.read_rows("a.csv")
    assert [row["label"] for row in rows] == ["zero_filled", "cg_sense"] * 2 and len(os.listdir("runs/a")) == 4
    assert main(["compare", "--config", "a.json", "--tune", "tuned.json", "--quiet"]) == 0
    record = json.loads(Path("tuned.json").read_text())
    assert 14 <= len(record["trials"]["cg_sense"]) <= 20        # ten, six more where the edge is best, four fine ones
    assert record["hardware"] and record["volumes_sha256"].keys() == {head}
    Path("b.json").write_text(json.dumps(json.loads(Path("a.json").read_text()) | {"tuned": "tuned.json"}))
    assert sweep.load_sweep("b.json")["tuned"] == record["best"]
    before = Path("a.csv").read_text()
    monkeypatch.setitem(methods.METHODS, "cg_sense", peaked)        # it wants a weight: every job of it fails
    Path("a.json").write_text(Path("a.json").read_text().replace("regularization", "weight"))
    assert main(["compare", "--config", "a.json", "--out", "a.csv", "--quiet", "--folder", "b"]) == 1
    told = capsys.readouterr()
    assert "2 done, 2 failed" in told.err and "2 of 4 jobs failed; the same command tries them again" in told.err
    assert "cg_sense_head_12mm_R2_seed0" in told.err.splitlines()[-1] and Path("a.csv").read_text() == before
    assert main(["compare"]) == 1 and main(["nothing"]) == 1
    told = capsys.readouterr().err
    assert "--config: found none, expected a settings file" in told and "found 'nothing', expected one of" in told


def half(value, folder="", fail=False):
    """A job of a small study."""
    (Path(folder) / f"{value}-{time.time_ns()}").touch()
    if fail and value == 2:
        raise RuntimeError("no luck")
    return {"half": value / 2, "tensor": torch.full((2,), value / 2)}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two studies, their folders, and a clean checkout."""
    for name in ("runs", "results", "calls"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys.modules["studies.__main__"], "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "commit", lambda: state.commit)
    first = SimpleNamespace(
        __doc__="Halves.", RESULTS=["first.json"], study=lambda run: {"rows": [
            {"half": row["half"], "sum": row["tensor"].sum().item(), "file": f"{runner.ROOT}/runs/x"}
            for row in run.rows(half, [{"value": v} for v in state.values], folder=str(tmp_path / "calls"),
                                fail=state.fail)]})
    second = SimpleNamespace(__doc__="Sums.", RESULTS=["second.json"], study=lambda run: {
        "sum": sum(row["half"] for row in run.rows(half, [{"value": 4}, {"value": 5}], folder=str(tmp_path)))})
    state = SimpleNamespace(commit="abc", fail=False, values=[1, 2, 3], studies={"first": first, "second": second},
                            folder=tmp_path)
    monkeypatch.setattr(runner, "catalogue", lambda: state.studies)
    return state


def test_people_who_are_not_at_hand_are_fetched_before_a_study(small, monkeypatch, capsys):
    """One who cannot be had is named, and the study goes on; a dry run asks for nobody."""
    asked = []
    small.studies["first"].here = scans.here
    monkeypatch.setattr(sys.modules["studies.__main__"], "PEOPLE", ["near", "far"])
    monkeypatch.setattr(scans, "at_hand", lambda name: name == "near")

    def fetch(name):
        asked.append(name)
        raise OSError(f"{name}: no way")

    monkeypatch.setattr(scans, "fetch", fetch)
    assert main(["first", "--quiet"]) == 0
    assert asked == ["far"] and "far: no way" in capsys.readouterr().err
    assert main(["first", "--quiet", "--dry"]) == 0 and asked == ["far"]


def test_studies_run_once(small, capsys):
    assert main(["all", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{small.folder}/results/{n}.json" for n in ("first", "second")]
    first, second = (json.loads((small.folder / f"results/{n}.json").read_text()) for n in ("first", "second"))
    assert [row["half"] for row in first["rows"]] == [0.5, 1, 1.5] and [r["sum"] for r in first["rows"]] == [1, 2, 3]
    assert second["sum"] == 4.5 and first["commit"] == "abc" and first["hardware"] and len(first["date"]) == 10
    assert first["rows"][0]["file"] == "runs/x"         # no folder of this machine
    assert main(["first", "--quiet"]) == 0 and len(os.listdir(small.folder / "calls")) == 3
    next((small.folder / "runs/first").glob("*.npz")).unlink()
    assert main(["first", "--quiet"]) == 0 and len(os.listdir(small.folder / "calls")) == 4
    assert "found no arrays beside it" in capsys.readouterr().err


def test_a_failed_study_writes_nothing_and_does_not_stop_the_others(small, capsys):
    assert main(["all", "--quiet"]) == 0
    before = {path: path.read_bytes() for path in (small.folder / "results").iterdir()}
    small.fail, small.values = True, [2, 5]
    for path in (small.folder / "runs/first").iterdir():
        path.unlink()
    capsys.readouterr()
    assert main(["all", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "first: 1 of 2 jobs failed" in error and "half(value=2): RuntimeError: no luck" in error
    assert "second" not in error
    assert {path: path.read_bytes() for path in (small.folder / "results").iterdir()} == before
    small.fail = False                                  # the next call tries what failed, and that only
    calls = len(os.listdir(small.folder / "calls"))
    assert main(["first", "--quiet"]) == 0 and len(os.listdir(small.folder / "calls")) == calls + 1


def test_a_missing_result_names_the_study_that_makes_it(small):
    with pytest.raises(FileNotFoundError, match="comparison_slices.json: no such file; python -m studies comparison"):
        results.load("comparison_slices", small.folder)


def test_a_checkout_with_changes_ships_nothing(small, tmp_path, capsys):
    """Neither its results nor, later, those of the jobs that were done in it."""
    small.commit = "abc-dirty"
    assert main(["first", "--quiet"]) == 1
    assert "found changes since commit abc, expected a clean checkout" in capsys.readouterr().err
    assert not os.listdir(small.folder / "results") and not os.listdir(small.folder / "calls")
    (tmp_path / "elsewhere").mkdir()
    assert main(["first", "--quiet", "--out", str(tmp_path / "elsewhere")]) == 0
    small.commit = "def"
    assert main(["first", "--quiet"]) == 0 and len(os.listdir(small.folder / "calls")) == 6
    assert json.loads((small.folder / "results/first.json").read_text())["commit"] == "def"
    small.commit = "ghi-dirty"
    assert main(["first", "--quiet", "--allow-dirty"]) == 0


def test_a_result_of_other_weights_is_refused(tmp_path):
    """Both digests are named, wherever the file keeps its own; old files say no commit."""
    ships = {d.name: d.sha256 for d in list_datasets("prior")}["diverse"]
    for weights in ({"weights": {"diverse": "0" * 64}}, {"part": {"weights": {"diverse": "0" * 64}}}):
        (tmp_path / "denoising.json").write_text(json.dumps(weights))
        with pytest.raises(ValueError, match=f"diverse with SHA-256 {'0' * 64}, .* have {ships}; python -m "):
            results.load("denoising", tmp_path)
    row = dict.fromkeys(results.COLUMNS, "") | dict.fromkeys(results.NUMBERS, 1)
    results.write_rows(tmp_path / "comparison.csv", [row | {"prior": "diverse", "prior_sha256": "1" * 64}])
    with pytest.raises(ValueError, match="1" * 64):
        results.load("comparison", tmp_path)
    (tmp_path / "scaling.json").write_text('{"weights": {"mine": "0"}, "rows": []}')
    assert results.load("scaling", tmp_path).commit is None
    (tmp_path / "scaling.json").write_text('{"weights":')
    with pytest.raises(ValueError, match="found a truncated file"):
        results.load("scaling", tmp_path)


def test_limits_take_the_sampler_that_was_found_best():
    found = {row["method"]: row["settings"] for row in results.load("samplers")["rows"]
             if row["walks"] == 1 and row["budget"] == 1000}
    for method in ("dds", "tpdm"):
        assert found[method]["sigma"] == limits.SAMPLER["sigma"] and found[method]["eta"] == 1.0


def test_shipped_results_are_read_and_belong_to_a_study():
    studies = runner.catalogue()
    made = {file for study in studies.values() for file in study.RESULTS}
    shipped = {path.name for path in results.RESULTS.iterdir()}
    shipped.remove("more_training.json")            # of the first version, for the appendix: nothing makes it again
    assert results.load("more_training")["rows"]
    assert shipped <= made
    for name in shipped:
        assert results.load(Path(name).stem)
        assert results.command(Path(name).stem).split()[-1] in studies, name
