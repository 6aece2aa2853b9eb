"""The data that mrilab ships: volumes and pretrained priors, each checked by SHA-256 at every use.

The registry lies in ``registry.json``; ``data/build_volumes.py`` and ``data/train_priors.py`` write it.
Files are looked for in the checkout's ``data/``; an installed package without a checkout downloads them
through pooch from ``MRILAB_DATA_URL``, the address of a release's ``data/`` folder.
"""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry: what it is, where it comes from, and how to recognise the file."""

    name: str
    kind: str
    file: str
    bytes: int
    sha256: str
    card_sha256: str = ""       # of a prior's card, the .json beside its weights
    split: str = ""
    person: str = ""
    licence: str = ""
    source: str = ""
    description: str = ""
    voxel_size: tuple = ()
    shape: tuple = ()


@functools.cache
def _registry():
    entries = json.loads((_HERE / "registry.json").read_text())
    return {name: Dataset(name=name, **entry) for name, entry in entries.items()}


def list_datasets(kind=None):
    """All shipped data sets, or those of one ``kind`` (``"volume"``, ``"prior"``).

    Returns
    -------
    list of Dataset
        With name, split, licence, source, voxel size, size in bytes and SHA-256.

    Examples
    --------
    >>> [d.name for d in list_datasets("volume") if d.split == "test"]
    ['qtim_MRHead']
    """
    return [d for d in _registry().values() if kind in (None, d.kind)]


def locate(name_or_path, kind):
    """Path of a shipped file (:func:`fetch`) or of the user's own, which must exist.

    Raises
    ------
    FileNotFoundError
        If it is neither a shipped ``kind`` (``"volume"``, ``"prior"``) nor a file.
    """
    names = [d.name for d in list_datasets(kind)]
    if str(name_or_path) in names:
        return fetch(name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, and no shipped {kind} ({', '.join(names)})")
    return path


def sha256(path):
    """SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name):
    """Path of a shipped file, verified; downloaded first where there is no checkout.

    Parameters
    ----------
    name : str
        A name from :func:`list_datasets`.

    Raises
    ------
    ValueError
        For an unknown name, or a file whose SHA-256 is not the registered one (both are named).
    FileNotFoundError
        If the file is not there and ``MRILAB_DATA_URL`` is not set.

    Examples
    --------
    >>> fetch("qtim_MRHead").name
    'qtim_MRHead.h5'
    """
    if name not in _registry():
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(_registry())}")
    entry = _registry()[name]
    if entry.card_sha256:
        _obtain(Path(entry.file).with_suffix(".json").as_posix(), entry.card_sha256)
    return _obtain(entry.file, entry.sha256)


def _obtain(file, expected):
    """The verified path of one file below ``data/``, downloaded first where there is no checkout."""
    path = _HERE.parent / "data" / file
    if not path.exists():
        address = os.environ.get("MRILAB_DATA_URL")
        if not address:
            raise FileNotFoundError(f"{path}: no such file; work in a checkout of the book, or set "
                                    "MRILAB_DATA_URL to the data/ folder of a release")
        import pooch

        # pooch compares a cached file with the hash too, and replaces it when they differ
        return Path(pooch.retrieve(f"{address.rstrip('/')}/{file}", f"sha256:{expected}", fname=path.name,
                                   path=Path(pooch.os_cache("mrilab")) / path.parent.name, progressbar=True))
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path}: found SHA-256 {found}, expected {expected}; restore the file")
    return path
