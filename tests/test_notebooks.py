"""The book's sources: chapters are committed executed, open in Colab, and can be read by everyone."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mrilab

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
TAG = f"v{mrilab.__version__}"
NUMBERED = [entry["file"] for part in TOC["parts"] if part.get("numbered") for entry in part["chapters"]]


def colab(name):
    repository = ADDRESS.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{repository}/blob/{TAG}/book/{name}"


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


@pytest.fixture
def cells(chapter):
    return json.loads(chapter.read_text())["cells"]


@pytest.fixture
def code(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def test_is_in_table_of_contents(chapter):
    assert chapter.stem in [entry["file"] for part in TOC["parts"] for entry in part["chapters"]]


@pytest.mark.parametrize("page", [*CHAPTERS, *sorted(BOOK.glob("*.md"))], ids=lambda path: path.stem)
def test_chapters_are_called_by_their_numbers_and_linked(page):
    """Those of the table of contents, as the pages show them."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        text = "\n".join(source(cell) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
    for number, stem in re.findall(r"\[(?:[Cc]hapters? )?(\d+)\]\((\w+)\.ipynb\)", text):
        assert NUMBERED[int(number) - 1] == stem
    own = {str(NUMBERED.index(page.stem) + 1)} if page.stem in NUMBERED else set()
    assert set(re.findall(r"(?<!\[)\b[Cc]hapters? (\d+)", text)) <= own


def test_is_executed_in_order_without_errors(code):
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run `make chapters`"
    assert [o["evalue"] for cell in code for o in cell["outputs"] if o["output_type"] == "error"] == []


def test_has_stored_outputs_and_no_stderr(code):
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []


def test_is_small(chapter):
    """With the data of its interactive figures."""
    assert chapter.stat().st_size < 1.5e6


