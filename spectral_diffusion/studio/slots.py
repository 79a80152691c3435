"""The slots screen: the model's spectrum, who holds which columns of it, and how concepts get theirs."""

import html
from typing import Any

import gradio as gr

from spectral_diffusion.config import Config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job import Job
from spectral_diffusion.studio.assignments import Given, assign, assign_all, check_free, folder_of, note_lost, release
from spectral_diffusion.studio.board import Board, lost, read_board, trained
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import whole
from spectral_diffusion.studio.events import in_page_words
from spectral_diffusion.studio.holders import TABLE_CSS, Measurer, overlap_html, room_html, table_html
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.parts.progress_line import duration, in_words
from spectral_diffusion.studio.parts.reading import HINT, reading, reading_values, why_unread
from spectral_diffusion.studio.parts.strip import dropped, strip, strip_value, waiting_value
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE, recipe_of
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.training_plan import TrainingPlan

POLL_SECONDS = 2.0
_ABOUT = (
    "The model's weights are cut into singular-vector columns, the strongest first. A concept trains the columns of "
    "its own **slot** and no others: concepts in different slots never meet, so any number of them fuse by a sum. "
    "Training takes a free slot by itself; here you may choose. Drag a name, or focus it and use the arrow keys and "
    "Enter. Bars and shares: the spectral energy of each slot (bars on a log scale)."
)
Offer = dict[str, Any]


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    measurer = Measurer()
    offered = gr.State(None)
    timer = gr.Timer(POLL_SECONDS, active=False)
    gr.Markdown(_ABOUT, elem_classes="hint")
    unread = reading(shell.hint("slots-read-again", HINT))
    room = gr.HTML("", elem_id="slots-room", js_on_load=None)
    shown = strip(elem_id=shell.hint("slots-strip", "The model's slots, from the largest singular values on."))
    with gr.Column(visible=False, elem_id="slots-offer") as offer:
        question = gr.HTML("", js_on_load=None)
        with gr.Row():
            again = gr.Button(
                "Train it again there",
                variant="primary",
                elem_id=shell.hint(
                    "slots-again", "Queue a training in that slot; the old adapter stays until it is done."
                ),
            )
            leave = gr.Button("Leave it", elem_id=shell.hint("slots-leave", "Keep it where it was trained."))
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            assign_every = gr.Button(
                "Assign automatically",
                variant="primary",
                elem_id=shell.hint("slots-auto", "Give every concept without a slot the first free one."),
            )
            concept = gr.Dropdown(
                label="Concept",
                choices=[],
                elem_id=shell.hint("slots-concept", "Whose slot to assign or to release."),
            )
            number = gr.Number(
                0,
                label="Slot",
                precision=0,
                minimum=0,
                elem_id=shell.hint("slots-number", "Number of the slot; 0 has the largest singular values."),
            )
            with gr.Row():
                put = gr.Button("Assign", elem_id=shell.hint("slots-assign", "Reserve this slot for this concept."))
                free = gr.Button("Release", elem_id=shell.hint("slots-release", "Give the concept's reservation back."))
            mend = gr.Button(
                "Note what is missing in the ledger",
                visible=False,
                elem_id=shell.hint("slots-mend", "Columns of adapter files that the ledger does not know of."),
            )
        with gr.Column(scale=7, min_width=300):
            table = gr.HTML("", elem_id="slots-table", css_template=TABLE_CSS, js_on_load=None)
    gr.Markdown("#### Measured overlap")
    overlap = gr.HTML("", elem_id="slots-overlap", css_template=TABLE_CSS, js_on_load=None)
    outputs = [shown, room, table, concept, offer, question, offered, mend, *unread, timer]

    def refresh(desk: Desk, chosen: Any) -> list[Any]:
        return _values(desk, chosen)

    def refused(desk: Desk, chosen: Any) -> list[Any]:
        return _values(desk, chosen, "Nothing was changed.")

    def follow(desk: Desk, chosen: Any, kept: Any) -> list[Any]:
        return _values(desk, chosen, offer=kept if isinstance(kept, dict) else None)

    def place(desk: Desk, chosen: Any, wanted: Any) -> list[Any]:
        if not isinstance(chosen, str):
            raise InputError("no concept is chosen", "choose one")
        return _place(desk, chosen, whole(wanted, "number of the slot", 0, 10**6), chosen)

    def drop(desk: Desk, chosen: Any, evt: gr.EventData) -> list[Any]:
        name, wanted = dropped(evt)
        return _place(desk, name, wanted, chosen)

    def every(desk: Desk, chosen: Any) -> list[Any]:
        return _values(desk, chosen, given_words(assign_all(desk)))

    def give_back(desk: Desk, chosen: Any) -> list[Any]:
        if not isinstance(chosen, str):
            raise InputError("no concept is chosen", "choose one")
        slot = release(desk, chosen)
        return _values(desk, chosen, f"{chosen} holds no slot now: {slot} are free.")

    def train_again(desk: Desk, chosen: Any, kept: Any) -> list[Any]:
        job = queue_again(desk, kept)
        return _values(desk, chosen, f"Queued: {in_words(job)}. The Train screen shows how far it is.")

    def note_all(desk: Desk, chosen: Any) -> list[Any]:
        noted = note_lost(desk)
        told = f"The ledger knows the columns of {', '.join(noted)} now." if noted else "Nothing could be noted."
        return _values(desk, chosen, told)

    def read_again(desk: Desk, chosen: Any) -> list[Any]:
        desk.studio.ask_for_facts(again=True)
        return _values(desk, chosen)

    def measure(desk: Desk) -> str:
        return overlap_html(measurer.measure(desk, read_board(desk))) if desk.studio.facts else ""

    shell.refresh(tab, refresh, concept, outputs)
    followed = shell.on(timer.tick, follow, [concept, offered], outputs, quiet=True)
    shell.on(followed.success, measure, None, overlap, quiet=True)
    shell.on(tab.select, measure, None, overlap)
    changes = [
        shell.on(shown.select, drop, concept, outputs, quiet=True),
        shell.on(assign_every.click, every, concept, outputs, quiet=True),
        shell.on(put.click, place, [concept, number], outputs, quiet=True),
        shell.on(free.click, give_back, concept, outputs, quiet=True),
        shell.on(again.click, train_again, [concept, offered], outputs, quiet=True),
        shell.on(mend.click, note_all, concept, outputs, quiet=True),
        shell.on(unread.again.click, read_again, concept, outputs, quiet=True),
    ]
    for change in changes:
        # What was refused shows how things are, which another page may have changed.
        shell.on(change.failure, refused, concept, outputs, quiet=True)
    shell.on(leave.click, refresh, concept, outputs, quiet=True)
    shell.offer(slots, "slots")
    shell.offer(assign_slot, "assign_slot")
    shell.offer(release_slot, "release_slot")


