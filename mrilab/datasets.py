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


def is_known(name):
    """Whether ``name`` is the name of a shipped data set."""
    return str(name) in _registry()


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
    if not is_known(name):
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(_registry())}")
    entry = _registry()[name]
    path = _HERE.parent / "data" / entry.file
    if not path.exists():
        address = os.environ.get("MRILAB_DATA_URL")
        if not address:
            raise FileNotFoundError(f"{path}: no such file; work in a checkout of the book, or set "
                                    "MRILAB_DATA_URL to the data/ folder of a release")
        import pooch

        folder = Path(pooch.os_cache("mrilab")) / Path(entry.file).parent
        # pooch compares a cached file with the hash too, and replaces it when they differ
        return Path(pooch.retrieve(f"{address.rstrip('/')}/{entry.file}", f"sha256:{entry.sha256}",
                                   fname=Path(entry.file).name, path=folder, progressbar=True))
    found = sha256(path)
    if found != entry.sha256:
        raise ValueError(f"{path}: found SHA-256 {found}, expected {entry.sha256}; restore the file")
    return path
