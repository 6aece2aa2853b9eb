"""Voxel sizes that were not trained on, and how diverse training has to be.

    python data/resolutions.py                  # all parts, into data/results/resolutions.json; half an hour on a core
    python data/resolutions.py diversity        # this part; the others in the file stay

*unseen*: the shipped priors denoise the test head, sigma = 0.1, at voxel sizes between and beyond those of training,
isotropic and not. The head was measured at 1 x 1 x 1.3 mm (z, y, x): nothing finer can be tested on it. The
axial slices of the tumour volume have 0.94 mm, and are tested beside (`psnr_planes` is axial, coronal, sagittal).
*reconstruction*: the same priors in the solver, R = 8, at a few of these sizes, with the weight tuned at 2 mm.
*diversity*: small networks, which differ in nothing but the voxel sizes that they are trained on, at every other voxel
size; heads at 2 mm and coarser keep it short. What was trained and reconstructed stays in `runs/resolutions`.
"""

import argparse
import datetime
import json

import torch
from denoise import PRIORS, RESULTS, by_prior, quality, slices_of
from joblib import Memory
from tqdm import tqdm
from train_priors import RUNS

from mrilab.datasets import list_datasets, locate, sha256
from mrilab.priors import load_prior
from studies.experiments import commit
from mrilab.metrics import psnr
from mrilab.simulate import simulate_acquisition
from mrilab.processes import hardware
from mrilab.training import train
from mrilab.variational import SETTINGS, reconstruct
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

SIGMA = 0.1
ISOTROPIC = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6)
ANISOTROPIC = ((3, 1, 1), (1, 1, 3), (1, 2, 4), (4, 1, 1), (5, 1, 1), (2, 2, 5))
RECONSTRUCTED = ((2.5, 2.5, 2.5), (5, 5, 5), (4, 2, 2))
CELLS = ([("qtim_MRHead", (d,) * 3) for d in ISOTROPIC] + [("qtim_MRHead", size) for size in ANISOTROPIC]
         + [("qtim_MRBrainTumor2", (1.2, 0.9375, 0.9375))])
READOUT = 12                                        # mm of the readout that are reconstructed
SIZES = (2, 2.5, 3.2, 4, 5)                         # equal steps of their logarithm
DIVERSITY = {
    "2 mm": {2: 1},
    "5 mm": {5: 1},
    "two ends": {2: 1, 5: 1},
    "continuum": (2, 5),
    "five sizes": dict.fromkeys(SIZES, 1),
    "three sizes": {2: 1, 3.2: 1, 5: 1},
    "five, fine-heavy": dict(zip(SIZES, (16, 8, 4, 2, 1))),
    "five, coarse-heavy": dict(zip(SIZES, (1, 2, 4, 8, 16))),
    "five, centre-heavy": dict(zip(SIZES, (1, 4, 16, 4, 1))),
    "3.2 mm": {3.2: 1},
}
SMALL = dict(widths=(16, 16, 32, 64, 80), steps=1500, patch=48)
TESTED = (1.5, 2, 2.25, 2.5, 2.8, 3.2, 3.6, 4, 4.5, 5, 6)
SEEDS = (0, 1)
memory = Memory(RUNS / "resolutions", verbose=0)


def coarsened(volume, size):
    """Voxel sizes asked for, or those the volume was measured at where they are coarser."""
    return tuple(max(d, e) for d, e in zip(size, volume.voxel_size))


def planes_at(volume, size):
    """Slices of every plane at an anisotropic voxel size: the volume is brought there first."""
    return list(slices_of(volume.resample(coarsened(volume, size)), 0, count=12))


@memory.cache
def denoising(volume, size, name, digest):
    """PSNR of denoising by plane, whose pixels differ; ``digest`` of the weights tells the cache what changed."""
    prior = load_prior(name)
    return [round(quality(by_prior(prior), [plane], SIGMA), 3) for plane in planes_at(load_volume(volume), size)]