def test_opens_in_colab(chapter, cells, code, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from address import BOOTSTRAP

    repository = ADDRESS.removeprefix("https://github.com/")
    assert f"]({colab(chapter.name)})" in source(cells[0])
    assert f"](https://mybinder.org/v2/gh/{repository}/{TAG}?urlpath=lab/tree/book/{chapter.name})" in source(cells[0])
    assert source(code[0]) == BOOTSTRAP.format(url=ADDRESS, tag=TAG), "run `make address`"
    assert "remove-cell" in code[0]["metadata"].get("tags", [])


def test_measured_numbers_in_the_words_come_from_the_chapter(chapter, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from typed_numbers import typed

    assert list(typed(chapter)) == [], "print it, or exempt it with a reason: tools/typed_numbers.py"


def test_outputs_are_compared():
    """nbval compares what a cell prints but for one cell in twenty, each with its reason in the metadata."""
    cells = [(path.stem, cell) for path in CHAPTERS for cell in json.loads(path.read_text())["cells"]
             if cell["cell_type"] == "code"]
    exempt = [(name, cell) for name, cell in cells
              if {"nbval-ignore-output", "nbval-skip"} & set(cell["metadata"].get("tags", []))
              or "NBVAL_" in source(cell)]
    assert len(exempt) <= 0.05 * len(cells)
    assert [(name, cell["id"]) for name, cell in exempt if len(cell["metadata"].get("nbval_reason", "")) < 20] == []


def test_no_cell_is_long(code):
    assert [cell["id"] for cell in code if source(cell).strip().count("\n") >= 25] == []


def bound(code):
    """Names that a chapter's functions have, and those of what is assigned to outside of them."""
    functions, assigned = set(), set()

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            functions.add(node.name)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assigned.add(node.id)
            for child in ast.iter_child_nodes(node):
                visit(child)

    for cell in code:
        visit(ast.parse(re.sub(r"^( *)[!%].*", r"\1pass", source(cell), flags=re.M)))
    return functions, assigned


def test_no_function_and_variable_share_a_name(code):
    functions, assigned = bound(code)
    assert functions & assigned == set()


def words(cells):
    """Those that one reads outside of the exercises: no formulas, addresses, directives, or words for pictures."""
    text = "\n\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    for what in (r"```\{exercise-start\}.*?```\{solution-end\}\n```", r"\$\$.*?\$\$( \(.*?\))?", r"!\[.*?\]\(.*?\)",
                 r"(?<=\])\([^)]*\)", r"(?m:^(:::|:\w+:)[^\n]*)"):
        text = re.sub(what, "", text, flags=re.S)
    return len(re.sub(r"\$[^$]*\$", "x", text).split())


def test_can_be_read_in_one_sitting(chapter, cells):
    number = NUMBERED.index(chapter.stem) + 1 if chapter.stem in NUMBERED else None
    assert words(cells) <= (2200 if number and number <= 5 else 3000)


def test_code_lines_fit_the_page(code):
    assert [line for cell in code for line in source(cell).splitlines() if len(line) > 88] == []


def test_figures_have_alt_text(cells, code):
    for cell in code:
        images = [o for o in cell["outputs"] if any(kind.startswith("image/") for kind in o.get("data", {}))]
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(images) <= 1, f"one figure a cell, so that each has its own alt text: {source(cell)}"
        assert not images or len(alt) >= 20, f"metadata mystnb.image.alt, found {alt!r}: {source(cell)}"
    text = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    assert re.findall(r"!\[\s*\]\(.*?\)", text) == []


def test_names_no_folder_of_a_machine(chapter):
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users|content)/[\w./-]*", chapter.read_text()) == []


def test_api_page_lists_every_module():
    modules = {path.stem for path in Path(mrilab.__file__).parent.glob("*.py") if not path.stem.startswith("_")}
    listed = set(re.findall(r"automodule:: mrilab\.(\w+)", (BOOK / "api.md").read_text()))
    assert sorted(modules - listed) == []


def test_public_names_have_an_example():
    """In their docstring or a method's, run by pytest. The commands are described by their help."""
    without = set()
    package = Path(mrilab.__file__).parent
    for path in (*package.glob("[!_]*.py"), *package.glob("raw/[!_]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                parts = [node, *(part for part in node.body if isinstance(part, ast.FunctionDef))]
                if not any(">>>" in (ast.get_docstring(part) or "") for part in parts):
                    without.add(f"{path.stem}.{node.name}")
    assert sorted(name for name in without if not name.startswith("commands.")) == []


def test_notation_maps_symbols_to_code_and_equations():
    """Names that are in the package, and places that are in the chapter whose number stands beside them."""
    table = (BOOK / "intro.md").read_text().partition("## Notation")[2]
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in table.splitlines() if line.startswith("| $")]
    package = "\n".join(path.read_text() for path in Path(mrilab.__file__).parent.glob("*.py"))
    assert len(rows) > 20
    for symbol, code, _, places in rows:
        for owner, name in re.findall(r"`(?:(\w+)\.)?(\w+)", code):
            text = package
            if owner.islower():
                text = (Path(mrilab.__file__).parent / f"{owner}.py").read_text()
            elif owner:
                text = re.search(rf"^class {owner}\b.*?(?=^\S)", package, re.M | re.S)[0]
            assert re.search(rf"\b{name}\b", text), f"{symbol}: {owner}.{name}"
        found = re.findall(r"(\d+), (?:\{eq\}`([\w-]+)`|\[.+?\]\((\w+)\.ipynb#)", places)
        assert found, f"{symbol}: {places}"
        for number, label, stem in found:
            path, = BOOK.glob(f"{int(number):02}_*.ipynb")
            assert stem == path.stem or f"({label})" in path.read_text(), f"{symbol}: {places}"


def test_readme_lists_every_chapter(chapter):
    assert colab(chapter.name) in (ROOT / "README.md").read_text()


def test_chapter_alone_says_what_to_do(tmp_path, monkeypatch):
    """Opened without the repository, the first cell ends in one line instead of a stack trace from an import."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    from address import BOOTSTRAP

    (tmp_path / "alone.py").write_text(re.sub(r"^    [!%].*$", "    pass", BOOTSTRAP, flags=re.M))
    run = subprocess.run([sys.executable, "-I", "alone.py"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and "git clone" in run.stderr and len(run.stderr.splitlines()) == 1
