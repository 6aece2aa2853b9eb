"""Voxel sizes that were not trained on, and how diverse training has to be.

*unseen*: the shipped priors denoise the test head, sigma = 0.1, at voxel sizes between and beyond those of training,
isotropic and not. The head was measured at 1 x 1 x 1.3 mm (z, y, x): nothing finer can be tested on it. The
axial slices of the tumour volume have 0.94 mm, and are tested beside (`psnr_planes` is axial, coronal, sagittal).
*reconstruction*: the same priors in the solver, R = 8, at a few of these sizes, with its defaults.
*diversity*: small networks, which differ in nothing but the voxel sizes that they are trained on, at every other voxel
size; heads at 2 mm and coarser keep it short.
"""

from .denoising import PRIORS, quality
from .results import ROOT
from .scans import HEAD, TUMOUR, reconstruction
from .trainings import PEOPLE, training

RESULTS = ["resolutions.json"]
SIGMA = 0.1
ISOTROPIC = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6)
ANISOTROPIC = ((3, 1, 1), (1, 1, 3), (1, 2, 4), (4, 1, 1), (5, 1, 1), (2, 2, 5))
RECONSTRUCTED = ((2.5, 2.5, 2.5), (5, 5, 5), (4, 2, 2))
CELLS = ([(HEAD, (d,) * 3) for d in ISOTROPIC] + [(HEAD, size) for size in ANISOTROPIC]
         + [(TUMOUR, (1.2, 0.9375, 0.9375))])
READOUT, BLOCK = 12, (-3, 3)                        # mm of the readout that are reconstructed, at least six voxels
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
    unseen = run.rows(quality, [dict(volume=volume, voxel_size=size, sigma=SIGMA, prior=name, count=12)
                                for volume, size in CELLS for name in PRIORS])
    found = run.rows(reconstruction, [
        dict(volume=HEAD, voxel_size=size, block=BLOCK, method="variational", prior=name, settings={})
        for size in RECONSTRUCTED for name in PRIORS],
        columns=("voxel_size", "prior", "settings", "psnr", "seconds", "matrix"))
    trained = run.rows(training, [dict(name=f"{name}-{seed}", voxel_sizes=sizes, settings=SMALL | dict(seed=seed),
                                       volumes=list(PEOPLE.values()))
                                  for seed in SEEDS for name, sizes in DIVERSITY.items()], folder=run.folder)
    tested = iter(run.rows(quality, [dict(volume=HEAD, voxel_size=(d,) * 3, sigma=SIGMA, count=12,
                                          prior=str(ROOT / row["trained"])) for row in trained for d in TESTED]))
    diversity = [dict(training=name, odds=sizes if name != "continuum" else None, seed=seed, **SMALL,
                      psnr={d: next(tested)["psnr"] for d in TESTED})
                 for seed in SEEDS for name, sizes in DIVERSITY.items()]
    return dict(volume=HEAD, sigma=SIGMA, acceleration=8, readout_mm=READOUT, unseen=[
        {key: row[key] for key in ("volume", "voxel_size", "prior")}
        | dict(psnr_planes=[round(value, 3) for value in row["psnr_planes"]]) for row in unseen],
        reconstruction=found, diversity=diversity)
