"""Weight and last noise level of the solver, chosen for each scan without a truth, against those that a truth chose.

Scans as in `mismatch`, at 1.5 and 3 mm, R = 8, and the diverse prior. Settings are chosen for a scan by
held-out samples and by the discrepancy principle, fourteen trials each; *validation* has the settings that were best,
by PSNR, among the trials on a scan of the validation person with the same voxel size and acceleration; *default* has
the solver's own; *truth* is the best of all that was tried on the scan.
"""

import numpy as np

from mrilab.metrics import head_mask, psnr
from mrilab.mismatch import as_options, quiet, solver_settings
from mrilab.trials import best_trial
from mrilab.variational import SETTINGS, reconstruct

from .mismatch import ACCELERATIONS
from .scans import PEOPLE, VALIDATION, here, prior_of, simulated

RESULTS = ["own_settings.json"]
BLOCKS = {1.5: [-4, 4], 3: [-8, 8]}                     # of the readout, voxels, by voxel size
ITERATIONS = 16
WAYS = ["held-out", "discrepancy"]
FIRST = SETTINGS["fast"]["sigma"][0]                     # noise level; the last one is searched


def searched(volume, voxel_size, acceleration, block, prior, iterations, way, seed=0, device="cpu"):
    """The settings chosen for a scan, and the trials with the PSNR that the truth gives each."""
    acquisition, _ = simulated(volume, voxel_size, acceleration, block, seed)
    chosen = solver_settings(acquisition.to(device), prior_of(prior, device=device), by=way, seed=seed, progress=False,
                             iterations=iterations)
    scan = volume, voxel_size, acceleration, block, prior, iterations
    trials = [trial | with_settings(*scan, as_options(trial["settings"], FIRST), seed, device)
              for trial in chosen.trials]
    settings = {key: chosen.settings[key] for key in ("weight", "sigma")}
    return dict(settings=settings, edges=chosen.edges, trials=trials) | with_settings(*scan, settings, seed, device)


def with_settings(volume, voxel_size, acceleration, block, prior, iterations, options, seed=0, device="cpu"):
    """PSNR in the head with these options of the solver."""
    acquisition, truth = simulated(volume, voxel_size, acceleration, block, seed)
    with quiet():
        image = reconstruct(acquisition.to(device), prior_of(prior, device=device), seed=seed, progress=False,
                            iterations=iterations, **options).image.cpu()
    return dict(psnr_head=psnr(image, truth, head_mask(truth)))


def study(run):
    people = here(PEOPLE)
    scans = [dict(volume=person, voxel_size=size, acceleration=r, block=block, prior="diverse", iterations=ITERATIONS)
             for person in [VALIDATION, *people] for size, block in BLOCKS.items() for r in ACCELERATIONS]
    found = run.rows(searched, [scan | dict(way=way) for scan in scans for way in WAYS])
    trials, best = {}, {}
    for row in found:
        trials.setdefault((row["volume"], row["voxel_size"], row["acceleration"]), []).extend(row["trials"])
    for (volume, size, r), tried in trials.items():
        if volume == VALIDATION:
            best[size, r] = as_options(best_trial(tried, "psnr_head")["settings"], FIRST)
    tested = [scan for scan in scans if scan["volume"] != VALIDATION]
    fixed = iter(run.rows(with_settings, [
        scan | dict(options=options) for scan in tested
        for options in ({}, best[scan["voxel_size"], scan["acceleration"]])]))
    cells = []
    for scan in tested:
        mine = {row["way"]: row for row in found if all(row[key] == value for key, value in scan.items())}
        quality = {way: row["psnr_head"] for way, row in mine.items()}
        quality |= {"default": next(fixed)["psnr_head"], "validation": next(fixed)["psnr_head"]}
        tried = [trial["psnr_head"] for row in mine.values() for trial in row["trials"]]
        quality["truth"] = max([*tried, *quality.values()])
        cells.append(scan | dict(quality=quality, ways={way: {key: row[key] for key in ("settings", "edges", "trials")}
                                                        for way, row in mine.items()}))
    cost = {way: float(np.mean([c["quality"]["truth"] - c["quality"][way] for c in cells]))
            for way in (*WAYS, "default", "validation")}
    return dict(people=people, cost=cost, validation={f"{d} mm, R {r}": o for (d, r), o in best.items()}, cells=cells)
