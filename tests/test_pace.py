"""Time limits follow the machine: four times slower, a cell may take four times as long, wherever cells run."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[1]
USUAL = yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]["timeout"]


@pytest.fixture
def pace(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book/_ext")
    import pace

    return pace


@pytest.mark.parametrize("seconds, times", [(4, 4), (1.5, 1.5), (1, 1), (0.25, 1)])
def test_limit_is_longer_on_a_slower_machine_and_never_shorter(pace, monkeypatch, seconds, times):
    monkeypatch.setattr(pace, "work", lambda: seconds * pace.USUAL)
    assert pace.limit() == times * USUAL
    config, hooks = SimpleNamespace(nb_execution_timeout=USUAL), {}
    pace.setup(SimpleNamespace(connect=hooks.__setitem__))
    hooks["config-inited"](None, config)
    assert config.nb_execution_timeout == times * USUAL


def test_limit_is_printed_for_other_programs():
    run = subprocess.run([sys.executable, ROOT / "book/_ext/pace.py"], capture_output=True, text=True)
    assert run.stderr == "" and int(run.stdout) >= USUAL


def test_every_program_that_runs_cells_asks():
    """Where a limit is a number, no machine changes it."""
    for name in ("Makefile", "tools/execute.py", "tools/colab.py", "tests/test_colab.py"):
        found = re.findall(r"timeout=(\S+)", (ROOT / name).read_text())
        assert found and [value for value in found if value[0].isdigit()] == [], name
    assert "pace" in yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["local_extensions"]
