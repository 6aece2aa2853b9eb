"""Execute the chapters that the build's cache lacks: ``python tools/cache.py``.

Sphinx would do it one after the other; this does as many at a time as there are cores, the longest first. A chapter
that fails here, or takes ten times its usual minutes, is left to the build, whose message names it.
"""

import os
import sys
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

from mrilab.processes import in_parallel

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "book/_ext"))


def lacking(cache, paths):
    """The chapters whose code is not in the cache, with the seconds that they took when stored, the longest first."""
    found = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            found.append((notebook.metadata.get("mrilab_run", {}).get("seconds", 0), path))
    return sorted(found, reverse=True)


def execute(path, seconds):
    """As the build does it."""
    notebook = nbformat.read(path, as_version=4)
    try:
        return path, single_nb_execution(notebook, cwd=str(path.parent), timeout=seconds, allow_errors=False)
    except RuntimeError as error:           # the kernel died
        return path, ExecutionResult(notebook, str(path.parent), 0, error)


if __name__ == "__main__":
    from pace import limit

    cache, slower = get_cache(ROOT / "_build/.jupyter_cache"), limit() / limit(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")           # one core for each chapter
    # once in many runs a kernel's answer gets lost, and nobody should wait as long as the longest cell may take
    calls = [(path, round(slower * min(limit(1), 60 + 10 * usual)))
             for usual, path in lacking(cache, (ROOT / "book").glob("*.ipynb"))]
    for path, result in in_parallel(execute, calls, min(os.cpu_count() or 1, len(calls) or 1)):
        print(f"{path.name}: {result.err.__class__.__name__ if result.err else f'{result.time:.0f} s'}", flush=True)
        if result.err is None:
            cache.cache_notebook_bundle(CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time}),
                                        check_validity=False, overwrite=True)
