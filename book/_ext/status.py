"""Sphinx extension: the directive ``status``, tables of what the book takes and how it was tested.

A chapter's own record (``mrilab_run``) comes from ``make chapters``; where this build executed the chapter, its time
stands beside. Tests are those of the last ``make test`` in this checkout; ``tests/found.json`` has what longer runs
found (``tools/found.py``). Training says its times on the priors' cards, ``benchmarks/`` has others.
"""

import datetime
import json
import platform
import subprocess
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.util.docutils import SphinxDirective

from mrilab.datasets import list_datasets

ROOT = Path(__file__).parents[2]
PAGE = "status"
MANY = 10_000
WHERE = ("hardware", "torch", "date")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines] + [""]


def chapters(env):
    """Each chapter's run: stored in the notebook, and in this build."""
    for path in sorted(Path(env.srcdir).glob("*.ipynb")):
        if path.stem in env.found_docs:
            run = json.loads(path.read_text())["metadata"].get("mrilab_run", {})
            built = (NbMetadataCollector.get_exec_data(env, path.stem) or {}).get("runtime")
            yield (f"{{doc}}`{path.stem}`", run.get("seconds", "not measured"), run.get("peak_memory_MB") or "",
                   f"{built:.0f}" if built else "", run.get("hardware", ""), run.get("torch", ""), run.get("date", ""))


def found():
    file = ROOT / "tests/found.json"
    return json.loads(file.read_text()) if file.exists() else {}


def seconds():
    """What trainings and benchmarks took, on CPUs and GPUs: in all, and for as many patches or slices as ``MANY``."""
    for path in sorted((ROOT / "data/priors").glob("*.json")):
        card = json.loads(path.read_text())
        yield (f"training of `{path.stem}`", card["seconds"], f"{MANY / card['images_per_second']:.3g}",
               *(card[key] for key in WHERE))
    for path in sorted((ROOT / "benchmarks").glob("*.json")):
        timings = json.loads(path.read_text())
        where = [timings[key] for key in WHERE]
        for name, value in timings.items():
            if "_per_second" in name and isinstance(value, float):
                what, _, how = name.partition("_per_second")
                yield f"{what}{how}", "", f"{MANY / value:.3g}", *where
            elif name.startswith("seconds of ") and isinstance(value, list):
                yield name.removeprefix("seconds of "), ", ".join(map(str, value)), "", *where


def people():
    """Of each split, and how many of them ship; a phantom is nobody."""
    entries = [entry for entry in list_datasets() if entry.kind in ("volume", "reference", "labels", "scan")]

    def count(split, kinds, key):
        chosen = [entry for entry in entries if entry.split == split and entry.kind in kinds]
        every = {getattr(entry, key) for entry in chosen} - {"phantom"}
        ship = {getattr(entry, key) for entry in chosen if not entry.page} - {"phantom"}
        return f"{len(every)} ({len(ship)} ship)" if every else ""

    for split in sorted({entry.split for entry in entries}, key=lambda name: ("test" in name, name)):
        yield (split, count(split, ("volume", "reference", "labels", "scan"), "person"),
               count(split, ("volume", "reference"), "name"), count(split, ("labels",), "name"),
               count(split, ("scan",), "name"))


def tried():
    """Head and rows of the versions that the tests passed with: those of this build, and of ``found.json``."""
    runs = {name: entry for name, entry in found().items() if "versions" in entry}
    rows = [(name, version(name), *(entry["versions"].get(name, "") for entry in runs.values()))
            for name in sorted({name for entry in runs.values() for name in entry["versions"]})]
    for key in ("python", "passed", "skipped", "arguments", "date"):
        here = platform.python_version() if key == "python" else ""
        rows.append((key, here, *(entry[key] for entry in runs.values())))
    return ("", "this build", *runs), rows if runs else [("none but these", "")]


def tests():
    """Numbers of the last test run, with what its tests counted, and of longer runs."""
    report, longer = ROOT / "_build/tests.xml", found()
    if report.exists():
        suite = ET.parse(report).getroot().find("testsuite")
        cells = sum("ipynb" in case.get("classname", "") for case in suite)
        yield "tests of the code and the pages", int(suite.get("tests")) - cells
        yield "cells of the chapters, executed and compared", cells
        yield "failures and errors", int(suite.get("failures")) + int(suite.get("errors"))
        yield "skipped", suite.get("skipped")
        yield "minutes", f"{float(suite.get('time')) / 60:.0f}"
        yield "date", suite.get("timestamp", "")[:10]
        for entry in suite.iter("property"):
            if entry.get("value").isdigit():        # tests in the browser leave what they measured, which is no count
                yield entry.get("name"), entry.get("value")
    if "coverage" in longer:
        percent, lines, date = (longer["coverage"][key] for key in ("percent", "lines", "date"))
        yield "lines of mrilab that the quick tests reach", f"{percent:.0f} % of {lines} ({date})"
    if "fuzz" in longer:
        entry = longer["fuzz"]
        yield "files changed at random, every one harmless or refused", f"{entry['files']} ({entry['date']})"


def megabytes(paths):
    return f"{sum(path.stat().st_size for path in paths if path.is_file()) / 1e6:.1f} MB"


def sizes():
    modules = list((ROOT / "mrilab").rglob("*.py"))
    yield "package", f"{sum(len(path.read_text().splitlines()) for path in modules)} lines in {len(modules)} modules"
    yield "chapters with their outputs", megabytes((ROOT / "book").glob("*.ipynb"))
    yield "volumes", megabytes((ROOT / "data/volumes").iterdir())
    yield "priors", megabytes((ROOT / "data/priors").glob("*.safetensors"))
    yield "measured results", megabytes((ROOT / "data/results").iterdir())


def versions(extensions):
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    yield "built", datetime.date.today()
    yield "commit", git.stdout.strip() or "not a checkout"
    yield "Python", platform.python_version()
    book = ("jupyter-book",) if "jupyter_book" in extensions else ("sphinx-book-theme", "myst-parser")
    for name in ("torch", "numpy", "Sphinx", *book, "myst-nb", "anywidget"):
        yield name, version(name)


class Status(SphinxDirective):
    def run(self):
        measured = list(tests()) or [("no test has run in this checkout", "")]
        plain = ("what", "value")
        parts = {
            "Chapters": (("chapter", "seconds", "peak memory, MB", "seconds in this build", *WHERE),
                         chapters(self.env)),
            "Training and benchmarks": (("what", "seconds", f"seconds for {MANY:,} patches or slices", *WHERE),
                                        seconds()),
            "Tests": (plain, measured),
            "People and scans": (("split", "people", "heads and other volumes", "label maps", "recorded scans"),
                                 people()),
            "Sizes": (plain, sizes()),
            "Versions": (plain, versions(self.config.extensions)),
            "Versions tried": tried(),
        }
        lines = [line for title, part in parts.items() for line in (f"## {title}", "", *table(*part))]
        place = nodes.section()
        self.state.nested_parse(StringList(lines, PAGE), self.content_offset, place, match_titles=True)
        return place.children


def read_last(app, env, docnames):
    """The page is made anew in every build, after the chapters."""
    if PAGE in env.found_docs:
        docnames[:] = [name for name in docnames if name != PAGE] + [PAGE]


def setup(app):
    app.add_directive("status", Status)
    app.connect("env-before-read-docs", read_last)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
