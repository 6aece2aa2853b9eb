"""Tuning with equal effort: the same number of trials for each method, on a volume that is not for testing."""

import sys

import numpy as np
from tqdm import tqdm

from mrilab.datasets import list_datasets
from mrilab.methods import METHODS
from mrilab.trials import COARSE, at_edge, best_trial, coarse_trials, fine_trials, further_trials

from .sweep import columns, make_jobs, measure

BEYOND = 6                          # more where the best of them lies at the edge of what was tried


def tune(run, sweep, methods=METHODS, count=COARSE):
    """The best settings of each method on a sweep's volumes, by PSNR, with the same number of trials for each.

    Coarse trials on a log grid of a method's one or two settings; as long as the best lies at the edge of what was
    tried, another one further out, six at most; then four fine ones about the best. Each trial is judged by its mean
    PSNR over the sweep's voxel sizes, accelerations, blocks and seeds. One that fails counts as worst.

    Parameters
    ----------
    run : Runner
    sweep : dict
        From :func:`~studies.sweep.load_sweep`. Its volumes must not be test volumes; ``tune`` of each entry has the
        range of one or two settings, between whole numbers for a setting that counts. Without it the method has
        a single trial.
    methods : dict, optional
    count : int
        Of the coarse trials.

    Returns
    -------
    dict
        ``best``, label (:func:`~studies.sweep.columns`) to ``{"settings": ..., "psnr": ...}``; ``trials``, label to a
        list of them; ``edges``, label to the settings whose best value is still the lowest or highest that was tried,
        which is also said on the way; and what of the sweep was tuned on. A sweep may name a file with it as ``tuned``.

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
    compared = {column["label"]: column for column in columns(sweep)}
    trials = {label: [] for label in compared}

    def attempt(stage, wanted):
        """Append the trials of these settings of each label."""
        asked = {f"{label}-{stage}{i}": (label, given) for label, settings in wanted.items()
                 for i, given in enumerate(settings)}
        named = [compared[label] | {"label": name, "settings": compared[label]["settings"] | given}
                 for name, (label, given) in asked.items()]
        jobs = make_jobs(sweep, named) if asked else []
        rows, failed = measure(run, jobs, methods)
        for name, (label, given) in asked.items():
            scores = [row["psnr"] for row in rows if row["label"] == name]
            whole = len(scores) == len(jobs) // len(asked)
            trials[label].append({"settings": given, "psnr": float(np.mean(scores)) if whole else None})
        for label, tried in trials.items():
            if all(trial["psnr"] is None for trial in tried):
                raise ValueError(f"{label}: found no trial that went well: {next(iter(failed.values()))}")

    ranges = {label: column["tune"] for label, column in compared.items()}
    attempt("coarse", {label: coarse_trials(ends, count) if ends else [{}] for label, ends in ranges.items()})
    for further in range(BEYOND):
        outside = {label: [settings for settings in further_trials(ends, trials[label], count=count)
                           if settings not in [trial["settings"] for trial in trials[label]]]     # below 1 there is 1
                   for label, ends in ranges.items()}
        if not any(outside.values()):
            break
        attempt(f"beyond{further}-", outside)
    attempt("fine", {label: fine_trials(ends, best_trial(trials[label])["settings"], count)
                     for label, ends in ranges.items() if ends})
    edges = {label: list(found) for label, ends in ranges.items() if (found := at_edge(ends, trials[label]))}
    for label, names in edges.items():
        say_edges(label, names)
    return {"best": {label: best_trial(tried) for label, tried in trials.items()}, "trials": trials, "edges": edges} | {
        key: sweep[key] for key in ("volumes", "voxel_sizes", "accelerations", "blocks", "seeds")}


def say_edges(label, names):
    """Say which settings are best at the lowest or highest value that was tried, if any are."""
    if names:
        tqdm.write(f"{label}: best at the edge of what was tried for {' and '.join(names)}", file=sys.stderr)


def numbers(setting):
    """The numbers of a setting that have no ends of their own, as shares and counts have.

    Examples
    --------
    >>> numbers({"sigma": [0.1, 0.01], "eta": 1.0, "gamma": None, "tv": 0.001})
    {'first': 0.1, 'last': 0.01, 'tv': 0.001}
    """
    return dict(zip(("first", "last"), setting.get("sigma", ()))) | {
        name: setting[name] for name in ("tv", "gamma", "weight") if setting.get(name) is not None}
