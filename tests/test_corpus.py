"""Hundreds of damaged and hostile files: each ends in one clear error, or is harmless, and nothing else happens."""

import json
import subprocess
import sys
from pathlib import Path

import corpus
import pytest


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Read in a process of its own, so that a crash of a library is a failure here and not the end of the tests."""
    folder = tmp_path_factory.mktemp("corpus") / "files"
    files = corpus.write(folder)
    before = everything(folder.parent)
    done = subprocess.run([sys.executable, corpus.__file__, folder], capture_output=True, text=True, timeout=500)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]} ended the process: {done.stderr[-2000:]}"
    assert everything(folder.parent) == before, "reading wrote a file"
    rows = {line["file"]: line for line in lines if "seconds" in line}
    assert sorted(rows) == sorted(f.name for f in files)
    return rows


def everything(folder):
    return sorted((str(p), p.stat().st_size) for p in Path(folder).rglob("*"))


def test_there_are_enough(results, record_property):
    """The numbers stand on the status page."""
    record_property("damaged and hostile files tried", len(results))
    record_property("of these, refused in one line that names the file", sum("error" in r for r in results.values()))
    assert len(results) >= 450 and sum(name.startswith(corpus.MUST_FAIL) for name in results) >= 150
    assert len({name.partition(".")[2] for name in results}) >= 5


def test_damage_ends_in_an_error_that_names_the_file(results):
    assert [r for r in results.values() if "unexpected" in r] == []
    assert [name for name, r in results.items() if name.startswith(corpus.MUST_FAIL) and "error" not in r] == []
    for name, r in results.items():
        if "error" in r:
            assert name.removesuffix(".cfl") in r["error"] and len(r["error"]) < 1000, r


def test_good_files_are_good(tmp_path):
    for path in corpus.good(tmp_path).values():
        assert len(corpus.read(path)) >= 3


def test_seconds_and_memory(results):
    """CPU time, which a busy machine does not change; the memory includes PyTorch's own 250 MB."""
    assert max(r["seconds"] for r in results.values()) < 5
    assert max(r["peak"] for r in results.values()) < 1e9


def test_no_code_was_executed(results):
    """The pickled object in the corpus would have made a file; the listing before and after is equal as well."""
    assert any("objects" in name for name in results)
    assert "error" in results[f"{corpus.MUST_FAIL}-objects.npy"]
