"""Exercises: each chapter has three kinds, each with a solution; the student form has stubs and checks that work."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
from slices import missing, needed

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from exercises import exercises, stub, student  # noqa: E402

CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "book").glob("[0-9]*.ipynb"))}


def tagged(cells, tag):
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def plain(sources):
    """Sources without the bootstrap cell and its shell commands."""
    return [source for source in sources if "google.colab" not in source]


def code(notebook):
    return plain(cell.source for cell in notebook.cells if cell.cell_type == "code")


def pairs(chapter):
    """Label, solution cell and check cell of each exercise that has them."""
    for label, exercise in exercises(CHAPTERS[chapter]).items():
        solutions, checks = (tagged(exercise["code"], tag) for tag in ("solution", "check"))
        yield from ((label, *pair) for pair in zip(solutions, checks, strict=True))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_three_kinds_each_with_a_solution(chapter):
    found = exercises(CHAPTERS[chapter])
    assert len(found) >= 3
    assert [label for label, exercise in found.items() if not exercise["code"]] == []
    kinds = {re.match(r"\*+(\w+)", exercise["task"])[1] for exercise in found.values()}
    assert kinds == {"Predict", "Code", "Extend"}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_coding_exercise_has_a_check(chapter):
    assert list(pairs(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_stub_has_the_signature_of_the_solution(chapter):
    def signatures(source):
        return {node.name: (ast.dump(node.args), ast.get_docstring(node)) for node in ast.parse(source).body
                if isinstance(node, ast.FunctionDef)}

    stubs = [cell.source for cell in student(CHAPTERS[chapter]).cells if "raise NotImplementedError" in cell.source]
    solutions = [solution.source for _, solution, _ in pairs(chapter)]
    assert [signatures(source) for source in stubs[-len(solutions):]] == [signatures(s) for s in solutions]
    assert all(signatures(source) for source in solutions)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_student_form_is_whole_and_holds_no_solution(chapter):
    form = student(CHAPTERS[chapter])
    nbformat.validate(form)
    assert form.metadata.get("accelerator") == CHAPTERS[chapter].metadata.get("accelerator")
    text = "\n".join(cell.source for cell in form.cells)
    assert "solution-start" not in text and "{exercise-" not in text
    assert [cell.outputs for cell in form.cells if cell.cell_type == "code" and cell.outputs] == []
    assert missing(code(form)) == set(), "names that only a solution defines"
    for exercise in exercises(CHAPTERS[chapter]).values():
        for cell in exercise["code"]:
            if "check" not in cell.metadata.get("tags", []):
                assert cell.source not in text


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_check_fails_on_the_stub_and_passes_on_the_solution(chapter, monkeypatch, tmp_path):
    """With the statements of the chapter that the two depend on, and no others."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    cells = [cell for cell in CHAPTERS[chapter].cells if cell.cell_type == "code"]
    for label, solution, check in pairs(chapter):
        before = plain(cell.source for cell in cells[:cells.index(solution)])
        state = {"__name__": label}
        exec(needed(before, f"{solution.source}\n{check.source}"), state)
        exec(stub(solution.source), state)
        with pytest.raises(NotImplementedError):
            exec(check.source, state)
        exec(solution.source, state)
        exec(check.source, state)
