"""Jobs that a page looks at until they have ended."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import priority
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.progress_line import progress_line

POLL_SECONDS = 0.7


def watch(desk: Desk, job: Job, open_jobs: list[str]) -> list[Any]:
    """A job that was queued is looked at from now on: values of the watched jobs, the timer and the status line."""
    ids = [*(open_jobs or []), job.id]
    return [ids, gr.Timer(active=True), status_lines(desk, [desk.job(job_id) for job_id in ids])]


def cancel_all(desk: Desk, open_jobs: list[str]) -> None:
    """End jobs of theirs, as far as they have not ended already."""
    for job_id in open_jobs:
        with suppress(InputError):
            desk.studio.queue.cancel(desk.job(job_id).id)


def status_lines(desk: Desk, jobs: list[Job]) -> str:
    """How far these jobs are, a line each, and how many come before those that wait."""
    if not any(job.state == "queued" for job in jobs):
        return "".join(progress_line(job) for job in jobs)
    open_jobs = desk.studio.queue.jobs(open_only=True)
    return "".join(progress_line(job, ahead=jobs_before(job, open_jobs)) for job in jobs)


def jobs_before(job: Job, open_jobs: Sequence[Job]) -> int:
    """How many of the open jobs of all people come before one of them that waits."""
    return sum(_goes_before(other, job) for other in open_jobs if other.id != job.id)


def _goes_before(other: Job, job: Job) -> bool:
    return other.state in ("running", "paused") or _turn(other) < _turn(job)


def _turn(job: Job) -> tuple[int, float]:
    return (priority(job.spec) if job.spec else 0), job.created
