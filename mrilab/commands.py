"""What the commands of ``python -m mrilab`` do; ``mrilab.__main__`` has their options."""

import datetime
import json
import math
import platform
import sys
import time
from pathlib import Path

from . import __version__


def say(text):
    """To the error stream, beside the progress bars; the output stream has only results."""
    print(text, file=sys.stderr, flush=True)


def train(options):
    import torch

    from .training import train
    from .volumes import load_volume

    if options.threads:
        torch.set_num_threads(options.threads)
    low, high = options.voxel_size[0], options.voxel_size[-1]
    out = train(options.volumes, (low, high), options.out, steps=options.steps, batch=options.batch,
                patch=options.patch, widths=tuple(options.widths), conditioned=options.conditioned,
                learning_rate=options.learning_rate, seed=options.seed, initial=options.initial, device=options.device,
                workers=options.workers, accumulate=options.accumulate, interval=options.interval,
                validation=options.validation and load_volume(options.validation))
    print(f"{out} and its card {out.with_suffix('.json')}")


def describe(path, voxel_size=None, measure=True):
    """What is in a file, as a dictionary; for a scan also what reconstructing it will take on this machine."""
    from . import datasets, nifti, raw
    from .volumes import load_volume

    names = {d.name: d for d in datasets.list_datasets()}
    if str(path) in names:
        d = names[str(path)]
        found = {"name": d.name, "kind": d.kind, "licence": d.licence, "source": d.source, "description": d.description}
        if d.kind != "volume":
            return found
        path = datasets.fetch(d.name)
    else:
        found = {"file": str(path)}
    kind = raw.recognise(path)
    found |= {"format": kind, "bytes": Path(path).stat().st_size}
    if kind == "nifti":
        shape, sizes = nifti.nifti_shape(path)
    elif kind == "volume":
        volume = load_volume(path)
        shape, sizes = tuple(volume.data.shape), volume.voxel_size
    else:
        scan = raw.open_scan(path, voxel_size)
        if kind == "cfl":
            found["bytes"] = Path(path).with_suffix(".cfl").stat().st_size
        shape, sizes = (*scan.shape[:2], scan.wanted), scan.voxel_size
        found |= {"coils": scan.coils, "acceleration": round(scan.acceleration, 2),
                  "oversampling": round(scan.shape[2] / scan.wanted, 2),
                  "noise_samples": 0 if scan.noise is None else scan.noise.shape[1]}
        found |= {key: value for key, value in scan.info.items() if value}
        found |= requirements(scan.coils, shape, measure)
    return found | {"matrix": shape, "voxel_size": sizes, "field_of_view": tuple(n * d for n, d in zip(shape, sizes))}


def requirements(coils, shape, measure=True):
    """Memory in bytes and, measured on a small problem, seconds of a reconstruction on this CPU.

    k-space, maps and the operator's copy of the maps are the bulk; a passing copy and some images come on top. The
    formula is fitted to one measurement: 10.2 GB at the peak for 256^3 voxels and 16 coils.
    """
    import torch

    from .operators import SenseOperator
    from .priors import load_prior

    voxels = math.prod(shape)
    found = {"memory": voxels * 8 * (4 * coils + 12)}
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
        seconds = {"cg_sense": 30 * normal * coils * voxels,
                   "variational": (10 + 16 * 7) * normal * coils * voxels + 16 * network * voxels}
        found |= {f"seconds_{method}": float(f"{value:.2g}") for method, value in seconds.items()}
    return found


def human(count):
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


def info(options):
    everything = [describe(path, options.voxel_size, not options.quick) for path in options.files]
    if options.json:
        print(json.dumps(everything, indent=1))
        return
    for found in everything:
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


def _as_acquisition(path, options, readout):
    """The file as an acquisition: ours, or any raw scan prepared."""
    import torch

    from . import raw
    from .raw import prepare
    from .volumes import load_acquisition

    if raw.recognise(path) == "acquisition":
        for name in ("coils", "maps", "calibration", "voxel_size"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')}: found {path}, an acquisition that is prepared already, "
                                 "expected a raw scan")
        return load_acquisition(path, readout)
    maps = options.maps
    if maps is not None:
        maps = torch.from_numpy(raw.read_cfl(maps).copy()) if maps.endswith((".cfl", ".hdr")) \
            else raw.read_ahead_maps(maps)
    return prepare(path, coils=options.coils, readout=readout, voxel_size=options.voxel_size, maps=maps,
                   calibration=options.calibration, whiten=not options.no_whitening)


