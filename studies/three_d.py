"""A prior of volumes beside a prior of slices: quality, time, memory and data at equal size.

Two small U-Nets with the same number of parameters, on heads from 2 to 3 mm: one of slices, patches of 48 x 48, one of
volumes, cubes of 24 voxels. The one of slices is trained twice, for as many steps and for as many seconds as the other.
Each goes into the same solver with the weight that was best of three on the validation slab (2 mm, R = 8), and
reconstructs a block of the test head at the voxel sizes of training and beyond. The whole head is denoised in a process
of its own, whose peak memory is measured.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from mrilab.diffusion import to_channels, to_complex
from mrilab.metrics import psnr
from mrilab.priors import load_prior
from mrilab.variational import denoised_average

from .denoising import noisy, noisy_head
from .results import ROOT
from .scans import HEAD, SLAB, reconstruction
from .trainings import PEOPLE, card_of, flops, head_of, training

RESULTS = ["three_d.json"]
VOXEL_SIZES = (2, 3)                                            # of training
SLICES = dict(widths=[16, 16, 32, 64, 80], patch=48, batch=8)
PRIORS = {                                                      # 24 voxels halve three times, 48 four times
    "3D": dict(widths=[16, 16, 32, 52], patch=24, batch=4, steps=2000),
    "2D, equal steps": SLICES | dict(steps=2000),
    "2D, equal seconds": SLICES | dict(steps=4500),
}
CG = [dict(regularization=w, iterations=10, tolerance=0) for w in (0.003, 0.01)]
SOLVER = [dict(weight=w, iterations=8) for w in (0.2, 0.5, 1.2)]
BLOCKS = {SLAB: (-6, 6), HEAD: (-8, 8)}
SIZES = ((2, 2, 2), (3, 3, 3), (4, 2, 2))
SIGMA = 0.1


def spent(row):
    """What a training saw: patches, voxels, and work."""
    settings, prior = row["settings"], load_prior(ROOT / row["trained"])
    patch, batch, steps = (settings[key] for key in ("patch", "batch", "steps"))
    voxels = sum(head_of(name).data.numel() for name in PEOPLE.values())
    return dict(prior=row["name"], network=row["network"], **settings,
                parameters=card_of(ROOT / row["trained"])["parameters"], cpu_seconds=row["cpu_seconds"],
                patches=steps * batch, voxels=steps * batch * patch**prior.dims,
                # patches that do not overlap, at 2 mm: slices can be cut in three planes
                disjoint_patches=round((3 if prior.dims == 2 else 1) * voxels / patch**prior.dims),
                gigaflop_per_step=round(batch * flops(prior, patch) / 1e9, 2), sha256=row["sha256"])


def memory_gb(key):
    """Of this process, by Linux: ``VmRSS`` what it holds now, ``VmHWM`` its peak since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e9


def denoised(voxel_size, prior, how):
    """PSNR of the test head with white noise, denoised whole, as axial slices, or averaged over three planes."""
    clean, size = noisy_head(HEAD, voxel_size)
    x, prior = noisy(clean, SIGMA), load_prior(prior)
    Path("/proc/self/clear_refs").write_text("5")               # the peak starts anew
    before, begin = memory_gb("VmRSS"), time.process_time()
    if how == "axial only":
        image = to_complex(prior.denoise(to_channels(x), SIGMA))
    else:
        image = denoised_average(x, prior, SIGMA, size, fraction=1.0)[0]
    return dict(matrix=list(clean.shape), psnr=round(psnr(image, clean), 3),
                cpu_seconds=round(time.process_time() - begin, 1), added_gb=round(memory_gb("VmHWM") - before, 2))


def denoising(voxel_size, prior, how):
    """The same, in a process that has done nothing else."""
    asked = json.dumps(dict(voxel_size=voxel_size, prior=prior, how=how))
    found = subprocess.run([sys.executable, "-m", __name__, asked], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        raise ValueError(found.stderr.strip().splitlines()[-1])
    return json.loads(found.stdout)


def study(run):
    trained = run.rows(training, [dict(name=name, voxel_sizes=VOXEL_SIZES, volumes=list(PEOPLE.values()),
                                       network="unet3d" if name == "3D" else "unet", settings=settings)
                                  for name, settings in PRIORS.items()], folder=run.folder)
    files = {row["name"]: str(ROOT / row["trained"]) for row in trained}
    names = {path: name for name, path in files.items()} | {None: "CG-SENSE"}
    ways = [("variational", path, SOLVER) for path in files.values()] + [("cg_sense", None, CG)]

    def rows(asked, volume):
        """Of ``(voxel_size, method, prior, settings)``."""
        found = run.rows(reconstruction, [
            dict(volume=volume, voxel_size=d, block=BLOCKS[volume], method=m, prior=p, settings=o)
            for d, m, p, o in asked], columns=(
                "volume", "voxel_size", "prior", "settings", "matrix", "psnr", "psnr_head", "seconds",
                "network_evaluations"))
        return [row | dict(prior=names[row["prior"]]) for row in found]

    trials = rows([((2, 2, 2), method, path, o) for method, path, tried in ways for o in tried], SLAB)
    best = {row["prior"]: row["settings"] for row in sorted(trials, key=lambda row: row["psnr"])}
    tested = rows([(d, method, path, best[names[path]]) for method, path, _ in ways for d in SIZES], HEAD)
    whole = run.rows(denoising, [dict(voxel_size=size, prior=path, how=how) for size in SIZES
                                 for name, path in files.items()
                                 for how in (["volume"] if name == "3D" else ["three planes", "axial only"])])
    return dict(acceleration=8, voxel_sizes=VOXEL_SIZES, training=[spent(row) for row in trained], trials=trials,
                rows=tested, sigma=SIGMA, denoising=[row | dict(prior=names[row["prior"]]) for row in whole])


if __name__ == "__main__":
    print(json.dumps(denoised(**json.loads(sys.argv[1]))))
