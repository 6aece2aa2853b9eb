"""The runner: jobs in any number of processes, a file for each, and what becomes of their results.

The name of a job's file ends in a digest of what was asked and of the weights and volumes that are named there. What
was done is found again; what is new, or was made with other weights, is computed. A change of the code is not part of
the digest: after one, delete ``runs/STUDY``.
"""

import contextlib
import datetime
import functools
import hashlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from tqdm import tqdm

from mrilab.datasets import list_datasets, sha256
from mrilab.methods import METHODS, find, has
from mrilab.processes import hardware, in_parallel
from mrilab.variational import SETTINGS
from mrilab.volumes import load_acquisition, load_volume, save_acquisition, save_volume
from mrilab.writing import atomic_path

from .results import RESULTS, ROOT, Result, command, load, shown, weights_in, write_rows

RUNS = ROOT / "runs"
# What a dry run asks instead, and the arguments whose values are different kinds of a job: it does one of each.
TINY = {"voxel_size": 8, "acceleration": 2, "coils": 2, "iterations": 2, "steps": 2, "cg_iterations": 1, "count": 2,
        "widths": [8, 8], "patch": 16, "batch": 2, "side": 24, "turns": [0],
        "volumes": ["colin27_ch2"], "voxel_sizes": [4, 4], "solver": "cg_sense",
        "scan": "phantom_siemens"}
KINDS = ("method", "representation", "network", "keep_slices")


class Job(NamedTuple):
    """A function, what it is asked, and what stands behind the names of weights and volumes in that."""

    function: Any
    asked: dict
    label: str
    digests: dict

    @property
    def file(self):
        """The name of its result: its label, and a digest of everything asked."""
        what = f"{self.function.__module__}.{self.function.__qualname__}"
        text = shown_text(json.dumps([what, self.asked, self.digests], sort_keys=True))
        return f"{self.label}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"


def make_job(function, asked, name=None):
    """A job; its arguments are what JSON makes of them, so that what is resumed and what is not are the same.

    Examples
    --------
    >>> make_job(divmod, {"prior": "diverse", "sigma": (0.1, 0.01)}, lambda asked: "a").file
    'a-....json'
    """
    asked = json.loads(json.dumps(asked))
    return Job(function, asked, name(asked) if name else function.__name__, digests(asked))


def shown_text(text):
    """A text without the folder of this machine."""
    return text.replace(f"{ROOT}/", "")


@functools.cache
def _digest(path, _changed, _size):
    return sha256(path)


def digests(asked):
    """SHA-256 of the weights and volumes that arguments name, shipped or files, by name.

    Examples
    --------
    >>> {name: len(digest) for name, digest in digests({"prior": "diverse", "volumes": ["qtim_MRHead"]}).items()}
    {'diverse': 64, 'qtim_MRHead': 64}
    >>> digests({"prior": "runs/three_d/absent.safetensors"})
    Traceback (most recent call last):
    FileNotFoundError: runs/three_d/absent.safetensors: no such file; python -m studies three_d makes it
    """
    if isinstance(asked, dict):
        return digests(list(asked.values()))
    if isinstance(asked, list | tuple):
        return {name: digest for part in asked for name, digest in digests(part).items()}
    known = {d.name: d.sha256 for kind in ("prior", "volume", "scan") for d in list_datasets(kind)}
    if not isinstance(asked, str) or (asked not in known and not asked.endswith((".safetensors", ".h5"))):
        return {}
    if asked in known:              # whoever loads it verifies the file
        return {asked: known[asked]}
    if not Path(asked).is_file():
        made = [f"; {command(part)} makes it" for part in Path(asked).parts[:-1] if part in catalogue()]
        raise FileNotFoundError(f"{shown(asked)}: no such file{''.join(made)}")
    status = os.stat(asked)
    return {shown(asked): _digest(asked, status.st_mtime_ns, status.st_size)}


