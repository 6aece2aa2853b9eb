"""Every method on the test head, at 1 and 2 mm, R = 8 and 12: the sweep of `configs/rivals.json`."""

from pathlib import Path

from .runner import check
from .sweep import load_sweep, make_jobs, measure

RESULTS = ["rivals.csv"]
NEEDS = []


def study(run):
    jobs = make_jobs(load_sweep(Path(__file__).parent / "configs" / "rivals.json"))
    rows, failed = measure(run, jobs)
    check(failed, len(jobs))
    return rows
