"""What a job made, brought to its place; and what jobs left behind that nobody knows."""

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dbos import DBOSClient

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import WORKFLOW
from spectral_diffusion.jobs.store import JobFolder, Store

# A job's folder is written before the job is queued; one without a job is of somebody who was killed in between.
_ORPHAN_SECONDS = 24 * 3600.0


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


def sweep(store: Store, client: DBOSClient) -> None:
    """Remove folders of jobs that were never queued."""
    for job_id in store.job_ids():
        if client.list_workflows(workflow_ids=[job_id], name=WORKFLOW, load_input=False, load_output=False):
            continue
        folder = store.job(job_id)
        with suppress(OSError):
            if store.folder is not None and time.time() - folder.path.stat().st_mtime > _ORPHAN_SECONDS:
                store.remove(folder.name)
