"""How the best weight changes with the acceleration, on the validation slab: writes data/results/accelerations.json.

    python data/accelerations.py        # a quarter of an hour on one CPU core

The comparison (`compare.py`) tunes at R = 8 and keeps those settings at every other R. Here, for scans of 3 mm, each
way of using a prior gets seven weights at each R, with 24 iterations; the prior of 1 mm, whose grid has 27 times the
voxels, at the ends only. Results stay in `runs/accelerations`.
"""

import datetime
import json

import torch
from compare import RESULTS, operators
from joblib import Memory
from tqdm import tqdm
from train_priors import RUNS

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit, simulated
from mrilab.metrics import psnr
from mrilab.processes import hardware
from mrilab.variational import reconstruct
from mrilab.writing import atomic_path

VOLUME, VOXEL_SIZE, SLAB, ITERATIONS = "colin27_ch2_slab", 3, (-6, 6), 24
WAYS = [("diverse", "voxel"), ("fixed_2mm", "voxel"), ("fixed_2mm", "trilinear"), ("fixed_2mm", "fourier"),
        ("operator_2mm", "voxel"), ("fixed_1mm", "fourier")]
RATES = (4, 8, 12, 24, 36)
WEIGHTS = (0.1, 0.2, 0.316, 0.5, 0.795, 1.3, 2.0)
memory = Memory(RUNS / "accelerations", verbose=0)


@memory.cache
def quality(prior, representation, rate, weight, digest):
    torch.set_num_threads(1)
    acquisition, truth = simulated(VOLUME, VOXEL_SIZE, rate, SLAB, 0, 8, 0.01)
    loaded = load_prior(prior)
    if prior.startswith("operator"):
        entry, = (entry for entry in operators("coarse") if entry["priors"] == [prior])
        loaded.interpolation = entry["settings"]["interpolation"]
    result = reconstruct(acquisition, loaded, representation=representation, weight=weight, iterations=ITERATIONS,
                         progress=False)
    return round(psnr(result.image, truth), 3)


if __name__ == "__main__":
    weights = {name: sha256(locate(name, "prior")) for name, _ in WAYS}
    rows = []
    for prior, representation in tqdm(WAYS):
        for rate in (4, 24) if prior == "fixed_1mm" else RATES:
            rows.append(dict(prior=prior, representation=representation, acceleration=rate, psnr={
                w: quality(prior, representation, rate, w, weights[prior]) for w in WEIGHTS}))
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), commit=commit(), weights=weights,
                   volume=VOLUME, voxel_size=VOXEL_SIZE, slab=SLAB, iterations=ITERATIONS, rows=rows)
    with atomic_path(RESULTS / "accelerations.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
