"""Seconds and memory of the solver from 64^3 to 256^3 voxels: `benchmarks/reconstruction.py`, a process for each."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = ["scaling.json"]
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "reconstruction.py"


def measure(side, iterations, prior, device="cpu"):         # noqa: ARG001 (the benchmark takes the one that ships)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        subprocess.run([sys.executable, SCRIPT, "--sides", str(side), "--iterations", str(iterations), "--device",
                        device, "--out", out], check=True, capture_output=True, text=True)
        return json.loads(out.read_text())["rows"][0]


def study(run):
    return dict(rows=run.rows(measure, [dict(side=side, iterations=3, prior="diverse")
                                        for side in (64, 96, 128, 192, 256)]))
