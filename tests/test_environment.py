"""environment.yml (exact pins), pyproject.toml (loose bounds) and what is installed agree."""

import json
import re
import sys
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()
BOUNDS = [Requirement(line) for part in PARTS for line in part]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
PINS = {
    canonicalize_name(name): pin
    for name, pin in (line.split("==") for line in CONDA[-1]["pip"] if not line.startswith("-e"))
}


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_pin_satisfies_bound(bound):
    name = canonicalize_name(bound.name)
    pin = PINS.get(name)
    assert pin and bound.specifier.contains(pin), f"environment.yml pins {name} to {pin}, pyproject.toml asks {bound}"


@pytest.mark.parametrize("name", PINS)
def test_pin_is_installed(name):
    assert version(name).split("+")[0] == PINS[name]    # torch's local part (+cpu) is left to the platform


@pytest.fixture
def versions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import versions

    return versions


def test_every_bound_of_the_package_can_be_tried(versions):
    """`make lowest` takes them from pyproject.toml, `make newest` the same without a version; the book's are pinned."""
    lowest = [Requirement(versions.at_its_bound(line)) for line in versions.requirements()]
    parts = ("torch", "cluster")
    direct = [*PROJECT["dependencies"], *(line for part in parts for line in PROJECT["optional-dependencies"][part])]
    assert {entry.name for entry in lowest} == {Requirement(line).name for line in direct} | {"pytest"}
    for entry in lowest:
        bound, = (bound for bound in BOUNDS if bound.name == entry.name)
        assert bound.specifier.contains(str(entry.specifier).removeprefix("=="))


def test_what_every_environment_must_pass_needs_nothing_of_the_book(versions):
    """Nothing but the package, what it depends on, and pytest; tests of the book's tools are left out by name."""
    chosen = versions.selection()
    assert chosen[0] == "mrilab" and {"tests/test_raw.py", "tests/test_main.py", "tests/test_studies.py"} <= set(chosen)
    assert {f"test_{name}.py" for name in versions.OTHERS} <= {path.name for path in (ROOT / "tests").glob("test_*.py")}
    others = "bs4|yaml|packaging|nbformat|nbclient|sphinx|docutils|myst_nb|pypdf|onnx|hypothesis"
    for name in chosen[1:]:
        assert re.findall(rf"^ *(?:import|from) (?:{others})\b.*", (ROOT / name).read_text(), re.M) == [], name


def test_failed_tests_are_not_noted(versions, tmp_path, monkeypatch):
    """What stands in the file passed; a selection of tests is said."""
    file = tmp_path / "found.json"
    monkeypatch.setattr(versions, "note", lambda name, entry: found.note(name, entry, file))
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    monkeypatch.setattr(versions, "install", lambda which, folder: (sys.executable, {"numpy": "2.0.0"}))
    monkeypatch.setattr(versions, "selection", lambda: [tmp_path / "test_one.py"])
    import found

    (tmp_path / "test_one.py").write_text("def test_one():\n    assert False\n")
    with pytest.raises(SystemExit, match="^lowest, Python 3.*: tests failed with numpy 2.0.0"):
        versions.main("lowest", [])
    assert not file.exists()
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    versions.main("lowest", ["-p", "no:cacheprovider"])
    (name, entry), = json.loads(file.read_text()).items()
    assert name.startswith("lowest, Python 3.") and entry["versions"] == {"numpy": "2.0.0"}
    assert (entry["passed"], entry["skipped"], entry["arguments"]) == (1, 0, "-p no:cacheprovider")


def test_found_is_what_the_tools_wrote():
    """The committed record of longer runs, which the status page shows: each entry is dated."""
    file = ROOT / "tests/found.json"
    for name, entry in json.loads(file.read_text()).items():
        assert date.fromisoformat(entry["date"]), name
        if "versions" in entry:
            assert re.match(r"(lowest|newest), Python 3\.\d+$", name) and entry["passed"] > 100 and entry["versions"]
        else:
            assert name in ("coverage", "fuzz")


def test_python_of_conda_is_allowed():
    (python,) = (line.removeprefix("python=") for line in CONDA if str(line).startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
