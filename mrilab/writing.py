"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path):
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as t:
    ...     _ = t.write_text("whole or not at all")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole or not at all', 1)
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)       # mkstemp's own mode shuts out other users
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
