"""Seconds of one SENSE normal operator, against the bare transforms it needs and against sigpy.

    python benchmarks/normal_operator.py

8 coils, 128^3, complex64. Targets: at most 1.3 times the bare contiguous 2D FFT pairs, one coil at a
time; at least 8 times as fast as sigpy's Sense normal operator. The jobs take turns, some runs each, and
count with their fastest run, so that a busy machine disturbs the ratios less.
"""

import timeit

import torch
from sigpy.mri.linop import Sense

from mrilab.coils import head_array_maps
from mrilab.masks import poisson_disc_mask
from mrilab.operators import SenseOperator

COILS, N, ROUNDS, RUNS = 8, 128, 3, 6

maps, mask = head_array_maps((N, N, N), COILS), poisson_disc_mask((N, N), 8)
x = torch.randn(N, N, N, dtype=torch.complex64)
operator = SenseOperator(maps, mask)
sigpy_operator = Sense(maps.numpy(), weights=mask[..., None].expand(N, N, N).float().numpy()).N


def bare(block):
    """A pair for each coil, readout first; whole arrays, or blocks of readout positions that stay in the cache."""
    for _ in range(COILS):
        for part in x.split(block):
            k = torch.fft.fft2(part)
            k = torch.fft.ifft2(k)      # noqa: F841


same = torch.from_numpy(sigpy_operator * x.numpy())
print(f"relative difference from sigpy: {(operator.normal(x) - same).norm() / same.norm():.1e}")
own = operator.normal(x)         # readout first in memory: what conjugate gradients hand back to normal()
jobs = {
    "normal": lambda: operator.normal(x),
    "normal, in CG": lambda: operator.normal(own),
    "bare": lambda: bare(N),
    "bare, blocks": lambda: bare(16),
    "sigpy": lambda: sigpy_operator * x.numpy(),
}
best = dict.fromkeys(jobs, float("inf"))
for _ in range(ROUNDS):
    for name, job in jobs.items():
        best[name] = min(best[name], *timeit.repeat(job, number=1, repeat=RUNS))
transforms = min(best["bare"], best["bare, blocks"])
print(f"{COILS} coils, {N}^3, complex64, {torch.get_num_threads()} threads; seconds, fastest of {ROUNDS * RUNS}")
for name, seconds in best.items():
    print(f"{name:14} {seconds:.3f}")
print(f"normal / bare transforms, the faster   {best['normal'] / transforms:.2f}, in conjugate gradients "
      f"{best['normal, in CG'] / transforms:.2f}   target: at most 1.3")
print(f"sigpy / normal                         {best['sigpy'] / best['normal']:.1f}   target: at least 8")
