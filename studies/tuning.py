"""Tuning with equal effort: the same number of trials for each method, on a volume that is not for testing."""

import datetime
import itertools
import json

import numpy as np

from studies.experiments import commit, run
from mrilab.methods import METHODS
from studies.sweeps import columns, make_jobs

COARSE, FINE = 10, 4                # trials for each method, as the paper's authors do


def coarse_trials(ranges):
    """Ten settings on a log grid: ten values of one setting, or five of the first by two of the second.

    Examples
    --------
    >>> [round(s["weight"], 2) for s in coarse_trials({"weight": (0.1, 1.0)})][:3]
    [0.1, 0.13, 0.17]
    >>> len(coarse_trials({"weight": (0.1, 1.0), "iterations": (4, 64)}))
    10
    """
    first, *rest = [np.geomspace(*ends, COARSE // len(ranges)) if not i else np.geomspace(*ends, 5)[1::2]
                    for i, ends in enumerate(ranges.values())]
    return [_rounded(ranges, values) for values in itertools.product(first, *rest)]


def fine_trials(ranges, best):
    """Four settings about the best coarse one, within the distance of its neighbours.

    Examples
    --------
    >>> [round(s["weight"], 2) for s in fine_trials({"weight": (0.1, 1.0)}, {"weight": 0.5})]
    [0.42, 0.46, 0.55, 0.59]
    """
    ratio = [(high / low) ** (1 / (COARSE // len(ranges) - 1) if not i else 1 / 2)
             for i, (low, high) in enumerate(ranges.values())]
    steps = [(s,) for s in (-2 / 3, -1 / 3, 1 / 3, 2 / 3)] if len(ranges) == 1 else \
        [(-1 / 2, 0), (1 / 2, 0), (0, -1 / 2), (0, 1 / 2)]
    return [_rounded(ranges, [best[key] * r**s for key, r, s in zip(ranges, ratio, step)]) for step in steps]


def _rounded(ranges, values):
    """A range between whole numbers has whole numbers."""
    return {key: max(1, round(float(v))) if isinstance(ranges[key][0], int) else float(f"{v:.3g}")
            for key, v in zip(ranges, values)}


def tune(sweep, folder, methods=METHODS, out=None, **how):
    """The best settings of each method on a sweep's volumes, by PSNR, with the same number of trials for each.

    Ten coarse trials on a log grid of a method's one or two settings, then four fine ones about the best. Each
    trial is judged by its mean PSNR over the sweep's voxel sizes, accelerations, slabs and seeds.

    Parameters
    ----------
    sweep : dict
        From :func:`~mrilab.sweeps.load_sweep`. Its volumes must not be test volumes; ``tune`` of each entry has the
        range of one or two settings, between whole numbers for a setting that counts. Without it the method has
        a single trial.
    folder : str or Path
        For the results of the trials (:func:`~mrilab.experiments.run`), which may be interrupted and go on.
    methods : dict, optional
    out : str or Path, optional
        JSON file for ``best`` and ``trials``; a sweep may name it as ``tuned``.
    **how
        ``count``, ``scheduler``, ``device``, ``progress`` of :func:`~mrilab.experiments.run`.

    Returns
    -------
    dict
        Label (:func:`~mrilab.sweeps.columns`) to ``{"settings": ..., "psnr": ...}``.

    Raises
    ------
    ValueError
        For a test volume, or a method all of whose trials failed.

    Examples
    --------
    How many steps of conjugate gradients, between 1 and 8:

    >>> import tempfile, torch
    >>> from studies.sweeps import check_sweep
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(8, 8, 8), (8, 8, 8)))
    ...     sweep = check_sweep({
    ...         "volumes": [f"{folder}/a.h5"], "voxel_sizes": [8], "accelerations": [2], "seeds": [0], "coils": 3,
    ...         "methods": [{"method": "cg_sense", "tune": {"iterations": [1, 8]}}]})
    ...     best = tune(sweep, f"{folder}/trials", progress=False)
    >>> best["cg_sense"]["settings"]["iterations"] > 1
    True
    """
    from mrilab.datasets import list_datasets
    from mrilab.writing import atomic_path

    for d in list_datasets("volume"):
        if d.name in sweep["volumes"] and "test" in d.split:
            raise ValueError(f"volumes: found {d.name}, which is for testing, expected a volume to tune on")
    compared = columns(sweep | {"tuned": None})
    trials = {column["label"]: [] for column in compared}
    for stage in ("coarse", "fine"):
        asked = {}
        for column in compared:
            limits, tried = column["tune"], trials[column["label"]]
            if stage == "coarse":
                settings = coarse_trials(limits) if limits else [{}]
            else:
                settings = fine_trials(limits, _best(tried)["settings"]) if limits else []
            for i, given in enumerate(settings):
                label = f"{column['label']}-{stage}{i}"
                asked[label] = (tried, given, column | {"label": label, "settings": column["settings"] | given})
        jobs = make_jobs(sweep, [column for *_, column in asked.values()]) if asked else []
        rows, failed = run(jobs, folder, methods, **how)
        for label, (tried, given, _) in asked.items():
            scores = [row["psnr"] for row in rows if row["label"] == label]
            whole = len(scores) == len(jobs) // len(asked)
            tried.append({"settings": given, "psnr": float(np.mean(scores)) if whole else None})
        for label, tried in trials.items():
            if all(trial["psnr"] is None for trial in tried):
                raise ValueError(f"{label}: found no trial that went well: {next(iter(failed.values()))}")
    best = {label: _best(tried) for label, tried in trials.items()}
    if out is not None:
        from mrilab.processes import hardware

        kept = {key: sweep[key] for key in ("volumes", "voxel_sizes", "accelerations", "slabs", "seeds")}
        text = json.dumps({"best": best, "trials": trials, **kept, "commit": commit(), "hardware": hardware(),
                           "date": datetime.date.today().isoformat()}, indent=1)
        with atomic_path(out) as temporary:
            temporary.write_text(text + "\n")
    return best


def _best(trials):
    return max((t for t in trials if t["psnr"] is not None), key=lambda t: t["psnr"])
