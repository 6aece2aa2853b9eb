"""Time and peak memory of 400,000 Gaussians on 128^3: warm start, both grids, one data step with 8 coils.

    python benchmarks/gaussians.py [RATIO]      # of the prior's voxels to the scan's: 1 by default; 0.75 has 171^3

Target: at most 8 GB.
"""

import resource
import sys
import time

from mrilab.priors import load_prior
from mrilab.problem import Problem
from mrilab.representations import Gaussians
from mrilab.simulate import FIELD_OF_VIEW, head_phantom, simulate_acquisition

COUNT, VOXEL_SIZE = 400_000, tuple(f / 128 for f in FIELD_OF_VIEW)
ratio = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def report(what, begin):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{what:46s} {time.perf_counter() - begin:6.1f} s, peak so far {peak:.2f} GB", flush=True)


begin = time.perf_counter()
acquisition, truth = simulate_acquisition(head_phantom(VOXEL_SIZE), acceleration=8)
problem = Problem(acquisition, load_prior("diverse"))
report("simulation and start", begin)
begin = time.perf_counter()
x = Gaussians(problem.start, VOXEL_SIZE, tuple(ratio * d for d in VOXEL_SIZE), count=COUNT, iterations=2)
report(f"{COUNT} Gaussians, two steps of their fit", begin)
begin = time.perf_counter()
target = x.prior_image().detach()
report(f"on the prior's grid, {' x '.join(map(str, x.prior_shape))}", begin)
begin = time.perf_counter()
x.fit(problem, target, rho=0.1, iterations=3)
report("a data step, 3 conjugate gradient iterations", begin)
