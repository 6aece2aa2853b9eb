"""The data: volumes and priors that mrilab ships, heads by reference, and public scans that it can download.

Each file is checked by SHA-256 at every use. The registry of what ships lies in ``registry.json``, written by
``data/build_volumes.py`` and ``studies/train_priors.py``; files are looked for in the checkout's ``data/``, and an
installed package without a checkout downloads them from ``MRILAB_DATA_URL``, the address of a release's ``data/``
folder. Heads by reference (``references.json``) are public and may be used, but do not ship: they are taken from the
folder ``MRILAB_MIRROR``, or downloaded. The sets of others are in ``external.json``. Their sums are not published; the
sum of the first download is recorded beside the file, and holds from then on.
"""

import functools
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
ATTEMPTS = 6                # of one address, with growing pauses
STALL = 30                  # seconds without a byte
PAUSE = 1.0                 # factor on the pauses; tests have no time
MAGIC = {"hdf5": b"\x89HDF\r\n\x1a\n", "zip": b"PK\x03\x04", "gzip": b"\x1f\x8b"}


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
    voxel_size: tuple = ()
    shape: tuple = ()
    format: str = ""            # external: what the file begins with, a key of MAGIC
    urls: tuple = ()            # external: mirrors, in the order to try
    page: str = ""
    access: str = ""
    axes: str = ""              # by reference: which way the array runs, where the header does not say (references.py)
    box: tuple = ()             # by reference: what is used of it, (z, y, x)
    gap: int = 0                # by reference: where a sagittal slice is missing


@functools.cache
def _registry():
    entries: dict = {}
    for file in ("registry.json", "references.json", "external.json"):
        entries |= json.loads((_HERE / file).read_text())
    return {name: Dataset(name=name, **entry) for name, entry in entries.items()}


def list_datasets(kind=None):
    """All data sets, or those of one ``kind``.

    Shipped: ``"volume"``, ``"prior"``. Public, not shipped: ``"reference"``, heads that
    :func:`~mrilab.volumes.load_volume` knows; ``"labels"``, label maps of heads; ``"external"``, scans of others.

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


def entry_of(name):
    """The entry of a name, or None.

    Examples
    --------
    >>> entry_of("allineate_arc2017").split, entry_of("head.h5")
    ('test', None)
    """
    return _registry().get(str(name))


def at_hand(name):
    """Whether a data set's file is here, so that :func:`fetch` needs no network.

    Examples
    --------
    >>> at_hand("qtim_MRHead"), at_hand("nobody")
    (True, False)
    """
    entry, mirror = entry_of(name), os.environ.get("MRILAB_MIRROR")
    if entry is None:
        return False
    folders = [_HERE.parent / "data", cache(), *([Path(mirror)] if mirror else [])]
    return any((folder / entry.file).is_file() for folder in folders)


def locate(name_or_path, kind):
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
    names = [d.name for d in list_datasets(kind)] + [d.name for d in list_datasets() if d.box and kind == "volume"]
    if str(name_or_path) in names:
        return fetch(name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, and no shipped {kind} ({', '.join(names)})")
    return path


def sha256(path):
    """SHA-256 of a file as 64 hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> path.touch()
    >>> sha256(path)[:16]
    'e3b0c44298fc1c14'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache():
    """Folder of downloaded files: ``MRILAB_CACHE``, or the system's place for caches.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MRILAB_CACHE="scratch"):
    ...     print(cache())
    scratch
    """
    import pooch

    return Path(os.environ.get("MRILAB_CACHE") or pooch.os_cache("mrilab"))


