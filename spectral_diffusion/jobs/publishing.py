"""What a job made, brought to its place; and what jobs were made from, removed when nobody needs it."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from dbos import DBOSClient

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import WORKFLOW
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.specs import blobs, read_spec
from spectral_diffusion.jobs.store import Store

_NOT_DONE = ["ENQUEUED", "DELAYED", "PENDING", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
# Files are kept before the job is queued that needs them.
_ORPHAN_SECONDS = 3600.0


def digest(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(folder: JobFolder, made: dict[str, Any]) -> dict[str, Any]:
    """Move a job's files to their places in the store and remove what nobody needs. It may be done again, or in part.

    Args:
        folder: The job's files.
        made: `files`, each with the place it goes to (`to`) and its `sha256`, by where it lies in `work/`; `answer`.

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
