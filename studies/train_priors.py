"""Train the shipped priors on the training people, and register them.

    python -m studies.train_priors diverse --patches 700000          # one, on the CPU in a night
    nvidia-cuda-mps-control -d                                       # on a GPU, so that several share it well
    python -m studies.train_priors --all --minutes 8                 # all, with equal budgets, in 8 minutes
    torchrun --nproc-per-node 4 -m studies.train_priors diverse

All have the same people, augmentation, patches and batch, and but for the two operators the same network; they differ
in the voxel sizes they see, and `diverse_conditioned` is told them. Of a prior for one voxel size, only heads that have
slices of that size count. The same command goes on after an interruption. `--minutes` first measures how fast each is
beside the others, then gives each the number of patches that all can be done with in time, if `--patches` does not say
it. `--ship` copies finished priors to where they ship.

Batches are small on a GPU as well: with equal patches, many steps of 16 teach more than few of 64 (on an H200, 8,329
steps of 64 ended behind what 25,000 of 16 had reached). A small network on 16 patches leaves most of a card idle, so
that processes side by side, through NVIDIA's MPS, take three times as many steps as by turns.

People: those that ship, those by reference that are at hand (in MRILAB_MIRROR, or downloaded before), and the files of
`--heads`, into which `--pack` writes the ones by reference, cropped and in 8 bits, for a machine without a network.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch

from mrilab.augmentation import usable
from mrilab.datasets import at_hand, list_datasets, sha256
from mrilab.files import write_hdf5
from mrilab.priors import read_card
from mrilab.processes import hardware, in_parallel
from mrilab.training import train
from mrilab.volumes import load_volume
from mrilab.writing import atomic_path

from .results import ROOT

DATA, RUNS, REGISTRY = ROOT / "data", ROOT / "runs", ROOT / "mrilab" / "registry.json"
PRIORS = {
    "diverse": dict(voxel_sizes=(1, 4)),
    "fixed_1mm": dict(voxel_sizes=(1, 1)),
    "fixed_3mm": dict(voxel_sizes=(3, 3)),
    "fixed_2mm": dict(voxel_sizes=(2, 2)),
    "diverse_conditioned": dict(voxel_sizes=(1, 4), conditioned=True),
    "operator_1mm": dict(voxel_sizes=(1, 1), network="operator"),
    "operator_2mm": dict(voxel_sizes=(2, 2), network="operator"),
}
WIDTHS, LIGHT = (32, 32, 48, 64, 96), True      # see `light` of UNet: the best of eleven networks for its time
PATCH = 64
LATE = 20               # seconds at the end for what is not training
PROBE = 12              # seconds in which the speed is measured
MARGIN = 0.9            # of the patches that the measured speeds promise


def describe(name):
    low, high = PRIORS[name]["voxel_sizes"]
    if PRIORS[name].get("network") == "operator":
        return f"prior in function space, trained on {low} mm slices"
    told = ", told the voxel size" if PRIORS[name].get("conditioned") else ""
    return f"prior for {low} mm slices" if low == high else f"prior for slices from {low} to {high} mm{told}"


def ship(path):
    """Copy a trained prior to data/priors and enter it in the registry."""
    trained, path = path, DATA / "priors" / path.name
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


def people(folder=None):
    """The training heads: names of those that ship and of those by reference that are at hand, and a folder's files."""
    found = [d.name for d in list_datasets("volume") if d.split == "train"]
    packed = sorted(Path(folder).glob("*.h5")) if folder else []
    for d in (d for d in list_datasets() if d.box and d.split == "train"):
        if d.name not in [path.stem for path in packed]:
            found += [d.name] * at_hand(d.name)
    return found + packed


