"""`spectral-diffusion jobs`: the queue; who is in it, how far they are, and how to end or retry them."""

import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import FAULT, answer, answering, note, table
from spectral_diffusion.cli.queueing import database as database_option
from spectral_diffusion.cli.queueing import open_queue
from spectral_diffusion.cli.queueing import store as store_option
from spectral_diffusion.names import printable
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from spectral_diffusion.jobs.queue import Job

_common = options.together(database_option, store_option, options.workspace, options.as_json, options.debug)
_WAIT_SECONDS = 0.5


@click.group(name="jobs", short_help="the queue of jobs", invoke_without_command=True)
@_common
@click.pass_context
def command(
    context: click.Context, database: str | None, store: str | None, workspace: Workspace, as_json: bool
) -> None:
    """Look at queued jobs, end them, try them again. Alone it lists them.

    Verbs queue their work with --queue; `spectral-diffusion worker` does it. An ID may be cut short.
    """
    if context.invoked_subcommand is None:
        _list(False, None, 50, database, store, workspace, as_json)
    else:
        # Said before the sub-command it counts for it.
        context.default_map = {
            name: {"database": database, "store": store, "as_json": as_json} for name in command.commands
        }


@command.command(name="list", short_help="all jobs, the newest first")
@click.option("--open", "open_only", is_flag=True, help="Only jobs that have not ended.")
@click.option("--user", help="Only this user's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@_common
def list_jobs(
    open_only: bool,
    user: str | None,
    limit: int,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """All jobs, the newest first."""
    _list(open_only, user, limit, database, store, workspace, as_json)


def _list(
    open_only: bool,
    user: str | None,
    limit: int,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        jobs = queue.jobs(user=user, open_only=open_only, limit=limit)
    rows = [[job.id, job.state, _how_far(job), _when(job.created), job.user or "", job.title] for job in jobs]
    lines = table(["job", "state", "how far", "queued", "user", "what"], rows) if rows else ["no jobs"]
    notes = {job.note for job in jobs if job.note and job.state == "queued"}
    answer(as_json, {"jobs": [job.to_dict() for job in jobs]}, [*lines, *(f"note: {text}" for text in sorted(notes))])


@command.command(name="show", short_help="everything about one job")
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit code 1 if it failed.")
@_common
def show(job_id: str, wait: bool, database: str | None, store: str | None, workspace: Workspace, as_json: bool) -> None:
    """Everything about one job."""
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        job = queue.job(job_id)
        told = None
        while wait and job.is_open:
            if job.note and job.note != told:
                note(f"note: {job.note}")
                told = job.note
            time.sleep(_WAIT_SECONDS)
            job = queue.job(job.id)
        losses, samples = queue.losses(job.id), queue.samples(job.id)
    value = {**job.to_dict(), "losses": losses, "samples": samples}
    made = [f"{'pictures'.ljust(9)} {name}" for name in samples] if job.is_open else []
    answer(as_json, value, [*_lines(job), *made])
    if wait and job.state != "done":
        raise click.exceptions.Exit(FAULT)


@command.command(name="cancel", short_help="end jobs")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_common
def cancel(
    job_ids: tuple[str, ...], database: str | None, store: str | None, workspace: Workspace, as_json: bool
) -> None:
    """End jobs: at once where they wait, within seconds where they run."""
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        jobs = [queue.cancel(job_id) for job_id in job_ids]
    answer(as_json, {"jobs": [job.to_dict() for job in jobs]}, [f"{job.id}  {job.state}" for job in jobs])


@command.command(name="retry", short_help="queue jobs again that failed or were cancelled")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_common
def retry(
    job_ids: tuple[str, ...], database: str | None, store: str | None, workspace: Workspace, as_json: bool
) -> None:
    """Queue jobs again that failed or were cancelled; a training goes on from its checkpoint."""
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        jobs = [queue.retry(job_id) for job_id in job_ids]
    answer(as_json, {"jobs": [job.to_dict() for job in jobs]}, [f"{job.id}  {job.state}" for job in jobs])


@command.command(name="remove", short_help="forget jobs that have ended")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@_common
def remove(
    job_ids: tuple[str, ...], database: str | None, store: str | None, workspace: Workspace, as_json: bool
) -> None:
    """Forget jobs that have ended, with their logs and half-done work. What they made stays."""
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        jobs = [queue.remove(job_id) for job_id in job_ids]
    answer(as_json, {"removed": [job.id for job in jobs]}, [f"{job.id}  removed" for job in jobs])


@command.command(name="logs", short_help="what a job has said")
@click.argument("job_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@_common
def logs(
    job_id: str, follow: bool, database: str | None, store: str | None, workspace: Workspace, as_json: bool
) -> None:
    """What a job has said so far."""
    with answering(as_json), open_queue(workspace, database, store, must_exist=True) as queue:
        job, text = queue.job(job_id), queue.log(job_id)
        told = 0
        while follow and not as_json:
            # Whole lines only: what is being written now is told when it is there.
            lines = text.splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n") or not job.is_open]
            for line in whole[told:]:
                click.echo(printable(line.rstrip("\n")))
            told = len(whole)
            if not job.is_open:
                return
            time.sleep(_WAIT_SECONDS)
            job, text = queue.job(job.id), queue.log(job.id)
    answer(as_json, {"id": job.id, "log": text}, [printable(line) for line in text.splitlines()] or ["nothing yet"])


def _how_far(job: "Job") -> str:
    if job.state in ("running", "paused") and job.progress.steps:
        return f"{job.progress.step}/{job.progress.steps} {job.progress.stage}"
    return (job.progress.stage or "starting") if job.state == "running" else ""


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _lines(job: "Job") -> list[str]:
    facts = {
        "job": job.id,
        "what": job.title,
        "state": job.state,
        "how far": _how_far(job),
        "user": job.user,
        "queued": _when(job.created),
        "begun": _when(job.started) if job.started else None,
        "ended": _when(job.finished) if job.finished else None,
        "attempts": job.progress.attempt or None,
        "loss": f"{job.progress.loss:.4f}" if job.progress.loss is not None else None,
        "worker": job.worker,
        "note": job.note,
        "error": job.error,
        "made": "\n".join((job.result or {}).get("files", [])) or None,
    }
    return [
        f"{name.ljust(9)} {line}"
        for name, value in facts.items()
        if value not in (None, "")
        for line in str(value).splitlines()
    ]
