"""Model cards of the priors in the format of model hubs: ``python tools/cards.py [NAME ...] [--out FOLDER]``.

Each prior gets a folder that can be uploaded as it is: ``README.md``, with what the hubs read at its head, the weights
and the JSON card. It is made of that card, the registry and the results; results that were made with other weights
than those that ship are left out.
"""

import argparse
import functools
import shutil
import statistics
import sys
from pathlib import Path

import yaml

import mrilab
from mrilab.datasets import REPOSITORY, entry_of, fetch, list_datasets
from mrilab.priors import read_card

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from studies import results  # noqa: E402

NETWORKS = {"unet": "U-Net of slices", "unet3d": "U-Net of volumes", "operator": "neural operator of slices"}
VALIDATION = "colin27_ch2_slab"         # of every training: the loss is measured on it, no training slice touches it
PAGE = """\
# mrilab prior `{name}`

{description}, for the reconstruction of magnetic resonance images: a denoiser of 2D complex slices (real and imaginary
part as two channels) at any noise level, trained by denoising score matching on slices of {sizes}. It is one of the
priors of the [mrilab book]({repository}), which explains and reproduces
[arXiv 2412.18584](https://arxiv.org/abs/2412.18584).

## Intended use

Research and teaching: as the prior of a reconstruction of undersampled scans of heads, with `mrilab` or your own
solver; as a baseline to compare with. **Not for diagnosis**, nor for any other clinical decision: it is no medical
device, and what it adds to an image can look real and be wrong.

Intensities are scaled so that the 99th percentile of the magnitude is 1; noise levels are in these units, for the real
and the imaginary part each. {told}

## How to use it

```python
from mrilab.priors import load_prior
from mrilab.volumes import load_acquisition
from mrilab.variational import reconstruct

prior = load_prior("{name}")              # or the path of {name}.safetensors, {name}.json beside it
result = reconstruct(load_acquisition("phantom_siemens"), prior)
```

or `mrilab reconstruct scan.h5 --prior {name} --out image.nii.gz`. The SHA-256 of the weights is `{sha256}`.

## Training data

{data}

All are magnitudes{heads}. Phase is simulated; contrast, shape and place are varied at random. Nobody of them is among
the test people below.

## Training

{recipe}

`python -m studies.train_priors {name} --patches {patches}` trains it again; the loss over the steps is in the JSON
card.

## Evaluation

{evaluation}

## Limits

- Trained on the heads of {people} people, mostly T1-weighted. Other anatomy, contrast and lesions were hardly seen or
  not at all: the book's chapter on limits shows what happens then, and how to notice.
- Voxel sizes other than {sizes} are extrapolation; a warning says so.
- Phase and coils were simulated in training and in the evaluation above.
- It sees slices, never a volume: agreement between slices comes from the solver, which takes slices of three planes.

## Licence and citation

The weights are under {licence}, the code is under MIT, and each volume is under the licence in the table above. Please
cite the paper, and the book ([CITATION.cff]({repository}/blob/v{version}/CITATION.cff)):

```bibtex
@article{{krainovic2024resolution,
  title = {{Resolution-Robust {{3D MRI}} Reconstruction with {{2D}} Diffusion Priors: Diverse-Resolution Training
           Outperforms Interpolation}},
  author = {{Krainovic, Anselm and Ruschke, Stefan and Heckel, Reinhard}},
  journal = {{arXiv:2412.18584}},
  year = {{2024}}
}}
```
"""


