"""Jobs that a page looks at until they have ended."""

import html
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import priority
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import on_the_page
from spectral_diffusion.studio.parts.progress_line import progress_line

POLL_SECONDS = 0.7


def watch(desk: Desk, open_jobs: list[str], *queued: Job) -> list[Any]:
    """Jobs that were queued are looked at from now on: values of the watched jobs, the timer and the status line."""
    ids = [*(open_jobs or []), *(job.id for job in queued)]
    return [ids, gr.Timer(active=True), status_lines(desk, [desk.job(job_id) for job_id in ids])]


def look_again(desk: Desk, open_jobs: list[str]) -> tuple[list[Any], list[Job]]:
    """How watched jobs go on. What failed is told once: it is watched no more.

    Returns:
        The same values as of `watch`, and the jobs that are done now.
    """
    jobs: list[Job] = []
    for job_id in open_jobs:
        with suppress(InputError):
            jobs.append(desk.job(job_id))
    waiting, failed = [job for job in jobs if job.is_open], [job for job in jobs if job.state == "failed"]
    for job in failed:
        gr.Warning(html.escape(f"{job.title}: {on_the_page(job.error or '')}"), duration=15)
    values = [[job.id for job in waiting], gr.Timer(active=bool(waiting)), status_lines(desk, waiting or failed)]
    return values, [job for job in jobs if job.state == "done"]


def cancel_all(desk: Desk, open_jobs: list[str]) -> str:
    """End jobs of theirs, as far as they have not ended already; answers the status line."""
    for job_id in open_jobs:
        with suppress(InputError):
            desk.studio.queue.cancel(desk.job(job_id).id)
    return status_lines(desk, [desk.job(job_id) for job_id in open_jobs])


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
