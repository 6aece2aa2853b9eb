"""Results as files: which study makes them, with which weights they were made, and how they are read."""

import base64
import csv
import json
import math
import zlib
from pathlib import Path

import numpy as np
from scipy import stats

from mrilab.checks import PLANES, check_choice
from mrilab.datasets import entry_of, list_datasets
from mrilab.writing import atomic_path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "data" / "results"
ASKED = ("label", "method", "representation", "prior", "volume", "voxel_size", "acceleration", "block", "seed", "coils",
         "noise", "settings")
MEASURED = ("psnr", "psnr_head", "ssim", "seconds", "network_evaluations", "operator_applications", "misfit")
COLUMNS = (*ASKED, "prior_sha256", "volume_sha256", *MEASURED, "hardware", "commit", "date")       # of a table
NUMBERS = ("voxel_size", "acceleration", "block", "seed", "coils", "noise", "settings", *MEASURED)      # JSON in a CSV


class Result(dict):
    """What a file holds. Of an old file that does not say it, hardware, commit and date are None."""

    hardware = property(lambda self: self.get("hardware"))
    commit = property(lambda self: self.get("commit"))
    date = property(lambda self: self.get("date"))


def load(name, folder=RESULTS):
    """The result of a study, if it was made with the weights that ship.

    Parameters
    ----------
    name : str
        Of a file in ``data/results``, without its ending: ``"denoising"``, ``"comparison_settings"``.
    folder : str or Path, optional

    Returns
    -------
    Result
        The content of the JSON file; of a table, its ``rows``.

    Raises
    ------
    FileNotFoundError
        If it is not there; the message says which study makes it.
    ValueError
        Not a result; made with other weights than those that ship.

    Examples
    --------
    >>> sorted(load("denoising")["rows"][0])
    ['method', 'psnr', 'sigma', 'volume', 'voxel_size']
    >>> load("samplers", folder="data")
    Traceback (most recent call last):
    FileNotFoundError: data/samplers.json: no such file; python -m studies samplers makes it
    """
    path, table = (Path(folder) / f"{name}{suffix}" for suffix in (".json", ".csv"))
    if table.is_file():
        rows = read_rows(table)
        result = Result(rows=rows, weights=weights_in(rows), **{
            key: ", ".join(sorted({row[key] or "" for row in rows})) for key in ("hardware", "commit", "date")})
        path = table
    else:
        if not path.is_file():
            raise FileNotFoundError(f"{shown(path)}: no such file; {command(name)} makes it")
        try:
            result = Result(json.loads(path.read_text()))
        except (TypeError, ValueError):
            raise ValueError(f"{shown(path)}: found a truncated file, expected the JSON of a result") from None
    shipped = {d.name: d.sha256 for d in list_datasets("prior")}
    for prior, found in weights_in(result):
        if found != shipped.get(prior, found):
            raise ValueError(f"{shown(path)}: made with weights of {prior} with SHA-256 {found}, but those that ship "
                             f"have {shipped[prior]}; {command(name)} makes it anew")
    return result


def shown(path):
    """A path as messages and files name it: from the repository's root."""
    return str(path).removeprefix(f"{ROOT}/")


def command(name):
    """The command that makes a result: by the study whose name it begins with. "nothing" for one of the past.

    Examples
    --------
    >>> command("comparison_slices")
    'python -m studies comparison'
    """
    while "_" in name and not Path(__file__).with_name(f"{name}.py").exists():
        name = name.rpartition("_")[0]
    return f"python -m studies {name}" if Path(__file__).with_name(f"{name}.py").exists() else "nothing"


def weights_in(content):
    """Pairs of a prior and the SHA-256 of its weights, wherever a result or the rows of a table say them."""
    if isinstance(content, list | tuple):
        return {pair for part in content if isinstance(part, dict) for pair in weights_in(part)}
    own = content.get("weights")
    found = set(own.items() if isinstance(own, dict) else ())
    if content.get("prior_sha256"):
        found.add((Path(content["prior"]).stem, content["prior_sha256"]))
    return found.union(*(weights_in(part) for key, part in content.items()
                         if isinstance(part, dict | list) and key != "weights"))


