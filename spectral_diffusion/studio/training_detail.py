"""One training as a person watches it: how far it is, its losses, samples and log, and what can be done with it."""

import html
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.config import Config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.curve import Points, curve_view, loss_curve
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.training_plan import describe_recipe
from spectral_diffusion.studio.training_progress import TrainingProgress, steps_each

_SAMPLES_SHOWN = 60
_LOG_CHARACTERS = 20_000


@dataclass(frozen=True)
class Detail:
    """The components.

    Args:
        part: What all of it lies in.
        headline: How far it is.
        cancel, retry, remove, draw, score: Buttons.
        curve: Its losses.
        samples: What it drew.
        log_part, log: What it said.
    """

    part: gr.Column
    headline: gr.HTML
    cancel: gr.Button
    retry: gr.Button
    draw: gr.Button
    score: gr.Button
    remove: gr.Button
    curve: gr.HTML
    samples: gr.Gallery
    log: gr.Textbox
    log_part: gr.Accordion

    @property
    def outputs(self) -> list[Any]:
        """What `detail_values` gives values for."""
        return list(self.__dict__.values())[:-1]


def build(shell: Shell) -> Detail:
    """This part of the train screen."""
    with gr.Column(visible=False, elem_id="train-detail") as part:
        headline = gr.HTML("", css_template=_CSS, js_on_load=None)
        with gr.Row():
            cancel = shell.small_button(
                "Cancel", "train-cancel", "End it within seconds. It can be resumed where it was."
            )
            retry = shell.small_button("Retry", "train-retry", "Queue it again; it goes on from where it was.")
            draw = shell.small_button("Draw it", "train-draw", "Go to Create with what was learned.", variant="primary")
            score = shell.small_button(
                "Score its samples", "train-score", "Go to Score with its sample pictures: did they get closer?"
            )
            remove = shell.small_button(
                "Remove from the list",
                "train-remove",
                "Forget this job with its curve, its samples and its log. Adapters stay. Asks once more.",
            )
        curve = curve_view(
            elem_id=shell.hint("train-curve", "The error of each step; dots jump, the line should fall.")
        )
        samples = gr.Gallery(
            label="Samples as it learns",
            columns=4,
            height="auto",
            object_fit="contain",
            buttons=["fullscreen"],
            interactive=False,
            elem_id=shell.hint("train-samples", "Drawn with what was learned up to that step, always with one seed."),
        )
        with gr.Accordion("Log", open=False) as log_part:
            log = gr.Textbox(
                show_label=False,
                label="Log",
                lines=6,
                max_lines=16,
                interactive=False,
                buttons=["copy"],
                elem_id=shell.hint("train-log", "What the job has said so far."),
            )
    return Detail(part, headline, cancel, retry, draw, score, remove, curve, samples, log, log_part)


def detail_values(
    desk: Desk, job: Job | None, ahead: int, choice: Mapping[str, Any], shown: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Values of `Detail.outputs`; what has not changed since the last time is neither read nor sent.

    Args:
        desk: Whose.
        job: The training; none: nothing is shown.
        ahead: How many jobs come before it.
        choice: What the person wants, see `training_list.nothing_chosen`.
        shown: What this function gave back the last time.

    Returns:
        The values, and what is shown now.
    """
    skip = gr.skip()
    if job is None:
        return [gr.Column(visible=False), *[skip] * 9], {}
    fresh = shown.get("job") != job.id
    sure, with_log = choice.get("sure") == job.id, bool(choice.get("log"))
    stamp = [job.state, job.finished, sure, with_log]
    changed = fresh or stamp != shown.get("stamp")
    if not (job.is_open or changed):
        return [skip] * 10, dict(shown)
    losses = desk.studio.queue.losses(job.id)
    points = sum(map(len, losses.values()))
    pictures = []
    for path in desk.samples(job)[-_SAMPLES_SHOWN:]:
        # It is moved to another folder when the job ends.
        with suppress(InputError):
            pictures.append((desk.show(path), _sample_label(path)))
    labels = [label for _, label in pictures]
    assert isinstance(job.spec, TrainSpec), f"{job.id} is no training"
    values = [
        gr.Column(visible=True) if fresh else skip,
        _headline(desk, job, ahead),
        *(_buttons(desk, job, sure=sure, samples=bool(pictures)) if changed else [skip] * 5),
        _curve(losses, steps_each(job.spec)) if fresh or points != shown.get("points") else skip,
        gr.Gallery(pictures, visible=bool(pictures)) if fresh or labels != shown.get("samples") else skip,
        desk.studio.queue.log(job.id)[-_LOG_CHARACTERS:] if with_log else skip,
    ]
    return values, {"job": job.id, "stamp": stamp, "points": points, "samples": labels}


def _curve(losses: Mapping[str, Points], steps: int) -> Any:
    drawn = loss_curve(losses, steps)
    return gr.HTML(drawn, visible=bool(drawn))


def adapters_of(desk: Desk, job: Job) -> list[str]:
    """File names of the adapters that a training made and that are still there."""
    folder = desk.workspace.adapters.resolve()
    return [path.name for path in desk.made(job) if path.resolve().parent == folder]


def _buttons(desk: Desk, job: Job, *, sure: bool, samples: bool) -> list[Any]:
    ended = not job.is_open
    return [
        gr.Button(visible=job.is_open),
        gr.Button("Resume" if job.state == "cancelled" else "Retry", visible=job.state in ("cancelled", "failed")),
        gr.Button(visible=job.state == "done" and bool(adapters_of(desk, job))),
        gr.Button(visible=ended and samples),
        gr.Button(
            "Press again to remove it" if sure else "Remove from the list",
            variant="stop" if sure else "secondary",
            visible=ended,
        ),
    ]


def _sample_label(path: Path) -> str:
    step = path.stem.split("_")[1:2]
    return f"{path.parent.name}, step {int(step[0])}" if step and step[0].isdecimal() else path.parent.name


def _headline(desk: Desk, job: Job, ahead: int) -> str:
    progress = TrainingProgress.of(job)
    lines = [f"<h3>{html.escape(job.title)}</h3>", f"<p>{html.escape(progress.in_words(job, ahead))}</p>"]
    if job.is_open:
        share = f' max="{progress.steps}" value="{progress.step}"' if progress.step else ""
        lines.append(f'<progress aria-label="Progress of this training"{share}></progress>')
        lines.append('<p class="notice">Safe to close this tab: it goes on without you.</p>')
    if job.state == "done":
        made = adapters_of(desk, job)
        files = ", ".join(html.escape(name) for name in made) or "its adapters are not there any more"
        lines.append(f"<p>Adapters: {files}</p>")
    if job.state == "cancelled":
        lines.append(f"<p>Resume {'goes on from there' if progress.step else 'queues it again'}.</p>")
    with suppress(ValueError):
        assert isinstance(job.spec, TrainSpec)
        lines.append(f'<p class="hint">{html.escape(describe_recipe(Config.model_validate(job.spec.config)))}</p>')
    return f'<div class="training">{"".join(lines)}</div>'


_CSS = """
.training { display: grid; gap: 8px; overflow-wrap: anywhere; }
.training h3, .training p { margin: 0; }
.training progress { width: 100%; height: 12px; }
"""