def pack(folder):
    """Write the training heads by reference into a folder, cropped, in 8 bits (labels in 16)."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for d in (d for d in list_datasets() if d.box and d.split == "train"):
        volume = load_volume(d.name)
        scale = 1.0 if d.kind == "labels" else volume.data.max().item() / 255
        data = (volume.data / scale).round().to(torch.int16 if d.kind == "labels" else torch.uint8)
        write_hdf5(Path(folder) / f"{d.name}.h5", {"data": data},
                   {"voxel_size": volume.voxel_size, "scale": scale, "kind": d.kind, **volume.info},
                   compression="gzip", compression_opts=9, shuffle=True)


def settings_of(name, options):
    """The arguments of :func:`mrilab.training.train` that a prior has for itself."""
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True       # two shapes of batches: the search for the fastest kernels pays
    network = dict(network="unet", light=LIGHT and PRIORS[name].get("network") != "operator") | PRIORS[name]
    return dict(volumes=usable(people(options.heads), network["voxel_sizes"]), widths=WIDTHS, batch=options.batch,
                patch=PATCH, device=options.device, progress=options.minutes is None, **network)


def train_one(name, options, patches, until=math.inf):
    """Train one prior, or go on with it: what the report says of it."""
    path = Path(options.out) / f"{name}.safetensors"
    card = path.with_suffix(".json")
    if not card.exists():
        steps = max(1, round(patches / options.batch))
        often = 2000 if on_gpu(options) else 500
        train(out=path, steps=steps, until=until, interval=max(50, min(often, steps // 12)),
              validation=load_volume("colin27_ch2_slab"), **settings_of(name, options))
    if not card.exists():
        return dict(name=name, finished=False)
    if options.ship and int(os.environ.get("RANK", 0)) == 0:
        ship(path)
    card = read_card(path).model_dump()
    return dict(name=name, finished=True, patches=card["steps"] * card["batch"], seconds=card["seconds"],
                patches_per_second=card["images_per_second"], loss=card["losses"]["mean"][-5:],
                validation=card["validation"][-1:])


def attempt(name, *more):
    """As :func:`train_one`; an error becomes text: the others go on, and the same command goes on with this one."""
    try:
        return train_one(name, *more)
    except Exception as error:
        return dict(name=name, finished=False, error=repr(error))


def probe(name, options):
    """Patches a second of a prior, with the others at their own probes beside it."""
    stamps = []

    def look(step, _):
        stamps.append((step, time.perf_counter()))
        if len(stamps) > 1 and stamps[-1][1] > stamps[0][1] + PROBE:        # the first steps make heads and graphs
            raise TimeoutError

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeoutError):
        train(out=Path(folder) / f"{name}.safetensors", steps=10**6, interval=100 if on_gpu(options) else 5,
              callback=look, **settings_of(name, options))
    (first, begin), (last, end) = stamps[0], stamps[-1]
    return (last - first) * options.batch / (end - begin)


def on_gpu(options):
    return str(options.device).startswith("cuda")


def budget(rates, beside, seconds):
    """Patches for each prior that all are done with in time.

    ``beside`` processes share the machine; each measured its speed while the others ran. The work of one patch of each
    prior takes the sum of the inverse speeds, divided by how many run at a time.

    Examples
    --------
    >>> budget([100, 100, 50], beside=1, seconds=400)         # 10 + 10 + 20 ms a patch of each
    9000
    """
    return int(MARGIN * beside * seconds / sum(1 / rate for rate in rates))


def train_all(options):
    """All priors, side by side, with equal budgets and within the minutes given: whether all are finished."""
    until, path = options.started + 60 * options.minutes - LATE, Path(options.out) / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    patches = options.patches or report.get("patches")          # an interrupted training goes on with as many
    if not patches:
        rates = in_parallel(probe, [(name, options) for name in options.names], options.beside)
        patches = budget(list(rates), options.beside, until - time.time())
    if patches < options.batch:
        raise SystemExit(f"--minutes: found {options.minutes:g}, expected more: not one batch is done in time")
    print(f"{patches} patches of each, {options.beside} beside each other", flush=True)
    report = dict(patches=patches, batch=options.batch, beside=options.beside, hardware=hardware(options.device),
                  torch=torch.__version__, date=datetime.date.today().isoformat(), priors=[])

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n")

    write()
    for found in in_parallel(attempt, [(name, options, patches, until) for name in options.names], options.beside):
        print(json.dumps(found), flush=True)
        report["priors"].append(found)
        write()
    return all(found["finished"] for found in report["priors"])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"priors: {', '.join(PRIORS)}")
    parser.add_argument("--all", action="store_true", help="all priors")
    parser.add_argument("--minutes", type=float, help="for everything; needs no --patches")
    parser.add_argument("--patches", type=int, help="of each prior")
    parser.add_argument("--beside", type=int, help="processes at a time; all on a GPU, else one for each core")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, for each process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--heads", help="folder of more training heads")
    parser.add_argument("--pack", metavar="FOLDER", help="write the heads by reference there, and stop")
    parser.add_argument("--out", default=RUNS, help="folder of weights, cards, checkpoints and the report")
    parser.add_argument("--ship", action="store_true", help="copy to data/priors and register when done")
    options = parser.parse_args()
    options.started = time.time()
    options.names = list(PRIORS) if options.all else options.names
    wrong = [name for name in options.names if name not in PRIORS]
    if wrong or not (options.names or options.pack):
        parser.error(f"names: found {wrong or 'none'}, expected some of {', '.join(PRIORS)}, or --all")
    if not options.pack and not (options.minutes or options.patches):
        parser.error("expected --minutes or --patches")
    most = len(PRIORS) if on_gpu(options) else os.cpu_count()
    options.beside = min(options.beside or most, len(options.names) or 1)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    return options


def main():
    options = parse()
    if options.pack:
        pack(options.pack)
        return
    found = people(options.heads)
    known = {d.name for d in list_datasets() if d.box and d.split == "train"}
    missing = sorted(known - {Path(str(head)).stem for head in found})
    print(f"{len(found)} training heads" + (f"; not at hand: {', '.join(missing)}" if missing else ""), flush=True)
    if options.minutes is None:
        for name in options.names:
            print(json.dumps(train_one(name, options, options.patches)), flush=True)
    elif not train_all(options):
        raise SystemExit("not all are finished; the same command goes on")


if __name__ == "__main__":
    from studies import train_priors  # by its name other processes find what they are to call

    train_priors.main()
