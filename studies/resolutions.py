"""Voxel sizes that were not trained on.

*unseen*: the shipped priors denoise the test head, sigma = 0.1, at voxel sizes between and beyond those of training,
isotropic and not. The head was measured at 1 x 1 x 1.3 mm (z, y, x): nothing finer can be tested on it. The
axial slices of the tumour volume have 0.94 mm, and are tested beside (`psnr_planes` is axial, coronal, sagittal).
*reconstruction*: the same priors in the solver, R = 8, at a few of these sizes, with its defaults.
"""

from .denoising import PRIORS, quality
from .scans import HEAD, TUMOUR, reconstruction

RESULTS = ["resolutions.json"]
SIGMA = 0.1
ISOTROPIC = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6)
ANISOTROPIC = ((3, 1, 1), (1, 1, 3), (1, 2, 4), (4, 1, 1), (5, 1, 1), (2, 2, 5))
RECONSTRUCTED = ((2.5, 2.5, 2.5), (5, 5, 5), (4, 2, 2))
CELLS = ([(HEAD, (d,) * 3) for d in ISOTROPIC] + [(HEAD, size) for size in ANISOTROPIC]
         + [(TUMOUR, (1.2, 0.9375, 0.9375))])
BLOCK = (-8, 8)                                         # of the readout, voxels


def study(run):
    unseen = run.rows(quality, [dict(volume=volume, voxel_size=size, sigma=SIGMA, prior=name, count=12)
                                for volume, size in CELLS for name in PRIORS])
    found = run.rows(reconstruction, [
        dict(volume=HEAD, voxel_size=size, block=BLOCK, method="variational", prior=name, settings={})
        for size in RECONSTRUCTED for name in PRIORS],
        columns=("voxel_size", "prior", "settings", "psnr", "seconds", "matrix"))
    return dict(volume=HEAD, sigma=SIGMA, acceleration=8, unseen=[
        {key: row[key] for key in ("volume", "voxel_size", "prior")}
        | dict(psnr_planes=[round(value, 3) for value in row["psnr_planes"]]) for row in unseen],
        reconstruction=found)