def commit():
    """The commit of the checkout that this package lies in, with ``-dirty`` if files other than results have changed.

    A copy of one on another machine is told by the environment variable ``MRILAB_COMMIT``.

    Examples
    --------
    >>> set(commit().removesuffix("-dirty")) <= set("0123456789abcdef")
    True
    """
    def git(*arguments):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True,
                                  timeout=30).stdout.strip()
        return ""

    if told := os.environ.get("MRILAB_COMMIT"):
        return told
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!data/results")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def load_record(path):
    """Read the file of one job: ``result``, ``hardware``, ``commit``, ``date`` and ``digests``.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; a truncated one, or one whose arrays or trained weights are gone.
    """
    try:
        record = json.loads(Path(path).read_text())
        kept = record["result"], record["hardware"], record["commit"], record["date"], record["digests"]
        if record.get("arrays"):
            with np.load(Path(path).with_suffix(".npz")) as arrays:
                record["result"] = kept[0] | {key: torch.from_numpy(arrays[key]) for key in record["arrays"]}
    except FileNotFoundError:
        if not Path(path).is_file():
            raise
        raise ValueError(f"{path}: found no arrays beside it, expected a whole result") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path}: found a truncated file, expected the JSON of a result") from None
    trained = record["result"].get("trained")
    if trained and not (ROOT / trained).is_file():
        raise ValueError(f"{path}: found no {trained}, expected the weights that were trained")
    return record


def _save(path, record):
    """A record as JSON, its tensors beside it, each whole or not at all."""
    arrays = {key: value.numpy() for key, value in record["result"].items() if isinstance(value, torch.Tensor)}
    if arrays:
        with atomic_path(path.with_suffix(".npz")) as temporary:
            np.savez_compressed(temporary, **arrays)
        record |= {"arrays": list(arrays), "result": {k: v for k, v in record["result"].items() if k not in arrays}}
    text = shown_text(json.dumps(record, indent=1)) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _work(job, path, device, version, processes, dry, unasked):
    """One job in its process; an error becomes text, so that the others go on."""
    with contextlib.suppress(ValueError, FileNotFoundError):
        load_record(path)           # Dask gives a job to a second worker if it loses sight of the first
        return path, None
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    few = mock.patch.dict(SETTINGS["fast"], iterations=TINY["iterations"])     # where a job leaves them to the solver
    try:
        with warnings.catch_warnings(), few if dry else contextlib.nullcontext():
            warnings.simplefilter("ignore", UserWarning)        # priors at other voxel sizes are what studies are about
            place = {"device": device} if has(job.function, "device") else {}
            result = job.function(**job.asked, **place, **unasked)
        _save(path, {"function": job.function.__name__, "asked": job.asked, "digests": job.digests, "result": result,
                     "hardware": hardware(device), "commit": version,
                     "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")})
    except Exception as error:
        return path, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return path, None


