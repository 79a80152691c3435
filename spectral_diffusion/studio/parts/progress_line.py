"""How far a job is, as a line of the page."""

import html

from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.studio.events import on_the_page


def progress_line(job: Job, ahead: int = 0) -> str:
    """A line with a bar.

    Args:
        job: The job.
        ahead: How many jobs come before it, where it waits.
    """
    progress = job.progress
    bar = "<progress></progress>" if job.is_open else ""
    if job.is_open and progress.steps:
        bar = f'<progress max="{progress.steps}" value="{progress.step}"></progress>'
    words = html.escape(in_words(job, ahead))
    return f'<div class="progress-line" role="status"><span>{words}</span>{bar}</div>'


def in_words(job: Job, ahead: int = 0) -> str:
    """The same in a line of text."""
    progress = job.progress
    match job.state:
        case "queued":
            place = f"{ahead} job{'s' if ahead > 1 else ''} before it" if ahead else "next"
            return f"{job.title}: waits, {place}" + (f" ({on_the_page(job.note)})" if job.note else "")
        case "paused":
            return f"{job.title}: paused: {on_the_page(job.note or '')}"
        case "running":
            steps = f" {progress.step} of {progress.steps}" if progress.steps else ""
            left = f", {duration(progress.seconds_left)} left" if progress.seconds_left else ""
            return f"{job.title}: {progress.stage or 'starting'}{steps}{left}"
        case "failed":
            return f"{job.title}: failed: {on_the_page(job.error or '')}"
        case _:
            return f"{job.title}: {job.state}"


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
