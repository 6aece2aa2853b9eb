"""Whether the error on held-out samples orders methods as the truth does: simulated scans, where both are known.

The test head: blocks of the readout at 3 and 4 mm, single axial slices whose two axes are phase-encoding ones at 1 and
2 mm, and single slices of one coil whose lines are left out. Ten methods and settings, good and bad ones on purpose,
with their defaults otherwise; two splits of a tenth of the samples (of lines, a quarter). Of each scan the rank
correlation between the held-out error and the PSNR in the head of the image from all samples.
"""

import functools
import math

import torch
from scipy.stats import spearmanr

from mrilab.holdout import estimated_psnr, prediction_error, split_samples, used_part
from mrilab.metrics import head_mask, psnr
from mrilab.operators import SenseOperator
from mrilab.simulate import simulate_acquisition, white_noise
from mrilab.volumes import Acquisition, Volume, load_volume

from .scans import HEAD, solve

RESULTS = ["judge.json"]
SCANS = {       # of the test head: geometry, voxel size in mm, acceleration, coils
    "3D, 3 mm, R 4": ("block", 3, 4, 8), "3D, 3 mm, R 8": ("block", 3, 8, 8),
    "3D, 4 mm, R 4": ("block", 4, 4, 8), "3D, 4 mm, R 12": ("block", 4, 12, 8),
    "slice, 2 mm, R 4": ("slice", 2, 4, 8), "slice, 2 mm, R 8": ("slice", 2, 8, 8),
    "slice, 1 mm, R 8": ("slice", 1, 8, 8),
    "lines, one coil, 2 mm, R 2": ("lines", 2, 2, 1), "lines, one coil, 2 mm, R 3": ("lines", 2, 3, 1),
}
RIVALS = {      # method, prior, settings
    "zero-filled": ("zero_filled", None, {}),
    "CG-SENSE, 4 steps": ("cg_sense", None, dict(iterations=4, tolerance=0)),
    "CG-SENSE": ("cg_sense", None, {}),
    "CG-SENSE, 0.05": ("cg_sense", None, dict(regularization=0.05)),
    "L1-wavelet": ("l1_wavelet", None, {}),
    "total variation": ("total_variation", None, {}),
    "total variation, 0.01": ("total_variation", None, dict(weight=0.01)),
    "variational, diverse": ("variational", "diverse", {}),
    "variational, 1 mm": ("variational", "fixed_1mm", {}),
    "variational, 3 mm": ("variational", "fixed_3mm", {}),
}


def lines_only(shape, acceleration, centre, seed):
    """Mask ``(1, y)``: the middle lines, and others drawn at random.

    Examples
    --------
    >>> mask = lines_only((1, 64, 64), 4, 8, seed=0)
    >>> tuple(mask.shape), int(mask.sum()), bool(mask[0, 28:36].all())
    ((1, 64), 16, True)
    """
    count = shape[1]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = order[(order - count // 2 + centre // 2).div(centre, rounding_mode="floor") != 0]
    mask = torch.zeros(1, count, dtype=torch.bool)
    mask[0, count // 2 - centre // 2:count // 2 - centre // 2 + centre] = True
    mask[0, order[:max(0, round(count / acceleration) - centre)]] = True
    return mask


@functools.lru_cache(maxsize=1)         # the jobs of all methods on the same data follow each other
def simulated_scan(volume, geometry, voxel_size, acceleration, coils, noise, seed, middle=0.6):
    """Acquisition and truth ``(z, y, x)`` of a block of the readout, of a slice, or of a slice of lines.

    ``slice`` has the head's y and x for the phase-encoding axes z and y, and a readout of one position; ``lines`` has z
    of length 1. ``middle`` is where along the head's z the slice lies.
    """
    head, size = load_volume(volume), (voxel_size,) * 3
    if geometry == "lines":
        acquisition, truth = simulate_acquisition(head, 1, coils, 0, seed, size)
        at = round(middle * len(truth))
        truth, maps = truth[at:at + 1], acquisition.maps[:, at:at + 1]
        mask = lines_only(truth.shape, acceleration, 16, seed)
        kspace = SenseOperator(maps, mask).forward(truth)
        kspace += noise * white_noise(kspace.shape, torch.Generator().manual_seed(seed)) * mask[..., None]
        return Acquisition(kspace, maps, mask, acquisition.voxel_size, noise), truth
    if geometry == "slice":
        head = Volume(head.data.permute(1, 2, 0).contiguous(), head.voxel_size[1:] + head.voxel_size[:1])
        size = tuple(max(d, own) for d, own in zip(size, head.voxel_size))
    noise *= (math.prod(size) / math.prod(head.voxel_size)) ** 0.5              # that of the scan
    acquisition, truth = simulate_acquisition(head, acceleration, coils, noise, seed, size)
    at = round(middle * truth.shape[2])
    start, stop = (at, at + 1) if geometry == "slice" else (truth.shape[2] // 2 - 4, truth.shape[2] // 2 + 4)
    return acquisition.readout_block(start, stop), truth[..., start:stop]


def judged(volume, geometry, voxel_size, acceleration, coils, method, prior=None, settings=None, noise=0.01, seed=0,
           splits=2, device="cpu"):
    """Errors on held-out samples, the PSNR they let expect, and the PSNR by the truth."""
    acquisition, truth = simulated_scan(volume, geometry, voxel_size, acceleration, coils, noise, seed)
    head, peak = head_mask(truth), truth.abs().max().item()
    errors, expected = [], []
    for held in split_samples(acquisition, 0.25 if geometry == "lines" else 0.1, splits, seed):
        image = solve(used_part(acquisition, held), method, prior, settings, seed, device=device)[0].image
        errors.append(prediction_error(image, acquisition, held))
        expected.append(estimated_psnr(image, acquisition, held, peak, int(head.sum())))
    image = solve(acquisition, method, prior, settings, seed, device=device)[0].image
    error = (image - truth)[head].abs().square().mean().item()
    return dict(held_out=errors, expected=expected, psnr_head=psnr(image, truth, head),
                psnr_complex=10 * math.log10(peak**2 / error))


def study(run):
    asked = [dict(volume=HEAD, geometry=g, voxel_size=d, acceleration=r, coils=c, method=m, prior=p, settings=s)
             for g, d, r, c in SCANS.values() for m, p, s in RIVALS.values()]
    found = iter(run.rows(judged, asked))
    scans = []
    for name in SCANS:
        rows = [dict(label=label) | {k: row[k] for k in ("held_out", "expected", "psnr_head", "psnr_complex")}
                for label, row in zip(RIVALS, found)]
        mean = [sum(row["held_out"]) / len(row["held_out"]) for row in rows]
        truth = [row["psnr_head"] for row in rows]
        scans.append(dict(scan=name, rank_correlation=-float(spearmanr(mean, truth).statistic), rows=rows))
    return dict(volume=HEAD, noise=0.01, scans=scans)
