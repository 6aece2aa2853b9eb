"""House rules that a reader of the code relies on: short functions, a first line for each room, layers that hold."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(p for folder in ("mrilab", "studies") for p in (ROOT / folder).rglob("*.py"))
LONGEST = 60        # code lines of a function
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(path, tree):
    """Numbers of the lines that hold code: no docstring, no comment, no blank."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_room_has_a_name_and_functions_are_short(path):
    tree = ast.parse(path.read_text())
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    assert len(first) > 15 and first[-1] in ".:,", f"expected a first line that says what the module is: {first!r}"
    lines = code_lines(path, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            length = len(lines & set(range(node.lineno, node.end_lineno + 1)))
            assert length <= LONGEST, f"{node.name}: {length} lines, at most {LONGEST}"


def layers(folder):
    return subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=folder,
                          capture_output=True, text=True)


def test_contract_of_layers_notices_a_step_up(tmp_path):
    """A copy with one import too many, inside a function: the contract fails and names both modules."""
    for name in ("mrilab", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert layers(tmp_path).returncode == 0, layers(tmp_path).stdout
    with open(tmp_path / "mrilab/checks.py", "a") as file:
        file.write("\n\ndef late():\n    from . import training\n    return training\n")
    found = layers(tmp_path)
    assert found.returncode == 1 and re.search(r"mrilab\.checks.*mrilab\.training", found.stdout)


def test_two_doors_open_by_name_and_no_other():
    """What is imported by a string is hidden from the contract: a method, and the reader of a recorded scan."""
    opened = {p.relative_to(ROOT).as_posix() for p in MODULES if "import_module" in p.read_text()}
    assert opened - {"studies/runner.py"} == {"mrilab/methods.py", "mrilab/volumes.py"}


def test_readme_shows_every_room():
    text = (ROOT / "README.md").read_text()
    for room in ("book/", "mrilab/", "studies/", "data/", "tests/", "benchmarks/", "tools/"):
        assert f"\n{room}" in text, room
    for wing in {p.parent.name for p in MODULES if p.parent.parent.name == "mrilab"}:
        assert f"\n  {wing}/" in text, wing
