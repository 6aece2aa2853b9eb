"""A prior adapted to each scan by its own samples, against the prior as it is: quality, seconds, error held out.

Scans are simulated as in `mismatch`, R = 8, at 1.5 and 3 mm. To each are adapted (`mrilab.adaptation`) a fixed prior
that does not fit, one that does, at 3 mm, and the diverse one. The settings of the adaptation are those of the trials
with the highest mean gain of PSNR on two scans of the validation person, each with the fixed prior that does not fit.
*Without* and *adapted* are the solver's defaults with the prior as it was and as the last step left it, *with* is the
one of the two that the samples held out prefer. A person whose head is not at hand is left out, and said.
"""

import time
import warnings

import numpy as np

from mrilab.adaptation import adapt
from mrilab.metrics import head_mask, psnr
from mrilab.variational import reconstruct

from .scans import PEOPLE, VALIDATION, here, prior_of, simulated

RESULTS = ["adaptation.json"]
BLOCKS = {1.5: [-6, 6], 3: [-12, 12]}                   # of the readout, voxels, by voxel size
PRIORS = {1.5: ["fixed_3mm", "diverse"], 3: ["fixed_1mm", "fixed_3mm", "diverse"]}
SHIFTED = [(1.5, "fixed_3mm"), (3, "fixed_1mm")]
TRIALS = [dict(steps=steps, learning_rate=rate) for steps in (40, 240) for rate in (1e-4, 3e-4, 1e-3)]


def adapted(volume, voxel_size, acceleration, block, prior, settings, seed=0, device="cpu"):
    """PSNR of the image and in the head with the prior as it was and as adapted, seconds of the processor of each."""
    acquisition, truth = simulated(volume, voxel_size, acceleration, block, seed)
    acquisition, network, head = acquisition.to(device), prior_of(prior, device=device), head_mask(truth)

    def quality(network):
        begin = time.process_time()
        image = reconstruct(acquisition, network, seed=seed, progress=False).image.cpu()
        return dict(psnr=psnr(image, truth), psnr_head=psnr(image, truth, head),
                    cpu_seconds=round(time.process_time() - begin, 2))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        begin = time.process_time()
        _, found = adapt(acquisition, network, seed=seed, progress=False, **settings)
        seconds = round(time.process_time() - begin, 2)
        without = quality(network)
        with_it = quality(found.adapted) if found.adapted else None
    return dict(without=without, adapted=with_it, kept=found.kept, held_out=[found.before, found.after],
                losses=found.losses, adaptation_seconds=seconds, matrix=list(truth.shape))


def gain(row, judged=False):
    """PSNR in the head by which adaptation is ahead, dB; ``judged``: what was not kept counts 0, as it does diverged.

    Examples
    --------
    >>> row = dict(without=dict(psnr_head=30.0), adapted=dict(psnr_head=29.5), kept=False)
    >>> gain(row), gain(row, judged=True)
    (-0.5, 0.0)
    """
    if row["adapted"] is None or (judged and not row["kept"]):
        return 0.0
    return row["adapted"]["psnr_head"] - row["without"]["psnr_head"]


def summary(rows):
    """Over people, of each voxel size and prior: dB behind the best unadapted prior, dB gained, share kept, seconds.

    Examples
    --------
    >>> def row(prior, without, adapted):
    ...     return dict(volume="a", voxel_size=3, prior=prior, without=dict(psnr_head=without, cpu_seconds=4.0),
    ...                 adapted=dict(psnr_head=adapted), kept=adapted > without, adaptation_seconds=9.0)
    >>> found = summary([row("fixed_1mm", 30.0, 30.2), row("fixed_3mm", 31.0, 30.9)])
    >>> [(cell["prior"], round(cell["behind"], 1), round(cell["with"], 1), cell["kept"]) for cell in found]
    [('fixed_1mm', 1.0, 0.2, 1.0), ('fixed_3mm', 0.0, 0.0, 0.0)]
    """
    best, cells = {}, {}
    for row in rows:
        scan = row["volume"], row["voxel_size"]
        best[scan] = max(best.get(scan, -np.inf), row["without"]["psnr_head"])
        cells.setdefault((row["voxel_size"], row["prior"]), []).append(row)

    def mean(values):
        return float(np.mean(list(values)))

    return [{"voxel_size": size, "prior": prior, "people": len(mine),
             "behind": mean(best[r["volume"], size] - r["without"]["psnr_head"] for r in mine),
             "adapted": mean(map(gain, mine)), "with": mean(gain(r, judged=True) for r in mine),
             "kept": mean(r["kept"] for r in mine),
             "seconds": [mean(r["without"]["cpu_seconds"] for r in mine), mean(r["adaptation_seconds"] for r in mine)]}
            for (size, prior), mine in cells.items()]


def study(run):
    def asked(person, size, prior, settings):
        return dict(volume=person, voxel_size=size, acceleration=8, block=BLOCKS[size], prior=prior, settings=settings)

    tried = run.rows(adapted, [asked(VALIDATION, *cell, settings) for settings in TRIALS for cell in SHIFTED])
    trials = [dict(settings=settings, gains=[gain(row) for row in tried if row["settings"] == settings])
              for settings in TRIALS]
    best = max(trials, key=lambda trial: np.mean(trial["gains"]))["settings"]
    rows = run.rows(adapted, [asked(person, size, prior, best) for person in here(PEOPLE) for size in BLOCKS
                              for prior in PRIORS[size]])
    return dict(settings=best, trials=trials, summary=summary(rows), rows=rows)
