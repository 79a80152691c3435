"""The files screen: adapters and fused files, brought in and taken out, fused, renamed, deleted, and the trash."""

import html
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.library import IMPORT_LIMIT_BYTES, delete_adapter, import_adapter, rename_adapter
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.controls import adapter_cards
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import in_page_words, sentence
from spectral_diffusion.studio.fused_files import suggested_name, write_fused
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.parts.adapter_table import adapter_of, adapter_table, facts, listed_adapters
from spectral_diffusion.studio.parts.cards import cards, ticked
from spectral_diffusion.studio.parts.nodes import told
from spectral_diffusion.studio.parts.trash_list import bring_back, erase, listed_trash, trash_list
from spectral_diffusion.studio.parts.upload_results import CSS as OUTCOMES_CSS
from spectral_diffusion.studio.parts.upload_results import Outcome, outcomes
from spectral_diffusion.studio.parts.uploads import Offer, drop_zone, read_offer, rested, uploaded
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.trash import Trash


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    state = gr.State({"file": None})
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            gr.Markdown("## Adapters")
            table = adapter_table(elem_id=shell.hint("files-adapters", "Press a file for what is in it."))
            zone = drop_zone(
                "Drop adapter files (.safetensors) here to import them.",
                accept=(".safetensors",),
                limit_bytes=IMPORT_LIMIT_BYTES,
                elem_id=shell.hint("files-drop", "Adapters and fused files of this program, from elsewhere."),
            )
            results = gr.HTML("", css_template=OUTCOMES_CSS, js_on_load=None, elem_id="files-results")
        with gr.Column(scale=5, min_width=320):
            with gr.Column(visible=False, elem_id="files-chosen") as chosen:
                known = gr.HTML("", js_on_load=None, apply_default_css=False)
                with gr.Row():
                    download = gr.DownloadButton(
                        "Download", size="sm", elem_id=shell.hint("files-download", "Save the file on your machine.")
                    )
                    draw = shell.small_button("Draw with it", "files-draw", "Go to Create with this file ticked.")
                    delete = shell.small_button(
                        "Delete", "files-delete", "Into the trash below. Its columns are free then.", variant="stop"
                    )
                name = gr.Textbox(
                    label="File name",
                    max_length=120,
                    elem_id=shell.hint("files-name", "Of the file only: concepts and tokens in it stay as they are."),
                )
                rename = shell.small_button("Rename", "files-rename", "Give the file the name written above.")
            with gr.Accordion("Fuse several into one file", open=False, elem_id="files-fusing"):
                parts = cards(
                    strengths=True,
                    empty="No adapter yet.",
                    elem_id=shell.hint("files-parts", "Which go in, and how strongly each."),
                )
                fused_name = gr.Textbox(
                    label="Name of the fused file",
                    max_length=120,
                    elem_id=shell.hint("files-fused-name", "It lies among the adapters then."),
                )
                fuse = shell.small_button(
                    "Fuse into a file",
                    "files-fuse",
                    "Write what is ticked as one file. The others stay.",
                    variant="primary",
                )
    gr.Markdown("## Trash")
    trash = trash_list(elem_id=shell.hint("files-trash", "What was deleted, the newest first."))
    with gr.Row():
        empty = shell.small_button(
            "Empty the trash",
            "files-empty",
            "Remove all of it for good; you are asked once more.",
            scale=0,
            min_width=180,
            variant="stop",
        )
        sure = shell.small_button(
            "Yes, remove everything for good",
            "files-sure",
            "There is no way back.",
            scale=0,
            min_width=240,
            variant="stop",
            visible=False,
        )
        keep = shell.small_button("Keep it", "files-keep", "Remove nothing.", scale=0, min_width=120, visible=False)

    shown = [state, table, chosen, known, download, name, trash, empty, sure, keep]

    def whole(desk: Desk, file_name: str | None, before: Any, *, keep_name: bool = False) -> list[Any]:
        strengths = {item.id: item.strength for item in ticked(before)}
        found = [card.value() for card in adapter_cards(desk, strengths)]
        return [*view(desk, file_name, keep_name=keep_name), found]

    def refresh(desk: Desk, kept: dict[str, Any], before: Any) -> list[Any]:
        return whole(desk, kept["file"], before, keep_name=True)

    def pick(desk: Desk, evt: gr.EventData) -> list[Any]:
        return view(desk, adapter_of(desk, told(evt, "file")).file_name)

    def give_name(desk: Desk, kept: dict[str, Any], text: str, before: Any) -> list[Any]:
        new = rename_adapter(desk.workspace, adapter_of(desk, kept["file"]).file_name, str(text or ""))
        gr.Info(html.escape(f"It is {new} now."), duration=4)
        return whole(desk, new, before)

    def throw_away(desk: Desk, kept: dict[str, Any], before: Any) -> list[Any]:
        file_name = adapter_of(desk, kept["file"]).file_name
        for note in delete_adapter(desk.workspace, file_name, in_training=concepts_in_training(desk)).notes:
            gr.Info(html.escape(f"{sentence(note)}."), duration=8)
        return whole(desk, None, before)

    def take(desk: Desk, kept: dict[str, Any], resting: int, before: Any, evt: gr.EventData) -> list[Any]:
        found, file_name = import_offer(desk, read_offer(desk, evt))
        said = outcomes(found, "file")
        return [rested(resting), said, *whole(desk, file_name or kept["file"], before)]

    def tick(desk: Desk, value: Any, text: str, before: str) -> list[str]:
        new = suggested_name(desk, ticked(value)) if len(ticked(value)) > 1 else ""
        # A name that nobody has touched follows the ticks.
        return [new if str(text or "").strip() in ("", before) else text, new]

    def write(desk: Desk, value: Any, text: str) -> list[Any]:
        path = write_fused(desk, ticked(value), text)
        gr.Info(html.escape(f"{path.name} is written."), duration=5)
        return [*whole(desk, path.name, []), "", ""]

    def restore(desk: Desk, kept: dict[str, Any], before: Any, evt: gr.EventData) -> list[Any]:
        gr.Info(html.escape(bring_back(desk, told(evt, "id"))), duration=8)
        return refresh(desk, kept, before)

    def remove(desk: Desk, kept: dict[str, Any], evt: gr.EventData) -> list[Any]:
        gr.Info(html.escape(f"{erase(desk, told(evt, 'id'))} is removed for good."), duration=4)
        return view(desk, kept["file"], keep_name=True)

    def empty_all(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        gone = Trash(desk.workspace).empty(older_than_days=0)
        gr.Info(f"{gone} removed for good.", duration=4)
        return view(desk, kept["file"], keep_name=True)

    def to_create(desk: Desk, kept: dict[str, Any]) -> list[Any]:
        return [[adapter_of(desk, kept["file"]).file_name], gr.Tabs(selected="create")]

    suggested = gr.State("")
    all_shown = [*shown, parts]
    shell.refresh(tab, refresh, [state, parts], all_shown)
    shell.on(table.pick, pick, None, shown, quiet=True)
    shell.on(rename.click, give_name, [state, name, parts], all_shown)
    shell.on(name.submit, give_name, [state, name, parts], all_shown)
    shell.on(delete.click, throw_away, [state, parts], all_shown)
    shell.on(
        zone.offered, take, [state, zone, parts], [zone, results, *all_shown], show_progress="full",
        show_progress_on=results, trigger_mode="multiple",
    )  # fmt: skip
    shell.on(draw.click, to_create, state, [shell.to_create, shell.tabs], quiet=True)
    shell.on(parts.change, tick, [parts, fused_name, suggested], [fused_name, suggested], quiet=True)
    shell.on(fuse.click, write, [parts, fused_name], [*all_shown, fused_name, suggested])
    shell.on(trash.restore, restore, [state, parts], all_shown)
    shell.on(trash.erase, remove, state, shown)
    shell.on(empty.click, lambda desk: _asking(True), None, [empty, sure, keep], quiet=True)
    shell.on(keep.click, lambda desk: _asking(False), None, [empty, sure, keep], quiet=True)
    shell.on(sure.click, empty_all, state, shown)
    shell.offer(adapters, "adapters")
    shell.offer(import_adapter_file, "import_adapter")


def view(desk: Desk, file_name: str | None, *, keep_name: bool = False) -> list[Any]:
    """Values of the screen.

    Args:
        desk: Whose.
        file_name: The file that is looked at; where it is gone, none is.
        keep_name: Leave the name of the same file as it is: somebody may be writing in it.
    """
    summary = next((one for one in desk.adapters() if one.file_name == file_name), None)
    trash = listed_trash(desk)
    asking = [gr.Button(visible=bool(trash)), gr.Button(visible=False), gr.Button(visible=False)]
    if summary is None:
        nothing = [gr.Column(visible=False), "", gr.skip(), ""]
        return [{"file": None}, listed_adapters(desk, None), *nothing, trash, *asking]
    return [
        {"file": file_name},
        listed_adapters(desk, file_name),
        gr.Column(visible=True),
        facts(summary),
        gr.DownloadButton(value=desk.show(desk.workspace.adapters / summary.file_name)),
        gr.skip() if keep_name else summary.file_name.removesuffix(".safetensors"),
        trash,
        *asking,
    ]


def import_offer(desk: Desk, offer: Offer) -> tuple[list[Outcome], str | None]:
    """Import what was dropped; what fails is among the outcomes. The last file that is here now comes with them."""
    found = [Outcome(name, refused=why) for name, why in offer.failed]
    last = None
    for upload in offer.uploads:
        name = upload.path.name
        try:
            imported = import_adapter(desk.workspace, upload.path)
        except InputError as error:
            found.append(Outcome(name, refused=in_page_words(error).replace(str(upload.path), name)))
            continue
        last = imported.file_name
        found.append(Outcome(name, imported.file_name if imported.is_new else "", imported.notes))
    return found, last


def adapters(desk: Desk) -> list[dict[str, Any]]:
    """The adapter files: name, concepts, tokens, columns, model, bytes, whether fused, and fault."""
    return [
        {
            "file": summary.file_name,
            "concepts": list(summary.names),
            "tokens": list(summary.tokens),
            "slots": [part.columns for part in summary.parts],
            "base": summary.base_name,
            "size_bytes": summary.size_bytes,
            "fused": summary.is_fused,
            "fault": summary.fault,
        }
        for summary in desk.adapters()
    ]


def import_adapter_file(desk: Desk, file: dict[str, Any]) -> dict[str, Any]:
    """Import an adapter or fused file (of `gradio_client.handle_file`); answers its name here and notes."""
    path: Path = uploaded(desk, file.get("path") if isinstance(file, dict) else None)
    imported = import_adapter(desk.workspace, path)
    return {"file": imported.file_name, "notes": list(imported.notes), "new": imported.is_new}


def _asking(is_asked: bool) -> list[Any]:
    return [gr.Button(visible=not is_asked), gr.Button(visible=is_asked), gr.Button(visible=is_asked)]
