"""Train a shipped prior on the training people: python data/train_priors.py fixed_1mm

The same command goes on after an interruption. All priors have the same network, augmentation, steps and
batch; they differ in the voxel sizes they see, and `diverse_conditioned` is told them.
"""

import argparse
import json
from pathlib import Path

import torch

from mrilab.datasets import list_datasets, sha256
from mrilab.training import train
from mrilab.volumes import atomic_path, load_volume

HERE = Path(__file__).parent
REGISTRY = HERE.parent / "mrilab" / "registry.json"
PRIORS = {
    "fixed_1mm": dict(voxel_sizes=(1, 1)),
    "diverse": dict(voxel_sizes=(1, 4)),
}


def register(path, description):
    registry = json.loads(REGISTRY.read_text())
    card = json.loads(path.with_suffix(".json").read_text())
    registry[path.stem] = dict(
        file=path.relative_to(HERE).as_posix(), sha256=sha256(path), bytes=path.stat().st_size, kind="prior",
        card_sha256=sha256(path.with_suffix(".json")),
        licence="CC-BY-4.0", source="data/train_priors.py", description=description, split="train",
        person=", ".join(card["people"]))
    with atomic_path(REGISTRY) as temporary:
        temporary.write_text(json.dumps(registry, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PRIORS)
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    people = [d for d in list_datasets("volume") if d.split == "train"]
    folder = HERE / "priors"
    folder.mkdir(exist_ok=True)
    path = train([load_volume(d.name) for d in people], out=folder / f"{options.name}.safetensors",
                 steps=options.steps, device=options.device, people=[d.person for d in people], **PRIORS[options.name])
    low, high = PRIORS[options.name]["voxel_sizes"]
    register(path, f"prior for {low} mm slices" if low == high else f"prior for slices from {low} to {high} mm")
