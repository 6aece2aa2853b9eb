"""The status page: every number on it comes from a file that a run wrote."""

import json
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = {"date": "2026-11-26", "python": "3.11.7", "passed": 700, "skipped": 9, "arguments": "",
       "versions": {"numpy": "2.0.0", "torch": "2.5.0"}}
REPORT = """<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="5" time="90"
timestamp="2026-11-26T10:00:00"><testcase classname="book.01.ipynb"/><testcase classname="tests.test_a"><properties>
<property name="damaged and hostile files tried" value="467"/>
<property name="measured" value="{'milliseconds': 3}"/></properties></testcase></testsuite></testsuites>"""


@pytest.fixture
def status(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book/_ext")
    import status

    return status


@pytest.fixture
def folder(status, tmp_path, monkeypatch):
    """A repository in which nothing has run."""
    for name in ("_build", "tests", "data/priors", "benchmarks"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(status, "ROOT", tmp_path)
    return tmp_path


def test_where_nothing_has_run_nothing_is_said(status, folder):
    assert list(status.tests()) == list(status.seconds()) == []
    assert status.tried() == (("", "this build"), [("none but these", "")])


def test_tests_say_what_they_found(status, folder):
    (folder / "_build/tests.xml").write_text(REPORT)
    (folder / "tests/found.json").write_text(json.dumps({
        "coverage": {"date": "2026-11-25", "lines": 5000, "percent": 91.3},
        "fuzz": {"date": "2026-11-24", "files": 3000}}))
    rows = dict(status.tests())
    assert rows["tests of the code and the pages"] == 4 and rows["failures and errors"] == 3
    assert rows["damaged and hostile files tried"] == "467" and "measured" not in rows
    assert rows["lines of mrilab that the quick tests reach"] == "91 % of 5000 (2026-11-25)"
    assert rows["files changed at random, every one harmless or refused"] == "3000 (2026-11-24)"


def test_versions_tried_stand_beside_those_installed(status, folder):
    newest = RUN | {"versions": {"numpy": "9.0.0", "torch": "9.1.0"}, "arguments": "-m quick"}
    (folder / "tests/found.json").write_text(json.dumps({
        "coverage": {"date": "", "lines": 1, "percent": 1}, "lowest, Python 3.11": RUN, "newest, Python 3.13": newest}))
    head, rows = status.tried()
    assert head == ("", "this build", "lowest, Python 3.11", "newest, Python 3.13")
    assert rows[:2] == [("numpy", version("numpy"), "2.0.0", "9.0.0"), ("torch", version("torch"), "2.5.0", "9.1.0")]
    assert ("python", platform.python_version(), "3.11.7", "3.11.7") in rows
    assert ("passed", "", 700, 700) in rows and ("arguments", "", "", "-m quick") in rows


def test_seconds_are_those_of_cards_and_benchmarks(status, folder):
    where = {"hardware": "a card", "torch": "2.13.0", "date": "2026-11-26"}
    (folder / "data/priors/small.json").write_text(json.dumps(where | {"seconds": 1300, "images_per_second": 50.0}))
    (folder / "benchmarks/gpu.json").write_text(json.dumps(where | {
        "patches_per_second, float32, batch 64": 20000.0, "patches_per_second, compiled, batch 64": "RuntimeError()",
        "seconds of a head": [0.5, 2], "share_of_peak, float32, batch 64": 0.01}))
    assert list(status.seconds()) == [
        ("training of `small`", 1300, "200", *where.values()),
        ("patches, float32, batch 64", "", "0.5", *where.values()), ("a head", "0.5, 2", "", *where.values())]


def test_the_repository_has_gpu_and_cpu_seconds(status):
    hardware = {row[3] for row in status.seconds()}
    assert any("NVIDIA" in name for name in hardware) and any("threads" in name for name in hardware)


def test_people_of_a_split_are_counted_once(status):
    rows = {row[0]: row[1:] for row in status.people()}
    assert list(rows)[:2] == ["train", "validation"] and {"test", "shifted test"} <= set(rows)
    registry = json.loads((ROOT / "mrilab/registry.json").read_text()).values()
    people = {entry["person"] for entry in registry if entry["kind"] in ("volume", "scan") and entry["split"] == "test"}
    assert int(re.search(r"\((\d+) ship\)", rows["test"][0])[1]) == len(people - {"phantom"}) > 0


def test_page_types_no_number():
    assert re.findall(r"\d", (ROOT / "book/status.md").read_text()) == []
