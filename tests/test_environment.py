"""environment.yml (exact pins), pyproject.toml (loose bounds) and what is installed agree."""

import tomllib
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


def test_python_of_conda_is_allowed():
    (python,) = (line.removeprefix("python=") for line in CONDA if str(line).startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
