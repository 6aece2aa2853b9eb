"""The variational solver's two settings, tuned with equal effort, and its parts switched off one at a time.

Everything is tuned on the validation person, 2 mm and R = 8: ten settings drawn at random, then all that differ from
the best in one number by a factor of two, or in the order of the noise levels, as long as one of them is better, and
for `paper` so with each order; more iterations, momentum and mirroring of `fast` are among the ablations. Then each
setting runs on the test people, R = 8 and 12, beside CG-SENSE. `renoised` is `fast` with fresh noise before each
denoising, as in DiffPIR. `scans` has the weight and the noise levels of `fast` on other scans of the validation person:
voxel size, acceleration, noise, coils and estimated sensitivities, one at a time, and what least squares leaves there.
A block of the readout keeps it short.
"""

import copy

import numpy as np
import torch

from mrilab import metrics
from mrilab.checks import PLANES
from mrilab.problem import unexplained
from mrilab.trials import at_edge, best_trial
from mrilab.variational import reconstruct

from .scans import PEOPLE, VALIDATION, here, prior_of, reconstruction, simulated
from .sweep import check_sweep
from .tuning import numbers, say_edges, tune

RESULTS = ["solvers.json"]
VOXEL_SIZE, BLOCK = 2, [-12, 12]
FIRST = {
    "fast": dict(weight=0.7, sigma=[0.1, 0.005], slab=1),
    "paper": dict(weight=0.01, learning_rate=0.02, sigma=[0.3, 0.01], power=1.0, schedule="uniform"),
}
COLUMNS = ("volume", "voxel_size", "acceleration", "seed", "psnr", "ssim", "misfit", "network_evaluations", "seconds",
           "operator_applications", "matrix")
ITERATIONS = {"fast": 32, "paper": 200}
SEARCH = {                                              # logarithmic ranges, or choices
    "fast": dict(weight=(0.1, 3.0), sigma=((0.05, 1.0), (0.002, 0.02)), slab=[1]),
    "paper": dict(weight=(0.003, 3.0), learning_rate=(0.005, 0.1), sigma=((0.2, 2.0), (0.005, 0.02)), power=[0.5, 1.0],
                  schedule=["uniform", "descending", "bounded"]),
}
CG = {"method": "cg_sense", "tune": {"regularization": [0.0003, 0.03], "iterations": [5, 40]}}
ABLATIONS = (
    [dict(planes=planes) for planes in (["axial"], ["coronal"], ["sagittal"], ["axial", "coronal"],
                                        ["axial", "sagittal"], ["coronal", "sagittal"], list(PLANES))]
    + [dict(planes=[plane], fraction=1 / 3) for plane in PLANES]
    + [dict(fraction=f) for f in (1 / 24, 1 / 12, 1 / 6, 2 / 3, 1.0)]
    + [dict(iterations=n) for n in (8, 16, 64, 128)]
    + [dict(momentum=m) for m in (0.0, 0.25, 0.75)] + [dict(momentum=0.0, iterations=n) for n in (8, 16, 64, 128)]
    + [dict(flip=False)] + [dict(flip=False, iterations=n) for n in (8, 16, 64, 128)]
    + [dict(slab=n) for n in (2, 5, 10)]
    + [dict(sigma=s) for s in ([0.05, 0.005], [0.3, 0.005], [1.0, 0.005], [0.1, 0.05], [0.1, 0.02], [0.1, 0.002])]
    + [dict(weight=w) for w in (0.1, 0.2, 0.35, 0.5, 1.4, 3.0)]
    + [dict(cg_iterations=n) for n in (1, 2, 5, 10, 40)]
    + [dict(discrepancy=c) for c in (0.7, 0.8, 0.9, 1.0)])

LONGER = (50, 100, 400, 800)                            # iterations of `paper`
SPARSE = [{}, dict(momentum=0.0), dict(flip=False), dict(iterations=64), dict(cg_iterations=5)]     # at R = 24

