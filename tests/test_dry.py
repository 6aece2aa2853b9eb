"""The dry form of every study: one tiny job of each kind, and the files that come of them."""

import subprocess
import sys

import pytest

from studies import results, runner

STUDIES = runner.catalogue()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(STUDIES) - {"three_d"}))
def test_study_starts_and_writes_its_result(name, tmp_path):
    paths = runner.conduct(name, STUDIES[name], tmp_path, dry=True, progress=False)
    assert [path.name for path in paths] == STUDIES[name].RESULTS
    for path in paths:
        assert results.load(path.stem, tmp_path)


@pytest.mark.slow
def test_study_that_starts_processes_does_so_from_several():
    """In a process of its own: one that hangs would hang this one too."""
    run = subprocess.run([sys.executable, "-m", "studies", "three_d", "--dry", "--quiet", "--jobs", "2"],
                         capture_output=True, text=True, cwd=results.ROOT, timeout=600)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("three_d: ")
