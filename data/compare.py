"""The first comparison: the fixed and the diverse prior on the test head at 1, 2 and 3 mm, three seeds.

    python data/compare.py        # writes data/results/comparison.json

R = 8, eight coils, noise 0.01; at 1 mm the central 20 mm of the readout. Settings as tuned by data/tune.py.
"""

import datetime
import json
from pathlib import Path

from tqdm import tqdm
from tune import scan

from mrilab.classical import cg_sense
from mrilab.diffusion import load_prior
from mrilab.metrics import psnr, ssim
from mrilab.training import hardware
from mrilab.variational import reconstruct
from mrilab.volumes import atomic_path

RESULTS = Path(__file__).parent / "results"


if __name__ == "__main__":
    tuned = json.loads((RESULTS / "tuning.json").read_text())
    rows = []
    for d, seed in tqdm([(d, seed) for seed in range(3) for d in (1, 2, 3)]):
        acquisition, truth = scan("qtim_MRHead", d, width=20, seed=seed)
        results = {"cg_sense": cg_sense(acquisition, tolerance=0, progress=False, **tuned["best"][f"cg_sense {d} mm"])}
        for name in ("fixed_1mm", "diverse"):
            results[name] = reconstruct(acquisition, load_prior(name), seed=seed, progress=False,
                                        **tuned["best"][f"{name} {d} mm"])
        rows += [dict(method=name, voxel_size=d, seed=seed, psnr=psnr(r.image, truth), ssim=ssim(r.image, truth),
                      network_evaluations=r.network_evaluations, seconds=round(r.seconds, 1))
                 for name, r in results.items()]
    results = dict(hardware=hardware(), date=datetime.date.today().isoformat(), volume="qtim_MRHead", acceleration=8,
                   weights=tuned["weights"], rows=rows)
    with atomic_path(RESULTS / "comparison.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
