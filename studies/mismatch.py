"""Whether a prior fits a scan, told from its samples alone: two meters over people, voxel sizes and priors.

Scans are simulated on each test person's own voxels, eight coils of a head array, noise of 0.01 at 1 mm; R = 8, a block
of the readout. Of each scan and each prior of pixels: the divergence and the error on held-out samples
(`mrilab.mismatch`), and, with the truth, the PSNR of the reconstruction, all with the solver's defaults. A cell is a
scan; a meter picks the prior with the lowest reading, and is right if that one's PSNR in the head is within 0.1 dB of
the best. A person whose head is not at hand is left out, and said.
"""

from collections import Counter

import numpy as np

from mrilab.metrics import head_mask, psnr
from mrilab.mismatch import METERS, Reading, quiet
from mrilab.variational import reconstruct

from .comparison import PRIORS
from .results import pack_slices
from .scans import HEAD, PEOPLE, SHARP, here, prior_of, simulated

RESULTS = ["mismatch.json"]
BLOCKS = {1: [-4, 4], 1.5: [-6, 6], 2: [-8, 8], 3: [-12, 12], 4: [-12, 12]}     # of the readout, voxels, by voxel size
ACCELERATIONS = [8]
SEEDS = [0]
EQUAL = 0.1             # dB
SLICE = 128             # mm a side, of the pictures: of the head that ships


def measured(volume, voxel_size, acceleration, block, prior, seed=0, keep_slices=0, device="cpu"):
    """What both meters say of one prior on one scan, part by part, and the quality of its image.

    The parts and the noise are those of the seed: readings of several priors on the same scan belong together.
    """
    acquisition, truth = simulated(volume, voxel_size, acceleration, block, seed)
    acquisition, network = acquisition.to(device), {prior: prior_of(prior, device=device)}
    with quiet():
        image = reconstruct(acquisition, network[prior], seed=seed, progress=False).image.cpu()
    head = head_mask(truth)
    return {meter: list(measure(acquisition, network, seed=seed, device=device, progress=False).values[prior])
            for meter, measure in METERS.items()} | dict(
        psnr=psnr(image, truth), psnr_head=psnr(image, truth, head), matrix=list(truth.shape)) | (
            {"slices": pack_slices(image, truth, acquisition.voxel_size, keep_slices)} if keep_slices else {})


def judged(rows):
    """Of one cell's rows, one for each prior: what each meter picks, and what that costs against the best, in dB.

    Examples
    --------
    >>> rows = [{"prior": "a", "psnr_head": 30.0, "divergence": [1.0, 1.1], "held-out": [-8.0, -8.5]},
    ...         {"prior": "b", "psnr_head": 29.5, "divergence": [1.3, 1.5], "held-out": [-8.6, -8.8]}]
    >>> found = judged(rows)
    >>> found["best"], found["divergence"]["pick"], found["held-out"]["pick"], found["held-out"]["cost"]
    ('a', 'a', 'b', 0.5)
    """
    quality = {row["prior"]: row["psnr_head"] for row in rows}
    found = dict(best=max(quality, key=quality.get))
    for meter in METERS:
        reading = Reading(meter, "", {row["prior"]: tuple(row[meter]) for row in rows})
        found[meter] = dict(pick=reading.best, cost=quality[found["best"]] - quality[reading.best],
                            equal=reading.equal, behind={name: reading.behind(name) for name in quality})
    return found


def summary(cells):
    """How often each meter picks the best or an equal prior, what its pick costs on average, and always the same one.

    Examples
    --------
    >>> cell = dict(best="a", quality={"a": 30, "b": 29.5}) | {m: dict(pick="b", cost=0.5) for m in METERS}
    >>> summary([cell, cell])["held-out"]
    {'right': 0.0, 'cost': 0.5, 'picks': {'b': 2}}
    """
    costs = {meter: [cell[meter]["cost"] for cell in cells] for meter in METERS}
    found = {meter: dict(right=float(np.mean([c <= EQUAL for c in cost])), cost=float(np.mean(cost)),
                         picks=dict(Counter(cell[meter]["pick"] for cell in cells))) for meter, cost in costs.items()}
    for name in cells[0]["quality"]:
        cost = [cell["quality"][cell["best"]] - cell["quality"][name] for cell in cells]
        found[f"always {name}"] = dict(right=float(np.mean([c <= EQUAL for c in cost])), cost=float(np.mean(cost)))
    return found


def study(run):
    scans = [dict(volume=person, voxel_size=size, acceleration=r, block=block, seed=seed)
             for person in here(PEOPLE) for size, block in BLOCKS.items() if size > 1 or person in SHARP
             for r in ACCELERATIONS for seed in SEEDS]
    shown = [dict(keep_slices=SLICE) if s["volume"] == HEAD else {} for s in scans]
    rows = iter(run.rows(measured, [scan | more | dict(prior=name)
                                    for scan, more in zip(scans, shown) for name in PRIORS]))
    cells = []
    for scan in scans:
        mine = [next(rows) for _ in PRIORS]
        cells.append(scan | judged(mine) | dict(quality={row["prior"]: row["psnr_head"] for row in mine}, rows=[
            {key: row[key] for key in ("prior", "psnr", "psnr_head", *METERS)}
            | ({"slice": row["slices"]["sagittal"]} if "slices" in row else {}) for row in mine]))
    return dict(equal=EQUAL, priors=PRIORS, summary=summary(cells), cells=cells)