class Runner:
    """What a study asks for jobs.

    Parameters
    ----------
    folder : str or Path
        One file for each job. With Dask, a folder that all workers see under this path.
    count, scheduler
        Processes, or a Dask cluster: see :func:`mrilab.processes.in_parallel`.
    device : str
        ``"cpu"`` or ``"cuda"``, for jobs that have a parameter of that name; not part of what identifies a result.
    progress : bool
        Show one bar, which counts jobs as the study asks for them.
    dry : bool
        Of each kind of job do one that is tiny, and take its result for that of the others.
    committed : bool
        Do again what was made from a checkout with changes.

    Examples
    --------
    >>> from studies.scans import reconstruction
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Runner(folder, progress=False, dry=True)
    ...     row, = run.rows(reconstruction, [dict(volume="qtim_MRHead", voxel_size=2, method="cg_sense",
    ...                                           settings={"iterations": 9})], columns=("settings", "psnr"))
    >>> row["settings"], row["psnr"] > 10
    ({'iterations': 9}, True)
    """

    def __init__(self, folder, count=1, scheduler=None, device="cpu", progress=True, dry=False, committed=False):
        self.folder, self.dry, self.committed = Path(folder).resolve(), dry, committed
        self.count, self.scheduler, self.device, self.version = count, scheduler, device, commit()
        self.records, self.tried = [], {}
        self.bar = tqdm(total=0, desc=self.folder.name, disable=not progress)

    def left(self, jobs):
        """The jobs that are still to be done, by the path of their results."""
        waiting = {}
        for job in jobs:
            path = self.folder / job.file
            try:
                if not self.committed or not load_record(path)["commit"].endswith("-dirty"):
                    load_record(path)
                    continue
                path.unlink()
            except FileNotFoundError:
                pass
            except ValueError as problem:
                tqdm.write(f"{problem}; it is computed again", file=sys.stderr)
                path.unlink()
            waiting[path] = job
        return waiting

    def attempt(self, function, asked, name=None, **unasked):
        """Do the jobs that have no result yet.

        Parameters
        ----------
        function : callable
            Of this package, not a lambda: it is found by its name in other processes.
        asked : list of dict
            Its arguments, for each job.
        name : callable, optional
            From the arguments of a job to what a reader calls it.
        **unasked
            Further arguments of all jobs, which do not identify a result.

        Returns
        -------
        records : list of dict
            As from :func:`load_record`, None for a job that failed.
        failed : dict
            Name of each failed job to what went wrong.

        Raises
        ------
        OSError
            If processes are killed again and again, or the cluster does not answer. What is done stays done.
        """
        if self.dry:
            whole = [(function, *(str(a.get(key)) for key in KINDS)) for a in asked]
            new = {kind: self._small(tiny(a)) for kind, a in reversed([*zip(whole, asked)]) if kind not in self.tried}
            asked = list(new.values())
        jobs = [make_job(function, a, name) for a in asked]
        self.folder.mkdir(parents=True, exist_ok=True)
        failed = self._carry_out(jobs, self.left(jobs), unasked)
        paths = [self.folder / job.file for job in jobs]
        records = [None if path in failed else load_record(path) for path in paths]
        self.records += [record for record in records if record]
        named = {}
        for path, job in zip(paths, jobs):
            if path in failed:
                named.setdefault(job.label if name else f"{job.label}({_brief(job.asked)})", failed[path])
        if self.dry:
            self.tried |= zip(new, records)
            return [self.tried[kind] for kind in whole], named
        return records, named

    def _small(self, asked):
        """A job whose volume has voxels of 2 mm, and whose scan a short readout: their own take seconds to simulate."""
        asked = {key: self._small(value) if isinstance(value, dict) else value for key, value in asked.items()}
        for kind in ("volume", "scan"):
            if not isinstance(name := asked.get(kind), str):
                continue
            path = self.folder / f"{kind}_{Path(name).stem}.h5"
            self.folder.mkdir(parents=True, exist_ok=True)
            if kind == "volume" and not path.is_file():
                save_volume(path, load_volume(name).resample((2, 2, 2)))
            elif not path.is_file():
                save_acquisition(path, load_acquisition(name, readout=(60, 100)))
            asked[kind] = str(path)
        return asked

    def _carry_out(self, jobs, left, unasked):
        """Failed jobs, by path. Jobs that lose their process are started again."""
        failed, fruitless, before = {}, 0, self.bar.n
        self.bar.total += len(jobs)
        self.bar.update(len(jobs) - len(left))
        while left:
            turn = list(left)[:self.count if fruitless else None]       # after a death, no more than can die at once
            calls = [(left[path], path, self.device, self.version, self.count, self.dry, unasked) for path in turn]
            try:
                for path, problem in in_parallel(_work, calls, self.count, self.scheduler):
                    if problem:
                        failed[path] = problem
                        tqdm.write(f"{path.stem}: {problem}", file=sys.stderr)
                        self.bar.set_postfix_str(f"{len(failed)} failed", refresh=False)
                    self.bar.update()
                left = {path: job for path, job in left.items() if path not in turn}
            except (OSError, ImportError):
                raise
            except Exception as error:          # not of a job: a process was killed
                rest = [path for path in left if path not in failed and not path.exists()]
                fruitless = fruitless + 1 if len(rest) == len(left) else 1
                self.bar.n = before + len(jobs) - len(rest)
                if fruitless == 3:
                    raise OSError(f"processes: {type(error).__name__} again and again after {self.bar.n} of "
                                  f"{self.bar.total} jobs; the same call goes on from there. Is there enough memory?"
                                  ) from error
                # the jobs that may have caused it come last
                left = {path: left[path] for path in rest[self.count:] + rest[:self.count]}
        return failed

    def rows(self, function, asked, columns=None, **unasked):
        """Do the jobs, and return what each was asked together with its result, or these ``columns`` of it.

        Raises
        ------
        ValueError
            Naming the jobs that failed, after all others are done.
        """
        records, failed = self.attempt(function, asked, **unasked)
        check(failed, len(records))
        rows = [a | record["result"] for a, record in zip(asked, records)]
        return [{key: row[key] for key in columns} for row in rows] if columns else rows

    def made(self):
        """Hardware, commit and date of the jobs so far, and the digests of weights and volumes they used."""
        priors = {d.name for d in list_datasets("prior")}
        found = {name: digest for record in self.records for name, digest in record["digests"].items()}
        weights = {n: d for n, d in found.items() if n in priors or n.endswith(".safetensors")}
        said = {key: ", ".join(sorted({record[key] for record in self.records})) for key in ("hardware", "commit")}
        return said | dict(date=max((record["date"] for record in self.records), default="")[:10], weights=weights,
                           volumes_sha256={n: d for n, d in found.items() if n not in weights})


