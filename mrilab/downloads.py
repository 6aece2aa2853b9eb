"""Downloads: of a file, whole and checked, or nothing; one process at a time, others wait for it.

What arrives is kept beside the target as ``.part`` until its size, its kind, its structure and, where it is known, its
SHA-256 are right. An interrupted download goes on from there if the server gave the file a strong ETag, that is, can
say whether it is still the same; else it starts again.
"""

import gzip
import hashlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from . import hdf5

ATTEMPTS = 6                # of one address, with growing pauses
UNREACHED = 3               # of a server that no connection could be made to, as long as nothing has arrived
STALL = 30.0                # seconds without a byte
PAUSE = 1.0                 # factor on the pauses; tests have no time
PATIENCE = 600.0            # seconds that a server may ask us to wait
DEADLINE = 86400.0          # seconds for all of it
LARGEST = 200 * 10**9       # bytes, where the size is not known
MAGIC = {"hdf5": b"\x89HDF\r\n\x1a\n", "zip": b"PK\x03\x04", "gzip": b"\x1f\x8b"}
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
AGAIN = {408, 425, 429, 500, 502, 503, 504}


def sha256(path: str | Path) -> str:
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


def check_kind(path: Path, kind: str) -> None:
    """ValueError unless a file is whole, as far as its format tells: ``"hdf5"``, ``"zip"``, ``"gzip"`` or any (``""``).

    Examples
    --------
    >>> check_kind(Path(__file__), "zip")
    Traceback (most recent call last):
    ValueError: ...downloads.py: found another kind of file, expected zip
    """
    with open(path, "rb") as file:
        if not file.read(8).startswith(MAGIC.get(kind, b"")):
            raise ValueError(f"{path}: found another kind of file, expected {kind}")
    with hdf5.named(path):
        if kind == "hdf5":
            with hdf5.opened(path):         # a truncated one does not open
                pass
        elif kind == "zip":
            zipfile.ZipFile(path).close()   # its table of contents is at the end
        elif kind == "gzip":
            with gzip.open(path) as packed:
                while packed.read(2**20):   # its checksum is at the end
                    pass


