"""Files of strangers, opened with care: ordinary files only, and never more of them than was agreed."""

import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from spectral_diffusion.errors import InputError

TEXT_LIMIT_BYTES = 64 * 2**10
"""Of captions and settings; a caption that a model reads is a few hundred bytes."""


@contextmanager
def open_file(path: Path, limit_bytes: int, error: type[InputError] = InputError) -> Iterator[BinaryIO]:
    """Open an ordinary file for reading; pipes, devices and sockets, which may never end, are not even opened.

    Args:
        path: Of the file; a link is followed.
        limit_bytes: A larger file is refused by its length, before anything of it is read.
        error: What to raise.

    Raises:
        InputError: It is missing, a folder, no ordinary file, too large or unreadable, now or while it is read.
    """
    check_path(path, error)
    try:
        _check(path, os.stat(path), limit_bytes, error)
        # What was a file a moment ago may be a pipe now, and opening that would wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            _check(path, os.fstat(handle), limit_bytes, error)
            yield file
    except FileNotFoundError as fault:
        raise error(f"there is no file {path}", "check the path") from fault
    except OSError as fault:
        raise error(f"cannot read {path}: {fault.strerror or fault}", "check the path and its rights") from fault


def read_text(path: Path, what: str = "the text") -> str:
    """A small UTF-8 text, with or without byte order mark; `what` it is goes into the error.

    Raises:
        InputError: As for `open_file`; it is over 64 KiB, or not UTF-8.
    """
    with open_file(path, TEXT_LIMIT_BYTES) as file:
        content = file.read(TEXT_LIMIT_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise InputError(f"{what} {path} is not plain text ({fault})", "save it as plain UTF-8 text") from fault


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a small TOML file.

    Raises:
        InputError: As for `read_text`, or it is not TOML.
    """
    try:
        return tomllib.loads(read_text(path, what))
    except (ValueError, RecursionError) as fault:
        said = str(fault)[:200]
        raise InputError(f"{what} {path} is not TOML ({said})", "correct it at that place") from fault


def check_path(path: Path, error: type[InputError] = InputError) -> None:
    """Refuse what no system can have as a path.

    Raises:
        InputError: It holds a NUL character, or halves of characters that cannot be written.
    """
    try:
        if b"\0" not in os.fsencode(path):
            return
    except UnicodeEncodeError:
        pass
    raise error(f"{path} cannot be a path", "give one without NUL and broken characters")


def _check(path: Path, found: os.stat_result, limit_bytes: int, error: type[InputError]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{path} is a folder, not a file", "name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{path} is no ordinary file but a pipe, a device or a socket", "give a file")
    if found.st_size > limit_bytes:
        raise error(f"{path} has {found.st_size:,} bytes, over the limit of {limit_bytes:,}", "give a smaller file")
