"""Where jobs keep their files: the workspace, or any place that fsspec reaches when several machines share a queue.

jobs/blobs/<sha256>    what jobs are made from, kept once
jobs/<id>/             of one job: input/, work/ (half-done, checkpoints), samples/, progress.json, losses.csv, log.txt
adapters/ images/ ...  what jobs made, as in every workspace
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from filelock import FileLock, Timeout

from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace, cache_folder, write_atomically

JOBS = "jobs"
BLOBS = f"{JOBS}/blobs"
LOCK_SECONDS = 30.0
# Less than this holds no checkpoint, and soon not even a line of the queue's database.
_ROOM_BYTES = 2**20


@dataclass(frozen=True)
class Store:
    """A tree of files by relative names.

    Args:
        root: A folder, or an address such as `s3://bucket/toys`.
    """

    root: str

    @classmethod
    def locate(cls, workspace: Workspace, explicit: str | None = None) -> "Store":
        """The given one, else `$SPECTRAL_DIFFUSION_STORE`, else the workspace itself.

        Raises:
            InputError: No such kind of place is known here.
        """
        root = explicit or os.environ.get("SPECTRAL_DIFFUSION_STORE") or str(workspace.root.resolve())
        if "://" not in root:
            root = str(Path(root).resolve())
        store = cls(root)
        if store.folder is None:
            try:
                store._remote  # noqa: B018 (asked for to see whether it can be reached)
            except (ImportError, ValueError, OSError) as error:
                raise InputError(
                    f"--store {root} cannot be used ({error})", "name a folder, or install what is missing"
                ) from error
        return store

    @cached_property
    def folder(self) -> Path | None:
        """The root, where it is a folder of this machine."""
        return None if "://" in self.root else Path(self.root)

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        return fsspec.core.url_to_fs(self.root)

    def name_of(self, path: Path) -> str:
        """The name in the store of a path on this machine.

        Raises:
            InputError: It leads out of the store, also by a symbolic link.
        """
        if self.folder is None:
            place = PurePosixPath(*path.parts)
            if path.is_absolute() or ".." in place.parts:
                raise InputError(f"{path} is not in the store {self.root}", "name a relative path")
            return str(place)
        try:
            return path.resolve().relative_to(self.folder.resolve()).as_posix()
        except ValueError:
            raise InputError(
                f"{path} lies outside the workspace {self.folder}, where queued jobs write",
                "name a path inside it, or work without --queue",
            ) from None

    def place(self, workspace: Workspace, path: Path) -> str:
        """The name in the store of a path of a workspace, which is the store, a folder in it, or a place of its own.

        Raises:
            InputError: It leads out of both.
        """
        try:
            inside = path.resolve().relative_to(workspace.root.resolve())
        except ValueError:
            return self.name_of(path)
        return (PurePosixPath(self.home(workspace)) / PurePosixPath(*inside.parts)).as_posix()

    def home(self, workspace: Workspace) -> str:
        """The name in the store of a workspace's folder; empty where it is the store itself, or somewhere else."""
        try:
            name = self.name_of(workspace.root) if self.folder is not None else ""
        except InputError:
            name = ""
        return "" if name == "." else name

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        path = self.folder / name
        self.name_of(path)
        return path

    def _address(self, name: str) -> str:
        return f"{self._remote[1].rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return self._path(name).exists() if self.folder else bool(self._remote[0].exists(self._address(name)))

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None where there is none."""
        try:
            return self._path(name).read_bytes() if self.folder else self._remote[0].cat_file(self._address(name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all.

        Raises:
            InputError: The place cannot be written to, or is full.
        """
        if self.folder:
            write_atomically(self._path(name), lambda temporary: temporary.write_bytes(content))
            return
        self._upload(name, lambda fs, address: fs.pipe_file(address, content))

    def put(self, source: Path, name: str) -> None:
        """Move a file of this machine into the store, whole or not at all. It may have been moved already.

        Raises:
            InputError: The place cannot be written to, or is full.
        """
        if not source.exists():
            if not self.exists(name):
                raise InputError(f"{source} is gone before it was kept as {name}", "start the job again")
            return
        if self.folder:
            path = self._path(name)
            if not _moved(source, path):
                write_atomically(path, lambda temporary: shutil.copyfile(source, temporary))
        else:
            self._upload(name, lambda fs, address: fs.put_file(str(source), address))
        source.unlink(missing_ok=True)

    def _upload(self, name: str, send: Any) -> None:
        fs, address = self._remote[0], self._address(name)
        folder, _, last = address.rpartition("/")
        temporary = f"{folder}/.{last[:40]}.{os.urandom(8).hex()}"
        try:
            fs.makedirs(folder, exist_ok=True)
            send(fs, temporary)
            fs.mv(temporary, address)
        except OSError as error:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise InputError(
                f"cannot write {name} to {self.root}: {error}", "check that place and its rights"
            ) from error

    def add_blob(self, source: Path) -> str:
        """Keep a copy of a file by its content; returns its sha256.

        Raises:
            InputError: It cannot be read, or the store not be written to.
        """
        try:
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {source}: {error.strerror or error}", "check the path") from error
        digest = hashlib.sha256(content).hexdigest()
        if not self.exists(f"{BLOBS}/{digest}"):
            self.write(f"{BLOBS}/{digest}", content)
        return digest

    def blob(self, digest: str) -> Path:
        """A file of this machine that holds that content.

        Raises:
            InputError: It is gone.
        """
        path = self._path(f"{BLOBS}/{digest}") if self.folder else cache_folder() / "blobs" / digest
        if not path.exists():
            content = None if self.folder else self.read(f"{BLOBS}/{digest}")
            if content is None:
                raise InputError(f"the file {digest[:12]} that the job was queued with is gone", "queue it again")
            write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return path

    def job(self, job_id: str) -> "JobFolder":
        """The folder of a job."""
        here = self._path(f"{JOBS}/{job_id}") if self.folder else cache_folder() / JOBS / _short(self.root) / job_id
        return JobFolder(self, job_id, here)

    def job_ids(self) -> list[str]:
        """Of all jobs that have a folder."""
        if self.folder:
            place = self.folder / JOBS
            names = [path.name for path in place.iterdir()] if place.is_dir() else []
        else:
            fs, address = self._remote[0], self._address(JOBS)
            names = [PurePosixPath(entry).name for entry in fs.ls(address, detail=False)] if fs.exists(address) else []
        return sorted(name for name in names if name != PurePosixPath(BLOBS).name and not name.startswith("."))

    def names(self, folder: str) -> list[str]:
        """The files below a folder, by their names in the store."""
        if self.folder:
            place = self._path(folder)
            files = [path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink()]
            return [path.relative_to(self.folder).as_posix() for path in files]
        fs, root = self._remote
        found = fs.find(self._address(folder)) if fs.exists(self._address(folder)) else []
        return sorted(str(PurePosixPath(entry).relative_to(root)) for entry in found)

    @property
    def is_full(self) -> bool:
        """Whether there is no room left where the files lie; of a place elsewhere that is not known."""
        if self.folder is None:
            return False
        with suppress(OSError):
            return shutil.disk_usage(self.folder).free < _ROOM_BYTES
        return False

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; it may be gone already."""
        if self.folder:
            path = self._path(name)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        elif self._remote[0].exists(self._address(name)):
            self._remote[0].rm(self._address(name), recursive=True)


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

    @property
    def name(self) -> str:
        """Of the folder in the store."""
        return f"{JOBS}/{self.id}"

    @property
    def input(self) -> Path:
        """What it was queued with."""
        return self.path / "input"

    @property
    def work(self) -> Path:
        """What is half done, and what is done but not yet at its place."""
        return self.path / "work"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Of the processes of this machine one works on the job; the system frees it when that one dies.

        Raises:
            InputError: Another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(f"another process works on job {self.id}", "wait for it, or end it") from error
        try:
            yield
        finally:
            lock.release()

    def pull(self) -> None:
        """Bring what the store has of it."""
        if self.store.folder:
            return
        for name in self.store.names(self.name):
            content = self.store.read(name)
            if content is not None:
                path = self.path / PurePosixPath(name).relative_to(self.name)
                write_atomically(path, lambda temporary, content=content: temporary.write_bytes(content))
                self._sent[name] = _stamp(path)

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
        self.store.remove(f"{self.name}/input")
        self.store.remove(f"{self.name}/work")
        if not self.store.folder:
            shutil.rmtree(self.path, ignore_errors=True)


def _moved(source: Path, path: Path) -> bool:
    """Whether a file could simply be renamed: within one file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, path)
    except OSError:
        return False
    return True


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
