"""Pictures that were drawn: the last ones, a slider between two, all before them, and what can be done with each."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.studio.controls import Controls, shown_drawing
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing
from spectral_diffusion.studio.events import sentence
from spectral_diffusion.studio.restoring import from_picture, settings_in
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.trash import Trash

PAGE = 24
"""So many pictures are added to the history at a time."""
_EMPTY: dict[str, Any] = {"latest": [], "labels": [], "history": [], "selected": None, "limit": PAGE}


@dataclass(frozen=True)
class Shown:
    """What the rest of the screen needs of this part.

    Args:
        state: What is shown where, by names of pictures.
        outputs: What `show`, `show_job` and `unchanged` give values for.
    """

    state: gr.State
    outputs: list[Any]


def build(shell: Shell, controls: Controls) -> Shown:
    """This part of the create screen."""
    state = gr.State(dict(_EMPTY))
    latest = gr.Gallery(
        label="Latest",
        columns=4,
        height="auto",
        object_fit="contain",
        buttons=["fullscreen"],
        interactive=False,
        preview=False,
        elem_id=shell.hint("create-latest", "What was drawn last. Press a picture for its settings."),
    )
    with gr.Accordion("Before and after", open=False, visible=False) as pair:
        left = gr.Dropdown(
            label="Left side", choices=[], elem_id=shell.hint("create-before", "Which picture stands on the left.")
        )
        slider = gr.ImageSlider(
            show_label=False,
            interactive=False,
            buttons=["fullscreen"],
            max_height=420,
            elem_id=shell.hint("create-slider", "Drag the line between the two pictures."),
        )
    with gr.Column(visible=False, elem_id="create-details") as details:
        facts = gr.HTML("", js_on_load=None, padding=True)
        with gr.Row():
            reuse = shell.small_button("Reuse settings", "create-reuse", "Put all its settings back.")
            vary = shell.small_button("Vary the seed", "create-vary", "Draw it again with the seeds that follow.")
            score = shell.small_button("Score", "create-score", "Compare it with photographs and its prompt.")
            download = gr.DownloadButton(
                "Download", size="sm", elem_id=shell.hint("create-download", "The PNG, with its settings inside.")
            )
            delete = shell.small_button("Delete", "create-delete", "Into the trash of Files.", variant="stop")
        command = gr.Textbox(
            label="The same on the command line",
            interactive=False,
            lines=2,
            buttons=["copy"],
            elem_id=shell.hint("create-command", "Copy it into a terminal: it draws the same picture."),
        )
    history = gr.Gallery(
        label="History",
        columns=6,
        height="auto",
        object_fit="contain",
        buttons=[],
        interactive=False,
        allow_preview=False,
        elem_id=shell.hint("create-history", "All your pictures, the newest first. Press one for its settings."),
    )
    more = shell.small_button("Older pictures", "create-more", "Show more of them.", visible=False)
    dropped = gr.File(
        label="Drop a picture here to get its settings back",
        file_types=[".png"],
        height=150,
        elem_id=shell.hint("create-drop", "A PNG that was drawn here or by the command line holds all its settings."),
    )
    shown = Shown(state, [latest, pair, left, slider, history, more, state])

    def pick(which: str) -> Any:
        def picked(desk: Desk, kept: dict[str, Any], evt: gr.SelectData) -> list[Any]:
            names, index = kept[which], evt.index
            if not isinstance(index, int) or not 0 <= index < len(names):
                raise InputError("that picture is gone", "choose another")
            return [*_details(desk, names[index]), {**kept, "selected": names[index]}]

        return picked

    def put_back(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        drawing, notes = from_picture(desk, _selected(desk, kept))
        return _restored(desk, drawing, notes)

    def put_back_file(desk: Desk, path: Any) -> list[Any]:
        if not isinstance(path, str):
            raise InputError("there is no picture", "drop a PNG that was drawn here")
        drawing, notes = from_picture(desk, Path(path))
        return [None, *_restored(desk, drawing, notes)]

    def _restored(desk: Desk, drawing: Drawing, notes: list[str]) -> list[Any]:
        for note in notes:
            gr.Warning(html.escape(f"{sentence(note)}."), duration=10)
        values = shown_drawing(desk, drawing)
        return [*values[:3], "Own", gr.Number(values[4], visible=True), gr.Number(values[5], visible=True), *values[6:]]

    def vary_seed(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        drawing, notes = from_picture(desk, _selected(desk, kept))
        values = _restored(desk, drawing, notes)
        return [*values[:8], drawing.seed + 1, 4]

    def to_score(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        return [[desk.picture_name(_selected(desk, kept))], gr.Tabs(selected="score")]

    def throw_away(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        path = _selected(desk, kept)
        Trash(desk.workspace).put(path, what="picture")
        gr.Info("It is in the trash of Files.", duration=4)
        return [gr.Column(visible=False), *show(desk, {**kept, "selected": None})]

    def show_more(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        return show(desk, {**kept, "limit": kept["limit"] + PAGE})

    def show_left(desk: Desk, kept: dict[str, Any], label: Any) -> Any:
        return _slider(desk, kept, label)

    for which, gallery in (("latest", latest), ("history", history)):
        shell.on(gallery.select, pick(which), state, [details, facts, command, download, state], quiet=True)
    shell.on(reuse.click, put_back, state, controls.all)
    shell.on(vary.click, vary_seed, state, controls.all)
    shell.on(score.click, to_score, state, [shell.to_score, shell.tabs])
    shell.on(delete.click, throw_away, state, [details, *shown.outputs])
    shell.on(more.click, show_more, state, shown.outputs)
    shell.on(left.input, show_left, [state, left], slider, quiet=True)
    shell.on(dropped.upload, put_back_file, dropped, [dropped, *controls.all])
    return shown


def show_job(desk: Desk, kept: dict[str, Any], job: Job) -> list[Any]:
    """The pictures of a job that is done, as values of `Shown.outputs`."""
    answer = (job.result or {}).get("answer", {})
    folder = desk.workspace.images.resolve()
    names, labels = [], []
    for made in desk.made(job):
        if made.suffix == ".png" and made.resolve().is_relative_to(folder):
            name = made.resolve().relative_to(folder).as_posix()
            told = next((item for item in answer.get("pictures", []) if item["file"].endswith(f"/{made.name}")), {})
            names.append(name)
            labels.append(told.get("label") or ("grid" if not told else f"seed {told['seed']}"))
    if job.spec is not None and job.spec.kind == "grid" and len(names) > 1:
        # A row reads as single pictures; a true grid as its sheet.
        names, labels = (names[:1], labels[:1]) if job.spec.row_labels else (names[1:], labels[1:])
    return show(desk, {**kept, "latest": names, "labels": labels})


def unchanged() -> list[Any]:
    """The values of `Shown.outputs` while nothing new was drawn."""
    return [gr.skip() for _ in range(7)]


def show(desk: Desk, kept: dict[str, Any]) -> list[Any]:
    """What there is now, as values of `Shown.outputs`.

    Args:
        desk: Whose pictures.
        kept: The value of `Shown.state`.
    """
    pictures = desk.pictures()
    names = [desk.picture_name(path) for path in pictures[: kept["limit"]]]
    latest = [(name, label) for name, label in _labelled(kept) if desk.has_picture(name)]
    kept = {**kept, "history": names, "latest": [name for name, _ in latest], "labels": [label for _, label in latest]}
    labels = kept["labels"]
    return [
        [(desk.show(desk.picture(name)), label) for name, label in latest],
        gr.Accordion(visible=len(latest) > 1),
        gr.Dropdown(choices=labels[:-1], value=labels[0] if len(labels) > 1 else None),
        _slider(desk, kept, labels[0] if len(labels) > 1 else None),
        [desk.show(path) for path in pictures[: kept["limit"]]],
        gr.Button(visible=len(pictures) > kept["limit"]),
        kept,
    ]


def _labelled(kept: dict[str, Any]) -> list[tuple[str, str]]:
    return list(zip(kept["latest"], kept["labels"], strict=False))


def _slider(desk: Desk, kept: dict[str, Any], label: str | None) -> Any:
    latest = _labelled(kept)
    before = next((name for name, own in latest if own == label), None)
    if before is None or len(latest) < 2:
        return None
    return desk.show(desk.picture(before)), desk.show(desk.picture(latest[-1][0]))


def _selected(desk: Desk, kept: dict[str, Any]) -> Path:
    if not kept.get("selected"):
        raise InputError("no picture is chosen", "press one in Latest or History")
    return desk.picture(kept["selected"])


def _details(desk: Desk, name: str) -> list[Any]:
    path = desk.picture(name)
    try:
        settings, notes = settings_in(path)
        drawing, _ = from_picture(desk, path)
    except InputError as error:
        words = f"<p><b>{html.escape(path.name)}</b></p><p class='hint'>{html.escape(error.what)}</p>"
        return [gr.Column(visible=True), words, "", gr.DownloadButton(value=desk.show(path))]
    used = ", ".join(f"{record.name} at {record.strength:g}" for record in settings.adapters) or "the base alone"
    rows = {
        "Prompt": settings.prompt,
        "Without": settings.negative_prompt,
        "Concepts": used,
        "Seed": settings.seed,
        "Size": f"{settings.width_px} x {settings.height_px} px",
        "Steps": settings.steps,
        "Guidance": f"{settings.guidance_scale:g}",
        "Base": settings.base,
    }
    body = "".join(
        f"<tr><th scope='row'>{key}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in rows.items()
        if value != ""
    )
    told = "".join(f"<p class='notice'>{html.escape(sentence(note))}.</p>" for note in notes)
    return [
        gr.Column(visible=True),
        f"{told}<div class='scroll'><table>{body}</table></div>",
        drawing.command_line(desk),
        gr.DownloadButton(value=desk.show(path)),
    ]
