"""A comparison as a table of jobs: from the lists of a settings file, in an order that stays balanced.

A settings file (``studies/configs``) has the keys of :class:`Sweep`; each of its ``methods`` those of :class:`Entry`.
"""

import itertools
import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mrilab.checks import check_voxel_size
from mrilab.datasets import locate
from mrilab.methods import METHODS, check_settings, find, has
from mrilab.priors import checked

from .results import shown
from .runner import check
from .scans import reconstruction

Number = Annotated[int | float, Field(allow_inf_nan=False)]
Positive = Annotated[int | float, Field(gt=0, allow_inf_nan=False)]
STRICT = ConfigDict(extra="forbid", strict=True)


class Entry(BaseModel):
    """A method, and what it is compared with: one column for each representation and prior.

    Examples
    --------
    >>> checked(Entry, {"method": "cg_sense", "name": "../away"})
    Traceback (most recent call last):
    ValueError: name: found '../away', expected String should match pattern ...
    """

    model_config = STRICT
    method: str
    name: str | None = Field(None, pattern=r"^[\w+, -][\w+., -]*$")        # it becomes part of a file's name
    priors: list[str | None] = Field([None], min_length=1)
    representations: list[str] = Field(["voxel"], min_length=1)
    settings: dict[str, Any] = {}
    tune: dict[str, Annotated[list[Positive], Field(min_length=2, max_length=2)]] = Field({}, max_length=2)


class Sweep(BaseModel):
    """What is compared, on which scans.

    Examples
    --------
    >>> checked(Sweep, {"volumes": ["qtim_MRHead"], "voxel_sizes": [2], "accelerations": [float("nan")], "seeds": [0],
    ...                 "methods": []})
    Traceback (most recent call last):
    ValueError: accelerations[0]: found nan, expected ...
    """

    model_config = STRICT
    about: str = ""
    volumes: list[str] = Field(min_length=1)
    voxel_sizes: list[Positive | Annotated[list[Positive], Field(min_length=3, max_length=3)]] = Field(min_length=1)
    accelerations: list[Annotated[int | float, Field(ge=1, allow_inf_nan=False)]] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    blocks: list[Annotated[list[int], Field(min_length=2, max_length=2)] | None] = Field([None], min_length=1)
    coils: int = Field(8, ge=1)
    noise: Number = Field(0.01, ge=0)
    methods: list[Entry] = Field(min_length=1)
    maps: Literal["true", "estimated"] = "true"                   # these two: studies.scans.simulated
    decimated: bool = False
    tuned: dict[str, Any] | None = None
    keep_slices: Number = Field(0, ge=0)


