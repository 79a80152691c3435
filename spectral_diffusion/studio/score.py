"""The score screen: pictures ticked, concepts and a prompt to compare them with, and what a CLIP finds."""

import time
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.diffusion.score_words import in_words
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ScoreSpec
from spectral_diffusion.studio import choosing, trend
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.picture_cards import ticked_pictures
from spectral_diffusion.studio.score_report import saves, write_scores
from spectral_diffusion.studio.score_result import result_html, result_view
from spectral_diffusion.studio.score_table import score_table, table_of
from spectral_diffusion.studio.scoring import about_training, score_jobs, scores_of, submit_pictures
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.watching import POLL_SECONDS, SCORES, cancel_all, look_again, told_before, watch

_WELCOME = (
    "How faithful are pictures? A CLIP compares them with the photographs of your concepts and with the prompt, and "
    "says which concept leaks into which. It does not see whether a picture is good: look at it too."
)


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    told = gr.State(None)
    timer = gr.Timer(POLL_SECONDS, active=False)
    status = gr.HTML("", elem_id="score-status", js_on_load=None, render=False)
    gr.Markdown(_WELCOME, elem_classes="hint")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            chosen = choosing.build(shell)
        with gr.Column(scale=6, min_width=320):
            concepts = gr.Dropdown(
                label="Compare with concepts, from left to right",
                info="With several, each picture is cut into equal columns, one a concept: their order matters.",
                choices=[],
                multiselect=True,
                elem_id=shell.hint(
                    "score-concepts",
                    "Whose photographs the pictures are compared with. Choose them in the order in which they stand.",
                ),
            )
            prompt = gr.Textbox(
                label="Compare with a prompt",
                placeholder="empty: the one that the pictures tell themselves",
                lines=1,
                max_lines=4,
                elem_id=shell.hint("score-prompt", "What was asked for. Tokens are read as their class words."),
            )
            run = gr.Button(
                "Score",
                variant="primary",
                size="lg",
                elem_id=shell.hint("score-run", "Compare the ticked and the uploaded pictures."),
            )
            with gr.Column(elem_classes="while-open"):
                status.render()
                cancel = shell.small_button("Cancel", "score-cancel", "End what is being scored, and what waits.")
            earlier = gr.Dropdown(
                label="Result",
                choices=[],
                visible=False,
                elem_id=shell.hint("score-earlier", "What was scored before, the newest first."),
            )
            result = result_view(elem_id="score-result")
    table = score_table(elem_id="score-table")
    write = gr.Button(
        "Download report",
        visible=False,
        elem_id=shell.hint("score-report", "This result as one HTML file that needs no network."),
    )
    trends = trend.build(shell, timer, status)
    shown = [earlier, result, table, write]

    def refresh(
        desk: Desk, kept: Any, cards: Any, before: Any, current: Any, training: Any, wanted: Any, told_already: Any
    ) -> list[Any]:
        names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
        training_wanted = wanted.get("job") if isinstance(wanted, dict) else None
        now, ticked = choosing.refreshed(desk, kept, cards, names)
        return [
            *choosing.values(desk, now, ticked),
            _concept_choices(desk, now, ticked, before),
            told_before(desk, SCORES, told_already),
            gr.Timer(active=True),
            *shown_values(desk, current),
            *trend.trend_values(desk, training_wanted or training, opened=training_wanted is not None),
            [],
        ]

    def follow(desk: Desk, kept: Any, cards: Any, before: Any) -> list[Any]:
        ticked = ticked_pictures(cards)
        return [_concept_choices(desk, kept, ticked, before), choosing.noted(desk, kept, ticked)]

    def begin(desk: Desk, cards: Any, files: Any, folders: Any, text: Any) -> list[Any]:
        submit_pictures(desk, ticked_pictures(cards), choosing.uploads(files), choosing.names(folders), str(text or ""))
        return watch(desk, SCORES)

    def stop(desk: Desk) -> str:
        return cancel_all(desk, SCORES)

    def choose(desk: Desk, job_id: Any) -> list[Any]:
        return shown_values(desk, job_id)[1:]

    def score(desk: Desk, pictures: list[str], concepts: list[str], prompt: str | None = None) -> dict:
        """Score pictures: names of yours, folders of concepts from left to right, a prompt or none. Answers the job."""
        return submit_pictures(desk, choosing.names(pictures), (), choosing.names(concepts), prompt).to_dict()

    shell.on(cancel.click, stop, None, status)
    shell.refresh(
        tab,
        refresh,
        [chosen.state, chosen.cards, concepts, earlier, trends.training, shell.to_score, told],
        [*chosen.outputs, concepts, told, timer, *shown, *trends.outputs, shell.to_score],
    )
    shell.on(chosen.cards.change, follow, [chosen.state, chosen.cards, concepts], [concepts, chosen.state], quiet=True)
    inputs = [chosen.cards, chosen.files, concepts, prompt]
    shell.on(run.click, begin, inputs, [timer, status])
    shell.on(prompt.submit, begin, inputs, [timer, status])
    shell.on(timer.tick, _poll, [told, trends.training], [told, timer, status, *shown, *trends.outputs], quiet=True)
    shell.on(earlier.input, choose, earlier, shown[1:], quiet=True)
    saves(shell, write, write_scores, [earlier, trends.training])
    shell.offer(score, "score")


def shown_values(desk: Desk, job_id: Any = None) -> list[Any]:
    """The result of a job: values of the list of results, the words, the table and the button of the report.

    Args:
        desk: Whose.
        job_id: Which of their score jobs; another value, or None: the last one that is done.

    Raises:
        InputError: The scores cannot be read.
    """
    done = [job for job in score_jobs(desk) if job.state == "done"]
    job = next((job for job in done if job.id == job_id), done[0] if done else None)
    if job is None:
        return [gr.Dropdown(choices=[], value=None, visible=False), "", {}, gr.Button(visible=False)]
    scores = scores_of(job)
    return [
        gr.Dropdown(choices=[(_label(other), other.id) for other in done], value=job.id, visible=True),
        result_html(scores),
        table_of(desk, job, scores),
        gr.Button(visible=True),
    ]


def _concept_choices(desk: Desk, kept: Any, ticked: list[str], before: Any) -> Any:
    """The concepts to choose from. A choice that nobody made follows the pictures that are ticked."""
    known = [concept for concept in list_concepts(desk.workspace) if not concept.fault]
    choices = [(f"{concept.name} {concept.token}", concept.folder) for concept in known]
    own = [name for name in choosing.names(before) if name in {concept.folder for concept in known}]
    follows = not own or own == choosing.suggested(kept)
    return gr.Dropdown(choices=choices, value=choosing.suggestion(desk, ticked) if follows else own)


def _poll(desk: Desk, told: list[str] | None, training_id: Any) -> list[Any]:
    values, done = look_again(desk, SCORES, told)
    pictures = [job for job in done if about_training(job) is None]
    samples = [about for job in done if (about := about_training(job)) is not None]
    return [
        *values,
        *(shown_values(desk, pictures[-1].id) if pictures else [gr.skip()] * 4),
        *(trend.trend_values(desk, training_id or samples[0][0], opened=True) if samples else trend.unchanged()),
    ]


def _label(job: Job) -> str:
    assert isinstance(job.spec, ScoreSpec), "only a score job has scores"
    when = time.strftime("%d %b %H:%M", time.localtime(job.created))
    count = len(job.spec.images)
    compared = in_words([kept.name for kept in job.spec.references]) or "their prompt"
    return f"{when}: {count} picture{'s' if count > 1 else ''} with {compared}"