SCANS = [dict(voxel_size=d, acceleration=8) for d in (1.5, 2, 3, 4)] + [
    dict(voxel_size=2, acceleration=r) for r in (4, 24)] + [
    dict(voxel_size=2, acceleration=8, noise=noise) for noise in (0.003, 0.03)] + [
    dict(voxel_size=6, acceleration=3), dict(voxel_size=2, acceleration=2, coils=1),
    dict(voxel_size=2, acceleration=8, maps="estimated"), dict(voxel_size=3, acceleration=8, maps="estimated")]
TRIED = [dict(weight=w) for w in (0.18, 0.35, 0.7, 1.4, 2.8)] + [
    dict(sigma=s) for s in ([0.1, 0.02], [0.0125, 0.005], [0.025, 0.005], [0.05, 0.005], [0.5, 0.005], [1.0, 0.005],
                                [0.1, 0.0025], [0.1, 0.00125])] + [
    dict(iterations=n) for n in (48, 64)]
RENOISED = [dict(share=share, momentum=momentum) | change for share in (0.3, 1.0) for momentum in (0.5, 0.0)
            for change in [dict(weight=w) for w in (0.18, 0.35, 0.7, 1.4, 2.8)] + [dict(sigma=s) for s in (
                [0.05, 0.005], [0.1, 0.005], [0.3, 0.005], [1.0, 0.005], [0.1, 0.002], [0.1, 0.01])]
            + [dict(iterations=n) for n in (64, 128)]
            + [dict(iterations=64, sigma=[0.1, 0.005]), dict(iterations=64, weight=0.35)]]


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
    """Half and twice each number, and the other orders of the noise levels.

    Examples
    --------
    >>> [found["sigma"] for found in around("fast", {"weight": 1.0, "sigma": [0.1, 0.01], "slab": 1})]
    [[0.1, 0.01], [0.05, 0.01], [0.1, 0.005], [0.1, 0.01], [0.2, 0.01], [0.1, 0.02]]
    """
    for factor in (0.5, 2):
        first, last = best["sigma"]
        yield best | dict(weight=best["weight"] * factor)
        yield from (best | dict(sigma=sigma) for sigma in ([first * factor, last], [first, last * factor])
                    if sigma[0] > sigma[1])
        for name in ("learning_rate", "power"):
            if name in best:
                yield best | {name: best[name] * factor}
    for choice in SEARCH[setting].get("schedule", []):
        if choice != best["schedule"]:
            yield best | dict(schedule=choice)


def renoised(voxel_size, acceleration, share, settings, prior="diverse", seed=0, device="cpu"):
    """`fast` on a scan of the validation person; to what is denoised comes noise of a share of the level told."""
    acquisition, truth = simulated(VALIDATION, voxel_size, acceleration, BLOCK, seed)
    plain, generator = prior_of(prior, device=device), torch.Generator().manual_seed(seed)
    noising = copy.copy(plain)

    def denoise(slices, sigma, voxel_size=None):
        noise = torch.randn(slices.shape, generator=generator).to(slices.device)
        return plain.denoise(slices + share * sigma * noise, sigma, voxel_size)

    noising.denoise = denoise
    image = reconstruct(acquisition.to(device), noising, seed=seed, progress=False, **settings).image.cpu()
    return dict(psnr=metrics.psnr(image, truth))


def excess(voxel_size, acceleration, noise=0.01, maps="true", coils=8):
    """What least squares leaves of a scan of the validation person, over what it would leave of noise alone."""
    acquisition, _ = simulated(VALIDATION, voxel_size, acceleration, BLOCK, 0, coils, noise, maps)
    return dict(excess=unexplained(acquisition, acquisition.noise)[0])