def load_sweep(path):
    """Read the settings file of a sweep, JSON or (by its ending) TOML.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        With all keys of :class:`Sweep`; the settings of ``tuned``, a file of :func:`studies.tuning.tune` given relative
        to this one, are read in.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not JSON or TOML; an unknown key, method, prior, representation, volume or setting; an empty
        list. All name the file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/a.toml").write_text('''
    ...         volumes = ["qtim_MRHead"]
    ...         voxel_sizes = [1, [1, 1, 3]]
    ...         accelerations = [8]
    ...         seeds = [0, 1]
    ...         [[methods]]
    ...         method = "cg_sense" ''')
    ...     sweep = load_sweep(f"{folder}/a.toml")
    >>> sweep["voxel_sizes"], sweep["coils"], len(make_jobs(sweep))
    ([1.0, [1.0, 1.0, 3.0]], 8, 4)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        text = path.read_text()
        sweep = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: not {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from None
    try:
        if isinstance(sweep, dict) and isinstance(sweep.get("tuned"), str):
            sweep["tuned"] = json.loads((path.parent / sweep["tuned"]).read_text())["best"]
        return check_sweep(sweep)
    except (OSError, ValueError, KeyError) as error:
        raise (FileNotFoundError if isinstance(error, OSError) else ValueError)(f"{path}: {error}") from None


def check_sweep(sweep, methods=METHODS):
    """A sweep with all its keys, or ValueError for what is wrong with it.

    Parameters
    ----------
    sweep : dict
        With keys of :class:`Sweep`; those without a default must be there.
    methods : dict, optional
        Which methods there are.

    Returns
    -------
    dict

    Examples
    --------
    >>> sweep = {"volumes": ["qtim_MRHead"], "voxel_sizes": [2], "accelerations": [8], "seeds": [0]}
    >>> check_sweep(sweep | {"methods": [{"method": "cg_sense"}]})["noise"]
    0.01
    >>> check_sweep(sweep | {"methods": [{"method": "variational"}]})
    Traceback (most recent call last):
    ValueError: priors: found None for variational, expected the name of a prior
    """
    sweep = checked(Sweep, sweep).model_dump()
    for block in sweep["blocks"]:
        if block is not None and not block[0] < block[1]:
            raise ValueError(f"blocks: found {block}, expected [first, last] with first < last")
    sweep["voxel_sizes"] = [_short(check_voxel_size([d] * 3 if isinstance(d, int | float) else d, "voxel_sizes"))
                            for d in sweep["voxel_sizes"]]
    for volume in sweep["volumes"]:
        locate(volume, "volume")
    for entry in sweep["methods"]:
        function = find(entry["method"], methods)
        for representation in entry["representations"]:
            check_settings(entry["method"], function, representation, entry["settings"] | entry["tune"])
        for setting, ends in entry["tune"].items():
            if not ends[0] < ends[1]:
                raise ValueError(f"tune: found {ends} for {setting} of {entry['method']}, expected [lowest, highest]")
        for prior in entry["priors"]:
            if (prior is not None) != has(function, "prior"):
                raise ValueError(f"priors: found {prior!r} for {entry['method']}, expected "
                                 f"{'none: it has no prior' if prior else 'the name of a prior'}")
            if prior is not None:
                locate(prior, "prior")
    return sweep


def _short(voxel_size):
    """One number for an isotropic voxel size."""
    return voxel_size[0] if len(set(voxel_size)) == 1 else list(voxel_size)


def columns(sweep):
    """What is compared: method, representation and prior with its settings, each with a label.

    Returns
    -------
    list of dict
        ``label``, ``method``, ``representation``, ``prior``, ``settings``, ``tune``.

    Raises
    ------
    ValueError
        For a label without settings in ``tuned``.

    Examples
    --------
    >>> entry = {"method": "variational", "priors": ["fixed_1mm"], "representations": ["voxel", "trilinear"]}
    >>> sweep = check_sweep({"volumes": ["qtim_MRHead"], "voxel_sizes": [2], "accelerations": [8], "seeds": [0],
    ...                      "methods": [entry, {"method": "cg_sense", "settings": {"iterations": 4}}]})
    >>> [(column["label"], column["settings"]) for column in columns(sweep)]
    [('variational-fixed_1mm', {}), ('variational-trilinear-fixed_1mm', {}), ('cg_sense', {'iterations': 4})]
    """
    found = []
    for entry in sweep["methods"]:
        for representation, prior in itertools.product(entry["representations"], entry["priors"]):
            parts = [entry["name"] or entry["method"], representation if representation != "voxel" else None,
                     prior and Path(prior).stem]
            label = "-".join(p for p in parts if p)
            settings = entry["settings"]
            if sweep["tuned"] is not None:
                if label not in sweep["tuned"]:
                    raise ValueError(f"tuned: found no settings of {label!r}, expected it among "
                                     f"{', '.join(sweep['tuned'])}")
                settings = settings | sweep["tuned"][label]["settings"]
            found.append({"label": label, "method": entry["method"], "representation": representation,
                          "prior": prior, "settings": settings, "tune": entry["tune"]})
    return found


def make_jobs(sweep, compared=None):
    """The jobs of a sweep, in an order that leaves it balanced wherever it is interrupted.

    Seeds are outermost, methods innermost: whatever has been compared, has been compared with all methods on the same
    data. Between them voxel sizes and accelerations advance together along the diagonals of their table, so
    each of them has had its turn before any has its next.

    Parameters
    ----------
    sweep : dict
        From :func:`load_sweep` or :func:`check_sweep`.
    compared : list of dict, optional
        As from :func:`columns`.

    Returns
    -------
    list of dict
        The arguments of :func:`studies.scans.reconstruction`.

    Raises
    ------
    ValueError
        If two jobs have the same name.

    Examples
    --------
    >>> sweep = check_sweep({"volumes": ["qtim_MRHead"], "voxel_sizes": [1, 2], "accelerations": [4, 8],
    ...                      "seeds": [0], "methods": [{"method": "cg_sense"}]})
    >>> [(job["voxel_size"], job["acceleration"]) for job in make_jobs(sweep)]
    [(1.0, 4), (2.0, 8), (1.0, 8), (2.0, 4)]
    >>> name(make_jobs(sweep)[0])
    'cg_sense_qtim_MRHead_1mm_R4_seed0'
    """
    sizes, rates = sweep["voxel_sizes"], sweep["accelerations"]
    repeat = math.lcm(len(sizes), len(rates))
    cells = [(sizes[i % len(sizes)], rates[(i + i // repeat) % len(rates)]) for i in range(len(sizes) * len(rates))]
    scan = {key: sweep[key] for key in ("coils", "noise", "keep_slices")}
    # only where asked, so that other jobs keep the names they have
    scan |= {key: value for key, value in sweep.items()
             if key in ("maps", "decimated") and value != Sweep.model_fields[key].default}
    order = itertools.product(sweep["seeds"], sweep["volumes"], sweep["blocks"], cells, compared or columns(sweep))
    jobs = [{key: value for key, value in column.items() if key != "tune"} | {
        "volume": volume, "voxel_size": size, "acceleration": rate, "block": block, "seed": seed, **scan,
    } for seed, volume, block, (size, rate), column in order]
    seen = set()
    for job in jobs:
        if name(job) in seen:
            raise ValueError(f"jobs: found two with the name {name(job)}, expected names that differ "
                             "(give an entry of methods a 'name')")
        seen.add(name(job))
    return jobs


def name(job):
    """What a reader calls a job.

    Examples
    --------
    >>> name({"label": "cg_sense", "volume": "scans/head.h5", "voxel_size": [1, 1, 3.5], "acceleration": 8,
    ...       "block": [-6, 6], "seed": 0})
    'cg_sense_head_1x1x3.5mm_R8_x-6to6_seed0'
    """
    size = job["voxel_size"]
    size = "x".join(f"{d:g}" for d in size) if isinstance(size, list) else f"{size:g}"
    block = "" if job["block"] is None else "_x{}to{}".format(*job["block"])
    return f"{job['label']}_{Path(job['volume']).stem}_{size}mm_R{job['acceleration']:g}{block}_seed{job['seed']}"


def measure(run, jobs, methods=METHODS):
    """Do the jobs of a sweep: the rows of a table, and what failed, by name.

    Parameters
    ----------
    run : Runner
    jobs : list of dict
        From :func:`make_jobs`.
    methods : dict, optional
        Names to functions ``(acquisition, [prior], [seed], [representation], [progress], **settings)``.

    Returns
    -------
    rows : list of dict
        The results that there are now, in the order of the jobs, with ``COLUMNS`` and, if wanted, ``slices``.
    failed : dict

    Examples
    --------
    Two methods on the same data:

    >>> import tempfile, torch
    >>> from mrilab.volumes import Volume, save_volume
    >>> from studies.runner import Runner
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_volume(f"{folder}/a.h5", Volume(torch.ones(16, 16, 16), (8, 8, 8)))
    ...     jobs = make_jobs(check_sweep({
    ...         "volumes": [f"{folder}/a.h5"], "voxel_sizes": [8], "accelerations": [2], "seeds": [0], "coils": 3,
    ...         "methods": [{"method": "zero_filled"}, {"method": "cg_sense"}]}))
    ...     rows, failed = measure(Runner(f"{folder}/results", progress=False), jobs)
    >>> worse, better = rows
    >>> better["label"], better["psnr"] > worse["psnr"] + 3, failed
    ('cg_sense', True, {})
    """
    records, failed = run.attempt(reconstruction, jobs, name, methods=methods)
    return [job | record["result"] | {key: record[key] for key in ("hardware", "commit", "date")}
            | {f"{kind}_sha256": record["digests"].get(shown(job[kind])) for kind in ("prior", "volume")}
            for job, record in zip(jobs, records) if record], failed


def rows_of(run, sweep):
    """As :func:`measure`, the rows alone; ValueError names what failed, after all others are done."""
    jobs = make_jobs(sweep)
    rows, failed = measure(run, jobs)
    check(failed, len(jobs))
    return rows
