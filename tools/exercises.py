"""Write the student form of the chapters: ``python tools/exercises.py [NAME ...]``, into _build/exercises/.

The chapter is the only source. Between ``exercise-start`` and ``exercise-end`` everything stays. Between
``solution-start`` and ``solution-end`` the words go, and a code cell is treated by its tag: one tagged ``solution``
becomes a stub (signature and docstring of its functions), one tagged ``check`` stays, the rest goes too; where nothing
is left stands a cell for the reader's own code. Outputs are dropped: the reader makes them.
"""

import ast
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from mrilab.writing import atomic_path

ROOT = Path(__file__).parents[1]
# ```{exercise-start} Title  or  ```{solution-end}, with its options, up to the closing fence
GATE = re.compile(r"^```\{(exercise|solution)-(start|end)\}(.*)\n((?::.*\n)*)```$", re.M)
INTRODUCTION = ("This is the chapter without the solutions of its exercises. A stub raises `NotImplementedError` until"
                " you have written it; the cell below it is a check that fails on the stub and passes on a solution.")


def parts(notebook):
    """The chapter in order as ``("gate", match)``, ``("words", text)`` and ``("code", cell)``."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield "code", cell
            continue
        position = 0
        for gate in GATE.finditer(cell.source):
            yield "words", cell.source[position:gate.start()].strip()
            yield "gate", gate
            position = gate.end()
        yield "words", cell.source[position:].strip()


def exercises(notebook):
    """Exercises of a chapter by label: the words of the task, and the code cells of the solution.

    Examples
    --------
    >>> chapter = nbformat.v4.new_notebook(cells=[
    ...     new_markdown_cell("```{exercise-start} Twice\\n:label: two\\n```\\nDouble it.\\n```{exercise-end}\\n```"),
    ...     new_markdown_cell("```{solution-start} two\\n```"), new_code_cell("2 * 2"),
    ...     new_markdown_cell("```{solution-end}\\n```")])
    >>> found = exercises(chapter)["two"]
    >>> found["task"], len(found["code"])
    ('Double it.', 1)
    """
    found, label, inside = {}, None, None
    for kind, part in parts(notebook):
        if kind == "gate":
            inside = part[1] if part[2] == "start" else None
            if inside == "exercise":
                label = re.search(r":label: (\S+)", part[4])[1]
                found[label] = {"title": part[3].strip(), "task": "", "code": None}
            elif inside == "solution":
                label = part[3].strip()
                found[label]["code"] = []
        elif inside == "exercise" and kind == "words":
            found[label]["task"] += part
        elif inside == "solution" and kind == "code":
            found[label]["code"].append(part)
    return found


def stub(source):
    """Imports and signatures of a solution, with the comments and docstrings that open its functions.

    Examples
    --------
    >>> print(stub("def double(x: int, *, times=1):\\n    # twice as much\\n    return 2 * x"))
    def double(x: int, *, times=1):
        # twice as much
        raise NotImplementedError("double")
    """
    lines, kept = source.splitlines(), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept.append(ast.get_source_segment(source, node))
        elif isinstance(node, ast.FunctionDef):
            body = node.body
            opening = body[0].lineno - 1
            if ast.get_docstring(node) is not None:
                opening = body[0].end_lineno
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            kept.append("\n".join([*lines[start:opening], f'    raise NotImplementedError("{node.name}")']))
        else:
            raise ValueError(f"solution: found {ast.unparse(node)[:60]!r}, expected imports and functions only; "
                             "put the rest into a cell of its own")
    return "\n\n\n".join(kept)


def student(notebook):
    """A chapter without its solutions and outputs, as a new notebook."""
    cells, inside, before = [], None, 0
    for kind, part in parts(notebook):
        if kind == "gate":
            if inside == "solution" and len(cells) == before:
                cells.append(new_code_cell("# your code"))
            inside = part[1] if part[2] == "start" else None
            if inside == "exercise":
                cells.append(new_markdown_cell(f"### Exercise: {part[3].strip() or 'your turn'}"))
            before = len(cells)
        elif kind == "words":
            if part and inside != "solution":
                cells.append(new_markdown_cell(part))
        elif inside != "solution" or "check" in part.metadata.get("tags", []):
            cells.append(new_code_cell(part.source))
        elif "solution" in part.metadata.get("tags", []):
            cells.append(new_code_cell(stub(part.source)))
    cells.insert(1, new_markdown_cell(INTRODUCTION))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"                  # the same in every run
    kept = {key: notebook.metadata[key] for key in ("kernelspec", "language_info", "accelerator")
            if key in notebook.metadata}
    return nbformat.v4.new_notebook(cells=cells, metadata=kept)


def write(path, out):
    """The student form of a chapter as a file in the folder ``out``, if the chapter has exercises."""
    chapter = nbformat.read(path, as_version=4)
    if exercises(chapter):
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(out / path.name) as unfinished:
            nbformat.write(student(chapter), unfinished)
        return out / path.name
    return None


if __name__ == "__main__":
    names = {Path(name).stem for name in sys.argv[1:]}
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        if (not names or path.stem in names) and (written := write(path, ROOT / "_build/exercises")):
            print(written.relative_to(ROOT))