def convert(options):
    from . import raw
    from .volumes import load_volume, save_acquisition, save_volume

    out = Path(options.out)
    _check_folder(out)
    if raw.recognise(_locate(options.file)) in ("volume", "nifti"):
        volume = load_volume(options.file, options.phase)
        if out.suffix == ".cfl":
            raw.save_cfl(out, volume.data, volume.voxel_size)
        else:
            save_volume(out, volume)
    else:
        if out.suffix not in (".h5", ".hdf5", ".cfl", ".mrd"):
            raise ValueError(f"out: found {options.out!r}, expected a name ending in .h5, .cfl or .mrd for a scan")
        acquisition = _as_acquisition(options.file, options, options.readout)
        if out.suffix == ".cfl":
            raw.save_cfl(out, acquisition.kspace, acquisition.voxel_size)
            raw.save_cfl(out.with_name(f"{out.stem}_maps.cfl"), acquisition.maps)
        elif out.suffix == ".mrd":
            raw.save_ismrmrd(out, acquisition.kspace, acquisition.mask, acquisition.voxel_size,
                             affine=acquisition.info.get("affine"))
        else:
            save_acquisition(out, acquisition)
        for key, value in acquisition.info.items():
            if key != "affine":
                say(f"{key}: {value}")
    print(out)


def _locate(name_or_path):
    """A shipped volume's file, or the path itself: BART files may lack the ending of a file that exists."""
    from . import datasets

    names = [d.name for d in datasets.list_datasets("volume")]
    return datasets.fetch(name_or_path) if name_or_path in names else name_or_path


def _check_folder(out):
    """Before the work, not after it."""
    if not Path(out).parent.is_dir():
        raise FileNotFoundError(f"{Path(out).parent}: no such folder; it is where {Path(out).name} should go")


def simulate(options):
    from .simulate import simulate_acquisition
    from .volumes import Volume, load_volume, save_acquisition, save_volume

    _check_folder(options.out)
    volume = load_volume(options.volume)
    if options.voxel_size:
        volume = volume.resample(options.voxel_size)
    acquisition, truth = simulate_acquisition(volume, options.acceleration, options.coils, options.noise, options.seed)
    save_acquisition(options.out, acquisition)
    print(options.out)
    if options.truth:
        _check_folder(options.truth)
        save_volume(options.truth, Volume(truth, acquisition.voxel_size, {"source": f"truth of {options.out}"}))
        print(options.truth)


def fetch(options):
    from . import datasets

    if not options.names:
        for d in datasets.list_datasets():
            print(f"{d.name:28s} {d.kind:9s} {human(d.bytes) if d.bytes else '?':>8s}  {d.licence:14s} {d.description}")
        return
    for name in options.names:
        print(datasets.fetch(name))


def reconstruct(options):
    import torch

    from .processes import in_parallel, join, leave

    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device: found {options.device!r}, expected cpu: no CUDA device is usable here")
    out = Path(options.out)
    if len(options.scans) == 1 and not out.is_dir():
        _check_folder(out)
        jobs = [(options.scans[0], str(out))]
    else:
        out.mkdir(parents=True, exist_ok=True)
        jobs = [(scan, str(out / f"{Path(scan).stem}{options.format}")) for scan in options.scans]
        if len({target for _, target in jobs}) < len(jobs):
            raise ValueError("scans: found two with the same file name, expected names that differ")
    if not any(target.endswith((".h5", ".hdf5", ".nii", ".nii.gz")) for _, target in jobs):
        raise ValueError(f"--out: found {options.out!r}, expected a name ending in .h5, .nii or .nii.gz, or a folder")
    settings = {key: value for key, value in vars(options).items() if key not in ("run", "scans", "out", "debug")}
    if options.jobs == 1 and not options.scheduler:
        rank, _, settings["device"] = join(options.device)
        for job in jobs:
            target = reconstruct_one(*job, settings, rank=rank)
            if not rank:
                print(target)
        leave()
    else:
        calls = [(*job, settings, options.jobs) for job in jobs]
        for target in in_parallel(reconstruct_one, calls, options.jobs, options.scheduler):
            print(target, flush=True)


