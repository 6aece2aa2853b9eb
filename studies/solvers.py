"""The variational solver's two settings, tuned with equal effort, and its parts switched off one at a time.

Everything is tuned on the validation slab, 2 mm and R = 8: ten settings drawn at random, then four about the best.
At 1 mm three weights about that one are tried. Then each setting runs on the test head with eight coils and noise 0.01,
at R = 8 and 12, 1 and 2 mm, beside CG-SENSE. Blocks of the readout keep it short.
"""

import numpy as np

from mrilab.checks import PLANES

from .scans import HEAD, SLAB, reconstruction
from .tuning_solver import CG

RESULTS = ["solvers.json"]
NEEDS = []
BLOCKS = {1: (-10, 10), 2: (-12, 12)}                   # of the readout, by voxel size
DEFAULTS = {
    "fast": dict(weight=0.35, sigma=[0.1, 0.005], slab=1),
    "paper": dict(weight=0.01, learning_rate=0.02, power=1.0, schedule="uniform"),
}
COLUMNS = ("volume", "voxel_size", "acceleration", "seed", "psnr", "ssim", "misfit", "network_evaluations", "seconds",
           "operator_applications", "matrix")
ITERATIONS = {"fast": 16, "paper": 200}
SEARCH = {                                              # logarithmic ranges, or choices
    "fast": dict(weight=(0.1, 1.0), sigma=((0.05, 0.3), (0.002, 0.02)), slab=[1]),
    "paper": dict(weight=(0.001, 0.1), learning_rate=(0.005, 0.1), power=[0.5, 1.0],
                  schedule=["uniform", "descending", "bounded"]),
}
ABLATIONS = (
    [dict(planes=planes) for planes in (["axial"], ["coronal"], ["sagittal"], ["axial", "coronal"],
                                        ["axial", "sagittal"], ["coronal", "sagittal"], list(PLANES))]
    + [dict(planes=[plane], fraction=1 / 3) for plane in PLANES]
    + [dict(fraction=f, iterations=16) for f in (1 / 24, 1 / 12, 1 / 6, 2 / 3, 1.0)]
    + [dict(fraction=1 / 3, iterations=n) for n in (4, 8, 32, 64)]
    + [dict(slab=n) for n in (2, 5, 10)]
    + [dict(sigma=s) for s in ([0.05, 0.005], [0.2, 0.005], [0.5, 0.005], [0.1, 0.05], [0.1, 0.02], [0.1, 0.002])]
    + [dict(weight=w) for w in (0.05, 0.1, 0.2, 0.7, 1.4)]
    + [dict(cg_iterations=n) for n in (1, 2, 10)]
    + [dict(discrepancy=c) for c in (0.7, 0.8, 0.9, 1.0)])


def draw(setting, generator):
    """One setting of the numbers that are searched."""
    def one(choices):
        if isinstance(choices, list):
            return choices[generator.integers(len(choices))]
        if isinstance(choices[0], tuple):
            return [one(c) for c in choices]
        return float(np.exp(generator.uniform(*np.log(choices))).round(4))
    return {name: one(choices) for name, choices in SEARCH[setting].items()}


def around(setting, best):
    """Half and twice the weight; half and twice the last noise level, or the learning rate."""
    second = "sigma" if setting == "fast" else "learning_rate"
    for factor in (0.5, 2):
        yield best | dict(weight=best["weight"] * factor)
        value = best[second]
        yield best | {second: [value[0], value[1] * factor] if setting == "fast" else value * factor}


def study(run):
    def rows(asked, volume=SLAB):
        """Of ``(voxel_size, acceleration, method, settings)``, where a setting of the solver counts as a method."""
        found = run.rows(reconstruction, [
            dict(volume=volume, voxel_size=d, block=BLOCKS[d], acceleration=r, seed=0)
            | (dict(method="cg_sense", settings=o | dict(tolerance=0)) if m == "cg_sense" else
               dict(method="variational", prior="diverse", settings={"setting": m, "iterations": ITERATIONS[m]} | o))
            for d, r, m, o in asked], columns=COLUMNS)
        return [dict(method=m, settings=o) | row for (_, _, m, o), row in zip(asked, found)]

    def best(rows, method):
        return max((row for row in rows if row["method"] == method), key=lambda row: row["psnr"])["settings"]

    generator = np.random.default_rng(0)
    drawn = {s: [{}] + [draw(s, generator) for _ in range(9)] for s in DEFAULTS}
    trials = rows([(2, 8, s, o) for s in DEFAULTS for o in drawn[s]])
    fine = {s: list(around(s, DEFAULTS[s] | best(trials, s))) for s in DEFAULTS}
    trials += rows([(2, 8, s, o) for s in DEFAULTS for o in fine[s]])
    tuned = {(s, 2): best(trials, s) for s in DEFAULTS}
    more = rows([(1, 8, s, tuned[s, 2] | dict(weight=(DEFAULTS[s] | tuned[s, 2])["weight"] * f))
                 for s in DEFAULTS for f in (0.3, 1.0, 3.0)])
    tuned |= {(s, 1): best(more, s) for s in DEFAULTS}
    classical = rows([(d, 8, "cg_sense", o) for d in (1, 2) for o in CG])
    tuned |= {("cg_sense", d): best([row for row in classical if row["voxel_size"] == d], "cg_sense") for d in (1, 2)}
    tested = rows([(d, r, m, tuned[m, d]) for d in (2, 1) for r in (8, 12) for m in ("cg_sense", *DEFAULTS)], HEAD)
    ablations = rows([(2, 8, "fast", tuned["fast", 2] | a) for a in ABLATIONS])
    return dict(trials=trials + more + classical, tuned={f"{m} {d} mm": o for (m, d), o in tuned.items()},
                rows=tested, ablations=[a | dict(changed=c) for a, c in zip(ablations, ABLATIONS)])