def given_words(given: Given) -> str:
    """What is said when everybody was to have a slot: who has which now, and why others have none."""
    if given.fault is None and not given.slots:
        return "Every concept that needs a slot has one already."
    told = ", ".join(f"{name} has {slot} now" for name, slot in given.slots.items())
    return f"{told}." if given.fault is None else f"{told}. No more were given: {in_page_words(given.fault)}."


def slots(desk: Desk) -> dict:
    """Who holds which columns of the model, the energy of every slot, and which are free."""
    return read_board(desk).as_dict()


def assign_slot(desk: Desk, concept: str, slot: int) -> dict:
    """Reserve a slot for a concept: its number, or -1 for its own or else the first free one."""
    wanted = whole(slot, "number of the slot", -1, 10**6)
    columns = assign(desk, str(concept), "auto" if wanted == -1 else wanted)
    return {"concept": concept, "start": columns.start, "width": columns.width}


def release_slot(desk: Desk, concept: str) -> dict:
    """Give back what is reserved for a concept that is not trained."""
    columns = release(desk, str(concept))
    return {"concept": concept, "start": columns.start, "width": columns.width}


def queue_again(desk: Desk, offered: Any) -> Job:
    """Queue the training that was offered.

    Args:
        desk: Whose.
        offered: The concept and the slot.

    Raises:
        InputError: There is no offer, the concept has no photographs, the slot was taken meanwhile, or see
            `TrainingPlan.submit`.
    """
    if not isinstance(offered, dict):
        raise InputError("no training was offered", "move a trained concept first")
    concept, number = offered["concept"], offered["slot"]
    board, summary = read_board(desk), folder_of(desk, concept)
    check_free(board, concept, number)
    if summary is None:
        raise InputError(f"there are no photographs of {concept} any more", "add them in Concepts")
    if concept in concepts_in_training(desk):
        raise InputError(f"{concept} is in a training that has not ended", "wait for it, or cancel it in Train")
    return TrainingPlan.of(desk, [summary.folder], _recipe(desk), number).submit(desk)


