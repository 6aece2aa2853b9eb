"""Quality against network evaluations: the variational solver and four posterior samplers, tuned with equal effort.

2 mm, R = 8, eight coils, noise 0.01, the middle 32 voxels of the readout. A budget is a number of slices pushed through
the network on the test head. Each method is tuned on the validation slab, six settings at the number of steps of two of
the budgets. It runs on the test head at each budget: as one long walk, with the best setting of the nearer of the two,
and, the samplers, as the mean of several walks of the smallest budget. Beyond 10,000 only what is not too far
behind goes on: TPDM to 20,000, the solver to 40,000. Seconds are those of the processor, not of the clock on the wall.
"""

import functools
import itertools
import json

from mrilab.checks import PLANES
from mrilab.metrics import psnr, ssim

from .scans import HEAD, SLAB, simulated, solve

RESULTS = ["budgets.json"]
NEEDS = []
VOXEL_SIZE, VOLUMES = 2, {"tune": SLAB, "test": HEAD}
BUDGETS = (1000, 2000, 5000, 10000)
LONG = {20000: 1.5, 40000: 0.5}     # and how many dB behind the best at 10,000 one may be to go that far
TUNED_AT = (1000, 5000)


def grid(**choices):
    """All combinations."""
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


FIRST = ([0.1, 0.01], [0.3, 0.01], [1.0, 0.01])             # noise levels: the samplers' first one is searched
SETTINGS = {
    "variational": grid(weight=(0.2, 0.35, 0.6), fraction=(1 / 3, 1.0)),
    "dds": grid(sigma=FIRST, eta=(0.85, 1.0)),
    "diffusion_mbir": grid(sigma=FIRST, tv=(0.0003, 0.001)),
    "tpdm": grid(sigma=FIRST, eta=(0.85, 1.0), planes=(["axial", "sagittal"],)),
    "iscs": grid(sigma=FIRST, gamma=(None, 10.0)),
}


def with_steps(method, setting, budget, shape):
    """The setting with the number of steps that uses up a budget on a volume of this shape."""
    planes = setting.get("planes", tuple(PLANES) if method == "variational" else ("axial",))
    slices = sum(shape[PLANES[p]] for p in planes)
    per_step = slices * setting["fraction"] if method == "variational" else slices / len(planes)
    return setting | {"iterations" if method == "variational" else "steps": max(1, round(budget / per_step))}


@functools.lru_cache(maxsize=32)        # means of several walks share them
def walk(volume, voxel_size, method, seed, setting, prior, device):
    acquisition, _ = simulated(volume, voxel_size, 8, (-16, 16))
    return solve(acquisition, method, prior, json.loads(setting), seed, device=device)


def measure(volume, voxel_size, method, walks, settings, prior, device="cpu"):
    """Of one reconstruction, or of the mean of several."""
    results, seconds = zip(*(walk(volume, voxel_size, method, seed, json.dumps(settings), prior, device)
                             for seed in range(walks)))
    image, truth = sum(r.image for r in results) / walks, simulated(volume, voxel_size, 8, (-16, 16))[1]
    return dict(psnr=psnr(image, truth), ssim=ssim(image, truth), seconds=round(sum(seconds), 1),
                network_evaluations=sum(r.network_evaluations for r in results),
                operator_applications=sum(r.operator_applications for r in results))


def study(run):
    shape = simulated(HEAD, VOXEL_SIZE, 8, (-16, 16))[1].shape

    def rows(role, asked):
        """Of ``(method, budget, setting, walks)``."""
        found = run.rows(measure, [dict(
            volume=VOLUMES[role], voxel_size=VOXEL_SIZE, method=method, walks=walks, prior="diverse",
            settings=with_steps(method, setting, budget / walks, shape)) for method, budget, setting, walks in asked])
        hidden = ("volume", "voxel_size", "prior")
        return [dict(role=role, budget=budget) | {key: value for key, value in row.items() if key not in hidden}
                for (_, budget, *_), row in zip(asked, found)]

    trials = [(method, tuned, setting, 1) for tuned in TUNED_AT for method in SETTINGS for setting in SETTINGS[method]]
    tuning, best = rows("tune", trials), {}
    for (method, tuned, setting, _), _ in sorted(zip(trials, tuning), key=lambda pair: pair[1]["psnr"]):
        best[method, tuned] = setting

    def asked(budget, methods):
        nearer = min(TUNED_AT, key=lambda tuned: max(tuned / budget, budget / tuned))
        for method in methods:
            yield method, budget, best[method, nearer], 1
            if method != "variational" and budget > BUDGETS[0]:
                yield method, budget, best[method, BUDGETS[0]], round(budget / BUDGETS[0])

    test = rows("test", [one for budget in BUDGETS for one in asked(budget, SETTINGS)])
    reached = {m: max(row["psnr"] for row in test if (row["method"], row["budget"]) == (m, BUDGETS[-1]))
               for m in SETTINGS}
    test += rows("test", [one for budget, behind in LONG.items() for one in asked(
        budget, [m for m in SETTINGS if reached[m] > max(reached.values()) - behind])])
    return dict(volumes=VOLUMES, voxel_size=VOXEL_SIZE, acceleration=8, shape=list(shape), rows=tuning + test)
