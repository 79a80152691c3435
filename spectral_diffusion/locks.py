"""One at a time, in all threads and processes of a machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from spectral_diffusion.errors import InputError

TIMEOUT_SECONDS = 30.0
"""What is done under a lock takes milliseconds; whoever waits longer than this waits for something that is stuck."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until nobody else is in here with the same file, and keep others out; the system frees it when one dies.

    It cannot be entered again from within.

    Args:
        path: An empty file, made when missing with its folder. It stays.

    Raises:
        InputError: The folder cannot be written to, or it took 30 seconds.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=TIMEOUT_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another process has been at work in {path.parent} for {TIMEOUT_SECONDS:g} seconds",
            "end it and try again",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}", "choose a workspace you may write to"
        ) from error
    try:
        yield
    finally:
        lock.release()
