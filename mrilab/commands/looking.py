"""Looking: what is in a file, what looks wrong with it, how near an image is to the truth."""

import json
import math
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .saying import Told, each

IMAGES = ("volume", "nifti")


def contents(path: str, voxel_size: Any = None, measure: bool = True, measurement: str | None = None) -> dict[str, Any]:
    """What is in a file, as a dictionary; for a scan also what reconstructing it will take on this machine."""
    from .. import datasets, raw
    from ..volumes import examine, load_volume

    names = {d.name: d for d in datasets.list_datasets()}
    if path in names:
        d = names[path]
        found: dict[str, Any] = {key: getattr(d, key) for key in ("name", "kind", "licence", "source", "description")}
        if d.kind == "scan" and not datasets.at_hand(d.name):
            return found | {"note": d.note, "where": f"not here: mrilab fetch {d.name}"}
        if d.kind not in ("volume", "scan"):
            return found
        path = path if d.layout else str(datasets.fetch(d.name))
    else:
        found = {"file": path}
    kind = raw.recognise(path)
    place = datasets.fetch(path) if kind == "recorded" else Path(path)
    found |= {"format": kind, "bytes": place.stat().st_size}
    if kind in IMAGES:
        volume = load_volume(path)
        shape, sizes = tuple(volume.data.shape), volume.voxel_size
        found["doubtful"] = "; ".join(examine(volume))
    else:
        scan = raw.open_scan(path, voxel_size, measurement)
        if kind == "cfl":
            found["bytes"] = Path(path).with_suffix(".cfl").stat().st_size
        shape, sizes = (*scan.shape[:2], scan.wanted), scan.voxel_size
        found |= {"coils": scan.coils, "acceleration": round(scan.acceleration, 2),
                  "oversampling": round(scan.shape[2] / scan.wanted, 2),
                  "noise_samples": 0 if scan.noise is None else scan.noise.shape[1]}
        found |= {key: value for key, value in scan.info.items() if value}
        found |= requirements(scan.coils, shape, measure)
    return found | {"matrix": shape, "voxel_size": sizes, "field_of_view": tuple(n * d for n, d in zip(shape, sizes))}


def requirements(coils: int, shape: Sequence[int], measure: bool = True) -> dict[str, float]:
    """Memory in bytes and, measured on a small problem, seconds of a reconstruction on this CPU.

    k-space, maps and the operator's copy of the maps are the bulk; a passing copy and some images come on top. The
    formula is fitted to one measurement: 10.2 GB at the peak for 256^3 voxels and 16 coils.
    """
    import torch

    from ..operators import SenseOperator
    from ..priors import load_prior
    from ..variational import SETTINGS

    voxels = math.prod(shape)
    found: dict[str, float] = {"memory": voxels * 8 * (4 * coils + 12)}
    if measure:
        size = 48
        operator = SenseOperator(torch.ones(2, size, size, size), torch.ones(size, size))
        x = torch.ones(size, size, size, dtype=torch.complex64)
        prior = load_prior("diverse")
        operator.normal(x), prior.denoise(torch.zeros(1, 2, size, size), 0.1)
        start = time.perf_counter()
        operator.normal(x)
        normal = (time.perf_counter() - start) / (2 * size**3)
        start = time.perf_counter()
        prior.denoise(torch.zeros(8, 2, size, size), 0.1)
        network = (time.perf_counter() - start) / (8 * size**2)
        count, steps = (SETTINGS["fast"][name] for name in ("iterations", "cg_iterations"))
        seconds = {"cg_sense": 30 * normal * coils * voxels,
                   "variational": (10 + count * (steps + 2)) * normal * coils * voxels + count * network * voxels}
        found |= {f"seconds_{method}": float(f"{value:.2g}") for method, value in seconds.items()}
    return found


def human(count: float) -> str:
    """Bytes as people say them.

    Examples
    --------
    >>> human(2147483648)
    '2.1 GB'
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def info(options: Namespace) -> None:
    rows = []

    def show(path: str) -> None:
        rows.append(contents(path, options.voxel_size, not options.quick, options.measurement))
        if not options.json:
            _print(rows[-1])

    try:
        each(options.files, show, options.debug)
    finally:
        if options.json:
            print(json.dumps(rows, indent=1))


def _print(found: dict[str, Any]) -> None:
    """A description for people."""
    lines = dict(found)
    print(lines.pop("file", None) or lines.pop("name"))
    for key in ("matrix", "voxel_size", "field_of_view"):
        if key in lines:
            lines[key] = " x ".join(f"{n:g}" for n in lines[key]) + (
                "  (z, y, x)" if key == "matrix" else " mm  (z, y, x)")
    for key in ("bytes", "memory"):
        if key in lines:
            lines[key] = human(lines[key])
    for key, value in lines.items():
        if value not in (None, ""):
            print(f"  {key.replace('_', ' '):20s} {value}")


def check(options: Namespace) -> None:
    """What looks wrong with scans and images, a line for each doubt; status 1 if there is any."""
    from .. import raw
    from ..volumes import examine, load_volume

    def doubts(path: str) -> int:
        if raw.recognise(path) in IMAGES:
            found = examine(load_volume(path))
        elif options.voxel_size or options.measurement:
            found = raw.examine(raw.open_scan(path, options.voxel_size, options.measurement))
        else:
            found = raw.examine(path)
        for line in found:
            print(f"{path}: {line}")
        if not found:
            print(f"{path}: nothing looks wrong")
        return len(found)

    if any(each(options.files, doubts, options.debug)):
        raise Told("doubts")


def compare(options: Namespace) -> None:
    from .. import metrics
    from ..volumes import load_volume

    truth, rows = load_volume(options.truth), []

    def judge(path: str) -> None:
        image = load_volume(path)
        _check_grid(path, image, truth)
        x, y = image.data.abs(), truth.data.abs()
        if options.match:
            x = x * ((x * y).sum() / x.square().sum())
        rows.append({"image": path, "psnr": metrics.psnr(x, y),
                     "psnr_head": metrics.psnr(x, y, metrics.head_mask(y)), "ssim": metrics.ssim(x, y)})

    try:
        each(options.images, judge, options.debug)
    finally:
        if options.json:
            print(json.dumps(rows, indent=1))
        elif rows:
            print(f"{'image':40s} {'PSNR, dB':>9s} {'in head':>9s} {'SSIM':>7s}")
            for row in rows:
                print(f"{row['image']:40s} {row['psnr']:9.2f} {row['psnr_head']:9.2f} {row['ssim']:7.4f}")


def _check_grid(path: str, image: Any, truth: Any) -> None:
    """ValueError unless two volumes have the same matrix, voxels and, where both say, place."""
    if image.data.shape != truth.data.shape:
        raise ValueError(f"{path}: found matrix {tuple(image.data.shape)}, expected that of the truth, "
                         f"{tuple(truth.data.shape)}")
    if max(abs(a - b) / b for a, b in zip(image.voxel_size, truth.voxel_size)) > 1e-3:
        raise ValueError(f"{path}: found voxel size {image.voxel_size}, expected that of the truth, {truth.voxel_size}")
    middle = [*(n // 2 for n in truth.data.shape[::-1]), 1]
    places = [(v.info["affine"] @ middle)[:3].round(1) for v in (image, truth) if "affine" in v.info]
    if len(places) == 2 and max(abs(places[0] - places[1])) > min(truth.voxel_size):
        raise ValueError(f"{path}: found its middle at {places[0]} mm, expected {places[1]} as in the truth")