def _brief(asked):
    return shown_text(", ".join(f"{key}={value}" for key, value in asked.items()))[:120]


def check(failed, total):
    """ValueError that names what failed, if something did."""
    if failed:
        named = "; ".join(f"{label}: {problem}" for label, problem in list(failed.items())[:3])
        raise ValueError(f"{len(failed)} of {total} jobs failed; the same command tries them again ({named}"
                         f"{' ...' if len(failed) > 3 else ''})")


def tiny(asked):
    """The arguments of a job that takes a moment; weights that are not there yet are replaced.

    Examples
    --------
    >>> tiny({"voxel_size": [2, 1, 1], "settings": {"weight": 0.3, "iterations": 16}, "volume": "qtim_MRHead"})
    {'voxel_size': [8, 8, 8], 'settings': {'weight': 0.3, 'iterations': 2}, 'volume': 'qtim_MRHead'}
    """
    if isinstance(asked, dict):
        if asked.get("method") in METHODS and "settings" in asked:      # what is not asked has a default, a large one
            own = {key: 2 for key in ("iterations", "steps") if has(find(asked["method"]), key)}
            asked = asked | {"settings": asked["settings"] | own}
        return {key: [TINY[key]] * len(value) if key == "voxel_size" and isinstance(value, list | tuple)
                else TINY.get(key, tiny(value)) for key, value in asked.items()}
    absent = isinstance(asked, str) and asked.endswith(".safetensors") and not Path(asked).is_file()
    return "fixed_3mm" if absent or asked in ("fixed_1mm", "fixed_2mm") else asked      # whose grid is not too fine


def catalogue():
    """The studies of this package, by name."""
    package = __package__
    modules = {name: importlib.import_module(f"{package}.{name}")
               for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)]) if name != "__main__"}
    return {name: module for name, module in modules.items() if hasattr(module, "study")}


def check_clean(out, allow_dirty):
    """Whether results go where they ship; ValueError if they would from a checkout with changes."""
    ships = Path(out).resolve() == RESULTS and not allow_dirty
    if ships and commit().endswith("-dirty"):
        raise ValueError(f"{shown(out)}: found changes since commit {commit().removesuffix('-dirty')}, expected a "
                         "clean checkout for results that ship; commit them, or name another place with --out (--allow-"
                         "dirty writes them nevertheless)")
    return ships


def write(path, content, run):
    """A result: a table as CSV, anything else as JSON with what :meth:`Runner.made` says."""
    if path.suffix == ".csv":
        write_rows(path, content)
    else:
        text = shown_text(json.dumps(run.made() | content, indent=1)) + "\n"
        with atomic_path(path) as temporary:
            temporary.write_text(text)


def conduct(name, study, out, allow_dirty=False, dry=False, **how):
    """Do a study and write its results; if a job fails nothing is written.

    Raises
    ------
    ValueError
        Naming the jobs that failed, or a checkout with changes whose result would ship (``data/results``).
    """
    ships = check_clean(out, allow_dirty)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / name if dry else RUNS / name
        run = Runner(folder, dry=dry, committed=ships, **how)
        stack.callback(run.bar.close)
        content = study.study(run)
        files = {study.RESULTS[0]: content} if len(study.RESULTS) == 1 else content
        for file, part in files.items():
            write(Path(out) / file, part, run)
    return [Path(out) / file for file in files]


def state(name):
    """How the shipped result of a study is: ``there``, ``missing``, or made with ``other weights``."""
    try:
        result = load(name)
    except FileNotFoundError:
        return "missing"
    except ValueError as error:
        return "other weights" if "made with weights" in str(error) else "unreadable"
    return "there" if isinstance(result, Result) and weights_in(result) else "there, weights not told"
