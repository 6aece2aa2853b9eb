"""Files that are written whole or not at all, and never over what a command was given to read."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    A link stays a link, and what it points to is replaced. The new file has the mode that the user's umask gives, or
    that of the file it replaces, and is on the disk before it gets its name.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as t:
    ...     _ = t.write_text("whole or not at all")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole or not at all', 1)
    """
    path = Path(os.path.realpath(Path(path).expanduser()))
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        _to_disk(temporary)
        os.replace(temporary, path)
        if os.name == "posix":
            _to_disk(path.parent)       # the name itself
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def companions(path: str | Path) -> list[Path]:
    """A file and those that belong to it by their names: both of a BART or NIfTI pair, the card of a prior.

    Examples
    --------
    >>> [path.name for path in companions("scan.hdr")], [path.name for path in companions("a.h5")]
    (['scan.hdr', 'scan.cfl', 'scan.img'], ['a.h5'])
    """
    path = Path(path).expanduser()
    pair = (".cfl", ".hdr", ".img")
    endings = {**dict.fromkeys((*pair, ""), pair), ".safetensors": (".json",)}.get(path.suffix.lower(), ())
    return [path, *(path.with_suffix(e) for e in endings if e != path.suffix)]


def check_outputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path] = (), force: bool = False) -> None:
    """Before the work: every file that it will write can be written, and nothing is lost by it.

    Parameters
    ----------
    outputs : iterable of str or Path
        All of them, derived ones too.
    inputs : iterable of str or Path
        What will be read, with its :func:`companions`. An output may not be one of them, whatever link or spelling
        leads there.
    force : bool
        Replace files that exist.

    Raises
    ------
    ValueError, FileExistsError, FileNotFoundError, OSError
        An output that is an input, that two results share, that exists; no such folder; no permission to write.

    Examples
    --------
    >>> from mrilab.datasets import fetch
    >>> scan = fetch("qtim_MRHead")
    >>> check_outputs([scan], [scan], force=True)
    Traceback (most recent call last):
    ValueError: ...qtim_MRHead.h5: found an output that is an input, expected another name; inputs are never replaced
    >>> check_outputs([scan])
    Traceback (most recent call last):
    FileExistsError: ...qtim_MRHead.h5: exists already; choose another name, or --force to replace it
    """
    read = [path for name in inputs for path in companions(name) if path.exists()]
    paths = {out: Path(os.path.realpath(Path(out).expanduser())) for out in outputs}
    for out, path in paths.items():
        if any(path.exists() and path.samefile(other) for other in read):
            raise ValueError(f"{out}: found an output that is an input, expected another name; inputs are never "
                             "replaced")
    names: set[str] = set()
    for out, path in paths.items():
        if str(path).casefold() in names:       # one file where a disk does not tell upper from lower case
            raise ValueError(f"{out}: found two outputs of this name, expected names that differ")
        names.add(str(path).casefold())
        if path.exists() and not path.is_file():
            raise ValueError(f"{out}: found a folder or a device, expected the name of a file to write")
        if path.exists() and not force:
            raise FileExistsError(f"{out}: exists already; choose another name, or --force to replace it")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"{out}: found a file that is write-protected, expected one to replace")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{Path(out).parent}: no such folder; it is where {path.name} should go")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise PermissionError(f"{Path(out).parent}: cannot be written to ({error.strerror}); it is where "
                                  f"{path.name} should go") from None
