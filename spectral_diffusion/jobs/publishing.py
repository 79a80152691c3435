"""What a job made, brought to its place; and what jobs were made from, removed when nobody needs it."""

import hashlib
import itertools
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from dbos import DBOSClient

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import WORKFLOW
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.specs import blobs, read_spec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.locks import locked
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace

_NOT_DONE = ["ENQUEUED", "DELAYED", "PENDING", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
# Files are kept before the job is queued that needs them.
_ORPHAN_SECONDS = 3600.0
_ADAPTER_SUFFIX = ".safetensors"
# As `diffusion.library` calls them, which would load torch.
_ADAPTER = "adapter"
# What was kept for the same file so lately was kept by this job, before it was killed.
_AGAIN_SECONDS = 86_400.0


def digest(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(folder: JobFolder, made: dict[str, Any], home: str = "") -> dict[str, Any]:
    """Move a job's files to their places in the store and remove what nobody needs. It may be done again, or in part.

    Where the store is a folder, another adapter that lies in the place of one goes into the trash of its workspace.

    Args:
        folder: The job's files.
        made: `files`, each with the place it goes to (`to`) and its `sha256`, by where it lies in `work/`; `answer`.
        home: The workspace's folder in the store, where the job knows it.

    Returns:
        The job's result: `files` by their names in the store, and `answer`.

    Raises:
        InputError: A file is gone, or its place cannot be written to.
    """
    store = folder.store
    files: dict[str, dict[str, str]] = made["files"]
    if not all((folder.work / source).is_file() for source in files):
        # Another machine did the work; what it sent is there.
        folder.pull()
    for source, file in files.items():
        path = folder.work / source
        if path.is_file():
            if store.folder is not None and file["to"].endswith(_ADAPTER_SUFFIX):
                _put_adapter(folder, path, file, home)
            else:
                store.put(path, file["to"])
        elif hashlib.sha256(store.read(file["to"]) or b"").hexdigest() != file["sha256"]:
            raise InputError(
                f"{file['to']} is gone before it was kept", f"try again: spectral-diffusion jobs retry {folder.id}"
            )
    samples = folder.work / "samples"
    for path in sorted(samples.rglob("*.png")) if samples.is_dir() else []:
        store.put(path, f"{folder.name}/samples/{path.relative_to(samples).as_posix()}")
    folder.clear()
    return {"files": [file["to"] for file in files.values()], "answer": made["answer"]}


def _put_adapter(folder: JobFolder, path: Path, file: dict[str, str], home: str) -> None:
    """Put an adapter to its place, and what is there by now, of an earlier training or from elsewhere, into the trash.

    Args:
        folder: The job's files; the store is a folder.
        path: The adapter.
        file: Where it goes (`to`) and its `sha256`.
        home: The workspace's folder in the store, where it is known.
    """
    assert folder.store.folder is not None
    target = folder.store.folder.resolve() / folder.store.name_of(folder.store.folder / file["to"])
    with ExitStack() as stack:
        # Imports and renamings come before or after it; somebody who is stuck in there costs nobody a training.
        with suppress(InputError):
            stack.enter_context(locked(target.parent / ".lock"))
        if target.is_file():
            before = digest(target)
            if before == file["sha256"]:
                return
            _keep(folder, target, before, home)
        folder.store.put(path, file["to"])


def _keep(folder: JobFolder, target: Path, sha256: str, home: str) -> None:
    """Keep a file that will be written over, in the trash or, where that fails, beside it under a free name."""
    assert folder.store.folder is not None
    place = PurePosixPath(folder.store.name_of(target))
    parts = place.parts[:-1]
    if not home and "adapters" in parts:
        home = "/".join(parts[: parts.index("adapters")])
    trash = Trash(Workspace(folder.store.folder.resolve() / home))
    try:
        if not _is_kept(trash, target, sha256):
            trash.keep(target, what=_ADAPTER)
            folder.add_to_log(f"what was in {place} lies in the trash")
    except (InputError, OSError):
        with suppress(OSError):
            folder.add_to_log(f"what was in {place} is {_put_beside(target).name} now")


def _is_kept(trash: Trash, target: Path, sha256: str) -> bool:
    for item in trash.items():
        is_of_late = item.what == _ADAPTER and time.time() - item.when < _AGAIN_SECONDS
        if is_of_late and not item.fault and trash.origin(item.id) == target:
            content = trash.content(item.id)
            if not content.is_symlink() and content.is_file() and digest(content) == sha256:
                return True
    return False


def _put_beside(target: Path) -> Path:
    """Give a file a second name, which it keeps when the first one becomes another file's."""
    for number in itertools.count(2):
        beside = target.with_name(f"{target.stem}-{number}{target.suffix}")
        try:
            os.link(target, beside)
        except FileExistsError:
            if not beside.exists() or not os.path.samefile(beside, target):
                continue
        except (OSError, NotImplementedError):
            if os.path.lexists(beside):
                continue
            os.rename(target, beside)
        return beside
    raise AssertionError


def collect(store: Store, client: DBOSClient) -> None:
    """Remove what nobody needs any more: photographs, adapters and pictures that only done jobs were made from."""
    needed: set[str] = set()
    for status in client.list_workflows(name=WORKFLOW, status=_NOT_DONE, load_output=False):
        # A job that cannot be read may need anything.
        try:
            needed |= blobs(read_spec(status.input["args"][0] if status.input else None))
        except (InputError, KeyError, TypeError, IndexError):
            return
    with suppress(InputError, OSError):
        store.remove_old_blobs(needed, _ORPHAN_SECONDS)
