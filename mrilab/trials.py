"""Trials of settings: where on a log grid to try, and whether the best lies at the edge of what was tried.

A range is ``(lowest, highest)``; one between whole numbers has whole numbers. A trial is a dictionary with its
``settings`` and a score, more is better, None if it failed.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COARSE = 10                         # trials of one or two settings, and four fine ones, as the paper's authors do
Ranges = Mapping[str, Sequence[float]]
Tried = Sequence[dict[str, Any]]


def coarse_trials(ranges: Ranges, count: int = COARSE) -> list[dict[str, float]]:
    """Ten settings on a log grid: ten values of one setting, or five of the first by two of the second.

    Examples
    --------
    >>> [round(s["weight"], 2) for s in coarse_trials({"weight": (0.1, 1.0)})][:3]
    [0.1, 0.13, 0.17]
    >>> len(coarse_trials({"weight": (0.1, 1.0), "iterations": (4, 64)}))
    10
    """
    first, *rest = [np.geomspace(low, high, count // len(ranges)) if not i else np.geomspace(low, high, 5)[1::2]
                    for i, (low, high) in enumerate(ranges.values())]
    return [_rounded(ranges, values) for values in itertools.product(first, *rest)]


def fine_trials(ranges: Ranges, best: Mapping[str, float], count: int = COARSE) -> list[dict[str, float]]:
    """Four settings about the best coarse one, within the distance of its neighbours.

    Examples
    --------
    >>> [round(s["weight"], 2) for s in fine_trials({"weight": (0.1, 1.0)}, {"weight": 0.5})]
    [0.42, 0.46, 0.55, 0.59]
    """
    ratio = [_ratio(ranges, key, count) for key in ranges]
    steps: Sequence[tuple[float, ...]] = [(s,) for s in (-2 / 3, -1 / 3, 1 / 3, 2 / 3)] if len(ranges) == 1 else \
        [(-1 / 2, 0), (1 / 2, 0), (0, -1 / 2), (0, 1 / 2)]
    return [_rounded(ranges, [best[key] * r**s for key, r, s in zip(ranges, ratio, step)]) for step in steps]


def at_edge(ranges: Ranges, tried: Tried, score: str = "psnr") -> dict[str, int]:
    """The settings whose best value is the lowest (-1) or the highest (1) of all that went well.

    Examples
    --------
    >>> tried = [{"settings": {"weight": w}, "psnr": 30 + w} for w in (0.1, 0.2, 0.4)]
    >>> at_edge({"weight": (0.1, 0.4)}, tried), at_edge({"weight": (0.1, 0.4)}, tried + [
    ...     {"settings": {"weight": 0.8}, "psnr": 29}])
    ({'weight': 1}, {})
    """
    found = {}
    for key in ranges:
        best = best_trial(tried, score)["settings"][key]
        values = {trial["settings"][key] for trial in tried}
        if best in (min(values), max(values)) and len(values) > 1:
            found[key] = 1 if best == max(values) else -1
    return found


def further_trials(ranges: Ranges, tried: Tried, score: str = "psnr", count: int = COARSE) -> list[dict[str, float]]:
    """Where the best lies at an edge, one trial further out for each such setting.

    Examples
    --------
    >>> further_trials({"weight": (0.1, 0.4)}, [{"settings": {"weight": w}, "psnr": 30 - w} for w in (0.1, 0.2, 0.4)])
    [{'weight': 0.0857}]
    """
    best = best_trial(tried, score)["settings"]
    return [_rounded(ranges, [best[k] * (_ratio(ranges, key, count) ** side if k == key else 1) for k in ranges])
            for key, side in at_edge(ranges, tried, score).items()]


def best_trial(tried: Tried, score: str = "psnr") -> dict[str, Any]:
    """The trial with the highest score.

    Examples
    --------
    >>> best_trial([{"settings": {"weight": w}, "psnr": s} for w, s in ((1, 30), (2, None), (3, 31))])["settings"]
    {'weight': 3}
    """
    return max((t for t in tried if t[score] is not None), key=lambda t: t[score])


def _ratio(ranges: Ranges, key: str, count: int) -> float:
    """Between neighbours of the coarse grid."""
    first, (low, high) = next(iter(ranges)) == key, ranges[key]
    return (high / low) ** (1 / (count // len(ranges) - 1) if first else 1 / 2)


def _rounded(ranges: Ranges, values: Sequence[float]) -> dict[str, float]:
    """A range between whole numbers has whole numbers."""
    return {key: max(1, round(float(v))) if isinstance(ranges[key][0], int) else float(f"{v:.3g}")
            for key, v in zip(ranges, values)}