def reconstruct_one(path, target, settings, processes=1, rank=0):
    """Reconstruct a file; write the image, a JSON with what was done, and a picture of three planes.

    With ``torchrun`` every process computes, the first one writes.

    Returns
    -------
    str
        The image's path.
    """
    import argparse
    import os

    import torch

    from . import methods
    from .datasets import locate, sha256
    from .priors import load_prior
    from .volumes import Volume, save_volume

    options = argparse.Namespace(**settings)
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    begin = time.perf_counter()
    acquisition = _as_acquisition(path, options, options.readout)
    progress = not options.quiet and not rank
    prior = None
    if methods.has(methods.find(options.method), "prior"):
        prior = load_prior(options.prior, options.device)
    result = methods.reconstruct(options.method, acquisition.to(options.device), prior, options.seed,
                                 options.representation, progress, **settings_of(options))
    if rank:
        return target
    image = result.image.cpu()
    carried = {key: acquisition.info[key] for key in ("affine", "scale") if key in acquisition.info}
    volume = Volume(image if options.complex or target.endswith((".h5", ".hdf5")) else image.abs(),
                    result.voxel_size, carried | {"source": f"{options.method} of {Path(path).name}"})
    record = {
        "input": Path(path).name, "output": Path(target).name, "method": options.method, "settings": settings,
        "matrix": list(image.shape), "voxel_size": list(result.voxel_size), "coils": len(acquisition.maps),
        "acceleration": acquisition.acceleration, "noise": acquisition.noise, "misfit": result.misfit,
        "seconds": result.seconds, "seconds_with_files": time.perf_counter() - begin,
        "network_evaluations": result.network_evaluations, "operator_applications": result.operator_applications,
        "preparation": {key: value for key, value in acquisition.info.items() if key != "affine"},
        "versions": {"mrilab": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if prior is not None:
        record["prior"] = {"name": options.prior, "sha256": sha256(locate(options.prior, "prior")),
                           "voxel_sizes": list(prior.voxel_sizes)}
    save_volume(target, volume)
    save_record(_beside(target, ".json"), record)
    save_picture(_beside(target, ".png"), image, result.voxel_size, acquisition.acceleration)
    return target


def settings_of(options):
    """The settings of the method that were given: the named ones, then those of ``--set``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> nothing = dict.fromkeys(("iterations", "steps", "weight", "regularization", "planes", "setting"))
    >>> settings_of(SimpleNamespace(**nothing | {"weight": 0.3}, set=["sigma=[0.1, 0.01]"]))
    {'weight': 0.3, 'sigma': [0.1, 0.01]}
    """
    named = ("iterations", "steps", "weight", "regularization", "planes", "setting")
    given = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    for text in options.set or []:
        name, equals, value = text.partition("=")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
        if not (name.isidentifier() and equals and value):
            raise ValueError(f"--set: found {text!r}, expected NAME=VALUE")
    return given


def _beside(target, ending):
    """``image.nii.gz`` to ``image.json``."""
    path = Path(target)
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".h5").removesuffix(".hdf5")
                          + ending)


def save_record(path, record):
    """A dictionary as JSON, whole or not at all."""
    from .writing import atomic_path

    text = json.dumps(record, indent=1, default=lambda value: getattr(value, "tolist", value.__str__)()) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def save_picture(path, image, voxel_size, acceleration=None):
    """The middle slices of the three planes as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from .checks import PLANES
    from .plotting import show_slices, use_style
    from .writing import atomic_path

    with plt.rc_context():
        use_style()
        figure = show_slices([image] * 3, list(PLANES), voxel_size, acceleration, plane=list(PLANES))
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
        plt.close(figure)


def compare(options):
    from . import metrics
    from .volumes import load_volume

    truth = load_volume(options.truth)
    rows = []
    for path in options.images:
        image = load_volume(path)
        if image.data.shape != truth.data.shape:
            raise ValueError(f"{path}: found matrix {tuple(image.data.shape)}, expected that of the truth, "
                             f"{tuple(truth.data.shape)}")
        if max(abs(a - b) / b for a, b in zip(image.voxel_size, truth.voxel_size)) > 1e-3:
            raise ValueError(f"{path}: found voxel size {image.voxel_size}, expected that of the truth, "
                             f"{truth.voxel_size}")
        x, y = image.data.abs(), truth.data.abs()
        if options.match:
            x = x * ((x * y).sum() / x.square().sum())
        rows.append({"image": str(path), "psnr": metrics.psnr(x, y),
                     "psnr_head": metrics.psnr(x, y, metrics.head_mask(y)), "ssim": metrics.ssim(x, y)})
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print(f"{'image':40s} {'PSNR, dB':>9s} {'in head':>9s} {'SSIM':>7s}")
        for row in rows:
            print(f"{row['image']:40s} {row['psnr']:9.2f} {row['psnr_head']:9.2f} {row['ssim']:7.4f}")