def download(urls: Iterable[str], path: Path, expected: str = "", size: int = 0, kind: str = "",
             hosts: Sequence[str] = ()) -> Path:
    """Download a file from the first address that delivers it.

    Parameters
    ----------
    urls : iterable of str
        Addresses, in the order to try.
    path : Path
        Where the file goes, with ``.part`` and ``.lock`` beside it.
    expected : str
        SHA-256, if known. If not, only https will do (or this machine), and no way leads to unknown hosts.
    size : int
        Bytes, if known.
    kind : str
        What the file is, a key of ``MAGIC``: an error page must not pass for data.
    hosts : sequence of str
        Where an address may lead on to, beside its own host; ``"a.org"`` stands for ``b.a.org`` as well.

    Raises
    ------
    OSError
        If no address delivers the file; the message has the reason of each.

    Examples
    --------
    >>> import tempfile
    >>> download(["http://example.org/a.h5"], Path(tempfile.mkdtemp()) / "a.h5")
    Traceback (most recent call last):
    OSError: http://example.org/a.h5: found a redirect or address without https, expected one with it
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    end = time.monotonic() + DEADLINE
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=DEADLINE):
        if path.is_file() and (not expected or sha256(path) == expected):
            return path                     # another process was here
        problems = []
        for url in urls:
            try:
                _fetch(url, part, size, kind, None if expected else (str(urlsplit(url).hostname), *hosts), end)
                if expected and (found := sha256(part)) != expected:
                    raise ValueError(f"found SHA-256 {found}, expected {expected}")
                os.replace(part, path)
                return path
            except (ValueError, OSError) as error:
                if isinstance(error, ValueError):       # not the file: nothing of it is kept
                    part.unlink(missing_ok=True)
                problems.append(f"{url}: {error}")
        raise OSError("; ".join(problems))


def _fetch(url: str, part: Path, size: int, kind: str, hosts: Sequence[str] | None, end: float) -> None:
    """The whole file of one address at ``part``: OSError if it does not come, ValueError if it is another."""
    import requests
    import urllib3

    problem, asked, unreached = "no attempt", 0.0, 0
    for attempt in range(ATTEMPTS):
        pause = max(asked, min(60, 2 ** (attempt - 1)) * PAUSE if attempt else 0)
        if asked > PATIENCE or time.monotonic() + pause > end or (unreached >= UNREACHED and not part.is_file()):
            break
        time.sleep(pause)
        asked = 0.0
        try:
            with _answer(url, part, hosts) as answer:
                if answer.status_code in AGAIN:
                    header = answer.headers.get("Retry-After", "")
                    problem, asked = f"status {answer.status_code}", float(header) if header.isdigit() else 0.0
                else:
                    problem = _receive(answer, part, size, kind, end)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
            problem = f"{type(error).__name__}: {error}"
            cause: Any = error.args[0] if error.args else None      # requests wraps what urllib3 says
            if isinstance(getattr(cause, "reason", None), urllib3.exceptions.NewConnectionError):
                problem, unreached = f"no connection to {cause.pool.host}", unreached + 1
        if not problem:
            _tag(part).unlink(missing_ok=True)
            return
    raise OSError(f"gave up ({problem}{f'; it asks to wait {asked:.0f} s' if asked else ''}); try again later")


def _answer(url: str, part: Path, hosts: Sequence[str] | None) -> Any:
    """The answer of a server, asked for what is missing; with ``hosts`` only from these, and by https."""
    import requests

    from . import __version__

    headers = {"User-Agent": f"mrilab/{__version__}", "Accept-Encoding": "identity"}
    if part.is_file() and part.stat().st_size and _tag(part).is_file():
        headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": _tag(part).read_text()}
    for _ in range(6):
        to = urlsplit(url)
        name = str(to.hostname)
        if to.scheme != "https" and not (to.scheme == "http" and (hosts is None or name in THIS_MACHINE)):
            raise ValueError("found a redirect or address without https, expected one with it")
        if hosts is not None and not any(f".{name}".endswith(f".{host}") for host in hosts):
            raise ValueError(f"found a redirect to {name}, expected {' or '.join(hosts)}")
        answer = requests.get(url, headers=headers, stream=True, timeout=(min(10, STALL), STALL), allow_redirects=False)
        if not answer.is_redirect:
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
    raise ValueError("found more than five redirects, expected the file")


def _receive(answer: Any, part: Path, size: int, kind: str, end: float) -> str:
    """Add an answer's content to ``part``; what is wrong if it must be asked for again, or an empty text."""
    headers, have = answer.headers, 0
    if answer.status_code == 416:
        part.unlink(missing_ok=True)
        return "the file has become shorter"
    if answer.status_code not in (200, 206):
        raise ValueError(f"found status {answer.status_code} {answer.reason}, expected the file")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError(f"found the encoding {headers['Content-Encoding']!r}, expected the file as it is")
    etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else size
    if answer.status_code == 206:
        have = part.stat().st_size if part.is_file() else 0
        place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        first, last, total = map(int, place.groups()) if place else (-1, 0, 0)
        if first != have or last + 1 != total or not _tag(part).is_file() or etag != _tag(part).read_text():
            part.unlink(missing_ok=True)
            return "another part than asked"
    if size and total != size or total > LARGEST:
        raise ValueError(f"found {total} bytes announced, expected {size or f'at most {LARGEST}'}")
    if total - have > shutil.disk_usage(part.parent).free:
        raise OSError(f"{part.parent}: found too little room on the disk, expected {total - have} bytes")
    if not have:                            # nothing old may meet the new ETag, whenever this process ends
        _tag(part).unlink(missing_ok=True)
        part.write_bytes(b"")
    if etag.startswith('"'):                # a weak one, W/..., does not promise the same bytes
        _tag(part).write_text(etag)
    have = _append(answer, part, have, total, kind, end)
    if have == 0 or have < total:
        return f"{have} of {total} bytes arrived"
    try:
        check_kind(part, kind)
    except ValueError as error:
        part.unlink()
        return f"not whole: {error}"
    return ""


def _append(answer: Any, part: Path, have: int, total: int, kind: str, end: float) -> int:
    """Write what arrives behind the ``have`` bytes of ``part``; the bytes that are there then."""
    from tqdm import tqdm

    bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem)
    with open(part, "ab") as file, bar:
        while block := answer.raw.read1(2**16):
            if time.monotonic() > end:
                raise OSError("found no end of the download before the deadline")
            begins = MAGIC.get(kind, b"")[:len(block)]
            if not have and not block.startswith(begins):
                raise ValueError(f"found a file that begins with {block[:12]!r}, expected {begins!r}")
            have += len(block)
            if have > (total or LARGEST):
                raise ValueError(f"found more than {total or LARGEST} bytes, expected no more")
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    return have


def _tag(part: Path) -> Path:
    """Where the ETag of an unfinished file is kept."""
    return part.with_name(part.name + ".etag")
