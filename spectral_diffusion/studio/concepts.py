"""The concepts screen: a person's things, their photographs with verdicts and captions, cropped and masked."""

import html
import os
from collections.abc import Callable
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.curation import delete_concept, restore, set_caption
from spectral_diffusion.diffusion.dataset import PHOTOGRAPH_LIMIT
from spectral_diffusion.diffusion.gallery import ConceptSummary, list_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio import concept_words, picture_editor
from spectral_diffusion.studio.added_photographs import add_offer, add_photographs_to
from spectral_diffusion.studio.added_samples import put_back_samples
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import in_page_words
from spectral_diffusion.studio.parts.caption_table import caption_table, captioned
from spectral_diffusion.studio.parts.concept_list import concept_list, concept_of, counted, listed_concepts
from spectral_diffusion.studio.parts.nodes import told, told_text
from spectral_diffusion.studio.parts.upload_results import CSS as OUTCOMES_CSS
from spectral_diffusion.studio.parts.upload_results import outcomes
from spectral_diffusion.studio.parts.uploads import drop_zone, offered_to, read_offer
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.trash import TrashedItem
from spectral_diffusion.workspace import SAMPLES

_ACCEPTED = ("image/png", "image/jpeg", "image/webp", ".png", ".jpg", ".jpeg", ".webp", ".zip", ".txt", ".toml")
_DROP = (
    f"Drop photographs here, a folder or a zip of them: up to {PHOTOGRAPH_LIMIT}, PNG, JPEG or WebP. "
    "Five different views are a good start."
)
_TOYBOX = (
    "Toybox, the built-in model, knows a world of toys. It learns from photographs too, but draws what it learns as a "
    "toy in their likeness. Photographs as such need another model; see Model."
)
_EMPTY: dict[str, Any] = {"concept": None, "photograph": None, "undo": None}
Task = Callable[..., Any]


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    state, given, taken_over = gr.State(dict(_EMPTY)), gr.State(["", ""]), gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=260):
            listed = concept_list(elem_id=shell.hint("concepts-list", "Your concepts. Press one for its photographs."))
            new = gr.Button(
                "New concept", variant="primary", elem_id=shell.hint("concepts-new", "A thing of yours to be learned.")
            )
            samples = shell.small_button(
                "Put the sample concepts back",
                "concepts-samples",
                "The three toys and their adapters, as far as they are gone.",
            )
        with gr.Column(scale=9, min_width=320):
            undo = shell.small_button(
                "Bring it back", "concepts-undo", "Take it out of the trash again.", visible=False
            )
            with gr.Column(visible=False, elem_id="concepts-making") as making:
                gr.Markdown("## New concept")
                if shell.studio.base == "toybox":
                    gr.HTML(f'<p class="notice">{_TOYBOX}</p>', js_on_load=None)
                new_words = concept_words.build(shell, "concepts-new")
                with gr.Row():
                    create = gr.Button(
                        "Create",
                        variant="primary",
                        elem_id=shell.hint("concepts-create", "Make it; its photographs come next."),
                    )
                    cancel = gr.Button("Cancel", elem_id=shell.hint("concepts-cancel", "Make none."))
            with gr.Column(visible=False, elem_id="concepts-detail") as detail:
                heading = gr.HTML("", js_on_load=None, elem_id="concepts-heading")
                with gr.Row():
                    train = shell.small_button(
                        "Train it",
                        "concepts-train",
                        "Go to Train. Its photographs are what is learned.",
                        variant="primary",
                        scale=0,
                        min_width=150,
                    )
                    draw = shell.small_button(
                        "Draw with it",
                        "concepts-draw",
                        "Go to Create with this concept ticked.",
                        scale=0,
                        min_width=150,
                        visible=False,
                    )
                    delete = shell.small_button(
                        "Delete concept",
                        "concepts-delete",
                        "Into the trash of Files. Its adapter stays.",
                        scale=0,
                        min_width=150,
                        variant="stop",
                    )
                with gr.Accordion("Name, token, class word and description", open=False, elem_id="concepts-words"):
                    words = concept_words.build(shell, "concepts")
                    save = shell.small_button("Save", "concepts-save", "Write what is in these four fields.")
                zone = drop_zone(
                    _DROP,
                    accept=_ACCEPTED,
                    has_folders=True,
                    elem_id=shell.hint("concepts-drop", "Location and other metadata of photographs are not kept."),
                )
                results = gr.HTML("", css_template=OUTCOMES_CSS, js_on_load=None, elem_id="concepts-results")
                with gr.Row(equal_height=False):
                    with gr.Column(scale=6, min_width=300):
                        table = caption_table(
                            opens="concepts-editor",
                            elem_id=shell.hint(
                                "concepts-photographs", "Each photograph with its verdict and its caption."
                            ),
                        )
                    editor = picture_editor.build(shell)

    shown = [state, listed, detail, heading, train, draw, undo, *words.all, zone, table, *editor.outputs]

    written = [making, *new_words.all, given]
    closed = [gr.Column(visible=False), "", "", "", "", ["", ""]]

    def refresh(desk: Desk, kept: dict[str, Any], with_new_words: Any = None) -> list[Any]:
        return view(desk, kept, keep_words=kept["concept"] != with_new_words)

    def pick(desk: Desk, kept: dict[str, Any], evt: gr.EventData) -> list[Any]:
        folder = concept_of(desk, told(evt, "folder")).folder
        return [gr.Column(visible=False), "", *view(desk, {**kept, "concept": folder, "photograph": None})]

    def pick_photograph(desk: Desk, kept: dict[str, Any], evt: gr.EventData) -> list[Any]:
        concept, name = told_text(evt, "concept"), told_text(evt, "name")
        picture_editor.find(desk, concept, name)
        # Pressed again, it closes.
        name = None if (concept, name) == (kept["concept"], kept["photograph"]) else name
        return view(desk, {**kept, "concept": concept, "photograph": name}, keep_words=True)

    def changing(task: Callable[[Desk, gr.EventData], tuple[str, str]], words: str) -> Task:
        def change(desk: Desk, kept: dict[str, Any], evt: gr.EventData) -> list[Any]:
            concept, name = task(desk, evt)
            gr.Info(words, duration=5)
            return view(desk, {**kept, "concept": concept, "photograph": name}, keep_words=True)

        return change

    def remove(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        item = picture_editor.remove(desk, kept["concept"], kept["photograph"])
        return view(desk, {**kept, "photograph": None, "undo": _noted(item)}, keep_words=True)

    def throw_away(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        item = delete_concept(desk.workspace, concept_of(desk, kept["concept"]).folder)
        return ["", *view(desk, {**_EMPTY, "undo": _noted(item)})]

    def bring_back(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        if not kept["undo"]:
            raise InputError("there is nothing to bring back", "look into the trash of Files")
        place = restore(desk.workspace, kept["undo"]["id"])
        # The trash answers an absolute path, and the workspace may be named by a relative one.
        inside = place.relative_to(os.path.abspath(desk.workspace.concepts)).parts
        return view(desk, {"concept": inside[0], "photograph": (*inside, None)[1], "undo": None})

    def make(desk: Desk, kept: dict[str, Any], *values: Any) -> list[Any]:
        folder = concept_words.create(desk, *values)
        return [*closed, "", *view(desk, {**kept, "concept": folder, "photograph": None})]

    def save_words(desk: Desk, kept: dict[str, Any], *values: Any) -> list[Any]:
        folder = concept_words.save(desk, concept_of(desk, kept["concept"]), *values)
        gr.Info("Saved.", duration=3)
        return view(desk, {**kept, "concept": folder})

    def put_samples_back(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        put_back_samples(desk)
        return view(desk, kept)

    def take(
        desk: Desk,
        kept: dict[str, Any],
        evt: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio tells it by its default)
    ) -> list[Any]:
        # Who drops photographs may look at another concept before they have arrived.
        offer, concept = read_offer(desk, evt), concept_of(desk, told(evt, "about"))
        before = (concept.token, concept.class_word, concept.description)
        found = add_offer(desk, concept.folder, offer, progress)
        if concept.folder != kept["concept"]:
            gr.Info(html.escape(f"What you dropped on {concept.name} has been read."), duration=8)
        now = concept_of(desk, concept.folder)
        has_new_words = (now.token, now.class_word, now.description) != before
        return [outcomes(found, "photograph"), concept.folder if has_new_words else None]

    def to_train(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        return [[concept_of(desk, kept["concept"]).folder], gr.Tabs(selected="train")]

    def to_create(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        return [[f"{concept_of(desk, kept['concept']).name}.safetensors"], gr.Tabs(selected="create")]

    shell.refresh(tab, refresh, state, shown)
    shell.on(listed.pick, pick, state, [making, results, *shown], quiet=True)
    shell.on(table.pick, pick_photograph, state, shown, quiet=True)
    # Whoever leaves two captions, or drops twice, before the first is answered means both.
    shell.on(table.caption, write_caption, state, table, quiet=True, trigger_mode="multiple")
    shell.on(editor.crop.crop, changing(picture_editor.crop, "Cropped. The whole one is in the trash."), state, shown)
    shell.on(editor.brush.save, changing(picture_editor.save_mask, "The mask is saved."), state, shown)
    shell.on(
        editor.brush.remove, changing(picture_editor.remove_mask, "The mask is in the trash of Files."), state, shown
    )
    shell.on(editor.remove.click, remove, state, shown)
    taken = shell.on(
        zone.offered,
        take,
        state,
        [results, taken_over],
        show_progress="full",
        show_progress_on=results,
        trigger_mode="multiple",
    )
    # Meanwhile somebody may have gone on to another concept: what is shown is asked for anew.
    shell.on(taken.then, refresh, [state, taken_over], shown, quiet=True)
    shell.on(delete.click, throw_away, state, [results, *shown])
    shell.on(undo.click, bring_back, state, shown)
    shell.on(save.click, save_words, [state, *words.all], shown)
    shell.on(samples.click, put_samples_back, state, shown)
    shell.on(new.click, lambda desk: gr.Column(visible=True), None, making, quiet=True)
    shell.on(cancel.click, lambda desk: closed, None, written, quiet=True)
    shell.on(
        new_words.name.change,
        concept_words.follow,
        [new_words.name, new_words.token, new_words.class_word, given],
        [new_words.token, new_words.class_word, given],
        quiet=True,
        trigger_mode="always_last",
    )
    shell.on(create.click, make, [state, *new_words.all], [*written, results, *shown])
    shell.on(train.click, to_train, state, [shell.to_train, shell.tabs], quiet=True)
    shell.on(draw.click, to_create, state, [shell.to_create, shell.tabs], quiet=True)
    shell.offer(concepts, "concepts")
    shell.offer(add_photographs_to, "add_photographs")


def view(desk: Desk, kept: dict[str, Any], *, keep_words: bool = False) -> list[Any]:
    """Values of the whole screen.

    Args:
        desk: Whose.
        kept: Which concept and photograph are looked at. Where that concept is gone, another takes its place.
        keep_words: Leave the fields of an unchanged concept as they are: somebody may be writing in them.
    """
    found = {concept.folder: concept for concept in list_concepts(desk.workspace)}
    is_same = kept["concept"] in found
    concept = found[kept["concept"]] if is_same else next(iter(found.values()), None)
    kept = kept if is_same else {**kept, "concept": concept.folder if concept else None, "photograph": None}
    item = kept["undo"]
    undo = gr.Button(f"Bring {item['name']} back" if item else "Bring it back", visible=item is not None)
    if concept is None:
        hidden = [
            gr.skip(),
            gr.Button(visible=False),
            undo,
            *[gr.skip()] * 4,
            offered_to(None),
            {"concept": "", "rows": []},
        ]
        return [kept, [], gr.Column(visible=False), "", *hidden, *picture_editor.edited(desk, None, None)]
    return [
        kept,
        listed_concepts(desk, concept.folder),
        gr.Column(visible=True),
        _heading(desk, concept),
        gr.Button(interactive=concept.count > 0),
        gr.Button(visible=concept.has_adapter),
        undo,
        *([gr.skip()] * 4 if keep_words and is_same else concept_words.shown(concept)),
        offered_to(concept.folder),
        captioned(desk, concept.folder, kept["photograph"]),
        *picture_editor.edited(desk, concept.folder, kept["photograph"]),
    ]


def write_caption(desk: Desk, kept: dict[str, Any], evt: gr.EventData) -> Any:
    """Save a caption; where it is refused, the words stand below it and what was written stays.

    Raises:
        InputError: The event names no photograph there is.
    """
    concept, name = told_text(evt, "concept"), told_text(evt, "name")
    refused = {}
    picture_editor.find(desk, concept, name)
    try:
        set_caption(desk.workspace, concept, name, told_text(evt, "text"))
    except InputError as error:
        refused = {name: f"not saved: {in_page_words(error)}"}
    answered = {"name": name, "text": told_text(evt, "text")}
    return {**captioned(desk, concept, kept["photograph"], refused), "answered": answered}


def concepts(desk: Desk) -> list[dict[str, Any]]:
    """The concepts: folder, name, token, class word, description, number of photographs, whether trained, and fault."""
    return [
        {
            "folder": concept.folder,
            "name": concept.name,
            "token": concept.token,
            "class_word": concept.class_word,
            "description": concept.description,
            "count": concept.count,
            "trained": concept.has_adapter,
            "fault": concept.fault,
        }
        for concept in list_concepts(desk.workspace)
    ]


def _noted(item: TrashedItem) -> dict[str, str]:
    return {"id": item.id, "name": item.name}


def _heading(desk: Desk, concept: ConceptSummary) -> str:
    parts = [counted(concept.count), *(["trained"] if concept.has_adapter else [])]
    lines = [
        f"<h2>{html.escape(concept.name)} <code>{html.escape(concept.token)}</code></h2>",
        f"<p class='hint'>{html.escape(', '.join(part for part in (concept.class_word, concept.description) if part))}"
        f"<br>{html.escape(', '.join(parts))}</p>",
    ]
    notes = [*concept.notes, *([concept.fault] if concept.fault and concept.count else [])]
    lines += [f"<p class='notice'>{html.escape(note)}</p>" for note in notes]
    if not concept.description:
        lines.append("<p class='hint'>It has no description yet: a few words on its look help much.</p>")
    if desk.studio.base == "toybox" and concept.folder not in SAMPLES:
        lines.append(f"<p class='notice'>{_TOYBOX}</p>")
    return "".join(lines)