def fetch(name):
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
        If a shipped file is not there and ``MRILAB_DATA_URL`` is not set; if a head by reference is in no public file
        and not in ``MRILAB_MIRROR``.
    OSError
        If no address delivers the file; what arrived stays, and the next call goes on from there.

    Examples
    --------
    >>> fetch("qtim_MRHead").name
    'qtim_MRHead.h5'
    """
    if name not in _registry():
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(_registry())}")
    entry = _registry()[name]
    if entry.kind == "external":
        return _fetch_external(entry)
    if entry.kind in ("reference", "labels"):
        return _fetch_reference(entry)
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
                                   path=cache() / path.parent.name, downloader=_resumed))
    _verify(path, expected, "restore the file")
    return path


def _fetch_reference(entry):
    """A head by reference, from the folder ``MRILAB_MIRROR`` or else from its public address."""
    mirror = os.environ.get("MRILAB_MIRROR")
    path = Path(mirror or "") / entry.file
    if mirror and path.is_file():
        _verify(path, entry.sha256, "restore the file")
        return path
    if not entry.urls:
        raise FileNotFoundError(f"{entry.name}: found no {entry.file} in MRILAB_MIRROR ({mirror or 'not set'}); "
                                f"expected it there: {entry.access} ({entry.page})")
    return _fetch_external(entry)


def _verify(path, expected, advice):
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path}: found SHA-256 {found}, expected {expected}; {advice}")


def _fetch_external(entry):
    """A file of others: the recorded sum decides, that of the first download or of a file put there by hand."""
    import pooch

    path = cache() / entry.file
    record = path.with_name(path.name + ".sha256")
    expected = entry.sha256 or (record.read_text().split()[0] if record.is_file() else None)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        problems = []
        for url in entry.urls:
            try:
                pooch.retrieve(url, expected and f"sha256:{expected}", fname=path.name, path=path.parent,
                               downloader=functools.partial(_resumed, part=path.with_name(path.name + ".part"),
                                                            begins=MAGIC.get(entry.format, b""), size=entry.bytes))
                break
            except (OSError, ValueError) as error:
                problems.append(f"{url}: {error}")
        else:
            raise OSError(f"{entry.name}: no address delivered it ({'; '.join(problems)}). Get it by hand from "
                          f"{entry.page} ({entry.access}) and put it at {path}")
    if expected:
        _verify(path, expected, f"delete it to download again, or {record.name} if the new file is the right one")
        return path
    from .writing import atomic_path

    with open(path, "rb") as file:
        if not file.read(8).startswith(MAGIC.get(entry.format, b"")):
            raise ValueError(f"{path}: found another kind of file, expected {entry.format}")
    with atomic_path(record) as temporary:
        temporary.write_text(f"{sha256(path)}  {path.name}\n")
    return path


def _resumed(url, output_file, pooch=None, part=None, begins=b"", size=0):
    """Download with patience, as a downloader of pooch: pauses that grow, going on where a connection broke.

    Parameters
    ----------
    url : str
    output_file : str or file
        Where the whole file goes; nothing is written there before it is whole.
    pooch : object
        Unused; pooch hands itself over.
    part : Path, optional
        Where the unfinished file is kept, from one call to the next; beside the output if not given.
    begins : bytes
        What a file of this kind begins with: an error page must not pass for data.
    size : int
        Bytes of the file, if known.

    Raises
    ------
    OSError, ValueError
        When the attempts are used up; for an address that says no, another size, another kind of file.
    """
    import requests
    from tqdm import tqdm

    from . import __version__

    part = Path(part or f"{output_file}.part")
    tag = part.with_name(part.name + ".etag")
    problem = "no attempt"
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(60, 2 ** (attempt - 1)) * PAUSE)
        have = part.stat().st_size if part.is_file() else 0
        headers = {"User-Agent": f"mrilab/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag.is_file():
                headers["If-Range"] = tag.read_text()       # the whole file anew if it has changed since
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(10, STALL)) as answer:
                if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
                    problem = f"status {answer.status_code}"
                    continue
                if answer.status_code == 416:               # the part is longer than the file
                    part.unlink()
                    problem = "the file has become shorter"
                    continue
                if answer.status_code not in (200, 206):
                    raise ValueError(f"found status {answer.status_code} {answer.reason}, expected the file")
                if answer.status_code == 200:
                    have = 0
                elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    part.unlink()
                    problem = "another part than asked"
                    continue
                length = answer.headers.get("Content-Length")
                total = have + int(length) if length else size
                if size and total and total != size:
                    raise ValueError(f"found {total} bytes announced, expected {size}")
                if answer.headers.get("ETag"):
                    tag.write_text(answer.headers["ETag"])
                with open(part, "ab" if have else "wb") as file, tqdm(
                        total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar:
                    for block in answer.iter_content(2**14):
                        if not have and not block.startswith(begins[:len(block)]):
                            raise ValueError(f"found a file that begins with {block[:12]!r}, expected {begins!r}")
                        file.write(block)
                        have += len(block)
                        bar.update(len(block))
            if total and have < total:
                problem = f"{have} of {total} bytes arrived"
                continue
            if total and have > total:
                raise ValueError(f"found {have} bytes, expected {total}")
        except ValueError:
            part.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
            raise
        except (requests.RequestException, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        tag.unlink(missing_ok=True)
        os.replace(part, output_file)
        return
    raise OSError(f"gave up after {ATTEMPTS} attempts ({problem}); the next call goes on from there")


def extract(archive, folder, ratio=200):
    """Unpack a zip or tar archive, every member inside ``folder`` or none at all.

    Parameters
    ----------
    archive, folder : str or Path
    ratio : float
        Refuse an archive that grows by more than this.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        Not an archive; a member with an absolute path, ``..`` or a drive, a link or a device; a bomb.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/scans.zip", "w") as archive:
    ...         archive.writestr("head/a.h5", b"k-space")
    ...     path, = extract(f"{folder}/scans.zip", f"{folder}/scans")
    ...     path.relative_to(folder).as_posix(), path.read_bytes()
    ('scans/head/a.h5', b'k-space')
    """
    import tarfile
    import zipfile
    import zlib

    archive, folder = Path(archive), Path(folder)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                members = [m for m in file.infolist() if not m.is_dir()]
                names = _inside(archive, [m.filename for m in members], sum(m.file_size for m in members), ratio)
                for member, name in zip(members, names):
                    _write_out(file.open(member), folder / name, member.file_size)
        else:
            with tarfile.open(archive) as file:
                members = [m for m in file.getmembers() if not m.isdir()]
                for m in members:
                    if not m.isfile():
                        raise ValueError(f"{archive}: found {m.name!r}, a link or device, expected plain files")
                names = _inside(archive, [m.name for m in members], sum(m.size for m in members), ratio)
                for member, name in zip(members, names):
                    _write_out(file.extractfile(member), folder / name, member.size)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{archive}: not a readable zip or tar archive: {error}") from None
    return [folder / name for name in names]


def _inside(archive, names, total, ratio):
    """The names as relative paths, or ValueError for one that leads out, or for too much content."""
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0] or not name.strip():
            raise ValueError(f"{archive}: found a member {name!r} that leads out of the folder, expected one inside")
    if total > ratio * archive.stat().st_size + 2**20:
        raise ValueError(f"{archive}: found {total} bytes in {archive.stat().st_size}, expected an honest archive")
    return names


def _write_out(source, path, size):
    import shutil

    from .writing import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    with source, atomic_path(path) as temporary, open(temporary, "wb") as file:
        shutil.copyfileobj(source, file)
        if file.tell() != size:
            raise ValueError(f"{path}: found {file.tell()} bytes in the archive, expected {size}")
