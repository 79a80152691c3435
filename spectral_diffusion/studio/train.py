"""The train screen: concepts ticked, a recipe, and trainings as they go on, whoever watches."""

import html
from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from spectral_diffusion.adapters import holds_columns
from spectral_diffusion.adapters.adapter import tell_columns
from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.studio import advanced, training_detail
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import in_page_words, sentence
from spectral_diffusion.studio.parts.cards import Card, cards, ticked
from spectral_diffusion.studio.parts.job_rows import job_rows, pressed_id
from spectral_diffusion.studio.parts.progress_line import duration
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE, RECIPES
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.thumbnails import COVER_PX, thumbnail_address
from spectral_diffusion.studio.training_detail import adapters_of
from spectral_diffusion.studio.training_list import look, nothing_chosen, tick, training
from spectral_diffusion.studio.training_plan import TrainingPlan, describe_recipe, why_not

POLL_SECONDS = 1.0


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    choice, shown = gr.State(nothing_chosen()), gr.State({})
    timer = gr.Timer(POLL_SECONDS, active=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            chosen = cards(
                empty="No concept yet: put photographs into Concepts first.",
                elem_id=shell.hint("train-concepts", "What shall be learned. Several are trained one after another."),
            )
            faults = gr.HTML("", elem_id="train-faults", js_on_load=None)
            recipe = gr.Radio(
                list(RECIPES),
                value=DEFAULT_RECIPE,
                label="Recipe",
                info=" ".join(f"{name.capitalize()}: {each.text}" for name, each in RECIPES.items()),
                elem_id=shell.hint("train-recipe", "How long and how carefully it is trained."),
            )
            more = advanced.build(shell, recipe)
            foreseen = gr.HTML("", elem_id="train-foreseen", js_on_load=None)
            begin = gr.Button(
                "Train",
                variant="primary",
                size="lg",
                elem_id=shell.hint("train-begin", "Queue the training; it begins when what comes before is done."),
            )
        with gr.Column(scale=7, min_width=320):
            rows = job_rows(
                label="Trainings",
                empty="No training yet. What you train is listed here, and goes on when you close the page.",
                elem_id=shell.hint("train-jobs", "Your trainings, the newest first. Press one to watch it."),
            )
            others = gr.HTML("", elem_id="train-others", js_on_load=None)
            detail = training_detail.build(shell)
    asked = [chosen, recipe, *more.all]
    watched = [rows, others, timer, *detail.outputs, shown]

    def refresh(desk: Desk, wanted: list[str] | None, before: Any, *values: Any) -> list[Any]:
        now = [card.value() for card in concept_cards(desk, before, wanted)]
        return [now, told_faults(desk), foresee(desk, now, *values), []]

    def queue(desk: Desk, wish: dict[str, Any], seen: dict[str, Any], *values: Any) -> list[Any]:
        return chosen_now(desk, {**wish, "job": read_plan(desk, *values).submit(desk).id}, seen)

    def pick(desk: Desk, wish: dict[str, Any], seen: dict[str, Any], evt: gr.EventData) -> list[Any]:
        return chosen_now(desk, {**wish, "job": training(desk, pressed_id(evt)).id, "sure": None}, seen)

    def open_log(desk: Desk, wish: dict[str, Any], seen: dict[str, Any]) -> list[Any]:
        return chosen_now(desk, {**wish, "log": True}, seen)

    def close_log(desk: Desk, wish: dict[str, Any]) -> dict[str, Any]:
        return {**wish, "log": False}

    shell.refresh(tab, refresh, [shell.to_train, *asked], [chosen, faults, foreseen, shell.to_train])
    shell.refresh(tab, look, [choice, shown], watched)
    # One listener for all: a slow answer to an earlier change must not come after that to a later one.
    changed = partial(gr.on, [component.change for component in asked])
    shell.on(changed, foresee, asked, foreseen, quiet=True, trigger_mode="always_last")
    shell.on(timer.tick, tick, [choice, shown], watched, quiet=True)
    shell.on(begin.click, queue, [choice, shown, *asked], [choice, *watched])
    shell.on(rows.select, pick, [choice, shown], [choice, *watched], quiet=True)
    shell.on(detail.log_part.expand, open_log, [choice, shown], [choice, *watched], quiet=True)
    shell.on(detail.log_part.collapse, close_log, choice, choice, quiet=True)
    for button, function in ((detail.cancel, cancel_shown), (detail.retry, retry_shown), (detail.remove, remove_shown)):
        shell.on(button.click, function, [choice, shown], [choice, *watched])
    shell.on(detail.draw.click, draw_shown, shown, [shell.to_create, shell.tabs])
    shell.on(detail.score.click, score_shown, shown, [shell.to_score, shell.tabs])
    for function in (train, jobs, job, cancel, retry):
        shell.offer(function, function.__name__)


def concept_cards(desk: Desk, before: Any, wanted: Sequence[str] | None = None) -> list[Card]:
    """A card for every concept that can be trained; at first the first one is ticked that is not trained yet.

    Args:
        desk: Whose.
        before: Value of the cards before this.
        wanted: Folders of the concepts with which somebody comes here: these are ticked and no others.

    Raises:
        InputError: It is no value of cards.
    """
    concepts = [concept for concept in list_concepts(desk.workspace) if not why_not(concept)]
    if wanted:
        on = set(wanted)
    elif before:
        on = {card.id for card in ticked(before)}
    else:
        on = {concept.folder for concept in [each for each in concepts if not each.has_adapter][:1]}
    return [
        Card(
            id=concept.folder,
            title=concept.name,
            text=f"{concept.count} photograph{'' if concept.count == 1 else 's'}"
            + (", trained already" if concept.has_adapter else ""),
            image=thumbnail_address(desk, concept.cover, COVER_PX),
            on=concept.folder in on,
            hint=f"{concept.token}: {concept.description or concept.class_word}",
        )
        for concept in concepts
    ]


def told_faults(desk: Desk) -> Any:
    """Which concepts cannot be trained, and why."""
    faults = [(concept.name, fault) for concept in list_concepts(desk.workspace) if (fault := why_not(concept))]
    lines = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(fault)}</li>" for name, fault in faults)
    said = f'<div class="notice">These wait for something in Concepts:<ul>{lines}</ul></div>'
    return gr.HTML(said, visible=bool(faults))


