"""Colab has ipywidgets 7.7.1: every widget in a kernel with that version, and what it sends to the page."""

import base64
import os
import subprocess
import sys
import zlib
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from mrilab import widgets

EXTENSIONS = Path(__file__).parents[1] / "book/_ext"
PACKAGES = ("ipywidgets==7.7.1", "ipython-genutils==0.2.0")
STATE = "application/vnd.jupyter.widget-state+json"
CELLS = ["""
import ipywidgets
import torch
from mrilab import widgets
from mrilab.mixture import GaussianMixture
from mrilab.priors import load_prior
from mrilab.volumes import Volume
assert ipywidgets.__version__ == "7.7.1"
image, volume = torch.rand(32, 40), Volume(torch.rand(4, 24, 24), (3, 3, 3))
row = dict(method="a", voxel_size=2, acceleration=4, psnr=20.0, ssim=0.5, image=image, truth=image)
""",
         "widgets.ComparisonDashboard([row])", "widgets.IterationPlayer({'a': [0.9 * image]}, (1, 1), image)",
         "widgets.KSpaceLab(image, (1, 1))",
         "widgets.MismatchLab({'3 mm': dict(truth=image, images={'a': image}, voxel_size=(1, 1), psnr={'a': 9.0},"
         " behind={'held-out': {'a': (0.0, 0.0)}})}, {'held-out': 'dB'})", "widgets.NetworkLab(image, (1, 1))",
         "widgets.NoiseLab(volume, {'diverse': load_prior('diverse')}, (3,), (0.1,))",
         "widgets.ReaderStudy([dict(case='a', voxel_size=(1, 1), truth=image, images={'b': image, 'c': 0.9 * image})])",
         "widgets.ScoreLab(GaussianMixture(torch.zeros(1, 2, 1, 1), 0.1))",
         "widgets.UnfoldingLab(image, (1, 1))", "widgets.VolumeViewer({'a': volume.data}, (3, 3, 3))",
         "widgets.VoxelSizeLab(volume, (3, 6))"]


@pytest.fixture(scope="module")
def colab(request):
    """A folder with Colab's version of ipywidgets, kept between runs."""
    folder = request.config.cache.mkdir("-".join(PACKAGES).replace("=", ""))
    if not (folder / "ipywidgets/__init__.py").exists():
        pip = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PACKAGES],
                             capture_output=True, text=True)
        if pip.returncode:
            pytest.skip(f"no network: {PACKAGES[0]} could not be had")
    return folder


@pytest.mark.slow
def test_every_widget_with_ipywidgets_7(colab, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    from pace import limit

    notebook = new_notebook(cells=[new_code_cell(cell.strip()) for cell in CELLS])
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=limit(), kernel_name="python3", resources=place)
    client.execute(env=os.environ | {"PYTHONPATH": str(colab)})
    views = [output.data["application/vnd.jupyter.widget-view+json"]["model_id"]
             for cell in notebook.cells[1:] for output in cell.outputs]
    states = notebook.metadata["widgets"][STATE]["state"]
    sent = {states[view]["state"]["_anywidget_id"].rpartition(".")[2]: states[view] for view in views}
    assert sorted(sent) == sorted(widgets.__all__)
    for name, model in sent.items():
        buffers = {buffer["path"][0]: base64.b64decode(buffer["data"]) for buffer in model["buffers"]}
        assert np.frombuffer(zlib.decompress(buffers["data"]), np.uint8).any()
        assert model["state"]["_esm"] == str(getattr(widgets, name)._esm)
    nbformat.validate(notebook)