def _recipe(desk: Desk) -> Config:
    """What the Train screen trains by unless told otherwise: with sample pictures between."""
    config = desk.studio.config
    return config.override(recipe_of(DEFAULT_RECIPE).overrides(config))


def _place(desk: Desk, concept: str, number: int, chosen: Any) -> list[Any]:
    """Put a concept into a slot, or offer to train it again there."""
    board = read_board(desk)
    lies = trained(board, concept)
    if lies is not None and board.columns(number) != lies.slot:
        slot = check_free(board, concept, number)
        if concept not in concepts_in_training(desk) and folder_of(desk, concept) is not None:
            offer: Offer = {"concept": concept, "slot": number}
            return _values(desk, chosen, f"{concept} stays in {lies.slot} until it is trained again in {slot}.", offer)
    slot = assign(desk, concept, number)
    return _values(desk, chosen, f"{concept} has slot {number} now, {slot}.")


def _values(desk: Desk, chosen: Any, note: str = "", offer: Offer | None = None) -> list[Any]:
    """The whole screen as it is now; the values of its outputs."""
    if desk.studio.facts is None:
        job = desk.studio.ask_for_facts()
        return [
            waiting_value("The slots are shown here once the model has been read."),
            "",
            "",
            gr.Dropdown(choices=[], value=None),
            gr.Column(visible=False),
            "",
            None,
            gr.Button(visible=False),
            *reading_values(job),
            gr.Timer(active=why_unread(job) is None),
        ]
    board = read_board(desk)
    names, missing = board.concepts, lost(board)
    return [
        strip_value(board, note),
        room_html(board),
        table_html(board),
        _offered(names, chosen),
        gr.Column(visible=offer is not None),
        _question(desk, board, offer) if offer else "",
        offer,
        gr.Button(visible=bool(missing)),
        *reading_values(None),
        gr.Timer(active=bool(board.training)),
    ]


def _offered(names: list[str], chosen: Any) -> gr.Dropdown:
    # While this is asked for, somebody may choose another one: that stays chosen.
    if chosen in names:
        return gr.Dropdown(choices=names)
    return gr.Dropdown(choices=names, value=next(iter(names), None))


def _question(desk: Desk, board: Board, offer: Offer) -> str:
    from spectral_diffusion.diffusion.facts import training_seconds

    concept, number = offer["concept"], offer["slot"]
    lies = trained(board, concept)
    config = _recipe(desk)
    takes = duration(training_seconds(board.facts, config, 1, desk.studio.queue.pace(config)))
    text = (
        f"{concept} is trained in {lies.slot if lies else 'other columns'}: its adapter changes these and no others. "
        f"To have it in slot {number} ({board.columns(number)}) it must be trained again, about {takes}."
    )
    return f'<p class="notice">{html.escape(text)}</p>'
