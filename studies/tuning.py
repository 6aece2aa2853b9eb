"""Tuning with equal effort: the same number of trials for each method, on a volume that is not for testing."""

import itertools

import numpy as np

from mrilab.datasets import list_datasets
from mrilab.methods import METHODS

from .sweep import columns, make_jobs, measure

COARSE = 10                         # trials for each method, and four fine ones, as the paper's authors do


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


def tune(run, sweep, methods=METHODS):
    """The best settings of each method on a sweep's volumes, by PSNR, with the same number of trials for each.

    Ten coarse trials on a log grid of a method's one or two settings, then four fine ones about the best. Each
    trial is judged by its mean PSNR over the sweep's voxel sizes, accelerations, blocks and seeds. One that fails
    counts as worst.

    Parameters
    ----------
    run : Runner
    sweep : dict
        From :func:`~studies.sweep.load_sweep`. Its volumes must not be test volumes; ``tune`` of each entry has the
        range of one or two settings, between whole numbers for a setting that counts. Without it the method has
        a single trial.
    methods : dict, optional

    Returns
    -------
    dict
        ``best``, label (:func:`~studies.sweep.columns`) to ``{"settings": ..., "psnr": ...}``; ``trials``, label to a
        list of them; and what of the sweep was tuned on. A sweep may name a file with it as ``tuned``.

    Raises
    ------
    ValueError
        For a test volume, or a method all of whose trials failed.

    Examples
    --------
    How many steps of conjugate gradients, between 1 and 8:

    >>> import tempfile, torch
    >>> from mrilab.volumes import Volume, save_volume
    >>> from studies.runner import Runner
    >>> from studies.sweep import check_sweep
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(8, 8, 8), (8, 8, 8)))
    ...     sweep = check_sweep({
    ...         "volumes": [f"{folder}/a.h5"], "voxel_sizes": [8], "accelerations": [2], "seeds": [0], "coils": 3,
    ...         "methods": [{"method": "cg_sense", "tune": {"iterations": [1, 8]}}]})
    ...     best = tune(Runner(f"{folder}/trials", progress=False), sweep)["best"]
    >>> best["cg_sense"]["settings"]["iterations"] > 1
    True
    """
    for d in list_datasets("volume"):
        if d.name in sweep["volumes"] and "test" in d.split:
            raise ValueError(f"volumes: found {d.name}, which is for testing, expected a volume to tune on")
    sweep = sweep | {"tuned": None, "keep_slices": 0}
    compared = columns(sweep)
    trials = {column["label"]: [] for column in compared}
    for stage in ("coarse", "fine"):
        asked = {}
        for column in compared:
            ends, tried = column["tune"], trials[column["label"]]
            if stage == "coarse":
                settings = coarse_trials(ends) if ends else [{}]
            else:
                settings = fine_trials(ends, _best(tried)["settings"]) if ends else []
            for i, given in enumerate(settings):
                label = f"{column['label']}-{stage}{i}"
                asked[label] = (tried, given, column | {"label": label, "settings": column["settings"] | given})
        jobs = make_jobs(sweep, [column for *_, column in asked.values()]) if asked else []
        rows, failed = measure(run, jobs, methods)
        for label, (tried, given, _) in asked.items():
            scores = [row["psnr"] for row in rows if row["label"] == label]
            whole = len(scores) == len(jobs) // len(asked)
            tried.append({"settings": given, "psnr": float(np.mean(scores)) if whole else None})
        for label, tried in trials.items():
            if all(trial["psnr"] is None for trial in tried):
                raise ValueError(f"{label}: found no trial that went well: {next(iter(failed.values()))}")
    return {"best": {label: _best(tried) for label, tried in trials.items()}, "trials": trials} | {
        key: sweep[key] for key in ("volumes", "voxel_sizes", "accelerations", "blocks", "seeds")}


def _best(trials):
    return max((t for t in trials if t["psnr"] is not None), key=lambda t: t["psnr"])