def write_rows(path, rows):
    """A table as CSV; what is in no column stays behind.

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
        if not set(COLUMNS) <= set(table.fieldnames or ()):
            raise ValueError(f"{path}: found the columns {table.fieldnames}, expected {list(COLUMNS)}")
        try:
            return [{key: json.loads(row[key]) if key in NUMBERS else row[key] or None for key in COLUMNS}
                    for row in table]
        except (TypeError, ValueError):
            raise ValueError(f"{path}: found a truncated line {table.line_num}, expected {len(COLUMNS)} values") \
                from None


def bootstrap(values, generator, confidence=0.95, resamples=4000):
    """Ends of the percentile interval of a mean.

    Examples
    --------
    >>> bootstrap([1.0, 1.0, 1.0], np.random.default_rng(0))
    (1.0, 1.0)
    """
    means = generator.choice(values, (resamples, len(values))).mean(axis=1)
    return tuple(np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist())


def over_people(rows, a, b, metric="psnr", confidence=0.95):
    """Mean difference ``a - b`` in each cell, with people as the unit.

    Differences are paired: both methods saw the same data for each volume, seed and block. Those of one person,
    whatever the seed, the block or the volume, are averaged first, for they are not independent; the interval is that
    of Student's t over people.

    Parameters
    ----------
    rows : list of dict
        With the labels ``a`` and ``b``; the volumes are data sets, whose entries say the person.
    a, b : str
        Labels.
    metric : str
        One of ``MEASURED``.
    confidence : float

    Returns
    -------
    list of dict
        ``voxel_size``, ``acceleration``, ``difference``, ``low``, ``high``, ``people``, ``pairs`` for each cell that
        has pairs. Of one person, ``low`` and ``high`` are NaN.

    Raises
    ------
    ValueError
        For a label that no row has.

    Examples
    --------
    >>> cell = {"voxel_size": 3.0, "acceleration": 8, "block": None, "coils": 8, "noise": 0.01, "seed": 0}
    >>> rows = [cell | {"volume": v, "label": m, "psnr": 30 + d * (m == "new")} for m in ("new", "old")
    ...         for v, d in (("qtim_MRHead", 1.0), ("seg3d_MR", 1.2))]
    >>> [(round(c["difference"], 2), round(c["low"], 1), c["people"]) for c in over_people(rows, "new", "old")]
    [(1.1, -0.2, 2)]
    """
    for label in (a, b):
        check_choice(label, "label", sorted({row["label"] for row in rows}))
    cells, found = {}, []
    for row in (row for row in rows if row["label"] in (a, b)):
        cell, data = (json.dumps([row[key] for key in keys]) for keys in (
            ("voxel_size", "acceleration"), ("volume", "seed", "block", "coils", "noise")))
        pair = entry_of(row["volume"]).person, data
        cells.setdefault(cell, {}).setdefault(pair, {})[row["label"]] = row[metric]
    for cell, pairs in cells.items():
        people = {}
        for (person, _), values in pairs.items():
            if len(values) == 2:
                people.setdefault(person, []).append(values[a] - values[b])
        if not people:
            continue
        means, half = np.array([np.mean(differences) for differences in people.values()]), math.nan
        if len(means) > 1:
            half = float(stats.t.ppf((1 + confidence) / 2, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5)
        found.append(dict(zip(("voxel_size", "acceleration"), json.loads(cell)), difference=float(means.mean()),
                          low=float(means.mean()) - half, high=float(means.mean()) + half, people=len(means),
                          pairs=sum(map(len, people.values()))))
    return found


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
    packed, peak = {}, truth.abs().max()
    for plane, axis in PLANES.items():
        packed[plane] = found = {}
        sides = [max(1, round(side / d)) for a, d in enumerate(voxel_size) if a != axis]
        for key, volume in (("image", image), ("truth", truth)):
            middle = volume.abs().select(axis, volume.shape[axis] // 2) / peak * 255
            for a, (n, kept) in enumerate(zip(middle.shape, sides)):
                middle = middle.narrow(a, max(0, (n - kept) // 2), min(n, kept))
            pixels = middle.round().clamp(0, 255).numpy().astype(np.uint8)
            found |= {"shape": pixels.shape, key: pixels_to_text(pixels)}
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
    return {key: text_to_pixels(found[key], found["shape"]) for key in ("image", "truth")}


def pixels_to_text(pixels):
    """An array of uint8 as text for a JSON file: zlib and base64."""
    return base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()


def text_to_pixels(text, shape):
    """What :func:`pixels_to_text` made, as uint8 of that shape.

    Examples
    --------
    >>> text_to_pixels(pixels_to_text(np.arange(4, dtype=np.uint8)), (2, 2)).tolist()
    [[0, 1], [2, 3]]
    """
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)
