"""Train the shipped priors on the training people, and register them.

    python -m studies.train_priors fixed_1mm        # one
    torchrun --nproc-per-node 4 -m studies.train_priors diverse --device cuda
    python -m studies.train_priors all             # those that are not trained yet, one after the other

All have the same augmentation, steps and batch, and but for the two operators the same network; they differ in
the voxel sizes they see, and `diverse_conditioned` is told them. The same command goes on after an interruption.
A run works in `runs/` and keeps there what the averaged prior was like after 500, 1000, 2000 ... steps; `--ship`
copies the finished prior to where it ships.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import torch

from mrilab.datasets import list_datasets, sha256
from mrilab.priors import read_card, save_prior
from mrilab.training import train
from mrilab.volumes import load_volume
from mrilab.writing import atomic_path

ROOT = Path(__file__).parents[1]
DATA, RUNS, REGISTRY = ROOT / "data", ROOT / "runs", ROOT / "mrilab" / "registry.json"
PRIORS = {
    "fixed_1mm": dict(voxel_sizes=(1, 1)),
    "fixed_2mm": dict(voxel_sizes=(2, 2)),
    "fixed_3mm": dict(voxel_sizes=(3, 3)),
    "diverse": dict(voxel_sizes=(1, 4)),
    "diverse_conditioned": dict(voxel_sizes=(1, 4), conditioned=True),
    "operator_1mm": dict(voxel_sizes=(1, 1), network="operator"),
    "operator_2mm": dict(voxel_sizes=(2, 2), network="operator"),
}
SNAPSHOTS = (500, 1000, 2000, 4000, 6000, 8000, 16000)


def describe(name):
    low, high = PRIORS[name]["voxel_sizes"]
    if PRIORS[name].get("network") == "operator":
        return f"prior in function space, trained on {low} mm slices"
    told = ", told the voxel size" if PRIORS[name].get("conditioned") else ""
    return f"prior for {low} mm slices" if low == high else f"prior for slices from {low} to {high} mm{told}"


def ship(path):
    """Copy a trained prior to data/priors and enter it in the registry."""
    trained, path = path, DATA / "priors" / f"{path.stem.removesuffix('_again')}.safetensors"
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(trained.with_suffix(suffix), path.with_suffix(suffix))
    registry = json.loads(REGISTRY.read_text())
    card = read_card(path).model_dump()
    registry[path.stem] = dict(
        file=path.relative_to(DATA).as_posix(), sha256=sha256(path), bytes=path.stat().st_size, kind="prior",
        card_sha256=sha256(path.with_suffix(".json")), licence="CC-BY-4.0", source="studies/train_priors.py",
        description=describe(path.stem), split="train", person=", ".join(card["people"]))
    with atomic_path(REGISTRY) as temporary:
        temporary.write_text(json.dumps(registry, indent=1) + "\n")


def run(name, path, steps, device, workers, again):
    people = [d for d in list_datasets("volume") if d.split == "train"]
    snapshots, first = path.with_suffix(""), RUNS / f"{name}.safetensors"
    snapshots.mkdir(parents=True, exist_ok=True)

    def keep(step, prior):
        if step in SNAPSHOTS:
            save_prior(snapshots / f"{step}.safetensors", prior, dict(
                network=PRIORS[name].get("network", "unet"), voxel_sizes=prior.voxel_sizes, steps=step,
                conditioned=prior.conditioned, sigma_data=prior.sigma_data, widths=prior.net.widths))

    return train([d.name for d in people], out=path, steps=steps, device=device,
                 workers=workers, validation=load_volume("colin27_ch2_slab"), people=[d.person for d in people],
                 callback=keep, initial=(first if first.exists() else name) if again else None, seed=int(again),
                 **PRIORS[name])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*PRIORS, "all"])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--again", action="store_true", help="a second round, from the first or what ships")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare heads; 8 keep a GPU busy")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--ship", action="store_true", help="copy to data/priors and register when done")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in PRIORS if options.name == "all" else [options.name]:
        path = RUNS / f"{name}{'_again' * options.again}.safetensors"
        if not path.with_suffix(".json").exists():
            run(name, path, options.steps, options.device, options.workers, options.again)
        if options.ship and int(os.environ.get("RANK", 0)) == 0:
            ship(path)
