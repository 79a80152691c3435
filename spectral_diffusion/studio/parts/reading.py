"""The model being read, where a screen needs what is known of it: how far that is, or what went wrong and a button."""

import html
from typing import Any, NamedTuple

import gradio as gr

from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.studio.events import on_the_page
from spectral_diffusion.studio.parts.progress_line import progress_line

HINT = "Have a worker read the model once more."
"""What hovering over the button explains."""


class Reading(NamedTuple):
    """The components: what is told, and the button that asks again."""

    told: gr.HTML
    again: gr.Button


def reading(elem_id: str) -> Reading:
    """The components, of which nothing is to be seen yet.

    Args:
        elem_id: Of the button.
    """
    told = gr.HTML("", visible=False, js_on_load=None)
    return Reading(told, gr.Button("Try again", size="sm", visible=False, elem_id=elem_id))


def reading_values(job: Job | None) -> list[Any]:
    """Values of the components.

    Args:
        job: That reads the model; None where it has been read.
    """
    if job is None:
        return [gr.HTML("", visible=False), gr.Button(visible=False)]
    fault = why_unread(job)
    if fault is None:
        said = '<p class="hint">A worker reads the model; this page follows by itself.</p>' + progress_line(job)
    else:
        text = f"The model could not be read: {fault}. This screen needs that; Train and Create work without it."
        said = f'<p class="notice" role="status">{html.escape(text)}</p>'
    return [gr.HTML(said, visible=True), gr.Button(visible=fault is not None)]


def why_unread(job: Job) -> str | None:
    """Why nobody reads the model any more, or None as long as somebody does or will.

    Args:
        job: That was to read it.
    """
    if job.state == "failed":
        return on_the_page(job.error or "nothing is known of the fault")
    return "that was cancelled" if job.state == "cancelled" else None
