"""How verbs queue their work instead of doing it: options, and the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, note
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from spectral_diffusion.jobs.queue import Job, JobQueue
    from spectral_diffusion.jobs.specs import Spec
    from spectral_diffusion.jobs.store import Store


@dataclass(frozen=True)
class Places:
    """Where queue and files are.

    Args:
        database: Address of the queue's database, or None for the workspace's.
        store: Address of the files' place, or None for the workspace.
    """

    database: str | None
    store: str | None


database = click.option(
    "--database",
    metavar="URL",
    help="The queue: sqlite:///FILE or postgresql://... Default: $SPECTRAL_DIFFUSION_DATABASE, else the workspace's.",
)
store = click.option(
    "--store",
    metavar="URL",
    help="The jobs' files: a folder or any fsspec address. Default: $SPECTRAL_DIFFUSION_STORE, else the workspace.",
)
queueing = options.together(
    click.option("--queue", "queued", is_flag=True, help="Queue the work for a `worker` and return at once."),
    click.option("--key", help="With --queue: the same key queues the same job only once."),
    database,
    store,
)


def open_queue(
    workspace: Workspace, database: str | None, store: str | None, *, must_exist: bool = False
) -> "AbstractContextManager[JobQueue]":
    """The queue of a workspace, or the one that is named.

    Raises:
        InputError: An address cannot be used, or names a file that is not there where it must be.
    """
    from spectral_diffusion.jobs.database import Database
    from spectral_diffusion.jobs.queue import opened
    from spectral_diffusion.jobs.store import Store

    found = Database.locate(workspace, database)
    if must_exist and database and not found.exists:
        raise InputError(f"there is no database {found}", "check --database")
    return opened(found, Store.locate(workspace, store))


def refuse_without_queue(queued: bool, **given: Any) -> None:
    """Options that say how to queue mean nothing to work that is done at once.

    Raises:
        InputError: One was given.
    """
    useless = [f"--{name}" for name, value in given.items() if value is not None]
    if useless and not queued:
        raise InputError(f"{', '.join(useless)} without --queue", "add --queue, or leave it out")


def submit(
    workspace: Workspace,
    places: Places,
    build: "Callable[[Store], Spec]",
    key: str | None,
) -> "Job":
    """Queue a job.

    Raises:
        InputError: See `JobQueue.submit`.
    """
    from spectral_diffusion.jobs.queue import default_user

    with open_queue(workspace, places.database, places.store) as queue:
        return queue.submit(build, user=default_user(), key=key)


def tell(job: "Job", as_json: bool) -> None:
    """Say what was queued."""
    if job.note:
        note(f"note: {job.note}")
    answer(as_json, {"job": job.to_dict()}, [f"{job.id}  {job.state}  {job.title}"])
