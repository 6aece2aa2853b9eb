"""How diverse training has to be: small networks that differ in nothing but the voxel sizes of their training.

They denoise the test head, sigma = 0.1, at every other voxel size. Heads at 2 mm and coarser keep it short.
"""

from .denoising import quality
from .results import ROOT
from .scans import HEAD
from .trainings import PEOPLE, training

RESULTS = ["diversity.json"]
SIGMA = 0.1
SIZES = (2, 2.5, 3.2, 4, 5)                         # equal steps of their logarithm
DIVERSITY = {                                       # low and high, or sizes and their odds
    "2 mm": [[2, 1]],
    "5 mm": [[5, 1]],
    "two ends": [[2, 1], [5, 1]],
    "continuum": [2, 5],
    "five sizes": [[d, 1] for d in SIZES],
    "three sizes": [[2, 1], [3.2, 1], [5, 1]],
    "five, fine-heavy": list(zip(SIZES, (16, 8, 4, 2, 1))),
    "five, coarse-heavy": list(zip(SIZES, (1, 2, 4, 8, 16))),
    "five, centre-heavy": list(zip(SIZES, (1, 4, 16, 4, 1))),
    "3.2 mm": [[3.2, 1]],
}
SMALL = dict(widths=[16, 16, 32, 64, 80], steps=1500, patch=48)
TESTED = (1.5, 2, 2.25, 2.5, 2.8, 3.2, 3.6, 4, 4.5, 5, 6)
SEEDS = (0, 1)


def study(run):
    trained = run.rows(training, [dict(name=f"{name}-{seed}", voxel_sizes=sizes, settings=SMALL | dict(seed=seed),
                                       volumes=list(PEOPLE.values()))
                                  for seed in SEEDS for name, sizes in DIVERSITY.items()], folder=run.folder)
    tested = iter(run.rows(quality, [dict(volume=HEAD, voxel_size=(d,) * 3, sigma=SIGMA, count=12,
                                          prior=str(ROOT / row["trained"])) for row in trained for d in TESTED]))
    rows = [dict(training=name, odds=sizes if name != "continuum" else None, seed=seed, **SMALL,
                 psnr={d: next(tested)["psnr"] for d in TESTED}) for seed in SEEDS for name, sizes in DIVERSITY.items()]
    return dict(volume=HEAD, sigma=SIGMA, rows=rows)
