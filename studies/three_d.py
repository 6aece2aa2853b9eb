"""A prior of volumes beside a prior of slices: quality, time, memory and data at equal size.

    python data/three_d.py        # writes data/results/three_d.json; a quarter of an hour on one CPU core

Two small U-Nets with the same number of parameters, on heads from 2 to 3 mm: one of slices, patches of 48 x 48, one of
volumes, cubes of 24 voxels. The one of slices is trained twice, for as many steps and for as many seconds as the other.
Each goes into the same solver with the weight that was best of three on the validation slab (2 mm, R = 8), and
reconstructs a block of the test head at the voxel sizes of training and beyond. The whole head is denoised in a process
of its own, whose peak memory is measured. What was computed stays in `runs/three_d`.
"""

import argparse
import datetime
import json
import multiprocessing
import time
from pathlib import Path

import torch
from cost import flops
from denoise import RESULTS, noisy
from joblib import Memory
from resolutions import coarsened, training_heads
from tqdm import tqdm
from train_priors import RUNS

from mrilab.classical import cg_sense
from mrilab.priors import load_prior, read_card
from mrilab.diffusion import to_channels, to_complex
from studies.experiments import commit
from mrilab.metrics import head_mask, percentile, psnr
from mrilab.simulate import simulate_acquisition, smooth_phase
from mrilab.processes import hardware
from mrilab.training import train
from mrilab.variational import denoised_average, reconstruct
from mrilab.writing import atomic_path
from mrilab.volumes import load_volume

VOXEL_SIZES = (2, 3)                                            # of training
SLICES = dict(network="unet", widths=(16, 16, 32, 64, 80), patch=48, batch=8)
PRIORS = {                                                      # 24 voxels halve three times, 48 four times
    "3D": dict(network="unet3d", widths=(16, 16, 32, 52), patch=24, batch=4, steps=2000),
    "2D, equal steps": SLICES | dict(steps=2000),
    "2D, equal seconds": SLICES | dict(steps=4500),
}
WEIGHTS = (0.2, 0.5, 1.2)
ITERATIONS = 8
READOUT = {"colin27_ch2_slab": 12, "qtim_MRHead": 16}           # voxels about the middle of x, at most
SIZES = ((2, 2, 2), (3, 3, 3), (4, 2, 2))
SIGMA = 0.1
memory = Memory(RUNS / "three_d", verbose=0)


def path_of(name):
    return RUNS / "three_d" / f"{name.replace(' ', '_').replace(',', '')}.safetensors"


@memory.cache
def training(name, settings):
    """Train one prior: processor seconds and what it saw. Wall time would count what else the machine does."""
    torch.set_num_threads(1)
    people, path = training_heads(), path_of(name)
    for old in path.parent.glob(f"{path.stem}.*"):              # of other settings
        old.unlink()
    begin = time.process_time()
    train(list(people.values()), VOXEL_SIZES, path, people=list(people), progress=False, **settings)
    seconds, prior = time.process_time() - begin, load_prior(path)
    card, patch = read_card(path).model_dump(), settings["patch"]
    voxels = sum(volume.data.numel() for volume in people.values())
    return dict(prior=name, **settings, parameters=card["parameters"], cpu_seconds=round(seconds),
                patches=settings["steps"] * settings["batch"],
                voxels=settings["steps"] * settings["batch"] * patch**prior.dims,
                # patches that do not overlap, at 2 mm: slices can be cut in three planes
                disjoint_patches=round((3 if prior.dims == 2 else 1) * voxels / patch**prior.dims),
                gigaflop_per_step=round(settings["batch"] * flops(prior, patch) / 1e9, 2), sha256=card["sha256"])


def simulated(volume, size):
    """Acquisition and truth of a block of the readout."""
    block, volume = READOUT[volume], load_volume(volume)
    acquisition, truth = simulate_acquisition(volume.resample(coarsened(volume, size)), acceleration=8, seed=0)
    start = max(0, truth.shape[2] - block) // 2
    stop = min(start + block, truth.shape[2])
    return acquisition.readout_block(start, stop), truth[..., start:stop]


