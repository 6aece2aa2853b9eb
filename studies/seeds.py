"""What a seed changes beside what a person changes: the differences of `comparison` with three seeds for one.

A seed decides the mask, the noise and the slices that the solver draws. At 1.5 and 3 mm, R = 8, a prior of twice or a
third of the voxel size as it is, and one by Fourier interpolation to 2 mm, are compared with the diverse one, for each
person and seed, with the weights that `comparison` tuned. `spread` has, of each difference, the standard deviation over
the seeds of a person, the mean over people, and that over people of their means.
"""

import numpy as np

from .comparison import MIDDLE
from .results import load
from .scans import PEOPLE, here
from .sweep import check_sweep, rows_of

RESULTS = ["seeds.json"]
SEEDS = [0, 1, 2]
CELLS = {1.5: [dict(priors=["diverse", "fixed_3mm"])],
         3: [dict(priors=["diverse", "fixed_1mm"]), dict(priors=["fixed_2mm"], representations=["fourier"])]}
DIVERSE = "variational-diverse"
KEPT = ("label", "volume", "voxel_size", "acceleration", "block", "coils", "noise", "seed", "psnr")


def spread(rows, label):
    """Mean difference to the diverse prior, and its standard deviations over seeds and over people, in dB.

    Examples
    --------
    >>> rows = [dict(label=label, volume=v, seed=s, psnr=30 + (label == "a") * (n + 0.1 * s))
    ...         for label in ("a", "variational-diverse") for n, v in enumerate("xy") for s in (-1, 1)]
    >>> {key: round(value, 2) for key, value in spread(rows, "a").items()}
    {'difference': 0.5, 'seeds': 0.14, 'people': 0.71}
    """
    found = {(row["label"], row["volume"], row["seed"]): row["psnr"] for row in rows}
    people, seeds = ({row[key]: None for row in rows} for key in ("volume", "seed"))
    apart = np.array([[found[label, v, s] - found[DIVERSE, v, s] for s in seeds] for v in people])
    return dict(difference=float(apart.mean()), seeds=float(apart.std(axis=1, ddof=1).mean()),
                people=float(apart.mean(axis=1).std(ddof=1)))


def study(run):
    tuned, people, rows, spreads = load("comparison_settings"), here(PEOPLE), [], []
    for size, entries in CELLS.items():
        sweep = check_sweep(dict(volumes=people, voxel_sizes=[size], accelerations=[8], seeds=SEEDS, blocks=[MIDDLE],
                                 methods=[dict(method="variational") | entry for entry in entries]))
        found = rows_of(run, sweep | {"tuned": tuned[f"{size} mm"]["best"]})
        rows += [{key: row[key] for key in KEPT} for row in found]
        spreads += [dict(voxel_size=size, label=label) | spread(found, label)
                    for label in dict.fromkeys(row["label"] for row in found) if label != DIVERSE]
    return dict(spread=spreads, rows=rows)
