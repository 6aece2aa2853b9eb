"""HDF5 files from outside: opened with one clear error, nothing followed out of the file, no claim believed."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RATIO = 1100        # deflate, the compression of HDF5 and gzip, makes data at most 1032 times smaller
USUAL = 50          # images and k-space shrink less
TEXT = 2**22        # bytes of a header, and of all attributes together
NAMES = 10_000      # in a group


def check_size(where: str, count: int, itemsize: int, stored: int, whole: bool = True) -> None:
    """ValueError for numbers that the stored bytes cannot hold, or that memory cannot.

    Data may grow ``USUAL``-fold, or to 0.25 GB in memory; what is read as a ``whole``, to half of the machine's
    memory. The environment variable ``MRILAB_LARGEST``, in GB, replaces both limits.

    Examples
    --------
    >>> check_size("a.h5", 10**6, 4, stored=10**6)
    >>> check_size("a.h5", 10**9, 4, stored=10**7)
    Traceback (most recent call last):
    ValueError: a.h5: found 4000000000 bytes of data in 10000000 stored ones, expected at most 0.25 GB that shrink ...
    """
    claimed = count * itemsize
    found = f"{where}: found {claimed} bytes of data in {stored} stored ones, expected"
    if claimed > RATIO * stored + 2**20:
        raise ValueError(f"{found} data that fit")
    given = float(os.environ.get("MRILAB_LARGEST") or 0) * 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 if hasattr(os, "sysconf") else math.inf
    packed = count * max(itemsize, 4) if claimed > USUAL * stored else 0
    for size, limit, what in ((packed, 0.25e9, "that shrink so much"),
                              (claimed if whole else 0, memory, "at a time, or --readout for a part")):
        if size > (given or limit):
            raise ValueError(f"{found} at most {(given or limit) / 1e9:.3g} GB {what}; MRILAB_LARGEST (GB) allows more")


@contextlib.contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong in reading a file becomes a ValueError that starts with its path.

    Examples
    --------
    >>> with named("scan.h5"):
    ...     raise KeyError("kspace")
    Traceback (most recent call last):
    ValueError: scan.h5: kspace
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:      # a damaged file can make its library raise nearly anything
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or type(error).__name__
        message = message if len(message) < 600 else f"{message[:600]} ..."
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {message}") from error


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """The file for reading; FileNotFoundError if absent, ValueError naming it if not readable.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> with opened(fetch("qtim_MRHead")) as file:
    ...     names(file), numbers(file, "data").shape
    (['data'], (96, 240, 120))
    """
    import h5py

    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: not a readable HDF5 file (truncated or another format): {error}") from None


def names(group: Any) -> list[str]:
    """Names in a group, those of links to elsewhere included, without following them (:func:`opened` has an example).

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("a.h5", "w", driver="core", backing_store=False) as file:
    ...     file["elsewhere"] = h5py.ExternalLink("b.h5", "/data")
    ...     names(file)
    ['elsewhere']
    """
    if len(group) > NAMES:
        raise ValueError(f"{group.file.filename}: found {len(group)} names in a group, expected at most {NAMES}")
    return sorted(name.decode(errors="replace") for name in group.id)


def dataset(group: Any, name: str) -> Any:
    """The data set of that name, if it lies in this file, holds numbers, and stores about what it claims.

    Raises
    ------
    ValueError
        For a missing name, a soft or external link, external storage, a virtual data set, a size that
        the stored bytes cannot hold.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("a.h5", "w", driver="core", backing_store=False) as file:
    ...     dataset(file, "kspace")
    Traceback (most recent call last):
    ValueError: a.h5: found [], expected a data set named 'kspace'
    """
    import h5py

    node = group
    for part in name.split("/"):
        key = part.encode()
        if not isinstance(node, h5py.Group) or not node.id.links.exists(key):
            found = names(node)[:20] if isinstance(node, h5py.Group) else "no group"
            raise ValueError(f"{group.file.filename}: found {found}, expected a data set named {name!r}")
        if node.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{group.file.filename}: found a link to elsewhere as {name!r}, expected the data in "
                             "the file itself")
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        raise ValueError(f"{group.file.filename}: found a group as {name!r}, expected a data set named {name!r}")
    if node.is_virtual or node.external:
        raise ValueError(f"{group.file.filename}: found {name!r} stored in another file, expected it in this one")
    if node.shape is None:
        raise ValueError(f"{group.file.filename}: found {name!r} without data, expected an array")
    stored = min(node.id.get_storage_size(), Path(group.file.filename).stat().st_size)
    check_size(f"{group.file.filename}: {name!r} of shape {node.shape}", max(node.size, math.prod(node.chunks or ())),
               node.dtype.itemsize, stored, whole=False)
    if node.dtype.hasobject and not group.file.userblock_size:
        _check_lengths(node)
    return node


def _check_lengths(data: Any) -> None:
    """ValueError if the strings or lists of a data set, whose lengths vary, are longer than the file together.

    HDF5 takes memory for a length before it looks, and many may be the same. The lengths are in the rows, 4 bytes each
    before the place of the content; filtered rows are not looked at.
    """
    import h5py

    path, kind = data.file.filename, data.id.get_type()
    row, members = kind.get_size(), [(0, kind)]
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        members = [(kind.get_member_offset(i), kind.get_member_type(i)) for i in range(kind.get_nmembers())]
    places = [data.id.get_offset()] if data.chunks is None else []
    if data.chunks is not None and not data.id.get_create_plist().get_nfilters():
        data.id.chunk_iter(lambda chunk: places.append(chunk.byte_offset))
    starts = np.array([place for place in places if place is not None], np.int64)
    starts = (starts[:, None] + row * np.arange(math.prod(data.chunks or data.shape))).ravel()
    content, total = np.memmap(path, np.uint8, "r"), 0
    for at, member in members:
        lists = isinstance(member, h5py.h5t.TypeVlenID)
        if lists or isinstance(member, h5py.h5t.TypeStringID) and member.is_variable_str():
            found = content[starts[:, None] + np.arange(at, at + 4)].copy().view("<u4")
            total += (member.get_super().get_size() if lists else 1) * int(found.sum(dtype=np.int64))
    if total > len(content):
        raise ValueError(f"{path}: found {total} bytes of text or lists in {data.name}, expected at most those of the "
                         f"file, {len(content)}")


def numbers(group: Any, name: str) -> Any:
    """As :func:`dataset`, and its type must be a number.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> with opened(fetch("qtim_MRHead")) as file:
    ...     numbers(file, "data").dtype
    dtype('uint8')
    """
    found = dataset(group, name)
    if found.dtype.kind not in "biufc":
        raise ValueError(f"{group.file.filename}: found {name!r} of type {found.dtype}, expected numbers")
    return found


def array(group: Any, name: str) -> Any:
    """As :func:`numbers`, read as a whole into memory.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> with opened(fetch("qtim_MRHead")) as file:
    ...     array(file, "data").max()
    np.uint8(255)
    """
    found = numbers(group, name)
    size = found.size * found.dtype.itemsize
    check_size(f"{group.file.filename}: {name!r} of shape {found.shape}", found.size, found.dtype.itemsize, size)
    return found[()]


def text(group: Any, name: str) -> str:
    """A string, or the first of an array of strings, of at most ``TEXT`` bytes.

    Examples
    --------
    >>> import h5py, tempfile
    >>> path = tempfile.mkdtemp() + "/a.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["xml"] = ["<header/>"]
    >>> with opened(path) as file:
    ...     text(file, "xml")
    '<header/>'
    """
    found = dataset(group, name)
    if found.dtype.kind not in "SO" or not found.size or found.dtype.itemsize > TEXT:
        raise ValueError(f"{group.file.filename}: found {name!r} of shape {found.shape} and type {found.dtype}, "
                         f"expected a text of at most {TEXT} bytes")
    value = found[(0,) * found.ndim]            # only the first: the others may all be the same long one
    if not isinstance(value, (bytes, str)) or len(value) > TEXT:
        raise ValueError(f"{group.file.filename}: found {name!r} as no text, or a longer one, expected a "
                         f"text of at most {TEXT} bytes")
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def attributes(group: Any) -> dict[str, Any]:
    """The attributes that are numbers or text, at most ``TEXT`` bytes together.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> with opened(fetch("qtim_MRHead")) as file:
    ...     attributes(file)["licence"]
    'Apache-2.0'
    """
    import h5py

    where, room, found = group.file.filename, TEXT, {}
    size = Path(where).stat().st_size
    if len(group.attrs) > NAMES:
        raise ValueError(f"{where}: found {len(group.attrs)} attributes, expected at most {NAMES}")
    for name in group.attrs:
        about = group.attrs.get_id(name)
        string = h5py.check_string_dtype(about.dtype)
        if about.shape is None or about.dtype.kind not in "biufcS" and string is None:
            continue
        count = math.prod(about.shape)
        room -= count * about.dtype.itemsize
        # strings without a set length may all be the same long one in the file, and each is read as its own
        endless = string is not None and string.length is None and count > 1 and count * size > 2**28
        if room >= 0 and not endless:
            found[name] = group.attrs[name]
            room -= sum(map(len, np.ravel(found[name]))) if string is not None else 0
        if room < 0:
            raise ValueError(f"{where}: found attributes of more than {TEXT} bytes, at {name[:50]!r}, expected a few "
                             "words and numbers")
    return found
