"""A person's place in the studio: what is theirs, and nothing else."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from spectral_diffusion.diffusion.library import AdapterSummary, list_adapters
from spectral_diffusion.errors import InputError, UnreachableError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import Spec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.workspace import Workspace

OPEN_JOBS_A_USER = 20
"""How many jobs of one person may wait or run: a page makes them faster than a hand types commands."""
ID_LETTERS = 8
"""Of a job's id."""
GRIDS = "grids"
"""Folder of grids and their cells, among the pictures."""


@dataclass(frozen=True)
class Desk:
    """A person's place.

    Args:
        studio: What all share.
        user: Who it is; None where nobody logs in.
        workspace: Where their concepts, adapters and pictures lie.
    """

    studio: Studio
    user: str | None
    workspace: Workspace

    @classmethod
    def of(cls, studio: Studio, user: str | None) -> Self:
        """The place of whoever is logged in; without accounts of everybody.

        Raises:
            InputError: See `Studio.workspace_of`.
        """
        return cls(studio, user if studio.has_accounts else None, studio.workspace_of(user))

    @property
    def ledger(self) -> Ledger:
        """Which of their concepts holds which columns."""
        return Ledger(self.workspace.ledger_path)

    def adapters(self) -> list[AdapterSummary]:
        """Their adapter files, by name; unreadable ones with their fault."""
        return list_adapters(self.workspace)

    def adapter_path(self, file_name: str) -> Path:
        """The adapter file of that name.

        Raises:
            InputError: There is none.
        """
        for summary in self.adapters():
            if summary.file_name == file_name:
                return self.workspace.adapters / summary.file_name
        raise InputError(f"there is no adapter {str(file_name)[:60]!r} any more", "choose another")

    def show(self, path: Path) -> str:
        """A file of theirs as Gradio's components take it: only they may look at it."""
        return self.studio.grants.show(self.user, path)

    def address(self, path: Path) -> str:
        """The same as an address for a page of ours."""
        return f"/gradio_api/file={quote(self.show(path))}"

    def pictures(self) -> list[Path]:
        """Their pictures, and those of rows and grids with their sheets; the newest first."""
        found: list[tuple[int, str, Path]] = []
        for folder in (self.workspace.images, self.workspace.images / GRIDS):
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".png") and not entry.name.startswith("."):
                        # It may go while the folder is read.
                        with suppress(OSError):
                            if entry.is_file(follow_symlinks=False):
                                found.append((entry.stat().st_mtime_ns, entry.name, Path(entry.path)))
        return [path for *_, path in sorted(found, reverse=True)]

    def picture_name(self, path: Path) -> str:
        """What `picture` finds it by."""
        return path.relative_to(self.workspace.images).as_posix()

    def picture(self, name: str) -> Path:
        """The picture of that name.

        Raises:
            InputError: There is none.
        """
        path = self.workspace.images / str(name)
        folders = (self.workspace.images, self.workspace.images / GRIDS)
        with suppress(OSError, ValueError):
            if path.parent in folders and path.suffix == ".png" and not path.is_symlink() and path.is_file():
                return path
        raise InputError(f"there is no picture {str(name)[:60]!r} any more", "choose another")

    def has_picture(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        try:
            self.picture(name)
        except InputError:
            return False
        return True

    def submit(self, build: Callable[[Store], Spec]) -> Job:
        """Queue a job of theirs.

        Raises:
            InputError: See `JobQueue.submit`.
        """
        return self.studio.queue.submit(build, user=self.user, open_jobs_limit=OPEN_JOBS_A_USER)

    def jobs(self, *, open_only: bool = False, limit: int | None = 50) -> list[Job]:
        """Their jobs, the newest first; where nobody logs in, all of the workspace."""
        found = self.studio.queue.jobs(user=self.user, open_only=open_only, limit=limit)
        return [job for job in found if job.spec is None or job.spec.kind != "describe"]

    def job(self, job_id: str) -> Job:
        """A job of theirs.

        Raises:
            InputError: There is none of that id that is theirs; or the queue cannot be reached.
        """
        job = None
        # A shortened id would tell of those of others.
        if len(str(job_id)) == ID_LETTERS:
            try:
                job = self.studio.queue.job(str(job_id))
            except UnreachableError:
                raise
            except InputError:
                pass
        if job is None or job.id != job_id or (self.studio.has_accounts and job.user != self.user):
            # The same words for a job of somebody else: what others do is nobody's business.
            raise InputError(f"job {str(job_id)[:60]!r} is not found", "choose another")
        return job

    def made(self, job: Job) -> list[Path]:
        """The files that a job of theirs made and that are still there."""
        folder = self.studio.queue.store.folder
        assert folder is not None, "the studio keeps its files in a folder"
        paths = [folder / name for name in (job.result or {}).get("files", [])]
        inside = self.workspace.root.resolve()
        return [path for path in paths if path.is_file() and path.resolve().is_relative_to(inside)]

    def samples(self, job: Job) -> list[Path]:
        """The pictures that a training of theirs drew so far."""
        folder = self.studio.queue.store.folder
        assert folder is not None, "the studio keeps its files in a folder"
        return [folder / name for name in self.studio.queue.samples(job.id)]
