"""Measured numbers in the words of a chapter must come from the chapter: ``python tools/typed_numbers.py [NAME ...]``.

A number with the unit dB, %, s, ms, MB or GB in a text cell must, to its own precision, stand in an output of the
notebook that names this unit, or in an ``assert`` (a bound). What is not measured (a definition, a quotation, a
running time) is listed in the cell's metadata with the reason: ``"typed_numbers": {"10 %": "definition of the rise"}``.
"""

import ast
import json
import re
import sys
from pathlib import Path

BOOK = Path(__file__).parents[1] / "book"
NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?"
UNITS = {"dB": "dB", "decibels": "dB", "decibel": "dB", "%": "%", "s": "s", "seconds": "s", "second": "s", "ms": "ms",
         "MB": "MB", "GB": "GB"}
QUANTITY = re.compile(rf"(?<![\w.$^])(?:({NUMBER})\s*(?:to|and|or|against)\s+)?({NUMBER})\s?({'|'.join(UNITS)})(?!\w)")


def quantities(text):
    """Numbers with a unit in a text, as written: ``(number, unit)``.

    Examples
    --------
    >>> quantities("from 1.4 to 1.7 dB, 95 % of 12 s; 3 mm")
    [('1.4', 'dB'), ('1.7', 'dB'), ('95', '%'), ('12', 's')]
    """
    return [(number.replace("−", "-").replace(",", ""), UNITS[match[3]])
            for match in QUANTITY.finditer(text) for number in match.groups()[:2] if number]


def near(number, values):
    """Whether one of the values, rounded as the number is, equals it, its sign aside.

    Examples
    --------
    >>> near("1.7", [-1.66]), near("2", [1.4])
    (True, False)
    """
    half = 0.5 * 10 ** -len(number.partition(".")[2]) + 1e-9
    return any(abs(abs(float(number)) - abs(value)) <= half for value in values)


def bounds(source):
    """Numbers that the assert statements of a cell hold."""
    source = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.M)       # shell commands
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant)
                        and isinstance(part.value, int | float))


def printed(cell):
    for output in cell["outputs"]:
        yield "".join(output.get("text", output.get("data", {}).get("text/plain", [])))


def typed(path):
    """Quantities in the words of a notebook that nothing in it accounts for: ``(cell id, "1.7 dB")``."""
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    measured = {unit: [] for unit in UNITS.values()}
    for text in (text for cell in code for text in printed(cell)):
        for unit in {unit for _, unit in quantities(text)} | {unit for unit in ("dB", "%") if unit in text}:
            measured[unit] += map(float, re.findall(r"\d+(?:\.\d+)?", text))       # a table names its unit once
    known = [value for cell in code for value in bounds("".join(cell["source"]))]
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for number, unit in quantities("".join(cell["source"])):
                exempt = f"{number} {unit}" in cell["metadata"].get("typed_numbers", {})
                if not (exempt or near(number, measured[unit]) or abs(float(number)) in known):
                    yield cell["id"], f"{number} {unit}"


if __name__ == "__main__":
    chapters = [BOOK / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(BOOK.glob("*.ipynb"))
    found = [(path.name, *place) for path in chapters for place in typed(path)]
    print(*(" ".join(place) for place in found), sep="\n")
    sys.exit(bool(found))