@memory.cache
def reconstruction(size, name, weight, digest):
    """One reconstruction of the test head."""
    head = load_volume("qtim_MRHead")
    acquisition, truth = simulate_acquisition(head.resample(coarsened(head, size)), acceleration=8, seed=0)
    half = max(3, round(READOUT / acquisition.voxel_size[2] / 2))
    middle = truth.shape[2] // 2
    acquisition = acquisition.readout_block(middle - half, middle + half)
    truth = truth[..., middle - half : middle + half]
    result = reconstruct(acquisition, load_prior(name), weight=weight, progress=False)
    return dict(voxel_size=size, prior=name, weight=weight, psnr=round(psnr(result.image, truth), 3),
                seconds=round(result.seconds, 2), matrix=list(truth.shape))


def training_heads():
    """The training people at 2 mm."""
    people = {d.person: load_volume(d.name).resample((2, 2, 2)) for d in list_datasets("volume") if d.split == "train"}
    for volume in people.values():
        volume.data.clamp_(min=0)           # ringing of the resampling
    return people


@memory.cache
def diversity(name, sizes, seed, small):
    """A small prior trained on one choice of voxel sizes: PSNR of denoising at each tested one."""
    path = RUNS / "resolutions" / f"{name.replace(' ', '_').replace(',', '')}-{seed}.safetensors"
    for old in path.parent.glob(f"{path.stem}.*"):          # of other settings, or not finished
        old.unlink()
    people, head = training_heads(), load_volume("qtim_MRHead")
    train(list(people.values()), sizes, path, people=list(people), seed=seed, progress=False, **small)
    denoise = by_prior(load_prior(path))
    odds = [list(item) for item in sizes.items()] if isinstance(sizes, dict) else None
    return dict(training=name, odds=odds, seed=seed, **small, psnr={
        d: round(quality(denoise, planes_at(head, (d,) * 3), SIGMA), 3) for d in TESTED})


def cross_applied():
    """What it costs to use the weight and last noise level tuned at one voxel size at another (tuning.json)."""
    trials = json.loads((RESULTS / "tuning.json").read_text())["trials"]
    table = {}
    for trial in trials:
        found = table.setdefault((trial["method"], trial["voxel_size"]), {})
        found[json.dumps(trial["setting"], sort_keys=True)] = trial["psnr"]
    for (method, tuned), found in table.items():
        best = max(found, key=found.get)
        for (other, used), scores in table.items():
            if other == method:
                yield dict(method=method, tuned_at=tuned, used_at=used, setting=json.loads(best),
                           loss=round(max(scores.values()) - scores[best], 3),
                           range=round(max(scores.values()) - min(scores.values()), 3))


PARTS = {
    "unseen": lambda weights: [
        dict(volume=volume, voxel_size=size, prior=name, psnr_planes=denoising(volume, size, name, digest))
        for volume, size in tqdm(CELLS, desc="unseen") for name, digest in weights.items()],
    "reconstruction": lambda weights: [
        reconstruction(size, name, SETTINGS["fast"]["weight"], digest)
        for size in tqdm(RECONSTRUCTED, desc="reconstruction") for name, digest in weights.items()],
    "cross_applied": lambda weights: list(cross_applied()),
    "diversity": lambda weights: [
        diversity(name, sizes, seed, SMALL)
        for seed in SEEDS for name, sizes in tqdm(DIVERSITY.items(), desc=f"diversity, seed {seed}")],
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    (RUNS / "resolutions").mkdir(parents=True, exist_ok=True)
    path = RESULTS / "resolutions.json"
    weights = {name: sha256(locate(name, "prior")) for name in PRIORS}
    results = json.loads(path.read_text()) if path.exists() else {}
    for part in options.parts or PARTS:
        results[part] = PARTS[part](weights)
        results |= dict(hardware=hardware(), date=datetime.date.today().isoformat(), commit=commit(), weights=weights,
                        volume="qtim_MRHead", sigma=SIGMA, acceleration=8, readout_mm=READOUT)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
