"""The comparison carried out: every job of a sweep in any number of processes, and what came of it.

Each job writes one JSON file, whole or not at all, whose name ends in a digest of what was asked: a sweep that was
killed goes on where it stood, and one whose settings or weights have changed computes only what is new.
"""

import base64
import contextlib
import csv
import datetime
import functools
import json
import math
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mrilab.methods import METHODS, reconstruct
from studies.sweeps import JOB, file_name, name

MEASURED = ("psnr", "psnr_head", "psnr_slabs", "ssim", "seconds", "network_evaluations", "operator_applications",
            "misfit")
COLUMNS = (*JOB, *MEASURED, "hardware", "commit", "date")
NUMBERS = ("voxel_size", "acceleration", "slab", "seed", "coils", "noise", "settings", *MEASURED)     # JSON in a CSV


@functools.lru_cache(maxsize=1)     # the jobs of all methods on the same data follow each other
def simulated(volume, voxel_size, acceleration, slab, seed, coils, noise):
    """Acquisition and truth of a job.

    Parameters
    ----------
    volume : str
        A shipped volume or a file.
    voxel_size : float or tuple of float
        In mm; one number for all axes.
    acceleration : float
    slab : tuple of int or None
        ``(first, last)`` along x, in voxels from the middle.
    seed, coils : int
    noise : float
        Standard deviation of the noise, for images whose 99th percentile is 1.

    Returns
    -------
    Acquisition, Tensor
        The truth is complex64 ``(z, y, x)``.

    Examples
    --------
    >>> import tempfile, torch
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (4, 4, 4)))
    ...     acquisition, truth = simulated(f"{folder}/a.h5", 8, 2, (-2, 2), seed=0, coils=3, noise=0.01)
    >>> acquisition.kspace.shape, truth.shape
    (torch.Size([3, 8, 8, 4]), torch.Size([8, 8, 4]))
    """
    from mrilab.simulate import simulate_acquisition
    from mrilab.volumes import load_volume

    size = voxel_size if isinstance(voxel_size, tuple) else (voxel_size,) * 3
    acquisition, truth = simulate_acquisition(load_volume(volume).resample(size), acceleration, coils, noise, seed)
    if slab is not None:
        count = truth.shape[2]
        start, stop = (min(max(count // 2 + s, 0), count) for s in slab)
        acquisition, truth = acquisition.readout_block(start, stop), truth[:, :, start:stop]
    return acquisition, truth


def compute(job, methods=METHODS, device="cpu", keep_slices=0):
    """Do one job.

    Parameters
    ----------
    job : dict
        With the keys ``JOB``. The slab is ``[first, last)`` along x, in voxels from the middle; what lies outside the
        volume is cut off.
    methods : dict, optional
    device : str
    keep_slices : float
        Also keep the middles of the middle slices, at most this many mm a side.

    Returns
    -------
    dict
        The job with what was measured (``MEASURED``: the whole image, the head, and slabs of it, which the intervals
        need), and ``slices`` (:func:`pack_slices`) if wanted.

    Examples
    --------
    >>> import tempfile, torch
    >>> from studies.sweeps import check_sweep, make_jobs
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (8, 8, 8)))
    ...     job, = make_jobs(check_sweep({
    ...         "volumes": [f"{folder}/a.h5"], "voxel_sizes": [8], "accelerations": [2], "seeds": [0], "coils": 3,
    ...         "methods": [{"method": "cg_sense", "settings": {"iterations": 4}}]}))
    ...     result = compute(job)
    >>> result["operator_applications"], len(result["psnr_slabs"]), result["psnr"] > 20
    (4, 4, True)
    """
    from mrilab import metrics
    from mrilab.priors import load_prior
    from mrilab.processes import hardware

    data = (tuple(job[key]) if isinstance(job[key], list) else job[key]
            for key in ("volume", "voxel_size", "acceleration", "slab", "seed", "coils", "noise"))
    acquisition, truth = simulated(*data)
    prior = job["prior"] and load_prior(job["prior"], device)
    result = reconstruct(job["method"], acquisition.to(device), prior, job["seed"], job["representation"],
                         methods=methods, **job["settings"])
    image = result.image.cpu()
    record = job | {
        "psnr": metrics.psnr(image, truth), "psnr_head": metrics.psnr(image, truth, metrics.head_mask(truth)),
        "psnr_slabs": psnr_slabs(image, truth), "ssim": metrics.ssim(image, truth), "seconds": result.seconds,
        "network_evaluations": result.network_evaluations, "operator_applications": result.operator_applications,
        "misfit": result.misfit,
        "hardware": hardware(device), "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if keep_slices:
        record["slices"] = pack_slices(image, truth, result.voxel_size, keep_slices)
    return record


def psnr_slabs(image, truth, count=4):
    """PSNR in slabs of equal height along z, all with the range of the whole truth.

    Examples
    --------
    >>> import torch
    >>> truth, error = torch.ones(8, 5, 5), torch.tensor([0.1, 0.1, 0.01, 0.01])
    >>> [round(v) for v in psnr_slabs(truth + error.repeat_interleave(2)[:, None, None], truth)]
    [20, 20, 40, 40]
    """
    import torch

    from mrilab.metrics import psnr

    slab = torch.arange(len(truth)) * count // len(truth)
    return [psnr(image, truth, (slab == i)[:, None, None].expand(truth.shape)) for i in slab.unique()]


def pack_slices(image, truth, voxel_size, side):
    """The middles of the middle slices as uint8 (255 is the truth's peak), zlib and base64: text for a JSON file.

    Parameters
    ----------
    image, truth : Tensor
        ``(z, y, x)``.
    voxel_size : tuple of float
        ``(dz, dy, dx)`` in mm.
    side : float
        Of the part that is kept, in mm, at most.

    Returns
    -------
    dict
        Plane to ``{"shape": (height, width), "image": text, "truth": text}``; :func:`unpack_slices` reads it.

    Examples
    --------
    >>> import torch
    >>> truth = torch.arange(60.0).reshape(3, 4, 5)
    >>> unpack_slices(pack_slices(truth, truth, (1, 1, 1), side=2), "axial")["image"].tolist()
    [[112, 117], [134, 138]]
    """
    from mrilab.checks import PLANES

    packed, peak = {}, truth.abs().max()
    for plane, axis in PLANES.items():
        packed[plane] = found = {}
        sides = [max(1, round(side / d)) for a, d in enumerate(voxel_size) if a != axis]
        for key, volume in (("image", image), ("truth", truth)):
            middle = volume.abs().select(axis, volume.shape[axis] // 2) / peak * 255
            for a, (n, kept) in enumerate(zip(middle.shape, sides)):
                middle = middle.narrow(a, max(0, (n - kept) // 2), min(n, kept))
            pixels = middle.round().clamp(0, 255).numpy().astype(np.uint8)
            found |= {"shape": pixels.shape, key: base64.b64encode(zlib.compress(pixels.tobytes())).decode()}
    return packed


def unpack_slices(packed, plane):
    """One plane of :func:`pack_slices`: uint8 arrays ``(height, width)`` by the names ``image`` and ``truth``.

    ``row | unpack_slices(row["slices"], plane)`` is a row for :class:`~mrilab.widgets.ComparisonDashboard`. Where the
    readout was cut, the slices across it, ``"sagittal"``, are whole.

    Examples
    --------
    >>> import torch
    >>> truth = torch.linspace(0, 1, 8).reshape(2, 2, 2)
    >>> unpack_slices(pack_slices(truth / 2, truth, (1, 1, 1), side=2), "sagittal")
    {'image': array([[ 18,  55],
           [ 91, 128]], dtype=uint8), 'truth': array([[ 36, 109],
           [182, 255]], dtype=uint8)}
    """
    found = packed[plane]
    return {key: np.frombuffer(zlib.decompress(base64.b64decode(found[key])), np.uint8).reshape(found["shape"])
            for key in ("image", "truth")}


def load_result(path, keep_slices=0):
    """Read the result of one job.

    Parameters
    ----------
    path : str or Path
    keep_slices : float
        Not 0: the result must have ``slices`` too.

    Returns
    -------
    dict
        With the keys ``COLUMNS``.

    Raises
    ------
    ValueError
        For a file that is truncated or otherwise not a result.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "job.json"
    ...     _ = path.write_text(json.dumps(dict.fromkeys(COLUMNS, 1)))
    ...     print(load_result(path)["psnr"])
    ...     _ = path.write_text(path.read_text()[:40])
    ...     load_result(path)
    Traceback (most recent call last):
    ValueError: ...job.json: found a truncated file, expected the JSON of a result
    """
    try:
        record = json.loads(Path(path).read_text())
        missing = [key for key in (*COLUMNS, *(["slices"] if keep_slices else [])) if key not in record]
    except (ValueError, TypeError):
        raise ValueError(f"{path}: found a truncated file, expected the JSON of a result") from None
    if missing:
        raise ValueError(f"{path}: found no {', '.join(missing)}, expected a whole result")
    return record


def unfinished(jobs, folder, keep_slices=0):
    """The jobs without a result: ``(job, path, problem)``, with what is wrong with the file if there is one.

    Examples
    --------
    >>> import tempfile
    >>> job = dict.fromkeys(JOB) | {"label": "cg", "volume": "head.h5", "voxel_size": 1, "acceleration": 8}
    >>> jobs = [job | {"seed": 0}, job | {"seed": 1}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / file_name(jobs[0])).write_text(json.dumps(jobs[0] | dict.fromkeys(COLUMNS, 1)))
    ...     [left["seed"] for left, path, problem in unfinished(jobs, folder)]
    [1]
    """
    left = []
    for job in jobs:
        path, problem = Path(folder) / file_name(job), None
        if path.exists():
            try:
                load_result(path, keep_slices)
                continue
            except ValueError as error:
                problem = str(error)
        left.append((job, path, problem))
    return left


def run(jobs, folder, methods=METHODS, count=1, scheduler=None, device="cpu", keep_slices=0, progress=True):
    """Do the jobs that have no result yet.

    Parameters
    ----------
    jobs : list of dict
        From :func:`~mrilab.sweeps.make_jobs`.
    folder : str or Path
        One file for each result. With Dask, a folder that all workers see under this path.
    methods : dict, optional
        Names to functions ``(acquisition, [prior], [seed], [representation], [progress], **settings)``.
    count, scheduler
        Processes, or a Dask cluster: see :func:`mrilab.processes.in_parallel`.
    device : str
        ``"cpu"`` or ``"cuda"``; not part of what identifies a result.
    keep_slices : float
        See :func:`compute`.
    progress : bool
        Show a bar that counts jobs.

    Returns
    -------
    rows : list of dict
        The results that there are now, in the order of the jobs.
    failed : dict
        Name of each failed job to what went wrong.

    Raises
    ------
    OSError
        If processes are killed again and again, or the cluster does not answer. What is done stays done.

    Examples
    --------
    Two methods on the same data:

    >>> import tempfile, torch
    >>> from studies.sweeps import check_sweep, make_jobs
    >>> from mrilab.volumes import Volume, save_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (8, 8, 8)))
    ...     jobs = make_jobs(check_sweep({
    ...         "volumes": [f"{folder}/a.h5"], "voxel_sizes": [8], "accelerations": [2], "seeds": [0], "coils": 3,
    ...         "methods": [{"method": "zero_filled"}, {"method": "cg_sense"}]}))
    ...     rows, failed = run(jobs, f"{folder}/results", progress=False)
    >>> worse, better = rows
    >>> better["label"], better["psnr"] > worse["psnr"] + 3, failed
    ('cg_sense', True, {})
    """
    from mrilab.processes import in_parallel

    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    left, failed, version, fruitless = [], {}, commit(), 0
    for job, path, problem in unfinished(jobs, folder, keep_slices):
        left.append((job, path, {job["method"]: methods[job["method"]]}, device, keep_slices, version, count))
        if problem:
            tqdm.write(f"{problem}; it is computed again", file=sys.stderr)
            path.unlink()
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), desc="jobs", disable=not progress) as bar:
        while left:
            try:
                for label, problem in in_parallel(_work, left, count, scheduler):
                    if problem:
                        failed[label] = problem
                        tqdm.write(f"{label}: {problem}", file=sys.stderr)
                        bar.set_postfix_str(f"{len(failed)} failed", refresh=False)
                    bar.update()
                break
            except (OSError, ImportError):
                raise
            except Exception as error:          # not of a job: a process was killed
                rest = [call for call in left if name(call[0]) not in failed and not call[1].exists()]
                fruitless = fruitless + 1 if len(rest) == len(left) else 0
                bar.n = len(jobs) - len(rest)
                if fruitless == 3:
                    raise OSError(f"processes: {type(error).__name__} again and again after {bar.n} of {len(jobs)} "
                                  "jobs; the same call goes on from there. Is there enough memory?") from error
                left = rest[count:] + rest[:count]      # the jobs that may have caused it come last
    paths = [folder / file_name(job) for job in jobs]
    return [load_result(path, keep_slices) for path in paths if path.exists()], failed


def _work(job, path, methods, device, keep_slices, version, processes):
    """One job in its process; an error becomes text, so that the others go on."""
    import torch

    from mrilab.writing import atomic_path

    if path.exists():               # Dask gives a job to a second worker if it loses sight of the first
        with contextlib.suppress(ValueError):
            load_result(path, keep_slices)
            return name(job), None
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)        # priors at other voxel sizes are what a sweep is about
            record = compute(job, methods, device, keep_slices) | {"commit": version}
        text = json.dumps(record, indent=1) + "\n"
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    except Exception as error:
        return name(job), f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return name(job), None


def commit():
    """The commit of the checkout that this package lies in, with ``-dirty`` if files have changed; or nothing.

    Examples
    --------
    >>> set(commit().removesuffix("-dirty")) <= set("0123456789abcdef")
    True
    """
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def write_rows(path, rows):
    """Results as CSV, a row for each; slices stay behind.

    Examples
    --------
    >>> import tempfile
    >>> row = dict.fromkeys(COLUMNS, 1) | {"label": "cg_sense", "prior": None, "settings": {"iterations": 4}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rows(f"{folder}/table.csv", [row])
    ...     print(Path(f"{folder}/table.csv").read_text())
    label,method,representation,prior,...
    cg_sense,1,1,,...,"{""iterations"": 4}",...
    """
    from mrilab.writing import atomic_path

    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({key: json.dumps(row[key]) if key in NUMBERS else row[key] for key in COLUMNS})


def read_rows(path):
    """The rows that :func:`write_rows` wrote, as dictionaries with numbers for numbers.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; columns or values that are not those of a result.

    Examples
    --------
    >>> import tempfile
    >>> row = dict.fromkeys(COLUMNS, "") | dict.fromkeys(NUMBERS, 0.5) | {"voxel_size": [1, 1, 3]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rows(f"{folder}/table.csv", [row])
    ...     found, = read_rows(f"{folder}/table.csv")
    >>> found["voxel_size"], found["psnr"], found["prior"]
    ([1, 1, 3], 0.5, None)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, newline="") as file:
        table = csv.DictReader(file)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: found the columns {table.fieldnames}, expected {list(COLUMNS)}")
        try:
            return [{key: json.loads(value) if key in NUMBERS else value or None for key, value in row.items()}
                    for row in table]
        except (TypeError, ValueError):
            raise ValueError(f"{path}: found a truncated line {table.line_num}, expected {len(COLUMNS)} values") \
                from None


def summarise(rows, a, b, metric="psnr", confidence=0.95, resamples=4000, seed=0):
    """Mean difference ``a - b`` between two methods in each cell, with a bootstrap interval.

    Both methods saw the same data for each seed and slab, so the differences are paired; pairs are drawn with
    replacement (percentile bootstrap). With few pairs the interval is too narrow: of normal differences, three pairs
    at 95 % cover the mean in about 73 % of the cases, six in 85 %, twelve in 92 %.

    Parameters
    ----------
    rows : list of dict
        From :func:`run` or :func:`read_rows`.
    a, b : str
        Labels.
    metric : str
        One of ``MEASURED``; with ``psnr_slabs`` each job brings a difference for each of its slabs.
    confidence : float
    resamples, seed : int

    Returns
    -------
    list of dict
        ``volume``, ``voxel_size``, ``acceleration``, ``difference``, ``low``, ``high``, ``pairs`` for each cell
        that has pairs. With one pair, ``low`` and ``high`` are NaN.

    Raises
    ------
    ValueError
        For a label that no row has.

    Examples
    --------
    >>> cell = {"volume": "head", "voxel_size": 1.0, "acceleration": 8, "slab": None, "coils": 8, "noise": 0.01}
    >>> rows = [cell | {"label": m, "seed": s, "psnr": 30 + s + d} for m, d in (("new", 1), ("old", 0)) for s in (0, 1)]
    >>> [(c["difference"], c["low"], c["high"], c["pairs"]) for c in summarise(rows, "new", "old")]
    [(1.0, 1.0, 1.0, 2)]
    """
    labels = {row["label"] for row in rows}
    for label in (a, b):
        if label not in labels:
            raise ValueError(f"label: found {label!r}, expected one of {', '.join(sorted(labels))}")
    cells = {}
    for row in rows:
        if row["label"] in (a, b):
            cell = tuple(json.dumps(row[key]) for key in ("volume", "voxel_size", "acceleration"))
            pair = tuple(json.dumps(row[key]) for key in ("seed", "slab", "coils", "noise"))
            cells.setdefault(cell, {}).setdefault(pair, {})[row["label"]] = row[metric]
    found, generator = [], np.random.default_rng(seed)
    for cell, pairs in cells.items():
        differences = np.array([np.subtract(pair[a], pair[b]) for pair in pairs.values() if len(pair) == 2]).ravel()
        if not len(differences):
            continue
        low = high = math.nan
        if len(differences) > 1:
            means = generator.choice(differences, (resamples, len(differences))).mean(axis=1)
            low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
        found.append(dict(zip(("volume", "voxel_size", "acceleration"), map(json.loads, cell)))
                     | {"difference": float(differences.mean()), "low": low, "high": high, "pairs": len(differences)})
    return found
