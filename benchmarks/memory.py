"""Peak memory of a whole process that simulates and reconstructs 128^3 with 8 coils on the CPU.

    python benchmarks/memory.py

Target: under 2.5 GB.
"""

import resource
import sys

import torch

from mrilab.classical import cg_sense
from mrilab.simulate import simulate_acquisition
from mrilab.volumes import Volume


def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


print(f"after the imports       {peak():.2f} GB")
acquisition, _ = simulate_acquisition(Volume(torch.rand(128, 128, 128), (1, 1, 1)), acceleration=8)
print(f"after the simulation    {peak():.2f} GB")
result = cg_sense(acquisition, progress=False)
print(f"after CG-SENSE          {peak():.2f} GB   (target: under 2.5)")
print(f"{result.operator_applications} normal operators, {result.seconds:.1f} s")
