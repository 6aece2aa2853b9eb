"""What takes too long for every build to find, dated, for the status page: ``tests/found.json``.

``python tools/found.py COVERAGE.JSON`` notes what ``make coverage`` measured.
"""

import json
import os
import sys
from pathlib import Path

FILE = Path(__file__).parents[1] / "tests/found.json"


def note(name, entry, file=FILE):
    """Put an entry in place of the last one of that name; the others stay.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "found.json"
    >>> note("a", {"date": "2026-11-25"}, file)
    >>> note("b", {"date": "2026-11-26"}, file)
    >>> note("a", {"date": "2026-11-27"}, file)
    >>> json.loads(file.read_text())
    {'a': {'date': '2026-11-27'}, 'b': {'date': '2026-11-26'}}
    """
    found = json.loads(file.read_text()) if file.exists() else {}
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(json.dumps(dict(sorted({**found, name: entry}.items())), indent=1) + "\n")
    os.replace(unfinished, file)


def coverage(report):
    """The entry for a report of ``coverage json``."""
    return {"date": report["meta"]["timestamp"][:10], "lines": report["totals"]["num_statements"],
            "percent": round(report["totals"]["percent_covered"], 1)}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    note("coverage", coverage(json.loads(Path(sys.argv[1]).read_text())))
