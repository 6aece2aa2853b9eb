"""The variational solver and four posterior samplers, tuned with equal effort, at equal budgets of the network.

2 mm, R = 8, the middle 24 voxels of the readout. A budget is a number of slices pushed through the network. Each method
is tuned on the validation person over its noise levels and what weighs data and prior, to both ends: where a method has
fewer settings it is for having less to set; the larger budget tries the settings that were best with the smaller, as
many of each method. It runs on the test people at each budget: as one long walk and, the samplers, as the mean of
several walks of the smaller budget, for the mean squared error of a sample is about twice that of the mean. Classical
methods, tuned as in `comparison`, stand beside. Seconds are those of the processor, not of the clock on the wall.
"""

import functools
import itertools
import json

from mrilab.checks import PLANES
from mrilab.fourier import resampled_shape
from mrilab.metrics import psnr, ssim
from mrilab.volumes import volume_header

from .comparison import CLASSICAL
from .scans import PEOPLE, VALIDATION, here, reconstruction, simulated, solve
from .sweep import check_sweep
from .tuning import numbers, tune

RESULTS = ["samplers.json"]
VOXEL_SIZE, ACCELERATION, BLOCK = 2, 8, [-12, 12]
BUDGETS = (1000, 4000)
AGAIN = 5                                               # settings that the larger budget tries


def grid(**choices):
    """All combinations."""
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


FIRST = [[s, 0.01] for s in (0.015, 0.03, 0.1, 0.3, 1.0, 3.0)]     # noise levels, to both ends
SETTINGS = {
    "variational": grid(weight=(0.35, 0.7, 1.4, 2.8), fraction=(1 / 3, 1.0)),
    "dds": grid(sigma=FIRST, eta=(0.0, 0.85, 1.0)) + grid(sigma=FIRST, gamma=(1.0, 10.0, 100.0)),
    "diffusion_mbir": grid(sigma=FIRST, tv=(0.0001, 0.0003, 0.001)),
    "tpdm": grid(sigma=FIRST, eta=(0.0, 0.85, 1.0), planes=(["axial", "sagittal"],))
    + grid(sigma=FIRST, gamma=(1.0, 10.0), planes=(list(PLANES),)) + grid(sigma=FIRST, planes=(list(PLANES),)),
    "iscs": grid(sigma=FIRST, gamma=(None, 1.0, 10.0)),
}


def beyond(best, tried):
    """Settings past the end of what was tried, where the best lies at one: half or twice its number.

    Of what had a single value, as the last noise level at first, that is both.

    Examples
    --------
    >>> beyond({"sigma": [0.1, 0.01]}, [{"sigma": [0.1, 0.01]}, {"sigma": [0.3, 0.01]}])
    [{'sigma': [0.05, 0.01]}, {'sigma': [0.1, 0.005]}, {'sigma': [0.1, 0.02]}]
    """
    found = []
    for name, own in numbers(best).items():
        values = [numbers(t)[name] for t in tried if name in numbers(t)]
        for factor, end in ((0.5, min(values)), (2, max(values))):
            if own == end:
                new = numbers(best) | {name: own * factor}
                found.append(best | {key: value for key, value in new.items() if key in best}
                             | ({"sigma": [new["first"], new["last"]]} if "sigma" in best else {}))
    return [setting for setting in found if "sigma" not in setting or setting["sigma"][0] > setting["sigma"][1]]


def with_steps(method, setting, budget, shape):
    """The setting with the number of steps that uses up a budget on a volume of this shape."""
    planes = setting.get("planes", tuple(PLANES) if method == "variational" else ("axial",))
    slices = sum(shape[PLANES[p]] for p in planes)
    per_step = slices * setting["fraction"] if method == "variational" else slices / len(planes)
    return setting | {"iterations" if method == "variational" else "steps": max(1, round(budget / per_step))}


@functools.lru_cache(maxsize=32)        # means of several walks share them
def walk(volume, method, seed, setting, prior, device):
    acquisition, _ = simulated(volume, VOXEL_SIZE, ACCELERATION, BLOCK)
    return solve(acquisition, method, prior, json.loads(setting), seed, device=device)


def measure(volume, method, walks, settings, prior, device="cpu"):
    """Of one reconstruction, or of the mean of several."""
    results, seconds = zip(*(walk(volume, method, seed, json.dumps(settings), prior, device) for seed in range(walks)))
    image, truth = sum(r.image for r in results) / walks, simulated(volume, VOXEL_SIZE, ACCELERATION, BLOCK)[1]
    return dict(psnr=psnr(image, truth), ssim=ssim(image, truth), seconds=round(sum(seconds), 1),
                network_evaluations=sum(r.network_evaluations for r in results),
                operator_applications=sum(r.operator_applications for r in results))


def study(run):
    def rows(volume, asked):
        """Of ``(method, budget, setting, walks)``."""
        matrix, size, _ = volume_header(volume)
        *shape, _ = resampled_shape(matrix, size, (VOXEL_SIZE,) * 3)
        shape.append(BLOCK[1] - BLOCK[0])
        found = run.rows(measure, [dict(
            volume=volume, method=method, walks=walks, prior="diverse",
            settings=with_steps(method, setting, budget / walks, shape)) for method, budget, setting, walks in asked])
        return [dict(budget=budget) | {key: value for key, value in row.items() if key != "prior"}
                for (_, budget, *_), row in zip(asked, found)]

    tuning, best, again = [], {}, SETTINGS
    for budget in BUDGETS:
        trials, found, new = [], [], {method: list(again[method]) for method in SETTINGS}
        while any(new.values()):                # as long as a best one lies at an end of what was tried
            asking = [(method, budget, setting, 1) for method in SETTINGS for setting in new[method]]
            trials, found = trials + asking, found + rows(VALIDATION, asking)
            ranked = sorted(zip(trials, found), key=lambda pair: -pair[1]["psnr"])
            tried = {method: [t[2] for t, _ in ranked if t[0] == method] for method in SETTINGS}
            new = {method: [setting for setting in beyond(tried[method][0], tried[method])
                            if setting not in tried[method]] for method in SETTINGS}
        again = {method: tried[method][:AGAIN] for method in SETTINGS}
        best |= {(method, budget): tried[method][0] for method in SETTINGS}
        tuning += found

    def asked(budget):
        for method in SETTINGS:
            yield method, budget, best[method, budget], 1
            if method != "variational" and budget > BUDGETS[0]:
                yield method, budget, best[method, BUDGETS[0]], round(budget / BUDGETS[0])

    people = here(PEOPLE)
    tested = [row for person in people for row in rows(person, [one for budget in BUDGETS for one in asked(budget)])]
    sweep = check_sweep(dict(volumes=[VALIDATION], voxel_sizes=[VOXEL_SIZE], accelerations=[ACCELERATION], seeds=[0],
                             blocks=[BLOCK], methods=CLASSICAL))
    classical = {label: found["settings"] for label, found in tune(run, sweep)["best"].items()}
    plain = run.rows(reconstruction, [
        dict(volume=person, voxel_size=VOXEL_SIZE, block=BLOCK, acceleration=ACCELERATION, method=method,
             settings=settings) for person in people for method, settings in classical.items()],
        columns=("volume", "method", "settings", "psnr", "ssim", "seconds", "operator_applications"))
    return dict(voxel_size=VOXEL_SIZE, acceleration=ACCELERATION, tuning=tuning, rows=tested, classical=plain)
