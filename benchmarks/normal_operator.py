"""Seconds of one SENSE normal operator, against the bare transforms it needs and against sigpy.

    python benchmarks/normal_operator.py

8 coils, 128^3, complex64. Targets: at most 1.3 times the bare contiguous 2D FFT pairs, one coil at a
time; at least 8 times as fast as sigpy's Sense normal operator. The jobs alternate and each counts with
its fastest run, so that a busy machine disturbs the ratios less.
"""

import time

import torch
from sigpy.mri.linop import Sense

from mrilab.coils import birdcage_maps
from mrilab.operators import SenseOperator
from mrilab.sampling import poisson_disc_mask

COILS, N, ROUNDS = 8, 128, 15

maps, mask = birdcage_maps((N, N, N), COILS), poisson_disc_mask((N, N), 8)
x = torch.randn(N, N, N, dtype=torch.complex64)
operator = SenseOperator(maps, mask)
sigpy_operator = Sense(maps.numpy(), weights=mask[..., None].expand(N, N, N).float().numpy()).N


def bare(block):
    """A pair for each coil, readout first; whole arrays, or blocks of readout positions that stay in the cache."""
    for _ in range(COILS):
        for part in x.split(block):
            k = torch.fft.fft2(part)
            k = torch.fft.ifft2(k)      # noqa: F841


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


same = torch.from_numpy(sigpy_operator * x.numpy())
print(f"relative difference from sigpy: {(operator.normal(x) - same).norm() / same.norm():.1e}")
jobs = {"normal": lambda: operator.normal(x), "bare": lambda: bare(N), "bare, blocks": lambda: bare(16),
        "sigpy": lambda: sigpy_operator * x.numpy()}
rounds = [[seconds(job) for job in jobs.values()] for _ in range(ROUNDS)]
best = dict(zip(jobs, map(min, zip(*rounds))))
transforms = min(best["bare"], best["bare, blocks"])
print(f"{COILS} coils, {N}^3, complex64, {torch.get_num_threads()} threads; seconds, fastest of {ROUNDS}")
for name, time_ in best.items():
    print(f"{name:14} {time_:.3f}")
print(f"normal / bare transforms (the faster)  {best['normal'] / transforms:.2f}   target: at most 1.3")
print(f"sigpy / normal                         {best['sigpy'] / best['normal']:.1f}   target: at least 8")
