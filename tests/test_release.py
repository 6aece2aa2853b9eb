"""What a release consists of besides code and chapters: citation, changelog, workflows, sums."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link

import mrilab

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def authors_are_named(entry):
    return entry["authors"] and all({"name"} <= set(author) or {"family-names", "given-names"} <= set(author)
                                    for author in entry["authors"])


def test_citation_follows_the_format():
    """The rules of CFF 1.2.0 for the keys that are used, as its schema has them."""
    allowed = {"cff-version", "title", "message", "type", "authors", "version", "license", "repository-code",
               "references", "abstract", "keywords", "doi", "date-released", "url"}
    assert set(CITATION) <= allowed and CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset") and CITATION["title"] and CITATION["message"]
    assert authors_are_named(CITATION)
    for entry in CITATION["references"]:
        assert entry["type"] == "article" and entry["title"] and authors_are_named(entry)
        assert isinstance(entry["year"], int) and re.match(r"https://\S+$", entry["url"])


def test_citation_agrees_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert str(CITATION["version"]) == mrilab.__version__
    assert CITATION["license"] == project["license"]
    assert CITATION["repository-code"] == config["repository"]["url"]
    owner, name = config["repository"]["url"].removeprefix("https://github.com/").split("/")
    assert config["html"]["baseurl"] == f"https://{owner}.github.io/{name}/"


def test_changelog_begins_with_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == mrilab.__version__


def test_release_notes_are_those_of_one_version():
    run = subprocess.run([sys.executable, ROOT / "tools/notes.py", f"v{mrilab.__version__}"], capture_output=True,
                         text=True)
    assert run.returncode == 0 and run.stdout.strip() in (ROOT / "CHANGELOG.md").read_text()
    assert "## " not in run.stdout and len(run.stdout) > 100


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_calls_targets_that_exist(name):
    called = [step["run"] for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"] if "run" in step]
    lines = [line for text in called for line in text.splitlines() if line.startswith("make ")]
    assert lines
    targets = [word for line in lines for word in line.split("#")[0].split()[1:] if "=" not in word]
    assert set(targets) <= TARGETS


def test_every_target_is_described():
    described = set(re.findall(r"^#   make (\w+)", (ROOT / "Makefile").read_text(), re.M))
    assert TARGETS - described == {"env", "lint", "browser", "clean"}


def test_manifest_holds_every_file(tmp_path):
    run = subprocess.run(["make", "manifest"], cwd=ROOT, capture_output=True, text=True)
    if "not a git repository" in run.stderr:
        pytest.skip("not a checkout")
    assert run.returncode == 0, run.stderr
    sums = dict(reversed(line.split(maxsplit=1)) for line in (ROOT / "_build/SHA256SUMS").read_text().splitlines())
    for name in ("LICENSE", "data/volumes/qtim_MRHead.h5"):
        assert sums[name] == hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


def test_pdf_joins_pages_with_bookmarks_and_inner_links(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from pdf import join

    for name, others in (("intro", ("chapter", "elsewhere")), ("chapter", ())):
        printed = PdfWriter()
        for _ in range(2):
            printed.add_blank_page(100, 100)
        for other in others:
            printed.add_annotation(0, Link(rect=(0, 0, 9, 9), url=f"http://127.0.0.1:8000/{other}.html#place"))
        printed.write(tmp_path / f"{name}.pdf")
    titles = {"intro": "Introduction", "chapter": "Chapter"}
    join(tmp_path, list(titles), titles, "http://127.0.0.1:8000/").write(tmp_path / "book.pdf")
    book = PdfReader(tmp_path / "book.pdf")
    assert [(mark.title, book.get_destination_page_number(mark)) for mark in book.outline] == [
        ("Introduction", 0), ("Chapter", 2)]
    inner, outer = (link.get_object()["/A"] for link in book.pages[0]["/Annots"])
    assert inner["/S"] == "/GoTo" and book.get_page_number(inner["/D"][0].get_object()) == 2
    assert outer["/S"] == "/URI"
