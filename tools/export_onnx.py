"""Bring priors to the browser: ``python tools/export_onnx.py FOLDER [NAME ...]`` writes one script a network.

A script holds the network as ONNX, its weights in float16 as they are shipped, compressed, in base64: a page opened
from a file can read nothing else. ``index.js`` says what there is, and the size of onnxruntime, which
tools/vendor.py puts in ort/ beside FOLDER. Networks are made again only when a prior changes.
book/_ext/offline.py calls this when the book is built.
"""

import base64
import json
import logging
import sys
import zlib
from pathlib import Path
from unittest import mock

import torch

from mrilab.priors import load_prior, read_card
from mrilab.writing import atomic_path


class Network(torch.nn.Module):
    """The denoiser ``D(x; sigma)`` of a prior with its weights kept in float16, computing in float32."""

    def __init__(self, prior):
        super().__init__()
        self.prior = [prior]        # in a list: its own float32 weights are not to be stored
        self.names = [name for name, _ in prior.named_parameters()]
        self.halves = torch.nn.ParameterList(
            torch.nn.Parameter(p.half().contiguous(), requires_grad=False) for p in prior.parameters())

    def forward(self, x, sigma):
        weights = {name: half.float() for name, half in zip(self.names, self.halves)}
        return torch.func.functional_call(self.prior[0], weights, (x, sigma))


def to_onnx(prior):
    """A prior as ONNX bytes: inputs ``x`` (1, 2, height, width) and ``sigma`` (1,), output ``y``.

    Height and width must be multiples of ``2 ** len(prior.net.shrink)``: the page pads with zeros, as the network does.
    """
    if prior.conditioned:
        raise ValueError("prior: found one that is told the voxel size, expected one that is not")
    multiple = 2 ** len(prior.net.shrink)
    height, width = (multiple * torch.export.Dim(name, min=1, max=1024 // multiple) for name in ("h", "w"))
    example = torch.zeros(1, 2, 3 * multiple, 5 * multiple), torch.tensor([0.1])
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)        # it misses torchvision, which is not used
    with mock.patch("mrilab.diffusion.bf16", return_value=False):
        program = torch.onnx.export(
            Network(prior).eval(), example, dynamo=True, optimize=False, verbose=False,      # would undo the float16
            input_names=["x", "sigma"], output_names=["y"], dynamic_shapes=({2: height, 3: width}, None))
    model = program.model_proto
    for node in model.graph.node:           # stack traces
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    return model.SerializeToString()


def difference(onnx, prior, seed=0):
    """Largest difference between the ONNX network and the prior in float32, over noise levels and shapes."""
    from onnx import load_from_string
    from onnx.reference import ReferenceEvaluator

    evaluator, generator = ReferenceEvaluator(load_from_string(onnx)), torch.Generator().manual_seed(seed)
    multiple, worst = 2 ** len(prior.net.shrink), 0.0
    with mock.patch("mrilab.diffusion.bf16", return_value=False):
        for sigma, shape in ((0.02, (2, 3)), (0.1, (4, 2)), (1.0, (1, 1))):
            x = torch.randn(1, 2, *(multiple * n for n in shape), generator=generator)
            (y,) = evaluator.run(None, {"x": x.numpy(), "sigma": torch.tensor([sigma]).numpy()})
            worst = max(worst, (torch.from_numpy(y) - prior.denoise(x, sigma)).abs().max().item())
    return worst


def export(name, folder):
    """Write ``<name>.js`` in ``folder`` unless it is there for these very weights; return its entry of the index."""
    folder = Path(folder)
    card = read_card(name).model_dump()
    target, record = folder / f"{name}.js", folder / f"{name}.json"
    if target.is_file() and record.is_file():
        entry = json.loads(record.read_text())
        if entry["sha256"] == card["sha256"] and entry["bytes"] == target.stat().st_size:
            return entry
    prior = load_prior(name)
    onnx = to_onnx(prior)
    worst = difference(onnx, prior)
    if not worst < 1e-4:
        raise ValueError(f"{name}: the exported network differs from the prior by {worst:.1e}, expected less than 1e-4")
    packed = base64.b64encode(zlib.compress(onnx, 9)).decode()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as path:
        path.write_text(f'window.mrilabNetworks["{name}"].onnx = "{packed}";\n')
    entry = {"file": target.name, "bytes": target.stat().st_size, "parameters": card["parameters"],
             "multiple": 2 ** len(prior.net.shrink), "sha256": card["sha256"], "difference": worst}
    with atomic_path(record) as path:
        path.write_text(json.dumps(entry))
    return entry


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    entries = {name: export(name, folder) for name in sys.argv[2:] or ["diverse"]}
    entries["runtime"] = (folder.parent / "ort/runtime.js").stat().st_size
    with atomic_path(folder / "index.js") as path:
        path.write_text(f"window.mrilabNetworks = {json.dumps(entries)};\n")
