"""The data: volumes, a recorded scan and priors that ship, heads and scans by reference, and large public scans.

Each file is checked by SHA-256 at every use. The registry of what ships lies in ``registry.json``, written by
``data/build_volumes.py`` and ``studies/train_priors.py``. A file is looked for in the checkout's ``data/``, then in
``mrilab/data/``, where an installed package has what one needs first (``setup.py`` puts it there). The rest is
downloaded from the release of the same version, or from ``MRILAB_DATA_URL``, the address of a ``data/`` folder. Heads
and scans by reference (``references.json``) are public and may be used, but do not ship: they are taken from the folder
``MRILAB_MIRROR``, or downloaded. The sets of others are in ``external.json``. Their sums are not published; the sum of
the first download is recorded beside the file, and holds from then on.
"""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .downloads import MAGIC as MAGIC
from .downloads import check_kind, download
from .downloads import sha256 as sha256
from .writing import atomic_path

_HERE = Path(__file__).parent
REPOSITORY = "https://github.com/ORG/mrilab"        # tools/address.py writes it


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry: what it is, where it comes from, and how to recognise the file.

    Examples
    --------
    >>> entry = next(d for d in list_datasets("volume") if d.name == "qtim_MRHead")
    >>> entry.split, entry.licence, len(entry.sha256)
    ('test', 'Apache-2.0', 64)
    """

    name: str
    kind: str
    file: str
    bytes: int = 0              # 0: not known
    sha256: str = ""            # empty: that of the first download holds
    card_sha256: str = ""       # of a prior's card, the .json beside its weights
    split: str = ""
    person: str = ""
    licence: str = ""
    source: str = ""
    description: str = ""
    voxel_size: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    format: str = ""            # external: what the file begins with, a key of MAGIC
    urls: tuple[str, ...] = ()  # external: mirrors, in the order to try
    hosts: tuple[str, ...] = () # external: where those may lead on to
    page: str = ""
    access: str = ""
    axes: str = ""              # by reference: which way the array runs, where the header does not say (references.py)
    box: tuple = ()             # by reference: what is used of it, (z, y, x)
    gap: int = 0                # by reference: where a sagittal slice is missing
    layout: str = ""            # by reference: what a recorded scan's or an image's file holds (raw/recorded.py)
    beside: str = ""            # by reference: the image that belongs to a recorded scan
    note: str = ""              # what of a recorded scan is not known, or was assumed
    reader: str = ""            # scan: the function of this package that makes an acquisition of it


@functools.cache
def _registry() -> dict[str, Dataset]:
    entries: dict[str, dict] = {}
    for file in ("registry.json", "references.json", "external.json"):
        entries |= json.loads((_HERE / file).read_text())
    return {name: Dataset(name=name, **entry) for name, entry in entries.items()}


def list_datasets(kind: str | None = None) -> list[Dataset]:
    """All data sets, or those of one ``kind``.

    Shipped: ``"volume"``, ``"prior"``. Public, not shipped: ``"reference"``, heads that
    :func:`~mrilab.volumes.load_volume` knows; ``"labels"``, label maps of heads; ``"image"``, what belongs to a
    recorded scan; ``"external"``, large scans of others. ``"scan"``: recorded scans, of which one ships, that
    :func:`~mrilab.volumes.load_acquisition` knows.

    Returns
    -------
    list of Dataset
        With name, split, licence, source, voxel size, size in bytes and SHA-256.

    Examples
    --------
    >>> [d.name for d in list_datasets("volume") if d.split == "test"]
    ['qtim_MRHead']
    >>> [d.name for d in list_datasets("scan") if not d.page]
    ['phantom_siemens']
    """
    return [d for d in _registry().values() if kind in (None, d.kind)]


def entry_of(name: str | Path) -> Dataset | None:
    """The entry of a name, or None.

    Examples
    --------
    >>> entry_of("allineate_arc2017").split, entry_of("head.h5")
    ('test', None)
    """
    return _registry().get(str(name))


def at_hand(name: str) -> bool:
    """Whether a data set's file is here, so that :func:`fetch` needs no network.

    Examples
    --------
    >>> at_hand("qtim_MRHead"), at_hand("nobody")
    (True, False)
    """
    entry, mirror = entry_of(name), os.environ.get("MRILAB_MIRROR")
    if entry is None:
        return False
    folders = [*_shipped(), cache(), *([Path(mirror)] if mirror else [])]
    return any((folder / entry.file).is_file() for folder in folders)


def locate(name_or_path: str | Path, kind: str) -> Path:
    """Path of a shipped file (:func:`fetch`) or of the user's own, which must exist.

    Raises
    ------
    FileNotFoundError
        If it is neither a shipped ``kind`` (``"volume"``, ``"prior"``) nor a file.

    Examples
    --------
    >>> locate("qtim_MRHead", "volume").name
    'qtim_MRHead.h5'
    """
    names = [d.name for d in list_datasets(kind)] + [d.name for d in list_datasets()
                                                     if kind == "volume" and (d.box or d.kind == "image")]
    if str(name_or_path) in names:
        return fetch(str(name_or_path))
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, and no shipped {kind} ({', '.join(names)})")
    return path


def cache() -> Path:
    """Folder of downloaded files: ``MRILAB_CACHE``, or the system's place for caches.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MRILAB_CACHE="scratch"):
    ...     print(cache())
    scratch
    """
    import pooch

    return Path(os.environ.get("MRILAB_CACHE") or pooch.os_cache("mrilab")).expanduser()


def fetch(name: str) -> Path:
    """Path of a data set's file, verified; downloaded first where it is not there.

    Parameters
    ----------
    name : str
        A name from :func:`list_datasets`.

    Raises
    ------
    ValueError
        For an unknown name, or a file whose SHA-256 is not the registered or recorded one (both are named).
    FileNotFoundError
        If what is by reference is in no public file and not in ``MRILAB_MIRROR``.
    OSError
        If no address delivers the file; what arrived stays for the next call (:mod:`mrilab.downloads`).

    Examples
    --------
    >>> fetch("qtim_MRHead").name
    'qtim_MRHead.h5'
    """
    entry = entry_of(name)
    if entry is None:
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(_registry())}")
    if entry.kind == "external":
        return _fetch_external(entry)
    if entry.page:
        return _fetch_reference(entry)
    if entry.card_sha256:
        _obtain(Path(entry.file).with_suffix(".json").as_posix(), entry.card_sha256)
    return _obtain(entry.file, entry.sha256, entry.bytes)


def _shipped() -> tuple[Path, Path]:
    """Where a file that ships may lie: a checkout's ``data/``, and what an installed package brings along."""
    return _HERE.parent / "data", _HERE / "data"


