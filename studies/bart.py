"""BART's L1-wavelet beside ours and the solver: the rival of another house, at its best.

`bart pics` with random shifts of the wavelets, as many iterations as level off. Its weight and ours are tuned on the
validation person at 2 mm, R = 8, with as many trials for each number of iterations; then both, and the solver with its
defaults, reconstruct the same blocks of the test people at 2 mm, R = 8, 12 and 24. Where BART is not on the machine its
rows are left out, and that is said.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from mrilab import metrics
from mrilab.classical import cg_sense
from mrilab.raw import read_cfl, save_cfl
from mrilab.trials import at_edge, best_trial, coarse_trials, fine_trials

from .scans import PEOPLE, VALIDATION, here, reconstruction, simulated
from .tuning import say_edges

RESULTS = ["bart.json"]
VOXEL_SIZE, BLOCK = 2, [-12, 12]
WEIGHT = {"weight": (0.0001, 0.01)}
COLUMNS = ("volume", "voxel_size", "acceleration", "seed", "settings", "psnr", "seconds")


def bart(volume, voxel_size, acceleration, settings, block=None, seed=0):
    """PSNR of `bart pics`, and the seconds of the processor in it; intensities are scaled as for ours.

    Parameters
    ----------
    volume, voxel_size, acceleration, block, seed
        See :func:`studies.scans.simulated`.
    settings : dict
        ``weight`` and ``iterations``.
    """
    acquisition, truth = simulated(volume, voxel_size, acceleration, block, seed)
    scale = metrics.percentile(cg_sense(acquisition, iterations=10, progress=False).image, 0.99)
    # along axes of odd size BART 0.8 puts maps and image one voxel further than its own transform does
    odd, axes = [n % 2 for n in truth.shape], (-3, -2, -1)
    with tempfile.TemporaryDirectory() as folder:
        save_cfl(f"{folder}/kspace.cfl", acquisition.kspace / scale)
        save_cfl(f"{folder}/maps.cfl", acquisition.maps.roll(odd, axes))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["bart", "pics", "-S", "-i", str(settings["iterations"]), "-R", f"W:7:0:{settings['weight']}",
                        "kspace", "maps", "out"], cwd=folder, check=True, capture_output=True,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        image = torch.from_numpy(np.array(read_cfl(Path(folder) / "out.cfl")))[0].roll([-n for n in odd], axes) * scale
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return dict(psnr=metrics.psnr(image, truth), seconds=round(seconds, 2))


def study(run):
    def rows(method, people, rates, settings):
        asked = [dict(volume=v, voxel_size=VOXEL_SIZE, acceleration=r, block=BLOCK, seed=0, settings=s)
                 for v in people for r in rates for s in settings]
        if method == "bart":
            return run.rows(bart, asked, columns=COLUMNS)
        own = dict(method=method) | (dict(prior="diverse") if method == "variational" else {})
        return run.rows(reconstruction, [one | own for one in asked], columns=COLUMNS)

    def tuned(method, **fixed):
        """Ten coarse trials of the weight and four about the best."""
        def tried(weights):
            return [{key: row[key] for key in ("settings", "psnr")}
                    for row in rows(method, [VALIDATION], [8], [weight | fixed for weight in weights])]

        coarse = tried(coarse_trials(WEIGHT))
        return coarse + tried(fine_trials(WEIGHT, best_trial(coarse)["settings"]))

    trials = {"l1_wavelet": tuned("l1_wavelet")}
    if shutil.which("bart"):
        trials["bart"] = [trial for n in (50, 100, 200) for trial in tuned("bart", iterations=n)]
    else:
        print("bart: not on this machine, left out (apt-get install bart)", file=sys.stderr)
    best = {method: best_trial(tried) for method, tried in trials.items()}
    settings = {method: found["settings"] for method, found in best.items()} | {"variational": {}}      # its defaults
    tested = [dict(method=method) | row for method, own in settings.items()
              for row in rows(method, here(PEOPLE), (8, 12, 24), [own])]
    edges = {method: list(at_edge(WEIGHT, tried)) for method, tried in trials.items()}
    for method, names in edges.items():
        say_edges(f"bart: {method}", names)
    return dict(tuned=best, edges=edges, trials=trials, rows=tested)
