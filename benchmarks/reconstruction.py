"""Time and peak memory of one reconstruction: 128^3 voxels, 8 coils, R = 8, shipped prior, default settings.

    python benchmarks/reconstruction.py

Prints seconds for the network, the operator and all, and the peak memory of the process, whose target on
the CPU is 2.5 GB. The phantom's voxels of 1.31 x 1.69 x 1.31 mm make 128^3 of its field of view.
"""

import resource
import time

import torch

from mrilab.diffusion import load_prior
from mrilab.operators import SenseOperator
from mrilab.simulate import FIELD_OF_VIEW, head_phantom, simulate_acquisition
from mrilab.training import hardware
from mrilab.variational import reconstruct

acquisition, truth = simulate_acquisition(head_phantom([f / 128 for f in FIELD_OF_VIEW]), acceleration=8)
assert truth.shape == (128, 128, 128)
prior = load_prior("diverse")

operator = SenseOperator(acquisition.maps, acquisition.mask)
x = operator.normal(truth)
start = time.perf_counter()
for _ in range(5):
    x = operator.normal(x)
normal = (time.perf_counter() - start) / 5

slices = torch.randn(43, 2, 128, 128)
prior.denoise(slices, 0.1)
start = time.perf_counter()
prior.denoise(slices, 0.1)
network = (time.perf_counter() - start) / len(slices)

result = reconstruct(acquisition, prior)
floor = network * result.network_evaluations + normal * result.operator_applications
print(hardware())
print(f"network   {result.network_evaluations} slices at {1e3 * network:.1f} ms")
print(f"operator  {result.operator_applications} applications at {1e3 * normal:.0f} ms")
print(f"in all    {result.seconds:.0f} s, {result.seconds / floor:.2f} times the sum of the two")
print(f"memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB at the peak (target 2.5)")
