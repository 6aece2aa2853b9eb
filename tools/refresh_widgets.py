"""Put the widgets' present scripts into executed chapters: ``python tools/refresh_widgets.py [NAME ...]``.

A notebook stores a widget's script and style beside its data. After a change to those alone nothing needs to be
computed again; after a change to the data, `make chapters`.
"""

import json
import sys
from pathlib import Path

from mrilab import widgets
from mrilab.writing import atomic_path

BOOK = Path(__file__).parents[1] / "book"
STATE = "application/vnd.jupyter.widget-state+json"


def scripts(notebook):
    """The state of each of our widgets in a notebook, with its class.

    Examples
    --------
    >>> list(scripts({"metadata": {}}))
    []
    """
    for model in notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {}).values():
        module, _, name = model["state"].get("_anywidget_id", "").rpartition(".")
        if module.startswith("mrilab.widgets"):
            yield model["state"], getattr(widgets, name)


if __name__ == "__main__":
    for path in [BOOK / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(BOOK.glob("*.ipynb")):
        before = path.read_text()
        notebook = json.loads(before)
        for state, widget in scripts(notebook):
            state.update(_esm=str(widget._esm), _css=str(widget._css))
        after = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        if json.loads(before) != notebook:
            with atomic_path(path) as unfinished:
                unfinished.write_text(after)
            print(path.name)