def edges(tried):
    """Which of weight, first and last noise level is best at an end of what was tried with the default iterations.

    Examples
    --------
    >>> edges([{"settings": {"weight": w}, "psnr": w} for w in (0.35, 0.7, 1.4)])
    ['weight']
    """
    alike = [t for t in tried if "iterations" not in t["settings"]]
    return list(at_edge(numbers(FIRST["fast"]), [
        dict(settings=numbers(FIRST["fast"] | t["settings"]), psnr=t["psnr"]) for t in alike]))


def study(run):
    def rows(asked, volumes=(VALIDATION,)):
        """Of ``(acceleration, method, settings)``, where a setting of the solver counts as a method."""
        asked = [(v, *a) for v in volumes for a in asked]
        found = run.rows(reconstruction, [
            dict(volume=v, voxel_size=VOXEL_SIZE, block=BLOCK, acceleration=r, seed=0)
            | (dict(method="cg_sense", settings=o) if m == "cg_sense" else
               dict(method="variational", prior="diverse", settings={"setting": m, "iterations": ITERATIONS[m]} | o))
            for v, r, m, o in asked], columns=COLUMNS)
        return [dict(method=m, settings=o) | row for (_, _, m, o), row in zip(asked, found)]

    def best(rows, method):
        return best_trial([row for row in rows if row["method"] == method])["settings"]

    def search(setting, **fixed):
        """Trials about the best of those with what is fixed, as long as they find a better one."""
        before = None
        while before != (before := best([t for t in trials if fixed.items() <= t["settings"].items()], setting)):
            trials.extend(rows([(8, setting, o | fixed) for o in around(setting, before)]))

    generator = np.random.default_rng(0)
    trials = rows([(8, s, o) for s in FIRST for o in [FIRST[s], *(draw(s, generator) for _ in range(9))]])
    for s in FIRST:
        search(s)
    for schedule in SEARCH["paper"]["schedule"]:        # each at its best, for the text compares them
        search("paper", schedule=schedule)
    tuned = {s: best(trials, s) for s in FIRST}
    sweep = check_sweep(dict(volumes=[VALIDATION], voxel_sizes=[VOXEL_SIZE], accelerations=[8], seeds=[0],
                             blocks=[BLOCK], methods=[CG]))
    tuned["cg_sense"] = tune(run, sweep)["best"]["cg_sense"]["settings"]
    tested = rows([(r, m, tuned[m]) for r in (8, 12) for m in tuned], here(PEOPLE))
    ablations = rows([(8, "fast", tuned["fast"] | a) for a in ABLATIONS])
    longer = rows([(8, "paper", tuned["paper"] | dict(iterations=n)) for n in LONGER])
    sparse = rows([(24, "fast", tuned["fast"] | a) for a in SPARSE])
    usual = dict(iterations=ITERATIONS["fast"]) | tuned["fast"]
    fresh = [asked | row for asked, row in zip(RENOISED, run.rows(renoised, [
        dict(voxel_size=VOXEL_SIZE, acceleration=8, share=asked["share"],
             settings=usual | {name: asked[name] for name in asked if name != "share"}) for asked in RENOISED]))]
    found = iter(run.rows(reconstruction, [
        scan | dict(volume=VALIDATION, block=BLOCK, seed=0, method="variational", prior="diverse", settings=settings)
        for scan in SCANS for settings in TRIED]))
    scans = []
    for scan, left in zip(SCANS, run.rows(excess, SCANS)):
        tried = [dict(settings=settings, psnr=next(found)["psnr"]) for settings in TRIED]
        scans.append(scan | dict(excess=left["excess"], trials=tried, edges=edges(tried)))
        say_edges(f"solvers: {scan}", scans[-1]["edges"])
    return dict(trials=trials, tuned=tuned, rows=tested, longer=longer, renoised=fresh, scans=scans,
                ablations=[a | dict(changed=c) for a, c in zip(ablations, ABLATIONS)],
                sparse=[a | dict(changed=c) for a, c in zip(sparse, SPARSE)])
