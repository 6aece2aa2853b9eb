"""Fitting: which of several priors fits a scan, and which settings, as its own samples tell."""

from argparse import Namespace
from typing import Any

from . import looking
from .making import acquire
from .saying import Told, each


def check(options: Namespace) -> None:
    """What looks wrong with files, and, if that is asked, which prior fits."""
    priors = None if options.priors is None else wanted(options.priors, options.device)
    doubts = None
    try:
        looking.check(options)
    except Told as told:
        doubts = told
    if priors is not None:
        each(options.files, lambda path: fit(path, priors, options), options.debug)
    if doubts:
        raise doubts


def wanted(names: list[str], device: str) -> dict[str, Any]:
    """The priors of these names, or all shipped ones for none, before any work is done."""
    from ..datasets import list_datasets
    from ..mismatch import by_name
    from ..processes import check_device

    check_device(device, "--device")
    return by_name(names or [d.name for d in list_datasets("prior")], device)


def fit(path: str, priors: dict[str, Any], options: Namespace) -> None:
    """Print what both meters say of each prior, what the numbers mean, and which prior fits best."""
    from ..mismatch import mismatch

    acquisition = acquire(path, options)
    found = mismatch(acquisition.to(options.device), priors, device=options.device, progress=not options.quiet)
    sizes = " x ".join(f"{d:.3g}" for d in acquisition.voxel_size)
    print(f"{path}: {sizes} mm, R = {acquisition.acceleration:.3g}")
    for line in table(found, {name: prior.voxel_sizes for name, prior in priors.items()}):
        print(line)


def table(found: dict[str, Any], trained: dict[str, tuple[float, ...]]) -> list[str]:
    """The lines of a table of readings, best divergence first, and below it what they mean and which is best.

    Examples
    --------
    >>> from mrilab.mismatch import Reading
    >>> found = {"divergence": Reading("divergence", "nats per voxel", {"a": (1.0, 1.1), "b": (1.2, 1.3)}),
    ...          "held-out": Reading("held-out", "dB", {"a": (-9.0, -9.2), "b": (-8.0, -9.1)})}
    >>> print(*table(found, {"a": (1.0, 4.0), "b": (3.0, 3.0)}), sep="\\n")
    prior                   trained at       divergence, behind      held-out, dB, behind
    a                       1 to 4 mm        0.0000                   -9.10  0.00
    b                       3 mm             0.2000 +- 0.0000         -8.55  0.55 +- 5.72
    divergence: nats per voxel further than the best from what the scan shows; held-out: error at samples left out; ...
    fits best: a (divergence); a, not told from b (held-out)
    """
    divergence, held = found["divergence"], found["held-out"]
    lines = [f"{'prior':23s} {'trained at':16s} {'divergence, behind':23s} held-out, dB, behind"]
    for name in sorted(trained, key=divergence.mean):
        low, high = trained[name]
        at = f"{low:g} mm" if low == high else f"{low:g} to {high:g} mm"
        lines.append(f"{name:23s} {at:16s} {_behind(divergence, name, 4):23s} {held.mean(name):6.2f}  "
                     f"{_behind(held, name, 2)}")
    lines.append("divergence: nats per voxel further than the best from what the scan shows; held-out: error at "
                 "samples left out; +- is half of a 95 % interval")
    said = []
    for meter, reading in found.items():
        others = ", ".join(reading.equal[1:])
        said.append(f"{reading.best}{f', not told from {others}' if others else ''} ({meter})")
    return [*lines, f"fits best: {'; '.join(said)}"]


def _behind(reading: Any, name: str, digits: int) -> str:
    value, half = reading.behind(name)
    return f"{value:.{digits}f}" if name == reading.best else f"{value:.{digits}f} +- {half:.{digits}f}"


def check_tune(options: Namespace, given: dict[str, Any]) -> None:
    """ValueError if the settings that ``--tune`` chooses are given, or the method has others."""
    if options.tune and options.method != "variational":
        raise ValueError(f"--tune: found the method {options.method}, expected variational")
    for name in ("weight", "sigma", "discrepancy"):
        if options.tune and name in given:
            raise ValueError(f"--tune: found {name} = {given[name]}, expected none: weight and last noise level are "
                             "chosen")


def tuned(acquisition: Any, prior: Any, options: Namespace, given: dict[str, Any], progress: bool
          ) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings given and those chosen for this scan, and how they were, for the record.

    The trials reconstruct no more than the middle of the readout, whose positions do not mix: few minutes, not hours.
    """
    from ..mismatch import solver_settings
    from ..problem import middle_block

    chosen = solver_settings(middle_block(acquisition), prior, by=options.tune, seed=options.seed, progress=progress,
                             representation=options.representation, **given)
    settings = {key: value for key, value in chosen.settings.items() if key != "representation"}
    return settings, {"by": options.tune, "settings": {key: settings[key] for key in settings if key not in given},
                      "trials": chosen.trials, "edges": chosen.edges}
