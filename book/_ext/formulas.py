"""Sphinx extension: the sheet of formulas, which are the labelled equations of the chapters.

The page ``formulas`` has only its first words in a file. When it is read, the equations follow, in the order of the
chapters: each below the title of its section and the number that it has there, both of them links.
"""

import json
import re
from pathlib import Path

from myst_parser.mdit_to_docutils.base import default_slugify

PAGE = "formulas"
PART = re.compile(r"^##? (?P<title>[^\n]+)$|^\$\$\n(?P<formula>(?:(?!\$\$).)*)\$\$ \((?P<label>eq-[\w-]+)\)$",
                  re.M | re.S)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)      # what stands in a block of code is no title


def equations(chapter):
    """The title of a chapter, and of each labelled equation: section, label, formula.

    Examples
    --------
    >>> equations("# Sums\\n## Of squares\\n$$\\n1 + 4\\n$$\\nand\\n\\n$$\\na^2 + b^2\\n$$ (eq-two)\\n")
    ('Sums', [('Of squares', 'eq-two', 'a^2 + b^2\\n')])
    """
    titles, found = [], []
    for part in PART.finditer(FENCED.sub("", chapter)):
        if part["title"]:
            titles.append(part["title"])
        else:
            found.append((titles[-1], part["label"], part["formula"]))
    return titles[0], found


def words(path):
    """The text of a notebook."""
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def sheet(paths):
    """The equations of the chapters, as the text of a page."""
    text = ""
    for path in paths:
        title, found = equations(words(path))
        text += f"\n## {title}\n" if found else ""
        for section, label, formula in found:
            place = "" if section == title else f"#{default_slugify(section)}"
            text += f"\n[{section}]({path.name}{place}) {{eq}}`{label}`\n\n$$\n{formula}$$\n"
    return text


def write(app, page, source):
    if page == PAGE:
        paths = sorted(Path(app.srcdir).glob("[0-9]*.ipynb"))
        for path in paths:
            app.env.note_dependency(str(path))
        source[0] += sheet(paths)


def setup(app):
    app.connect("source-read", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
