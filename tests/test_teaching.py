"""What teachers are given: the page for them names what exists, and the notebooks for students have no solutions."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
PAGE = (BOOK / "teaching.md").read_text()
ROWS = [line for line in PAGE.splitlines() if "ipynb" in line and re.search(r"\{(class|ref)\}`", line)]
COLAB = "https://colab.research.google.com/github/ORG/mrilab/blob/v0/book/x.ipynb"


@pytest.mark.parametrize("row", ROWS)
def test_widget_and_exercise_are_in_the_chapter_beside_them(row):
    linked = "\n".join((BOOK / name).read_text() for name in set(re.findall(r"\]\((\w+\.ipynb)", row)))
    for widget in re.findall(r"~mrilab\.widgets\.(\w+)", row):
        assert f"{widget}(" in linked
    if row.startswith("| ") and not row.startswith("| Hundreds"):
        for label in re.findall(r"\{ref\}`([\w-]+)`", row):
            assert f":label: {label}\\n" in linked or f":label: {label}\"" in linked


def test_minutes_are_those_of_half_a_day_and_of_full_ones():
    def minutes(title):
        table = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
        return [int(cell) for cell in re.findall(r"^\|(?: ?\d? ?\|)? (\d+) \|", table, re.M)]

    assert sum(minutes("Half a day")) == 3.5 * 60
    assert minutes("A week") == [90, 90, 120] * 5


def test_refresher_is_short():
    assert len((BOOK / "refresher.md").read_text().split()) <= 1200


@pytest.fixture
def student(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "_ext")
    import student

    return student


def page(student, name):
    """A page that begins with the link to Colab, after the extension; docutils' own document."""
    document = new_document(name)
    document.settings.env = SimpleNamespace(docname=name, doc2path=lambda docname: BOOK / f"{docname}")
    document += nodes.paragraph("", "", nodes.reference("", "Open this chapter in Colab", refuri=COLAB))
    student.LinkStudentForm(document).run()
    return [node["refuri"] for node in document.findall(addnodes.download_reference)]


def test_chapter_links_to_its_form_without_solutions(student):
    assert page(student, "01_forward_model.ipynb") == ["_static/student/01_forward_model.ipynb"]


@pytest.mark.parametrize("name", ["interactive.ipynb", "glossary.md"])
def test_page_without_exercises_has_no_such_link(student, name):
    assert page(student, name) == []


def test_build_writes_what_the_pages_link_to_and_names_what_it_cannot(student, tmp_path, monkeypatch):
    """A chapter, a page without exercises, and a chapter whose solution is no function."""
    for name in ("01_forward_model.ipynb", "interactive.ipynb"):
        shutil.copy(BOOK / name, tmp_path)
    cells = [nbformat.v4.new_markdown_cell("```{exercise-start} A\n:label: a\n```\n```{exercise-end}\n```"),
             nbformat.v4.new_markdown_cell("```{solution-start} a\n```"),
             nbformat.v4.new_code_cell("print(1)", metadata={"tags": ["solution"]}),
             nbformat.v4.new_markdown_cell("```{solution-end}\n```")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "bad.ipynb")
    said = []
    logger = SimpleNamespace(warning=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(student, "logger", logger)
    app = SimpleNamespace(outdir=tmp_path, srcdir=tmp_path, builder=SimpleNamespace(format="html"))
    student.write_notebooks(app, None)
    form, = (tmp_path / student.FOLDER).iterdir()
    assert form.name == "01_forward_model.ipynb"
    assert "NotImplementedError" in form.read_text() and "solution-start" not in form.read_text()
    assert len(said) == 1 and said[0].startswith("bad.ipynb: solution: found 'print(1)', expected")
