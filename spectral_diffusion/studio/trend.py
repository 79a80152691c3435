"""How a training's sample pictures score as it goes on: the part of the score screen that shows the trend."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from spectral_diffusion.chart import line_chart
from spectral_diffusion.diffusion.score_trend import ALIGNMENT_LABEL, STEP_LABEL, TREND_NOTE, Trend
from spectral_diffusion.diffusion.score_words import Scores
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ScoreSpec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.score_report import SAMPLES, saves, write_trend
from spectral_diffusion.studio.scoring import (
    kept_picture,
    sample_step,
    scores_of,
    spread,
    submit_training,
    trainings,
    trends_of,
)
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.thumbnails import thumbnail_address
from spectral_diffusion.studio.watching import SCORES, watch

TITLE = "Image alignment of samples by training step"
_THUMBNAIL_PX = 96


@dataclass(frozen=True)
class TrendPart:
    """What the rest of the screen needs of this part.

    Args:
        training: Which training is looked at.
        outputs: What `trend_values` and `unchanged` give values for.
    """

    training: gr.Dropdown
    outputs: list[Any]


def build(shell: Shell, timer: gr.Timer, status: gr.HTML) -> TrendPart:
    """This part of the screen."""
    with gr.Accordion("Trend over a training", open=False, elem_id="score-trend") as part:
        gr.Markdown(
            "Sample pictures that a training drew as it went, each compared with the photographs it learned from.",
            elem_classes="hint",
        )
        with gr.Row():
            training = gr.Dropdown(
                label="Training",
                choices=[],
                elem_id=shell.hint("score-training", "Whose sample pictures are looked at; it may still run."),
                scale=3,
            )
            button = gr.Button(
                "Score its samples",
                elem_id=shell.hint(
                    "score-training-run", "Compare all sample pictures so far. While it trains, this waits for its end."
                ),
                scale=1,
            )
        shown = gr.HTML("", css_template=_CSS, js_on_load=None, elem_id="score-trend-shown")
        report = gr.Button(
            "Download the trend",
            visible=False,
            elem_id=shell.hint("score-trend-report", "Chart, numbers and samples as one HTML file."),
        )

    def choose(desk: Desk, training_id: str | None) -> list[Any]:
        return _shown(desk, training_id)

    def begin(desk: Desk, training_id: str | None) -> list[Any]:
        if not training_id:
            raise InputError("no training is chosen", "choose one; trainings draw samples where their recipe says so")
        submit_training(desk, desk.job(training_id))
        return watch(desk, SCORES)

    shell.on(training.input, choose, training, [shown, report], quiet=True)
    shell.on(button.click, begin, training, [timer, status])
    saves(shell, report, write_trend, training)
    return TrendPart(training, [part, training, shown, report])


def trend_values(desk: Desk, training_id: str | None, *, opened: bool) -> list[Any]:
    """Values of `TrendPart.outputs`.

    Args:
        desk: Whose.
        training_id: The training to look at; None: the newest.
        opened: Whether the part is opened.
    """
    jobs = trainings(desk)
    ids = [job.id for job in jobs]
    chosen = training_id if training_id in ids else next(iter(ids), None)
    choices = [(f"{job.title} ({job.state}, {job.id})", job.id) for job in jobs]
    return [
        gr.Accordion(open=True) if opened else gr.skip(),
        gr.Dropdown(choices=choices, value=chosen),
        *_shown(desk, chosen),
    ]


def unchanged() -> list[Any]:
    """Values of `TrendPart.outputs` while nothing new was found."""
    return [gr.skip() for _ in range(4)]


def _shown(desk: Desk, training_id: str | None) -> list[Any]:
    known = any(found.points for _, found in trends_of(desk, training_id))
    return [trend_html(desk, training_id), gr.Button(visible=known)]


def trend_html(desk: Desk, training_id: str | None) -> str:
    """The chart with its words and the samples; what to do where there is none yet."""
    if not training_id:
        return _hint("No training yet: trainings with sample pictures appear here.")
    found = trends_of(desk, training_id)
    trends = [trend for _, trend in found if trend.points]
    if not trends:
        return _hint("Its samples were not scored yet.")
    chart = line_chart(
        [trend.line for trend in trends], x_label=STEP_LABEL, y_label=ALIGNMENT_LABEL, title=f"{TITLE}: {_told(trends)}"
    )
    parts = [chart]
    for job, trend in found:
        parts.append(f"<p>{html.escape(trend.sentence)}</p>")
        parts.append(_strip(desk, job, scores_of(job)))
    return f"<div class='trend'>{''.join(parts)}<p class='hint'>{html.escape(TREND_NOTE)}</p></div>"


def _strip(desk: Desk, job: Job, scores: Scores) -> str:
    spec = job.spec
    if not isinstance(spec, ScoreSpec) or len(scores.each) != len(spec.images):
        return ""
    figures = ""
    for index in spread(len(spec.images), SAMPLES):
        address = thumbnail_address(desk, kept_picture(desk, spec, index), _THUMBNAIL_PX)
        value, step = scores.each[index].image, sample_step(spec.images[index].name)
        if address and value is not None:
            figures += (
                f"<figure><img src='{address}' alt=''><figcaption>step {step}<br>{value:.2f}</figcaption></figure>"
            )
    return f"<div class='strip'>{figures}</div>"


def _told(trends: Sequence[Trend]) -> str:
    return " ".join(trend.sentence for trend in trends)


def _hint(text: str) -> str:
    return f'<p class="hint">{html.escape(text)}</p>'


_CSS = """
.trend p { max-width: 75ch; overflow-wrap: anywhere; margin: 8px 0; }
.trend .chart { color: var(--body-text-color); }
.trend .strip { display: flex; flex-wrap: wrap; gap: 8px; }
.trend figure { margin: 0; width: 72px; }
.trend figure img { width: 72px; height: 72px; object-fit: contain; border-radius: 6px; margin: 0;
  background: var(--background-fill-secondary); }
.trend figcaption { font-size: var(--text-xs); color: var(--body-text-color-subdued); text-align: center;
  line-height: 1.3; font-variant-numeric: tabular-nums; }
"""
