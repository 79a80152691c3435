"""Who may use a served studio: a small text file of names and hashed passwords."""

import hashlib
import os
import re
import stat
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError
from filelock import FileLock, Timeout

from spectral_diffusion.errors import InputError
from spectral_diffusion.names import printable, slug
from spectral_diffusion.reading import check_path, read_text
from spectral_diffusion.workspace import sweep_stale, write_atomically

PASSWORD_CHARACTERS = (8, 1024)
"""Least and most."""
LOCK_TIMEOUT_SECONDS = 30.0
_HEAD = "# Accounts of a studio, one name:hash a line. Written by `spectral-diffusion users`."
# What a hash in the file may cost whoever logs in; this program's own cost 64 MiB and 3 passes.
_MEMORY_LIMIT_KIB, _PASSES_LIMIT, _LANES_LIMIT = 2**20, 20, 16
_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,128}", re.ASCII
)
_HASHER = argon2.PasswordHasher()


class Accounts:
    """The accounts of a password file. The file is read again whenever it has changed.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._hashes: dict[str, str] = {}
        # An unknown name takes as long as a wrong password: it is compared with a password that nobody knows.
        self._nobody = _HASHER.hash(os.urandom(32))

    @classmethod
    def load(cls, path: Path) -> "Accounts":
        """The accounts of a file that is there and right.

        Raises:
            InputError: It is missing, not right (the line is named), without an account, or not private enough.
        """
        accounts = cls(path)
        if not accounts.names():
            raise InputError(f"{path} holds no account", f"add one: spectral-diffusion users add NAME --auth {path}")
        return accounts

    def names(self) -> tuple[str, ...]:
        """All names, in their order in the file.

        Raises:
            InputError: The file is missing, not right, or not private enough.
        """
        return tuple(self._current())

    def mark(self, name: str) -> str | None:
        """What tells this account from another of its name and from itself with another password. None: no such one.

        Raises:
            InputError: As for `names`.
        """
        found = self._current().get(name)
        return None if found is None else hashlib.sha256(found.encode()).hexdigest()

    def verify(self, name: str, password: str) -> str | None:
        """The account's mark where the password is right, else None: some 0.1 s and 64 MiB, for unknown names too.

        Raises:
            InputError: As for `names`.
        """
        found = self._current().get(name)
        usable = len(password) <= PASSWORD_CHARACTERS[1]
        try:
            _HASHER.verify(found or self._nobody, _prepared(password if usable else ""))
        except (Argon2Error, InvalidHashError, UnicodeEncodeError):
            return None
        return hashlib.sha256(found.encode()).hexdigest() if found is not None and usable else None

    def _current(self) -> Mapping[str, str]:
        with self._lock:
            check_path(self.path)
            try:
                found = os.stat(self.path)
            except OSError:
                found = None
            seen = found and (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode)
            if seen is None or seen != self._seen:
                self._seen = None
                self._hashes = _read(self.path)
                self._seen = seen
            return self._hashes


def add_account(path: Path, name: str, password: str) -> None:
    """Add an account to a password file, which is made when missing and is for its owner alone.

    Args:
        path: Of the file.
        name: Lower case, and one that `slug` leaves as it is.
        password: 8 to 1024 characters.

    Raises:
        InputError: Name or password are none that may be, the name is taken, or the file is not right.
    """
    check_name(name)
    check_password(password)
    hashed = _HASHER.hash(_prepared(password))
    with _locked(path):
        lines = _lines(path)
        if name in _parsed(path, lines):
            raise InputError(
                f"{path} has an account {name} already", f"remove it first: spectral-diffusion users remove {name} ..."
            )
        _write(path, [*lines, f"{name}:{hashed}"])


def remove_account(path: Path, name: str) -> None:
    """Remove an account from a password file: a running studio lets go of it at once.

    Raises:
        InputError: There is no such account, or the file is not right.
    """
    with _locked(path):
        lines = _lines(path)
        if name not in _parsed(path, lines):
            raise InputError(f"{path} has no account {name}", "see: spectral-diffusion users list ...")
        _write(path, [line for line in lines if not line.strip().startswith(f"{name}:")])


def check_name(name: str) -> None:
    """Refuse what cannot be the name of an account.

    Raises:
        InputError: It is not in lower case, or none that `slug` leaves as it is.
    """
    if not name or slug(name) != name or name.casefold() != name:
        raise InputError(
            f"{name!r} cannot be the name of an account",
            "take lower-case letters, digits, '_', '.' and '-', as in ada.l",
        )


def check_password(password: str) -> None:
    """Refuse a password that is none.

    Raises:
        InputError: It has fewer than 8 or more than 1024 characters, or characters that cannot be written.
    """
    least, most = PASSWORD_CHARACTERS
    if not least <= len(password) <= most:
        raise InputError(f"the password has {len(password)} characters", f"take one of {least} to {most}")
    try:
        _prepared(password)
    except UnicodeEncodeError as fault:
        raise InputError("the password has characters that cannot be written", "take another") from fault


def _prepared(password: str) -> bytes:
    # One keyboard sends an accented letter as one character and another as two.
    return unicodedata.normalize("NFC", password).encode()


def _read(path: Path) -> dict[str, str]:
    _check_private(path)
    return _parsed(path, read_text(path, "the password file").splitlines())


def _lines(path: Path) -> list[str]:
    if not os.path.lexists(path):
        return [_HEAD]
    _check_private(path)
    return read_text(path, "the password file").splitlines()


def _parsed(path: Path, lines: list[str]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, hashed = line.strip().partition(":")
        fault = _fault(name, hashed, hashes)
        if fault:
            raise InputError(
                f"line {number} of {path} {fault}", "correct that line, or remove it and add the account again"
            )
        hashes[name] = hashed
    return hashes


def _fault(name: str, hashed: str, before: Mapping[str, str]) -> str:
    """Why a line cannot be used, or nothing; what it holds is not repeated, as it may be a password."""
    try:
        check_name(name)
    except InputError:
        return "does not begin with a name in lower case and a colon"
    if name in before:
        return f"has a second account {printable(name)}"
    found = _HASH.fullmatch(hashed)
    if not found:
        return "has no argon2id hash after its colon"
    for value, most in zip(map(int, found.groups()), (_MEMORY_LIMIT_KIB, _PASSES_LIMIT, _LANES_LIMIT), strict=True):
        if not 0 < value <= most:
            return "has a hash that costs too much to compare"
    return ""


def _check_private(path: Path) -> None:
    """Whoever can write the file can make accounts, and whoever can read it can guess passwords at leisure."""
    if os.name != "posix":
        return
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) and mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_IROTH):
        raise InputError(f"others can read or write the password file {path}", f"make it private: chmod 600 {path}")


def _write(path: Path, lines: list[str]) -> None:
    def write(temporary: Path) -> None:
        if os.name == "posix":
            os.chmod(temporary, 0o600)
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    sweep_stale(path.parent, path.name)
    write_atomically(path, write)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    check_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another process has held {path} for {LOCK_TIMEOUT_SECONDS:g} seconds", "end it and try again"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}", "choose a folder you may write to"
        ) from error
    try:
        yield
    finally:
        lock.release()