def read_plan(desk: Desk, chosen: Any, recipe: Any, *values: Any) -> TrainingPlan:
    """What the controls say.

    Raises:
        InputError: Naming what is wrong.
    """
    config, slot = advanced.read_recipe(desk.studio.config, recipe, *values)
    return TrainingPlan.of(desk, [card.id for card in ticked(chosen)], config, slot)


def foresee(desk: Desk, chosen: Any, recipe: Any, *values: Any) -> str:
    """What is said of a training before it is queued: its time, its columns, what it replaces, or what is wrong."""
    try:
        if not ticked(chosen):
            return _note("Tick what shall be learned.")
        plan = read_plan(desk, chosen, recipe, *values)
        slots, estimate = plan.slots(desk), plan.estimate(desk)
    except InputError as error:
        return f'<p class="notice">{html.escape(in_page_words(error))}.</p>'
    count = len(plan.concepts)
    for_all = f" for {count} concepts" if count > 1 else ""
    if estimate is None:
        said = "<p>How long it takes is not known yet: the worker has yet to read the model.</p>"
    else:
        said = f"<p><b>About {duration(estimate.seconds)}</b>{for_all}, {estimate.basis}.</p>"
    said += _note(f"{sentence(describe_recipe(plan.config))}.")
    if slots:
        said += _note("; ".join(f"{name} in {slot}" for name, slot in slots.items()) + ".")
    if not holds_columns(plan.config.training.method):
        said += _note(f"{sentence(tell_columns(plan.config.training.method, None))}: no slot is taken.")
    if plan.replaced:
        which = "its adapter is" if len(plan.replaced) == 1 else "their adapters are"
        said += _note(f"Trained already: {', '.join(plan.replaced)}; {which} replaced when this training ends.")
    return f'<div role="status">{said}</div>'


def chosen_now(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> list[Any]:
    """What a person wants now, and everything as it is then."""
    return [choice, *look(desk, choice, shown)]


def cancel_shown(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> list[Any]:
    """End the training that is shown."""
    found = _shown(desk, shown)
    desk.studio.queue.cancel(found.id)
    return chosen_now(desk, {**choice, "job": found.id, "sure": None}, shown)


def retry_shown(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> list[Any]:
    """Queue it again."""
    found = _shown(desk, shown)
    desk.studio.queue.retry(found.id)
    return chosen_now(desk, {**choice, "job": found.id, "sure": None}, shown)


def remove_shown(desk: Desk, choice: dict[str, Any], shown: dict[str, Any]) -> list[Any]:
    """Forget it, at the second press."""
    found = _shown(desk, shown)
    if found.is_open or choice.get("sure") == found.id:
        desk.studio.queue.remove(found.id)
        return chosen_now(desk, {**choice, "job": None, "sure": None}, shown)
    return chosen_now(desk, {**choice, "job": found.id, "sure": found.id}, shown)


def draw_shown(desk: Desk, shown: dict[str, Any]) -> list[Any]:
    """Go to the create screen with its adapters."""
    made = adapters_of(desk, _shown(desk, shown))
    if not made:
        raise InputError("its adapters are not there any more", "train it again")
    return [made, gr.Tabs(selected="create")]


def score_shown(desk: Desk, shown: dict[str, Any]) -> list[Any]:
    """Go to the score screen with its samples."""
    return [{"job": _shown(desk, shown).id}, gr.Tabs(selected="score")]


def train(desk: Desk, concepts: list[str], recipe: str = DEFAULT_RECIPE, steps: int | None = None) -> dict[str, Any]:
    """Queue a training of concepts, named by their folders, by a recipe (quick, balanced, best); returns the job."""
    if not isinstance(concepts, list):
        raise InputError("the concepts are no list", 'name them as ["octo"]')
    config, slot = advanced.read_recipe(desk.studio.config, recipe, steps)
    return TrainingPlan.of(desk, concepts, config, slot).submit(desk).to_dict()


def jobs(desk: Desk) -> list[dict[str, Any]]:
    """The newest jobs of all kinds, the newest first."""
    return [each.to_dict() for each in desk.jobs()]


def job(desk: Desk, id: str) -> dict[str, Any]:
    """A job: its state, how far it is, and what it made."""
    return desk.job(id).to_dict()


def cancel(desk: Desk, id: str) -> dict[str, Any]:
    """End a job that waits or runs; returns it."""
    return desk.studio.queue.cancel(desk.job(id).id).to_dict()


def retry(desk: Desk, id: str) -> dict[str, Any]:
    """Queue a job again that failed or was cancelled; a training goes on from its checkpoint; returns it."""
    return desk.studio.queue.retry(desk.job(id).id).to_dict()


def _shown(desk: Desk, shown: dict[str, Any]) -> Job:
    if not shown.get("job"):
        raise InputError("no training is chosen", "press one in the list")
    return training(desk, shown["job"])


def _note(text: str) -> str:
    return f'<p class="hint">{html.escape(text)}</p>'
