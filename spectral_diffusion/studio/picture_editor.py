"""One photograph of a concept: cropped by a box, masked by a brush, or taken out."""

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.curation import crop_photograph, remove_photograph, set_mask
from spectral_diffusion.diffusion.gallery import PhotographSummary, list_photographs
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.crop_box import crop_box, read_box
from spectral_diffusion.studio.parts.mask_brush import mask_brush
from spectral_diffusion.studio.parts.nodes import told, told_text
from spectral_diffusion.studio.parts.uploads import uploaded
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.trash import TrashedItem


@dataclass(frozen=True)
class Editor:
    """The components of this part.

    Args:
        panel: All of it.
        title: What is edited.
        crop: The box.
        brush: The mask.
        remove: Takes the photograph out.
    """

    panel: gr.Column
    title: gr.Markdown
    crop: gr.HTML
    brush: gr.HTML
    remove: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """What `edited` gives values for."""
        return [self.panel, self.title, self.crop, self.brush]


def build(shell: Shell) -> Editor:
    """This part of the concepts screen; its events are the screen's."""
    with gr.Column(scale=5, min_width=300, visible=False, elem_id="concepts-editor") as panel:
        title = gr.Markdown("", elem_id="concepts-editor-title")
        with gr.Tabs():
            with gr.Tab("Crop", elem_id="concepts-crop-tab"):
                crop = crop_box(elem_id=shell.hint("concepts-crop", "The part of the photograph that stays."))
            with gr.Tab("Mask", elem_id="concepts-mask-tab"):
                gr.Markdown(
                    "Paint over the concept. Training then counts it more than what is around it.", elem_classes="hint"
                )
                brush = mask_brush(elem_id=shell.hint("concepts-mask", "What belongs to the concept."))
        remove = shell.small_button(
            "Remove this photograph",
            "concepts-remove",
            "Into the trash of Files, with its caption and mask.",
            variant="stop",
        )
    return Editor(panel, title, crop, brush, remove)


def edited(desk: Desk, concept: str | None, photograph: str | None) -> list[Any]:
    """Values of `Editor.outputs`: hidden where there is no such photograph any more."""
    found = None
    if concept and photograph:
        try:
            found = find(desk, concept, photograph)
            image = desk.address(found.path)
            mask = desk.address(found.mask) if found.mask else ""
        except InputError:
            found = None
    if found is None:
        nothing = {"concept": "", "name": "", "image": "", "mask": ""}
        return [gr.Column(visible=False), "", nothing, nothing]
    shown = {"concept": concept, "name": found.name, "image": image, "mask": mask, "stamp": time.time_ns()}
    return [gr.Column(visible=True), f"### {found.name}", shown, shown]


def find(desk: Desk, concept: str, photograph: str) -> PhotographSummary:
    """The photograph of that name.

    Raises:
        InputError: There is no such concept or photograph.
    """
    for summary in list_photographs(desk.workspace, concept):
        if summary.name == photograph:
            return summary
    raise InputError(f"there is no photograph {str(photograph)[:60]!r} any more", "choose another")


def crop(desk: Desk, evt: gr.EventData) -> tuple[str, str]:
    """Do what an event `crop` asks; returns the concept and the photograph's new name.

    Raises:
        InputError: See `crop_photograph`.
    """
    concept = told_text(evt, "concept")
    return concept, crop_photograph(desk.workspace, concept, told_text(evt, "name"), read_box(evt))


def save_mask(desk: Desk, evt: gr.EventData) -> tuple[str, str]:
    """Do what an event `save` of the brush asks; returns the concept and the photograph.

    Raises:
        InputError: The upload is none, or no mask of this photograph.
    """
    concept, name = told_text(evt, "concept"), told_text(evt, "name")
    set_mask(desk.workspace, concept, name, read_image(uploaded(desk, told(evt, "path")), min_side_px=1))
    return concept, name


def remove_mask(desk: Desk, evt: gr.EventData) -> tuple[str, str]:
    """Do what an event `remove` of the brush asks; returns the concept and the photograph.

    Raises:
        InputError: There is no such concept or photograph.
    """
    concept, name = told_text(evt, "concept"), told_text(evt, "name")
    set_mask(desk.workspace, concept, name, None)
    return concept, name


def remove(desk: Desk, concept: str | None, photograph: str | None) -> TrashedItem:
    """Take a photograph out of a concept.

    Raises:
        InputError: None is chosen, or it is gone.
    """
    if not concept or not photograph:
        raise InputError("no photograph is chosen", "press one")
    return remove_photograph(desk.workspace, concept, photograph)
