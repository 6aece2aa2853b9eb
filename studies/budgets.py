"""Quality against network evaluations: the variational solver and four posterior samplers, tuned with equal effort.

    python data/budgets.py        # writes data/results/budgets.json; 40 minutes on one core

2 mm, R = 8, eight coils, noise 0.01, the middle 32 voxels of the readout. A budget is a number of slices pushed through
the network on the test head. Each method is tuned on the validation slab, six settings at the number of steps of two of
the budgets. It runs on the test head at each budget: as one long walk, with the best setting of the nearer of the two,
and, the samplers, as the mean of several walks of the smallest budget. Beyond 10,000 only what is not too far
behind goes on: TPDM to 20,000, the solver to 40,000. Finished rows stay, so an interrupted run goes on. Seconds are
those of the processor, not of the clock on the wall.
"""

import datetime
import functools
import itertools
import json
import time
from pathlib import Path

from tqdm import tqdm

from mrilab.datasets import locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit, simulated
from mrilab.methods import reconstruct
from mrilab.metrics import psnr, ssim
from mrilab.processes import hardware
from mrilab.checks import PLANES
from mrilab.writing import atomic_path

RESULT = Path(__file__).parent / "results" / "budgets.json"
VOLUMES = {"tune": "colin27_ch2_slab", "test": "qtim_MRHead"}
BUDGETS = (1000, 2000, 5000, 10000)
LONG = {20000: 1.5, 40000: 0.5}     # and how many dB behind the best at 10,000 one may be to go that far
TUNED_AT = (1000, 5000)


def grid(**choices):
    """All combinations."""
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


FIRST = ((0.1, 0.01), (0.3, 0.01), (1.0, 0.01))             # noise levels: the samplers' first one is searched
SETTINGS = {
    "variational": grid(weight=(0.2, 0.35, 0.6), fraction=(1 / 3, 1.0)),
    "dds": grid(sigma=FIRST, eta=(0.85, 1.0)),
    "diffusion_mbir": grid(sigma=FIRST, tv=(0.0003, 0.001)),
    "tpdm": grid(sigma=FIRST, eta=(0.85, 1.0), planes=(("axial", "sagittal"),)),
    "iscs": grid(sigma=FIRST, gamma=(None, 10.0)),
}


def with_steps(method, setting, budget, shape):
    """The setting with the number of steps that uses up a budget on a volume of this shape."""
    planes = setting.get("planes", tuple(PLANES) if method == "variational" else ("axial",))
    slices = sum(shape[PLANES[p]] for p in planes)
    per_step = slices * setting["fraction"] if method == "variational" else slices / len(planes)
    return setting | {"iterations" if method == "variational" else "steps": max(1, round(budget / per_step))}


if __name__ == "__main__":
    prior = load_prior("diverse")
    weights = sha256(locate("diverse", "prior"))
    scans = {role: simulated(volume, 2, 8, (-16, 16), 0, 8, 0.01) for role, volume in VOLUMES.items()}
    whole, shape = {"rows": []}, scans["test"][1].shape
    if RESULT.exists():
        whole = json.loads(RESULT.read_text())
    rows = [row for row in whole["rows"] if row["weights"] == weights]

    @functools.cache
    def walk(role, method, seed, setting):
        begin = time.process_time()
        result = reconstruct(method, scans[role][0], prior, seed, **json.loads(setting))
        return result, time.process_time() - begin

    def measure(role, method, budget, setting, walks=1):
        """A row, new or found: of one reconstruction, or of the mean of several that share the budget."""
        setting = with_steps(method, setting, budget / walks, shape)
        key = json.loads(json.dumps(dict(role=role, method=method, budget=budget, walks=walks, setting=setting)))
        for row in rows:
            if all(row[name] == value for name, value in key.items()):
                return row
        results, seconds = zip(*(walk(role, method, seed, json.dumps(setting)) for seed in range(walks)))
        image, truth = sum(r.image for r in results) / walks, scans[role][1]
        rows.append(key | dict(
            psnr=psnr(image, truth), ssim=ssim(image, truth), seconds=round(sum(seconds), 1),
            network_evaluations=sum(r.network_evaluations for r in results),
            operator_applications=sum(r.operator_applications for r in results), weights=weights))
        save(rows)
        return rows[-1]

    def save(rows):
        whole.update(hardware=hardware(), commit=commit(), date=datetime.date.today().isoformat(), volumes=VOLUMES,
                     voxel_size=2, acceleration=8, shape=list(shape), rows=rows)
        with atomic_path(RESULT) as temporary:
            temporary.write_text(json.dumps(whole, indent=1) + "\n")

    best, tuning, test = {}, [], []
    for tuned, method in tqdm(list(itertools.product(TUNED_AT, SETTINGS)), desc="tuning"):
        trials = [measure("tune", method, tuned, setting) for setting in SETTINGS[method]]
        best[method, tuned] = max(zip(trials, SETTINGS[method]), key=lambda pair: pair[0]["psnr"])[1]
        tuning += trials

    def goes_on(method, budget):
        reached = {name: max(row["psnr"] for row in test if (row["method"], row["budget"]) == (name, BUDGETS[-1]))
                   for name in SETTINGS}
        return reached[method] > max(reached.values()) - LONG[budget]

    for budget, method in tqdm(list(itertools.product((*BUDGETS, *LONG), SETTINGS)), desc="test"):
        if budget in LONG and not goes_on(method, budget):
            continue
        nearer = min(TUNED_AT, key=lambda tuned: max(tuned / budget, budget / tuned))
        test.append(measure("test", method, budget, best[method, nearer]))
        if method != "variational" and budget > BUDGETS[0]:
            test.append(measure("test", method, budget, best[method, BUDGETS[0]], round(budget / BUDGETS[0])))
        tqdm.write(f"{method:15s} {budget:6d} evaluations {test[-1]['psnr']:.2f} dB")
    save(tuning + test)
