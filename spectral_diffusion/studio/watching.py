"""Jobs of a person that a page looks at until they have ended.

What is open is asked of the queue every time, so that no press and no look can make the page forget a job that the
other has just told of. What a page keeps is only which of the ended ones it has told already.
"""

import html
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError, UnreachableError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import priority
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import in_page_words, on_the_page
from spectral_diffusion.studio.open_jobs import newest_and_open
from spectral_diffusion.studio.parts.progress_line import progress_line

POLL_SECONDS = 0.7
DRAWINGS = frozenset({"generate", "grid"})
SCORES = frozenset({"score"})
_NEWEST = 40
"""Of a person's newest jobs so many are looked at, beside the open ones; no more of them end between two looks."""


def watch(desk: Desk, kinds: Collection[str]) -> list[Any]:
    """Something was queued: values of the timer, which looks from now on, and of the status line."""
    return [gr.Timer(active=True), status_lines(desk, [job for job in _jobs(desk, kinds) if job.is_open])]


def told_before(desk: Desk, kinds: Collection[str], told: list[str] | None) -> Any:
    """The value of the page's memory when it is shown: what ended before it was opened is not told again."""
    if told is not None:
        return gr.skip()
    with suppress(UnreachableError):
        return [job.id for job in _jobs(desk, kinds) if not job.is_open]
    return gr.skip()


def look_again(desk: Desk, kinds: Collection[str], told: list[str] | None) -> tuple[list[Any], list[Job]]:
    """How jobs of these kinds go on. What failed is told once.

    Args:
        desk: Whose.
        kinds: Of which kinds.
        told: The page's memory: which of those that have ended were told before; None: whatever has ended.

    Returns:
        Values of the memory, the timer and the status line; and the jobs that are newly done, the newest last. Once
        nothing is open and all is told, the timer rests.
    """
    try:
        jobs = _jobs(desk, kinds)
    except UnreachableError as error:
        return [gr.skip(), gr.Timer(active=True), f'<p class="notice">{html.escape(in_page_words(error))}.</p>'], []
    waiting, ended = [job for job in jobs if job.is_open], [job for job in jobs if not job.is_open]
    news = [job for job in ended if told is not None and job.id not in told]
    failed = [job for job in news if job.state == "failed"]
    for job in failed:
        gr.Warning(html.escape(f"{job.title}: {on_the_page(job.error or '')}"), duration=15)
    is_moving = bool(waiting or news)
    status = status_lines(desk, waiting or failed) if is_moving else gr.skip()
    values = [[job.id for job in ended], gr.Timer(active=is_moving), status]
    return values, [job for job in reversed(news) if job.state == "done"]


def cancel_all(desk: Desk, kinds: Collection[str]) -> str:
    """End all of these kinds, as far as they have not ended already; answers the status line."""
    jobs = [job for job in _jobs(desk, kinds) if job.is_open]
    for job in jobs:
        with suppress(InputError):
            desk.studio.queue.cancel(job.id)
    return status_lines(desk, [desk.job(job.id) for job in jobs])


def status_lines(desk: Desk, jobs: list[Job]) -> str:
    """How far these jobs are, a line each, and how many come before those that wait."""
    if not any(job.state == "queued" for job in jobs):
        return "".join(progress_line(job) for job in jobs)
    open_jobs = desk.studio.queue.jobs(open_only=True)
    return "".join(progress_line(job, ahead=jobs_before(job, open_jobs)) for job in jobs)


def jobs_before(job: Job, open_jobs: Sequence[Job]) -> int:
    """How many of the open jobs of all people come before one of them that waits."""
    return sum(_goes_before(other, job) for other in open_jobs if other.id != job.id)


def _jobs(desk: Desk, kinds: Collection[str]) -> list[Job]:
    return [job for job in newest_and_open(desk, _NEWEST) if job.spec is not None and job.spec.kind in kinds]


def _goes_before(other: Job, job: Job) -> bool:
    return other.state in ("running", "paused") or _turn(other) < _turn(job)


def _turn(job: Job) -> tuple[int, float]:
    return (priority(job.spec) if job.spec else 0), job.created