@memory.cache
def reconstruction(volume, size, name, options, digest):
    """One reconstruction; ``digest`` tells the cache of new weights."""
    torch.set_num_threads(1)
    acquisition, truth = simulated(volume, size)
    begin = time.process_time()
    if name == "CG-SENSE":
        result = cg_sense(acquisition, tolerance=0, progress=False, **options)
    else:
        result = reconstruct(acquisition, load_prior(path_of(name)), progress=False, **options)
    return dict(volume=volume, voxel_size=size, prior=name, options=options, matrix=list(truth.shape),
                psnr=round(psnr(result.image, truth), 3),
                psnr_head=round(psnr(result.image, truth, head_mask(truth)), 3),
                cpu_seconds=round(time.process_time() - begin, 1), network_evaluations=result.network_evaluations)


def memory_gb(key):
    """Of this process, by Linux: ``VmRSS`` what it holds now, ``VmHWM`` its peak since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e9


def denoise(size, name, how):
    """PSNR of the test head with white noise, denoised whole, as axial slices, or averaged over three planes."""
    torch.set_num_threads(1)
    head = load_volume("qtim_MRHead")
    small = head.resample(coarsened(head, size))
    clean = small.data / percentile(small.data, 0.99)
    clean = clean * torch.exp(1j * smooth_phase(clean.shape, torch.Generator().manual_seed(0)))
    x, prior = noisy(clean, SIGMA), load_prior(path_of(name))
    Path("/proc/self/clear_refs").write_text("5")               # the peak starts anew
    before, begin = memory_gb("VmRSS"), time.process_time()
    if how == "axial only":
        image = to_complex(prior.denoise(to_channels(x), SIGMA))
    else:
        image = denoised_average(x, prior, SIGMA, small.voxel_size, fraction=1.0)[0]
    return dict(voxel_size=size, prior=name, how=how, matrix=list(clean.shape), psnr=round(psnr(image, clean), 3),
                cpu_seconds=round(time.process_time() - begin, 1), added_gb=round(memory_gb("VmHWM") - before, 2))


@memory.cache
def denoising(size, name, how, digest):
    """The same, in a process that has done nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(denoise, (size, name, how))


def tuned(name, digest, settings):
    """The trials on the validation slab, and the best setting."""
    trials = [reconstruction("colin27_ch2_slab", (2, 2, 2), name, s, digest) for s in tqdm(settings, desc=f"{name}")]
    return trials, max(trials, key=lambda trial: trial["psnr"])["options"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    torch.set_num_threads(parser.parse_args().threads)
    (RUNS / "three_d").mkdir(parents=True, exist_ok=True)
    cards = {name: training(name, settings) for name, settings in tqdm(PRIORS.items(), desc="training")}
    solver = [dict(weight=w, iterations=ITERATIONS) for w in WEIGHTS]
    choices = {name: (card["sha256"], solver) for name, card in cards.items()}
    choices["CG-SENSE"] = "", [dict(regularization=w, iterations=10) for w in (0.003, 0.01)]
    trials, rows = [], []
    for name, (digest, settings) in choices.items():
        tried, best = tuned(name, digest, settings)
        trials += tried
        rows += [reconstruction("qtim_MRHead", size, name, best, digest) for size in tqdm(SIZES, desc=f"{name}, test")]
    ways = {name: ["volume"] if name == "3D" else ["three planes", "axial only"] for name in PRIORS}
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), commit=commit(), acceleration=8,
                   voxel_sizes=VOXEL_SIZES, training=list(cards.values()), trials=trials, rows=rows, sigma=SIGMA,
                   denoising=[denoising(size, name, how, cards[name]["sha256"])
                              for size in SIZES for name in PRIORS for how in ways[name]])
    with atomic_path(RESULTS / "three_d.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
