"""A notebook in Jupyter's own front end: what the reader moves in the browser arrives in Python, and Python answers."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from pages import HTML, find_browser

from mrilab.masks import poisson_disc_mask
from mrilab.priors import load_prior
from mrilab.reader_study import preferences

CELLS = ["""
import torch
from pathlib import Path
from ipywidgets import interact
from mrilab.widgets import KSpaceLab, NetworkLab, ReaderStudy
image = torch.rand(32, 40, generator=torch.Generator().manual_seed(0))
lab = KSpaceLab(image, (1, 1))
lab.observe(lambda change: Path("mask.txt").write_text("".join(str(int(v)) for v in lab.mask.flatten())), "drawn")
lab
""", "NetworkLab(image, (1, 1))", """
study = ReaderStudy([dict(case="one", images={"a": image, "b": 0.5 * image}, truth=image, voxel_size=(1, 1))])
study.observe(lambda change: Path("answers.csv").write_text(study.csv, newline=""), "csv")
study
""", """
@interact(n=(1, 7))
def hear(n=2):
    print("Python heard", n)
"""]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="module")
def report(folder):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(cell.strip()) for cell in CELLS], metadata=kernel),
                   folder / "chapter.ipynb")
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
    address = f"http://127.0.0.1:{(port := free_port())}"
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         f"--notebook-dir={folder}", "--IdentityProvider.token=open", "--ServerApp.port_retries=0"],
        env=os.environ | own, stdout=subprocess.DEVNULL, stderr=open(folder / "log", "w"), cwd=folder)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/api?token=open").close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        shots = HTML.parent / "shots"
        shots.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            ["node", Path(__file__).parent / "lab.mjs", find_browser(), f"{address}/lab/tree/chapter.ipynb?token=open",
             shots / "jupyterlab.png"], capture_output=True, text=True, timeout=900)
    finally:
        server.terminate()          # ends the kernels too
        server.wait(30)
    assert run.returncode == 0, run.stderr + (folder / "log").read_text()[-3000:]
    return json.loads(run.stdout)


@pytest.mark.slow
def test_mask_arrives_in_python(report, folder):
    assert report["errors"] == [] and report["faults"] == []
    heard = np.array(list((folder / "mask.txt").read_text()), int).reshape(32, 40)
    assert (heard == poisson_disc_mask((32, 40), 16).numpy()).all()        # the slider was moved to its end


@pytest.mark.slow
def test_python_answers_with_the_prior(report):
    noisy, denoised = (torch.tensor(report[key]).reshape(1, 2, *report["shape"]).float() for key in ("input", "output"))
    assert (denoised - load_prior("diverse").denoise(noisy, report["sigma"])).abs().max() < 1e-4


@pytest.mark.slow
def test_answers_of_a_study_arrive_in_python(report, folder):
    (pair,) = preferences(folder / "answers.csv").pairs
    assert (pair["first"], pair["second"], pair["answers"], pair["confidence"]) == ("a", "b", 1, 3)
