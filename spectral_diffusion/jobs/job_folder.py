"""The files of one job: half-done work, progress, losses, samples and log, on this machine and in the store."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.store import JOBS, Store
from spectral_diffusion.workspace import cache_folder, write_atomically

LOCK_SECONDS = 2.0


class BusyError(InputError):
    """Another process works on the job: it is waited for."""


@dataclass(frozen=True)
class JobFolder:
    """The files of one job on this machine; `pull` and `push` bring them from and to a store elsewhere.

    Args:
        store: Where they are kept.
        id: The job's.
        path: Where they are here.
    """

    store: Store
    id: str
    path: Path
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, store: Store, job_id: str) -> "JobFolder":
        """The folder of a job; it need not exist."""
        place = folder_name(job_id)
        here = store.folder / store.name_of(store.folder / place) if store.folder else None
        return cls(store, job_id, here or cache_folder() / JOBS / _short(store.root) / job_id)

    @property
    def name(self) -> str:
        """Of the folder in the store."""
        return folder_name(self.id)

    @property
    def work(self) -> Path:
        """What is half done, and what is done but not yet at its place."""
        return self.path / "work"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Of the processes of this machine one works on the job; the system frees it when that one dies.

        Raises:
            BusyError: Another process has it.
            InputError: The folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=LOCK_SECONDS)
            lock.acquire()
        except Timeout as error:
            raise BusyError(f"another process still works on job {self.id}", "wait for it, or end it") from error
        try:
            yield
        finally:
            lock.release()

    def add_to_log(self, text: str) -> None:
        """A line of its own in the job's log, with the time; a log that cannot be written to stops no work."""
        line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n".encode()
        with suppress(OSError, InputError):
            if self.store.folder is None:
                self.store.write(f"{self.name}/log.txt", (self.store.read(f"{self.name}/log.txt") or b"") + line)
                return
            self.path.mkdir(parents=True, exist_ok=True)
            with open(self.path / "log.txt", "ab") as log:
                log.write(line)

    def pull(self) -> None:
        """Bring what the store has of it, but for what is older there than here."""
        if self.store.folder:
            return
        for name in self.store.names(self.name):
            content = self.store.read(name)
            path = self.path / PurePosixPath(name).relative_to(self.name)
            if content is None or (path.is_file() and path.name != "log.txt" and not self._is_newer_there(name, path)):
                continue
            write_atomically(path, lambda temporary, content=content: temporary.write_bytes(content))
            self._sent[name] = _stamp(path)

    def _is_newer_there(self, name: str, path: Path) -> bool:
        with suppress(OSError, NotImplementedError):
            return self.store.age_seconds(name) < time.time() - path.stat().st_mtime
        return True

    def push(self) -> None:
        """Send what changed since the last time, and nothing half-written."""
        if self.store.folder:
            return
        for path in sorted(self.path.rglob("*")):
            name = f"{self.name}/{path.relative_to(self.path).as_posix()}"
            with suppress(FileNotFoundError):
                if path.is_file() and not path.name.startswith(".") and self._sent.get(name) != _stamp(path):
                    stamp = _stamp(path)
                    self.store.write(name, path.read_bytes())
                    self._sent[name] = stamp

    def clear(self) -> None:
        """Remove what nobody needs once the job is done."""
        self.store.remove(f"{self.name}/work")
        # What a killed process was about to write.
        for left in self.path.glob(".*"):
            if left.name != ".lock" and left.is_file():
                left.unlink(missing_ok=True)
        if not self.store.folder:
            shutil.rmtree(self.path, ignore_errors=True)


def folder_name(job_id: str) -> str:
    """The name in the store of a job's folder."""
    return f"{JOBS}/{job_id}"


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
