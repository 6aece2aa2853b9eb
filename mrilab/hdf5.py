"""HDF5 files from outside: opened with one clear error, nothing followed out of the file, no claim believed."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

RATIO = 1100        # deflate, the compression of HDF5 and gzip, makes data at most 1032 times smaller


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

    path = Path(path)
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
            found = names(node) if isinstance(node, h5py.Group) else "no group"
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
    claimed = node.dtype.itemsize * max(node.size, _product(node.chunks or ()))
    stored = min(node.id.get_storage_size(), Path(group.file.filename).stat().st_size)
    if claimed > RATIO * stored + 2**20:
        raise ValueError(f"{group.file.filename}: found {name!r} of shape {node.shape}, {claimed} bytes, in {stored} "
                         "stored ones, expected data that fit")
    return node


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


def text(group: Any, name: str) -> str:
    """A string, or the first of an array of strings.

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
    value = dataset(group, name)[()]
    while hasattr(value, "shape") and value.shape:
        value = value[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _product(numbers: Iterable[int]) -> int:
    product = 1
    for n in numbers:
        product *= int(n)
    return product
