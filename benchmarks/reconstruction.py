"""Time and peak memory of reconstructions against the number of voxels: 8 coils, R = 8, shipped prior, defaults.

    python benchmarks/reconstruction.py                        # 128^3, all 32 iterations
    python benchmarks/reconstruction.py --sides 64 96 128 192 256 --iterations 3 --out data/results/scaling.json

Prints seconds for the network, the operator and all, and the peak memory; each size has a process of its own. The
targets on the CPU: an iteration at most 1.25 times its network and operator; 2.5 GB at 128^3, 16 GB at 256^3. The
voxels of the phantom are such that its field of view has the matrix asked for.
"""

import argparse
import datetime
import json
import multiprocessing
import resource
import time
from pathlib import Path

import torch

from mrilab.operators import SenseOperator
from mrilab.priors import load_prior
from mrilab.problem import Problem
from mrilab.processes import hardware
from mrilab.simulate import FIELD_OF_VIEW, head_phantom, simulate_acquisition
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path


def seconds_of(function, *arguments, repeats):
    """Mean time of a call, after a first one that does not count."""
    function(*arguments)
    start = time.perf_counter()
    for _ in range(repeats):
        function(*arguments)
    return (time.perf_counter() - start) / repeats


def measure(side, iterations, device):
    acquisition, truth = simulate_acquisition(head_phantom([f / side for f in FIELD_OF_VIEW]), acceleration=8)
    assert truth.shape == (side, side, side)
    prior = load_prior("diverse", device)
    operator = SenseOperator(acquisition.maps.to(device), acquisition.mask)
    x = truth.to(device)
    normal = seconds_of(lambda: operator.normal(x).flatten()[0].item(), repeats=3)
    slices = torch.randn(round(side / 3), 2, side, side, device=device)
    network = seconds_of(lambda: prior.denoise(slices, 0.1).flatten()[0].item(), repeats=1) / len(slices)
    problem = Problem(acquisition, prior)
    assert problem.variance > 0                         # a part of what the start takes
    start = problem.applications
    ends = []
    result = reconstruct(acquisition, prior, iterations=iterations, progress=False,
                         callback=lambda *_: ends.append(time.perf_counter()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.device(device).type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    return dict(side=side, iterations=iterations, seconds=result.seconds,
                iteration_seconds=(ends[-1] - ends[0]) / (len(ends) - 1), network_seconds=network,
                network_evaluations=result.network_evaluations, operator_seconds=normal,
                operator_applications=result.operator_applications, start_applications=start, peak_gb=peak,
                hardware=hardware(device))


def parts(row):
    """Seconds of an iteration that the network and the normal operator need."""
    applications = row["operator_applications"] - row["start_applications"]
    return (row["network_seconds"] * row["network_evaluations"] + applications * row["operator_seconds"]
            ) / row["iterations"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[128])
    parser.add_argument("--iterations", type=int, default=32, help="at least 2")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for side in options.sides:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (side, options.iterations, options.device))
        print(f"{row['hardware']}, {side}^3, {options.iterations} iterations")
        print(f"network   {row['network_evaluations']} slices at {1e3 * row['network_seconds']:.1f} ms")
        print(f"operator  {row['operator_applications']} applications at {1e3 * row['operator_seconds']:.0f} ms")
        ratio = row["iteration_seconds"] / parts(row)
        print(f"iteration {row['iteration_seconds']:.2f} s, {ratio:.2f} times its parts")
        print(f"in all    {row['seconds']:.1f} s")
        print(f"memory    {row['peak_gb']:.2f} GB at the peak")
        rows.append(row)
    if options.out:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(dict(date=datetime.date.today().isoformat(), rows=rows), indent=1) + "\n")
