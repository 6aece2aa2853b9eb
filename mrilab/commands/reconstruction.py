"""Reconstructing: scans to images, beside each a record of what was done and a picture."""

import datetime
import json
import os
import platform
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from .. import __version__
from .fitting import check_tune, tuned
from .making import acquire, image_files
from .saying import Told, tell, words


def reconstruct(options: Namespace) -> None:
    from ..processes import in_parallel, join, leave

    jobs = _plan(options)
    settings = {key: value for key, value in vars(options).items() if key not in ("run", "scans", "out", "force")}
    rank, problems, alone = 0, 0, options.jobs == 1 and not options.scheduler
    if alone:
        rank, _, settings["device"] = join(options.device)
    calls = [(*job, settings, options.jobs, rank) for job in jobs]
    for target, problem in in_parallel(attempt, calls, options.jobs, options.scheduler):
        problems += bool(problem)
        if problem:
            tell(problem)
        elif not rank:
            print(target, flush=True)
    if problems:
        raise Told(f"{problems} failed")
    if alone:
        leave()


def _plan(options: Namespace) -> list[tuple[str, str]]:
    """Scans and their images, after every check that needs no work."""
    from .. import methods
    from ..datasets import locate
    from ..files import check_image_name
    from ..processes import check_device
    from ..writing import check_outputs

    check_device(options.device, "--device")
    function = methods.find(options.method)
    methods.check_settings(options.method, function, options.representation, settings_of(options))
    check_tune(options, settings_of(options))
    inputs = [*options.scans, *([options.maps] if options.maps else [])]
    if methods.has(function, "prior"):
        inputs.append(locate(options.prior, "prior"))
    out = Path(options.out)
    if len(options.scans) == 1 and not out.is_dir():
        check_image_name(out, "--out")
        jobs = [(options.scans[0], str(out))]
    else:
        jobs = [(scan, str(out / f"{Path(scan).stem}{options.format}")) for scan in options.scans]
        if len({target for _, target in jobs}) < len(jobs):
            raise ValueError("scans: found two with the same file name, expected names that differ")
        out.mkdir(parents=True, exist_ok=True)
    if not int(os.environ.get("RANK", 0)):          # the first of several processes writes
        check_outputs([path for _, target in jobs for path in (
            *image_files(target, options.complex), _beside(target, ".mrilab.json"), _beside(target, ".png"))],
                      inputs, options.force)
    return jobs


def attempt(path: str, target: str, settings: dict[str, Any], *how: int) -> tuple[str, str]:
    """:func:`reconstruct_one`, perhaps in a process of its own: the image's path, and what went wrong in one line."""
    try:
        reconstruct_one(path, target, settings, *how)
        return target, ""
    except Exception as error:
        if settings["debug"]:
            raise
        return target, words(error)


def reconstruct_one(path: str, target: str, settings: dict[str, Any], processes: int = 1, rank: int = 0) -> None:
    """Reconstruct a file; write the image, a JSON with what was done, and a picture of three planes.

    With ``torchrun`` every process computes, the first one writes.
    """
    import torch

    from .. import methods
    from ..datasets import locate, sha256
    from ..files import is_nifti
    from ..priors import load_prior
    from ..volumes import Volume, save_volume

    options = Namespace(**settings)
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    begin = time.perf_counter()
    acquisition = acquire(path, options)
    progress = not options.quiet and not rank
    wanted = methods.has(methods.find(options.method), "prior")
    prior = load_prior(options.prior, options.device) if wanted else None
    acquisition, given, choice = acquisition.to(options.device), settings_of(options), None
    if options.tune:
        given, choice = tuned(acquisition, prior, options, given, progress)
    result = methods.reconstruct(options.method, acquisition, prior, options.seed, options.representation, progress,
                                 **given)
    if rank:
        return
    image = result.image.cpu() * acquisition.info.get("scale", 1.0)      # in the units of the scan's file
    about = {"source": f"{options.method} of {Path(path).name}", "affine": acquisition.info.get("affine")}
    whole = options.complex or not is_nifti(target)
    save_volume(target, Volume(image if whole else image.abs(), result.voxel_size, about))
    record = _record(path, target, settings, acquisition, result, time.perf_counter() - begin)
    if prior is not None:
        record["prior"] = {"name": options.prior, "sha256": sha256(locate(options.prior, "prior")),
                           "voxel_sizes": list(prior.voxel_sizes)}
    if choice:
        record["tuned"] = choice
    save_record(_beside(target, ".mrilab.json"), record)
    save_picture(_beside(target, ".png"), image, result.voxel_size, acquisition.acceleration)


def _record(path: str, target: str, settings: dict[str, Any], acquisition: Any, result: Any, seconds: float) -> dict:
    """What was done, for the file beside the image."""
    import torch

    return {
        "input": Path(path).name, "output": Path(target).name, "method": settings["method"],
        "settings": {key: value for key, value in settings.items() if key != "debug"},
        "intensities": "in the units of the input",
        "matrix": list(result.image.shape), "voxel_size": list(result.voxel_size), "coils": len(acquisition.maps),
        "acceleration": acquisition.acceleration, "noise": acquisition.noise, "misfit": result.misfit,
        "seconds": result.seconds, "seconds_with_files": seconds,
        "network_evaluations": result.network_evaluations, "operator_applications": result.operator_applications,
        "preparation": {key: value for key, value in acquisition.info.items() if key != "affine"},
        "versions": {"mrilab": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def settings_of(options: Any) -> dict[str, Any]:
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


def _beside(target: str, ending: str) -> Path:
    """``image.nii.gz`` to ``image.nii.gz.mrilab.json``: a name that no other image, program or sidecar has."""
    return Path(target + ending)


def save_record(path: Path, record: dict[str, Any]) -> None:
    """A dictionary as JSON, whole or not at all."""
    from ..writing import atomic_path

    text = json.dumps(record, indent=1, default=lambda value: getattr(value, "tolist", value.__str__)()) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def save_picture(path: Path, image: Any, voxel_size: tuple[float, ...], acceleration: float | None = None) -> None:
    """The middle slices of the three planes as PNG; of a single slice, that one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from ..checks import picture_planes
    from ..plotting import show_slices, use_style
    from ..writing import atomic_path

    with plt.rc_context():
        use_style()
        planes = list(picture_planes(image.shape))
        figure = show_slices([image] * len(planes), planes, voxel_size, acceleration, plane=planes)
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
        plt.close(figure)