def address_of(file: str) -> str:
    """Where a file of ``data/`` is downloaded from: a release has no folders, its files have the last part of the name.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MRILAB_DATA_URL=""):
    ...     print(address_of("priors/fixed_1mm.json"))
    https://github.com/.../releases/download/v.../fixed_1mm.json
    >>> with patch.dict(os.environ, MRILAB_DATA_URL="http://localhost:8000"):
    ...     print(address_of("priors/fixed_1mm.json"))
    http://localhost:8000/priors/fixed_1mm.json
    """
    if folder := os.environ.get("MRILAB_DATA_URL"):
        return f"{folder.rstrip('/')}/{file}"
    return f"{REPOSITORY}/releases/download/v{__version__}/{Path(file).name}"


def _obtain(file: str, expected: str, size: int = 0) -> Path:
    """The verified path of one file below ``data/``, downloaded first where it is not here."""
    for path in (folder / file for folder in _shipped()):
        if path.exists():
            _verify(path, expected, "restore the file, or install mrilab again")
            return path
    path, address = cache() / file, address_of(file)
    try:
        return download([address], path, expected, size)
    except OSError as error:
        raise OSError(f"{path.name}: not here, and no download ({error}). Set MRILAB_DATA_URL to the address "
                      f"of a data/ folder of version {__version__}, or put the file at {path} by hand") from None


def _fetch_reference(entry: Dataset) -> Path:
    """What is by reference, from the folder ``MRILAB_MIRROR`` or else from its public address."""
    mirror = os.environ.get("MRILAB_MIRROR")
    path = Path(mirror or "") / entry.file
    if mirror and path.is_file():
        _verify(path, entry.sha256, "restore the file")
        return path
    if not entry.urls:
        raise FileNotFoundError(f"{entry.name}: found no {entry.file} in MRILAB_MIRROR ({mirror or 'not set'}); "
                                f"expected it there: {entry.access} ({entry.page})")
    return _fetch_external(entry)


def _verify(path: Path, expected: str, advice: str) -> None:
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path}: found SHA-256 {found}, expected {expected}; {advice}")


def _fetch_external(entry: Dataset) -> Path:
    """A file of others: the recorded sum decides, that of the first download or of a file put there by hand."""
    path = cache() / entry.file
    record = path.with_name(path.name + ".sha256")
    expected = entry.sha256 or (record.read_text().split()[0] if record.is_file() else "")
    if not path.is_file():
        try:
            download(entry.urls, path, expected, entry.bytes, entry.format, entry.hosts)
        except OSError as error:
            raise OSError(f"{entry.name}: no address delivered it ({error}). Get it by hand from "
                          f"{entry.page} ({entry.access}) and put it at {path}") from None
    if expected:
        _verify(path, expected, f"delete it to download again, or {record.name} if the new file is the right one")
        return path
    check_kind(path, entry.format)
    with atomic_path(record) as temporary:
        temporary.write_text(f"{sha256(path)}  {path.name}\n")
    return path
