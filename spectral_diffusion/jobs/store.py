"""Where jobs keep their files: the workspace, or any place that fsspec reaches when several machines share a queue.

jobs/blobs/<sha256>    what jobs are made from, kept once
jobs/<id>/             of one job: work/ (half done, checkpoints), samples/, progress.json, losses.csv, log.txt
adapters/ images/ ...  what jobs made, as in every workspace
"""

import hashlib
import os
import shutil
import time
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import fsspec

from spectral_diffusion.errors import InputError
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import Workspace, cache_folder, sync_folder, write_atomically

JOBS = "jobs"
BLOBS = f"{JOBS}/blobs"
BLOB_LIMIT_BYTES = 8 * 2**30
_CHUNK_BYTES = 2**20
# Less than this holds no checkpoint, and soon not even a line of the queue's database.
_ROOM_BYTES = 2**20


@dataclass(frozen=True)
class Store:
    """A tree of files by relative names.

    Args:
        root: A folder, or an address such as `s3://bucket/toys`.
    """

    root: str

    def __str__(self) -> str:
        return shown(self.root)

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
        if root.startswith("memory://"):
            raise InputError("--store memory:// is seen by one process only", "name a folder or a place that all reach")
        if store.folder is None:
            try:
                store._remote  # noqa: B018 (asked for to see whether it can be reached)
            except (ImportError, ValueError, OSError) as error:
                raise InputError(
                    f"--store {shown(root)} cannot be used ({type(error).__name__})",
                    "name a folder, or check the address and install what it needs",
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
                raise InputError(f"{path} is not in the store {self}", "name a relative path")
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

    def put(self, source: Path, name: str, *, keep: bool = False) -> None:
        """Move a file of this machine into the store, or copy it, whole or not at all.

        Raises:
            InputError: The place cannot be written to, or is full.
        """
        if self.folder is None:
            self._upload(name, lambda fs, address: fs.put_file(str(source), address))
        elif keep or not _moved(source, self._path(name)):
            write_atomically(self._path(name), lambda temporary: shutil.copyfile(source, temporary))
        if not keep:
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
            raise InputError(f"cannot write {name} to {self}: {error}", "check that place and its rights") from error

    def add_blob(self, source: Path) -> str:
        """Keep a copy of a file by its content; returns its sha256.

        Raises:
            InputError: It cannot be read, is no ordinary file or too large, or the store cannot be written to.
        """
        digest = hashlib.sha256()
        with open_file(source, BLOB_LIMIT_BYTES) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        name = f"{BLOBS}/{digest.hexdigest()}"
        if not self.exists(name):
            self.put(source, name, keep=True)
        elif self.folder:
            # It is needed again: whoever collects what is old looks at this.
            os.utime(self._path(name))
        return digest.hexdigest()

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

    def remove_old_blobs(self, needed: Set[str], older_than_seconds: float) -> None:
        """Remove kept files that nobody needs, but for those that somebody may be about to queue a job with."""
        for name in self.names(BLOBS):
            digest = PurePosixPath(name).name
            with suppress(OSError, NotImplementedError, InputError):
                if digest not in needed and self.age_seconds(name) > older_than_seconds:
                    self.remove(name)
        if self.folder is None:
            for path in (cache_folder() / "blobs").glob("*"):
                if path.name not in needed:
                    path.unlink(missing_ok=True)

    def age_seconds(self, name: str) -> float:
        """How long ago a file was written."""
        if self.folder:
            return time.time() - self._path(name).stat().st_mtime
        return time.time() - self._remote[0].modified(self._address(name)).timestamp()

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


def shown(address: str) -> str:
    """An address as people may see it, without passwords and keys."""
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(an address that cannot be read)"
    return urlunsplit((parts.scheme, host, parts.path, "", "")) if parts.scheme else address


def _moved(source: Path, path: Path) -> bool:
    """Whether a file could simply be renamed: within one file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, path)
    except OSError:
        return False
    sync_folder(path.parent)
    return True
