"""Chapters in an environment like Colab's: ``python tools/colab.py [NAME ...]``.

First the versions that Colab ships, then the checkout as the first cell of a chapter installs it there, with nothing of
Colab's replaced. Then each chapter runs, its asserts included. ``TORCH=2.13.0`` in the environment takes another torch
than Colab's.
"""

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "_build/colab"
PYTHON = ENVIRONMENT / "bin/python"
# of Colab's some hundred packages those that the book meets; the rest is what pip makes of them
SHIPPED = [f"torch=={os.environ.get('TORCH', '2.11.0')}", "numpy==2.1.3", "ipywidgets==7.7.1", "h5py==3.16.0",
           "scipy", "matplotlib", "scikit-image", "tqdm", "nibabel", "pooch", "nbclient", "ipykernel"]


def pip(*arguments):
    return subprocess.run([PYTHON, "-m", "pip", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def versions():
    return {entry["name"]: entry["version"] for entry in json.loads(pip("list", "--format=json"))}


def replaced(before, after):
    """What an installation took away or changed.

    Examples
    --------
    >>> replaced({"a": "1", "b": "1"}, {"a": "2", "b": "1", "c": "1"})
    {'a': ('1', '2')}
    """
    return {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}


def install():
    """The environment, kept between runs but for the package itself."""
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        pip("install", "-q", *SHIPPED)
    elif "mrilab" in versions():
        pip("uninstall", "-q", "-y", "mrilab")
    before = versions()
    pip("install", "-q", "-e", ROOT)
    assert replaced(before, versions()) == {}, f"replaced: {replaced(before, versions())}"
    print("python", sys.version.split()[0], *(f"{name} {before[name]}" for name in ("torch", "numpy", "ipywidgets")))


if __name__ == "__main__":
    install()
    chapters = [ROOT / f"book/{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(ROOT.glob("book/*.ipynb"))
    seconds = subprocess.check_output([PYTHON, ROOT / "book/_ext/pace.py"], text=True).strip()
    failed = False
    for chapter in chapters:
        start = time.time()
        command = [PYTHON, "-m", "jupyter", "execute", f"--timeout={seconds}", chapter]
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TQDM_DISABLE": "1"})
        print(f"{chapter.name}: {'failed' if run.returncode else 'ran'}, {time.time() - start:.0f} s", flush=True)
        if run.returncode:
            failed = True
            print(run.stderr[-3000:])
    sys.exit(failed)
