"""What more effort brings the two representations in continuous space, on the validation slab.

    python data/continuous.py       # writes data/results/continuous.json; about twenty minutes on one CPU core

In the comparison (`compare.py`) the mixture of Gaussians and the neural field have a weight tuned for trilinear
interpolation and few steps. Here, at 3 mm and R = 8 with the prior of 2 mm, the weight is varied over two decades,
and steps, features and width up to tens of times the seconds. Results stay in `runs/continuous`.
"""

import datetime
import json
import time

import torch
from compare import METHODS, RESULTS
from joblib import Memory
from tqdm import tqdm
from train_priors import RUNS

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit, simulated
from mrilab.methods import reconstruct
from mrilab.metrics import psnr
from mrilab.processes import hardware
from mrilab.writing import atomic_path

PRIOR, CELL = "fixed_2mm", ("colin27_ch2_slab", 3, 8, (-4, 4), 0, 8, 0.01)
CHANGES = {                                     # of the settings in the comparison; their own options stay
    "gaussian": [dict(representation_options=dict(iterations=90)),
                 dict(representation_options=dict(iterations=90, steps=8), iterations=12, cg_iterations=4),
                 dict(representation_options=dict(iterations=200, steps=8), iterations=24, cg_iterations=6)],
    "neural_field": [dict(representation_options=dict(bandwidth=0.2)),
                     dict(representation_options=dict(bandwidth=0.2, steps=4), iterations=24, cg_iterations=4),
                     dict(representation_options=dict(bandwidth=0.2, steps=4, width=192), iterations=24,
                          cg_iterations=4)],
}
FACTORS = (0.1, 0.3, 3, 10)                     # of the weight
memory = Memory(RUNS / "continuous", verbose=0)


@memory.cache
def trial(representation, prior, settings, digest):
    torch.set_num_threads(1)
    acquisition, truth = simulated(*CELL)
    begin = time.process_time()
    result = reconstruct("variational", acquisition, load_prior(prior), 0, representation, **settings)
    return dict(representation=representation, prior=prior, settings=settings, psnr=round(psnr(result.image, truth), 3),
                cpu_seconds=round(time.process_time() - begin, 1))


if __name__ == "__main__":
    best = json.loads((RESULTS / "tuned.json").read_text())["coarse"]["best"]
    weight = best[f"variational-trilinear-{PRIOR}"]["settings"]["weight"]
    asked = [("voxel", "diverse", best["variational-diverse"]["settings"]),
             ("trilinear", PRIOR, best[f"variational-trilinear-{PRIOR}"]["settings"])]
    for entry in METHODS["continuous"][1:]:
        (name,), base = entry["representations"], entry["settings"] | {"weight": weight}
        asked += [(name, PRIOR, base)] + [(name, PRIOR, base | {"weight": weight * factor}) for factor in FACTORS]
        asked += [(name, PRIOR, base | change | {
            "representation_options": base["representation_options"] | change["representation_options"]})
            for change in CHANGES[name]]
    weights = {name: sha256(locate(name, "prior")) for name in (PRIOR, "diverse")}
    rows = [trial(*a, weights[a[1]]) for a in tqdm(asked)]
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), commit=commit(), weights=weights,
                   volume=CELL[0], voxel_size=CELL[1], acceleration=CELL[2], slab=CELL[3], rows=rows)
    with atomic_path(RESULTS / "continuous.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