def table(head, rows):
    """Rows as a table in Markdown.

    >>> print(table(["a", "b"], [[1, "x"]]))
    | a | b |
    |---|---|
    | 1 | x |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(map(str, line)) + "|" if line[0] == "---" else
                     "| " + " | ".join(map(str, line)) + " |" for line in lines)


def millimetres(size):
    """A voxel size, or several, for people.

    >>> millimetres(1.5), millimetres([4, 1, 1])
    ('1.5 mm', '4 x 1 x 1 mm')
    """
    return " x ".join(f"{d:g}" for d in (size if isinstance(size, list | tuple) else [size])) + " mm"


def trained_on(card):
    """The entries of the volumes that a prior was trained on; an old card names only the people."""
    volumes = {Path(name).stem for name in getattr(card, "volumes", ())}
    heads = [d for d in list_datasets() if d.kind in ("volume", "reference", "labels")]
    return [d for d in heads if (d.name in volumes if volumes else d.kind == "volume" and d.person in card.people
                                 and d.name != VALIDATION)]


@functools.cache
def result(name):
    """A result, or None where there is none that was made with the weights that ship."""
    try:
        return results.load(name)
    except (FileNotFoundError, ValueError):
        return None


def made(found):
    """Where a result comes from, in brackets; a table has the days and the commits of its rows.

    >>> made(results.Result(hardware="a card", date="2026-11-25T15:38:49, 2026-11-26T16:00:00", commit="1, 2, 3, 4"))
    '(a card, 2026-11-25 to 2026-11-26, 4 commits)'
    """
    days = sorted({day[:10] for day in (found.date or "").split(", ") if day})
    commits = [commit for commit in (found.commit or "").split(", ") if commit]
    parts = [found.hardware, " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
             ", ".join(commits) if len(commits) < 4 else f"{len(commits)} commits"]
    return f"({', '.join(part for part in parts if part)})"


def denoising(name):
    """PSNR of denoising, mean over test people, by voxel size and noise level, beside that of the noisy slices."""
    found = result("denoising")
    rows = [row for row in found["rows"] if row["method"] in (name, "noisy")] if found else []
    if not any(row["method"] == name for row in rows):
        return ""
    cells = {}
    for row in rows:
        cells.setdefault((str(row["voxel_size"]), row["sigma"], row["method"]), []).append(row["psnr"])
    mean = {cell: f"{statistics.fmean(values):.1f}" for cell, values in cells.items()}
    sizes = list({str(row["voxel_size"]): row["voxel_size"] for row in rows}.values())
    sigmas = sorted({row["sigma"] for row in rows})
    people = {entry_of(row["volume"]).person for row in rows}
    lines = [[millimetres(d), *(f"{mean[str(d), s, name]} ({mean[str(d), s, 'noisy']})" if (str(d), s, name) in mean
                                else "" for s in sigmas)] for d in sizes]
    return (f"**Denoising**: PSNR in dB of magnitudes of slices, mean over {len(people)} test "
            f"{'person' if len(people) == 1 else 'people'} and three planes, in brackets that of the noisy slices "
            f"{made(found)}.\n\n" + table(["voxel size", *(f"sigma {s:g}" for s in sigmas)], lines))


def reconstruction(name):
    """Quality over test people and gain over CG-SENSE of each voxel size and acceleration, and where that is from.

    The mean of each person comes first, then that over people; the interval is that of Student's t over people.
    """
    label, found = f"variational-{name}", result("comparison")
    rows = [row for row in found["rows"] if row["label"] in (label, "cg_sense")
            and entry_of(row["volume"]).split == "test"] if found else []
    if not any(row["label"] == label for row in rows):
        return [], ""
    cells = results.over_people(rows, label, "cg_sense")
    for cell in cells:
        by_person = {}
        for row in rows:
            if row["label"] == label and all(row[key] == cell[key] for key in ("voxel_size", "acceleration")):
                by_person.setdefault(entry_of(row["volume"]).person, []).append(row)
        for metric in ("psnr", "ssim"):
            cell[metric] = statistics.fmean(statistics.fmean(row[metric] for row in part)
                                            for part in by_person.values())
    return sorted(cells, key=lambda c: (str(c["voxel_size"]), c["acceleration"])), made(found)


def evaluation(name, card, cells, source):
    """What was measured, as paragraphs and tables."""
    parts = []
    if history := getattr(card, "validation", None):
        last = history[-1]
        columns = sorted({key.split(", ")[0] for key in last["loss"]})
        sigmas = sorted({key.split(", ")[1] for key in last["loss"]})
        known = ", a person of the training" if entry_of(VALIDATION).person in card.people else ""
        parts.append(f"**Validation** after {last['step'] + card.steps_before:,} steps: weighted denoising loss (lower "
                     f"is better) on slices of `{VALIDATION}`{known}, at multiples of its voxels of 1 mm.\n\n" + table(
            ["", *sigmas], [[c, *(last["loss"].get(f"{c}, {s}", "") for s in sigmas)] for c in columns]))
    parts.append(denoising(name))
    if cells:
        lines = [[millimetres(c["voxel_size"]), f"{c['acceleration']:g}", f"{c['psnr']:.1f}", f"{c['ssim']:.3f}",
                  f"{c['difference']:+.1f}" + (f" ({c['low']:+.1f} to {c['high']:+.1f})" if c["people"] > 1 else ""),
                  c["people"]] for c in cells]
        parts.append(f"**Reconstruction** with the variational solver, of simulated scans with eight coils {source}: "
                     "PSNR in dB and SSIM, and the gain over CG-SENSE in dB, with its 95 % interval over people where "
                     "there are several.\n\n"
                     + table(["voxel size", "acceleration", "PSNR", "SSIM", "gain", "people"], lines))
    parts = [part for part in parts if part]
    return "\n\n".join(parts) or "Nothing was measured with these weights yet."


def front_matter(name, entry, heads, cells):
    """What the hubs read; of the measured accelerations, R = 8."""
    measured = [dict(task=dict(type="image-to-image", name="accelerated MRI reconstruction"),
                     dataset=dict(type="simulated", name=f"test heads, {millimetres(c['voxel_size'])}, R = 8"),
                     metrics=[dict(type="psnr", value=round(c["psnr"], 2)),
                              dict(type="ssim", value=round(c["ssim"], 4))])
                for c in cells if c["acceleration"] == 8]
    return dict(
        license=entry.licence.lower(), library_name="mrilab", pipeline_tag="image-to-image",
        tags=["mri", "medical-imaging", "image-reconstruction", "inverse-problems", "diffusion", "denoising", "pytorch",
              "safetensors", "arxiv:2412.18584"],
        datasets=[d.name for d in heads], metrics=["psnr", "ssim"],
        **({"model-index": [dict(name=f"mrilab-{name}", results=measured)]} if measured else {}))


def recipe(card):
    """How it was trained, as a list; old cards lack some of it."""
    given = card.model_dump()
    network, steps = f"{NETWORKS[card.network]}, widths {', '.join(map(str, card.widths))}", f"{card.steps:,}"
    if "parameters" in given:
        network += f", {given['parameters']:,} parameters"
    if card.steps_before:
        steps += f", after {card.steps_before:,} of an earlier round"
    shown = {"network": network, "steps": steps,
             "voxel sizes of the slices": " to ".join(map(millimetres, dict.fromkeys(card.voxel_sizes)))}
    for key in ("batch", "patch", "learning_rate", "seed", "seconds", "images_per_second", "hardware", "processes",
                "torch", "date"):
        if given.get(key) is not None:
            shown[key.replace("_", " ")] = given[key]
    return "\n".join(f"- {key}: {value}" for key, value in shown.items())


def page(name):
    """The text of a prior's ``README.md``."""
    entry, card = entry_of(name), read_card(name)
    heads, (cells, source) = trained_on(card), reconstruction(name)
    low, high = card.voxel_sizes
    data = table(["volume", "person", "what", "licence", "source"],
                 [[f"`{d.name}`", d.person, d.description, d.licence, d.source] for d in heads])
    text = PAGE.format(
        name=name, description=entry.description[:1].upper() + entry.description[1:], repository=REPOSITORY,
        sizes=millimetres(low) if low == high else f"{low:g} to {high:g} mm", sha256=card.sha256,
        told="The network is told the voxel size of a slice: give it." if card.conditioned else
        "The network is not told the voxel size.", data=data, people=len(card.people) or "some",
        heads=" of heads, cropped above the eyes" + (", or made of label maps" if any(d.kind == "labels" for d in heads)
                                                     else ""),
        patches=(card.steps + card.steps_before) * card.batch, recipe=recipe(card), licence=entry.licence,
        evaluation=evaluation(name, card, cells, source),
        version=mrilab.__version__)
    head = yaml.safe_dump(front_matter(name, entry, heads, cells), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{head}---\n\n{text}"


def main():
    shipped = [d.name for d in list_datasets("prior")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"priors: {', '.join(shipped)} (all)")
    parser.add_argument("--out", default=ROOT / "_build/cards", type=Path, help="folder (_build/cards)")
    options = parser.parse_args()
    if wrong := [name for name in options.names if name not in shipped]:
        parser.error(f"names: found {', '.join(wrong)}, expected some of {', '.join(shipped)}")
    for name in options.names or shipped:
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(page(name))
        for file in (fetch(name), fetch(name).with_suffix(".json")):
            shutil.copyfile(file, folder / file.name)
        print(folder / "README.md")


if __name__ == "__main__":
    main()
