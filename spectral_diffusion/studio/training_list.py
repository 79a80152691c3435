"""A person's trainings in a list, one of them shown whole: read when the page is opened, and while one goes on."""

from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError, UnreachableError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.open_jobs import newest_and_open
from spectral_diffusion.studio.parts.job_rows import JobRow, rows_value
from spectral_diffusion.studio.training_detail import detail_values
from spectral_diffusion.studio.training_progress import TrainingProgress
from spectral_diffusion.studio.watching import jobs_before, status_lines

_JOBS_READ = 300
"""Among so many of the newest jobs of all kinds trainings are looked for, besides those that are open."""


def nothing_chosen() -> dict[str, Any]:
    """What a person wants at first: the training to show, the one to remove at the next press, whether its log too.

    It is theirs alone: a look that began before a press must not undo it, so looks read it and never write it.
    """
    return {"job": None, "sure": None, "log": False}


def training(desk: Desk, job_id: str) -> Job:
    """A training of theirs.

    Raises:
        InputError: There is none of that id.
    """
    job = desk.job(job_id)
    if not isinstance(job.spec, TrainSpec):
        raise InputError(f"job {job.id} is no training", "choose another")
    return job


def look(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> list[Any]:
    """Everything as it is now: values of the rows, the other jobs, the timer and the detail, and what is shown.

    Args:
        desk: Whose.
        choice: What the person wants. As long as they have chosen no training it is one that is open, else the newest.
        shown: What the page shows.
    """
    jobs = [job for job in newest_and_open(desk, _JOBS_READ) if _trains(job)]
    wanted = choice.get("job")
    if wanted not in {job.id for job in jobs}:
        wanted = next((job.id for job in jobs if job.state == "running"), None)
        wanted = wanted or next((job.id for job in jobs if job.is_open), jobs[0].id if jobs else None)
    open_jobs = desk.jobs(open_only=True, limit=None)
    found = next((job for job in jobs if job.id == wanted), None)
    return _values(desk, jobs, found, open_jobs, choice, shown)


def tick(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> Any:
    """The same, reading only what is open as long as nothing began or ended."""
    try:
        open_jobs = desk.jobs(open_only=True, limit=None)
    except UnreachableError:
        # It is asked again in a second; until then everything stays as it is.
        return gr.skip()
    wanted = choice.get("job") or shown.get("job")
    if sorted(job.id for job in open_jobs) != shown.get("open") or wanted != shown.get("job"):
        return look(desk, choice, shown)
    return _values(desk, None, next((job for job in open_jobs if job.id == wanted), None), open_jobs, choice, shown)


def _values(
    desk: Desk,
    jobs: list[Job] | None,
    found: Job | None,
    open_jobs: list[Job],
    choice: dict[str, Any],
    shown: dict[str, Any],
) -> list[Any]:
    """Args: jobs: All trainings; None: those in `shown`, of which only the open ones can have changed."""
    waits = any(job.state == "queued" for job in open_jobs)
    # Of all people: what waits for them waits, and how many there are is all that is told.
    before = desk.studio.queue.jobs(open_only=True) if waits else open_jobs
    ahead = {job.id: jobs_before(job, before) for job in open_jobs if job.state == "queued"}
    now = {job.id: _row(job, ahead.get(job.id, 0)) for job in (open_jobs if jobs is None else jobs) if _trains(job)}
    if jobs is None and found is None:
        # It has ended before and stays as it is.
        detail, kept = [gr.skip()] * 10, dict(shown)
    else:
        detail, kept = detail_values(desk, found, ahead.get(found.id, 0) if found else 0, choice, shown)
    rows = list(now.values()) if jobs is not None else [now.get(each["id"], JobRow(**each)) for each in shown["rows"]]
    value = rows_value([row._replace(chosen=row.id == kept.get("job")) for row in rows])
    others = [job for job in open_jobs if not _trains(job)]
    told = gr.HTML(status_lines(desk, others), visible=bool(others))
    kept |= {"rows": value, "open": sorted(job.id for job in open_jobs)}
    return [value, told, gr.Timer(active=bool(open_jobs)), *detail, kept]


def _trains(job: Job) -> bool:
    return isinstance(job.spec, TrainSpec)


def _row(job: Job, ahead: int) -> JobRow:
    progress = TrainingProgress.of(job)
    return JobRow(
        id=job.id,
        title=job.title,
        words=progress.in_words(job, ahead),
        state=job.state,
        step=progress.step,
        steps=progress.steps if progress.step else 0,
    )
