"""The sheet of formulas: every numbered equation of the chapters, once, with the section it comes from."""

import re
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9]*.ipynb"))


@pytest.fixture
def formulas(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "_ext")
    import formulas

    return formulas


def test_sheet_has_every_labelled_equation_in_order(formulas):
    labels = [label for path in CHAPTERS for label in re.findall(r"\$\$ \((eq-[\w-]+)\)", formulas.words(path))]
    assert len(labels) > 25
    assert re.findall(r"\{eq\}`([\w-]+)`", formulas.sheet(CHAPTERS)) == labels


def test_formula_is_the_chapters_own_and_stands_below_its_section(formulas):
    title, found = formulas.equations(formulas.words(BOOK / "05_diffusion_prior.ipynb"))
    assert title.startswith("A diffusion prior")
    assert ("From denoiser to samples", "eq-flow") in [entry[:2] for entry in found]
    sheet = formulas.sheet(CHAPTERS)
    assert all(formula in formulas.words(BOOK / "05_diffusion_prior.ipynb") and formula in sheet
               for _, _, formula in found)


def test_only_labelled_equations_count_and_code_is_no_title(formulas):
    text = "# A\n$$\n1\n$$\n\n```\n## no title\n```\n\n$$\n2\n$$ (eq-first)\n## B\n$$\n3\n$$\n$$\n4\n$$ (eq-b)\n"
    assert formulas.equations(text) == ("A", [("A", "eq-first", "2\n"), ("B", "eq-b", "4\n")])


def test_other_pages_stay_as_they_are(formulas):
    source = ["# Glossary\n"]
    formulas.write(None, "glossary", source)
    assert source == ["# Glossary\n"]
