"""Making: acquisitions and volumes of files, scans of volumes, priors; and fetching what others made."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from .saying import each, say


def train(options: Namespace) -> None:
    import torch

    from ..datasets import locate
    from ..processes import check_device
    from ..training import train
    from ..volumes import load_volume
    from ..writing import check_outputs

    check_device(options.device, "--device")
    heads = [locate(v, "volume") for v in (*options.volumes, options.validation) if v]
    out = Path(options.out)
    check_outputs([out, out.with_suffix(".json")], [*heads, *([options.initial] if options.initial else [])],
                  options.force)
    if options.threads:
        torch.set_num_threads(options.threads)
    low, high = options.voxel_size[0], options.voxel_size[-1]
    out = train(options.volumes, (low, high), options.out, steps=options.steps, batch=options.batch,
                patch=options.patch, widths=tuple(options.widths), conditioned=options.conditioned,
                learning_rate=options.learning_rate, seed=options.seed, initial=options.initial, device=options.device,
                accumulate=options.accumulate, interval=options.interval,
                validation=options.validation and load_volume(options.validation))
    print(f"{out} and its card {out.with_suffix('.json')}")


def acquire(path: str, options: Namespace) -> Any:
    """The file as an acquisition: ours, or any raw scan prepared."""
    import torch

    from .. import raw
    from ..volumes import load_acquisition

    if raw.recognise(path) == "acquisition":
        for name in ("coils", "maps", "calibration", "voxel_size", "measurement"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')}: found {path}, an acquisition that is prepared already, "
                                 "expected a raw scan")
        return load_acquisition(path, options.readout)
    maps = options.maps
    if maps is not None:
        maps = torch.from_numpy(raw.read_cfl(maps).copy()) if maps.endswith((".cfl", ".hdr")) \
            else raw.read_ahead_maps(maps)
    return raw.prepare(path, coils=options.coils, readout=options.readout, voxel_size=options.voxel_size, maps=maps,
                       calibration=options.calibration, whiten=not options.no_whitening,
                       measurement=options.measurement)


def image_files(path: str | Path, complex: bool = True) -> list[Path]:
    """What :func:`~mrilab.volumes.save_volume` writes: a complex NIfTI image is two files."""
    from ..files import check_image_name, is_nifti
    from ..nifti import phase_path

    check_image_name(path)
    return [Path(path), *([phase_path(path)] if complex and is_nifti(path) else [])]


def convert(options: Namespace) -> None:
    from .. import raw
    from ..volumes import load_volume, save_acquisition, save_volume
    from ..writing import check_outputs

    path, out = _shipped(options.file), Path(options.out)
    ending = out.suffix.lower()
    image = raw.recognise(path) in ("volume", "nifti")
    if not image and ending not in (".h5", ".hdf5", ".cfl", ".mrd"):
        raise ValueError(f"out: found {options.out!r}, expected a name ending in .h5, .cfl or .mrd for a scan")
    outputs = [out]
    maps = out.with_name(f"{out.stem}_maps.cfl")
    if ending == ".cfl":
        outputs = [p.with_suffix(e) for p in ([out] if image else [out, maps]) for e in (".cfl", ".hdr")]
    elif image:
        outputs = image_files(out)
    check_outputs(outputs, [name for name in (path, options.phase, options.maps) if name], options.force)
    if image:
        volume = load_volume(path, options.phase)
        if ending == ".cfl":
            raw.save_cfl(out, volume.data, volume.voxel_size)
        else:
            save_volume(out, volume)
    else:
        acquisition = acquire(path, options)
        if ending == ".cfl":
            raw.save_cfl(out, acquisition.kspace, acquisition.voxel_size)
            raw.save_cfl(maps, acquisition.maps)
        elif ending == ".mrd":
            raw.save_ismrmrd(out, acquisition.kspace, acquisition.mask, acquisition.voxel_size,
                             affine=acquisition.info.get("affine"))
        else:
            save_acquisition(out, acquisition)
        for key, value in acquisition.info.items():
            if key != "affine":
                say(f"{key}: {value}")
    print(out)


def _shipped(name_or_path: str) -> str:
    """A shipped volume's file, or the path itself: BART files may lack the ending of a file that exists."""
    from .. import datasets

    names = [d.name for d in datasets.list_datasets("volume")]
    return str(datasets.fetch(name_or_path)) if name_or_path in names else name_or_path


def simulate(options: Namespace) -> None:
    from ..datasets import locate
    from ..simulate import simulate_acquisition
    from ..volumes import Volume, load_volume, save_acquisition, save_volume
    from ..writing import check_outputs

    check_outputs([options.out, *(image_files(options.truth) if options.truth else [])],
                  [locate(options.volume, "volume")], options.force)
    volume = load_volume(options.volume)
    if options.voxel_size:
        volume = volume.resample(options.voxel_size)
    acquisition, truth = simulate_acquisition(volume, options.acceleration, options.coils, options.noise, options.seed)
    save_acquisition(options.out, acquisition)
    print(options.out)
    if options.truth:
        about = acquisition.info | {"source": f"truth of {Path(options.out).name}"}
        save_volume(options.truth, Volume(truth, acquisition.voxel_size, about))
        print(options.truth)


def fetch(options: Namespace) -> None:
    from .. import datasets
    from .looking import human

    if not options.names:
        for d in datasets.list_datasets():
            print(f"{d.name:28s} {d.kind:9s} {human(d.bytes) if d.bytes else '?':>8s}  {d.licence:14s} {d.description}")
        return
    each(options.names, lambda name: print(datasets.fetch(name)), options.debug)
