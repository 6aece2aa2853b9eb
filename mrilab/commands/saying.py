"""What a command says when something goes wrong, and how it goes on with the other files."""

import sys
from collections.abc import Callable, Sequence
from typing import Any


class Told(Exception):
    """Something went wrong and the user has been told: only the exit status is left to set."""


def say(text: str) -> None:
    """To the error stream, beside the progress bars; the output stream has only results."""
    print(text, file=sys.stderr, flush=True)


def words(error: BaseException) -> str:
    """An error in one line."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory: {message[:200]}; --readout takes a part of a scan, --coils fewer coils"
    if isinstance(error, (OSError, ValueError, FloatingPointError)):
        return message
    return f"unexpected {type(error).__name__}: {message[:300]} (--debug shows where)"


def tell(message: str) -> None:
    say(f"mrilab: {message}")


def each(items: Sequence[Any], work: Callable[[Any], Any], debug: bool = False) -> list[Any]:
    """The results of ``work`` on every item; one of several that fails is told, and does not stop the others.

    Raises
    ------
    Told
        After the last one, if any failed.
    """
    results, failed = [], 0
    for item in items:
        try:
            results.append(work(item))
        except Exception as error:
            if debug or len(items) == 1:
                raise
            tell(words(error))
            failed += 1
    if failed:
        raise Told(f"{failed} failed")
    return results
