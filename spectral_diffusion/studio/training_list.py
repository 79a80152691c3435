"""A person's trainings in a list, one of them shown whole: read when the page is opened, and while one goes on."""

from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.job_rows import JobRow, rows_value
from spectral_diffusion.studio.training_detail import detail_values
from spectral_diffusion.studio.training_progress import TrainingProgress
from spectral_diffusion.studio.watching import jobs_before, status_lines

_JOBS_READ = 300
"""Among so many of the newest jobs of all kinds trainings are looked for."""


def nothing_shown() -> dict[str, Any]:
    """What a page begins with: no rows, no open jobs, no training shown."""
    return {"job": None, "rows": [], "open": [], "log": False}


def training(desk: Desk, job_id: str) -> Job:
    """A training of theirs.

    Raises:
        InputError: There is none of that id.
    """
    job = desk.job(job_id)
    if not isinstance(job.spec, TrainSpec):
        raise InputError(f"job {job.id} is no training", "choose another")
    return job


def look(desk: Desk, shown: dict[str, Any], show: str | None = None) -> list[Any]:
    """Everything as it is now: values of the rows, the other jobs, the timer, the training shown, and the state.

    Args:
        desk: Whose.
        shown: What the page shows.
        show: Which training shall be shown; by default the one that is, else one that is open, else the newest.
    """
    jobs = [job for job in desk.jobs(limit=_JOBS_READ) if isinstance(job.spec, TrainSpec)]
    wanted = show or shown.get("job")
    if wanted not in {job.id for job in jobs}:
        # Nobody chose one, or it is gone.
        wanted = next((job.id for job in jobs if job.state == "running"), None)
        wanted = wanted or next((job.id for job in jobs if job.is_open), jobs[0].id if jobs else None)
    return _values(desk, jobs, wanted, desk.jobs(open_only=True, limit=None), shown)


def tick(desk: Desk, shown: dict[str, Any]) -> list[Any]:
    """The same, reading only what is open as long as nothing began or ended."""
    open_jobs = desk.jobs(open_only=True, limit=None)
    if sorted(job.id for job in open_jobs) != shown.get("open"):
        return look(desk, shown)
    return _values(desk, None, shown.get("job"), open_jobs, shown)


def _values(
    desk: Desk, jobs: list[Job] | None, wanted: str | None, open_jobs: list[Job], shown: dict[str, Any]
) -> list[Any]:
    """Args: jobs: All trainings; None: those in `shown`, of which only the open ones can have changed."""
    waits = any(job.state == "queued" for job in open_jobs)
    # Of all people: what waits for them waits, and how many there are is all that is told.
    before = desk.studio.queue.jobs(open_only=True) if waits else open_jobs
    ahead = {job.id: jobs_before(job, before) for job in open_jobs if job.state == "queued"}
    now = {job.id: _row(job, ahead.get(job.id, 0)) for job in (open_jobs if jobs is None else jobs) if _trains(job)}
    if jobs is None:
        rows = [now.get(row.id, row) for row in (JobRow(**each) for each in shown["rows"])]
    else:
        rows = list(now.values())
    value = rows_value([row._replace(chosen=row.id == wanted) for row in rows])
    pool = open_jobs if jobs is None else [*open_jobs, *jobs]
    found = next((job for job in pool if job.id == wanted), None)
    if found is None and wanted is not None and jobs is None:
        # It has ended and nothing began since: it stays as it is.
        detail, kept = [gr.skip()] * 10, {**shown}
    else:
        detail, kept = detail_values(desk, found, ahead.get(wanted or "", 0), shown)
    others = [job for job in open_jobs if not _trains(job)]
    state = {**kept, "rows": value, "open": sorted(job.id for job in open_jobs)}
    told = gr.HTML(status_lines(desk, others), visible=bool(others))
    return [value, told, gr.Timer(active=bool(open_jobs)), *detail, state]


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
