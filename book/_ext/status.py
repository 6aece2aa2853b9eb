"""Sphinx extension: the directive ``status``, tables of what the book takes and how it was tested.

A chapter's own record (``mrilab_run``) comes from ``make chapters``; where this build executed the chapter, its time
stands beside. Tests and coverage are those of the last ``make test`` and ``make coverage`` in this checkout.
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

ROOT = Path(__file__).parents[2]
PAGE = "status"


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


def tests():
    """Numbers of the last test run and of the last measurement of coverage."""
    report, coverage = ROOT / "_build/tests.xml", ROOT / "_build/coverage.json"
    if report.exists():
        suite = ET.parse(report).getroot().find("testsuite")
        cells = sum("ipynb" in case.get("classname", "") for case in suite)
        yield "tests of the code and the pages", int(suite.get("tests")) - cells
        yield "cells of the chapters, executed and compared", cells
        yield "failures and errors", int(suite.get("failures")) + int(suite.get("errors"))
        yield "skipped", suite.get("skipped")
        yield "minutes", f"{float(suite.get('time')) / 60:.0f}"
        yield "date", suite.get("timestamp", "")[:10]
    if coverage.exists():
        totals = json.loads(coverage.read_text())["totals"]
        yield "lines of mrilab that the quick tests reach", f"{totals['percent_covered']:.0f} %"


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
        head = ("chapter", "seconds", "peak memory, MB", "seconds in this build", "hardware", "torch", "date")
        lines = ["## Chapters", "", *table(head, chapters(self.env))]
        for title, rows in (("Tests", measured), ("Sizes", sizes()), ("Versions", versions(self.config.extensions))):
            lines += [f"## {title}", "", *table(("what", "value"), rows)]
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
