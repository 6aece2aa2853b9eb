"""Execute chapters in place, in order, each in a fresh kernel: ``python tools/execute.py [NAME ...]``.

Chapters are committed with the outputs this stores, and with what the run took (``mrilab_run`` in the metadata), for
the status page. A chapter that fails is left as it was.
"""

import base64
import datetime
import io
import os
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageChops

from mrilab.processes import hardware

BOOK = Path(__file__).parents[1] / "book"
STATE = "application/vnd.jupyter.widget-state+json"
sys.path.append(str(BOOK / "_ext"))


def slim(png):
    """A base64 PNG whose pixels are all grey and opaque as one with a single channel: same picture, half the size."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    red, green, blue, opaque = image.split()
    if (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox()
            or opaque.getextrema()[0] < 255):
        return png
    file = io.BytesIO()
    red.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def tidy(svg):
    """matplotlib's SVG as a page wants it: images smooth and grey where they are, nothing that is not drawn."""
    svg = re.sub(r"^.*?(?=<svg )|<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace(' style="image-rendering:crisp-edges;image-rendering:pixelated"', "")
    svg = re.sub(r"(?<=data:image/png;base64,)[^\"]+", lambda found: slim(found[0].replace("\n", "")), svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    return re.sub(r"font-family: [^;\"]+", "font-family: sans-serif", re.sub(r"\n *", "\n", svg))


def peak_memory(pid):
    """Most memory that a process has held so far, MB; nothing where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    return round(int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024) if status.exists() else None


def execute(path):
    """Run one chapter in book/, as jupyter-book and nbval do, and replace the file when all cells ran."""
    from pace import limit  # of book/_ext

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=limit(),
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    start, memory = time.time(), [None]
    client.on_cell_executed = lambda **_: memory.append(peak_memory(client.km.provisioner.pid))
    client.execute()
    notebook.metadata["mrilab_run"] = {
        "seconds": round(time.time() - start), "peak_memory_MB": memory[-1], "hardware": hardware(),
        "python": platform.python_version(), "torch": version("torch"), "date": str(datetime.date.today())}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = slim(output["data"]["image/png"])
            if "image/svg+xml" in output.get("data", {}):
                output["data"]["image/svg+xml"] = tidy(output["data"]["image/svg+xml"])
    states = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for model in states.values():       # `interact` answers nobody without a kernel: no page shows what it last drew
        if model["model_name"] == "OutputModel":
            model["state"]["outputs"] = []
    notebook.metadata.update(    # the same on every machine; the state of the widgets stays beside them
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    unfinished = path.with_suffix(".ipynb.tmp")
    nbformat.write(notebook, unfinished)
    os.replace(unfinished, path)


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"    # a progress bar stored in a page tells nobody anything
    chapters = [BOOK / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(BOOK.glob("*.ipynb"))
    for chapter in chapters:
        start = time.time()
        execute(chapter)
        print(f"{chapter.name}: {time.time() - start:.0f} s", flush=True)
