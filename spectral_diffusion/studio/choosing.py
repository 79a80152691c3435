"""Which pictures shall be scored: the person's own to tick, the newest first, and uploads from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import GRIDS, Desk
from spectral_diffusion.studio.parts.picture_cards import PictureCard, picture_cards, ticked_pictures
from spectral_diffusion.studio.scoring import PICTURES_LIMIT, suggested_concepts, told_by, told_title
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.thumbnails import thumbnail_address

PAGE = 24
"""So many pictures more are shown at a time."""
ANY = "any concept, or none"
_THUMBNAIL_PX = 128
_EMPTY: dict[str, Any] = {"limit": PAGE, "asked": [], "drawn_with": ANY, "suggested": []}


@dataclass(frozen=True)
class Choosing:
    """What the rest of the screen needs of this part.

    Args:
        cards: The pictures to tick.
        files: The uploads.
        state: How many pictures are shown, and which first.
        outputs: What `values` gives values for.
    """

    cards: gr.HTML
    files: gr.File
    state: gr.State
    outputs: list[Any]


def build(shell: Shell) -> Choosing:
    """This part of the screen."""
    state = gr.State(dict(_EMPTY))
    drawn_with = gr.Dropdown(
        [ANY],
        value=ANY,
        label="Pictures drawn with",
        elem_id=shell.hint("score-drawn-with", "Show only pictures that were drawn with this concept."),
    )
    cards = picture_cards(
        empty="No picture yet: draw some in Create, or upload some below.",
        elem_id=shell.hint("score-pictures", "Tick the pictures to score, the newest first."),
    )
    more = shell.small_button("Older pictures", "score-more", "Show more pictures.", visible=False)
    files = gr.File(
        label="Pictures from elsewhere",
        file_count="multiple",
        file_types=[".png", ".jpg", ".jpeg", ".webp"],
        height=120,
        elem_id=shell.hint("score-upload", "They are scored together with those that are ticked."),
    )
    outputs = [drawn_with, cards, more, state]

    def narrow(desk: Desk, kept: Any, before: Any, name: Any) -> list[Any]:
        kept = {**_kept(kept), "drawn_with": str(name or ANY), "limit": PAGE}
        return values(desk, kept, ticked_pictures(before))

    def show_more(desk: Desk, kept: Any, before: Any) -> list[Any]:
        kept = _kept(kept)
        return values(desk, {**kept, "limit": kept["limit"] + PAGE}, ticked_pictures(before))

    shell.on(drawn_with.input, narrow, [state, cards, drawn_with], outputs, quiet=True)
    shell.on(more.click, show_more, [state, cards], outputs, quiet=True)
    return Choosing(cards, files, state, outputs)


def refreshed(desk: Desk, kept: Any, cards: Any, asked: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The state and the ticks when a person comes to the screen, with pictures that another screen asks for."""
    kept = _kept(kept)
    asked = [name for name in asked if desk.has_picture(name)]
    if not asked:
        return kept, [name for name in ticked_pictures(cards) if desk.has_picture(name)]
    return {**kept, "asked": asked, "drawn_with": ANY}, asked


def values(desk: Desk, kept: dict[str, Any], ticked: Sequence[str]) -> list[Any]:
    """Values of `Choosing.outputs`.

    Args:
        desk: Whose.
        kept: The state.
        ticked: Which pictures are ticked; they stay in sight.
    """
    concepts = [concept.name for concept in list_concepts(desk.workspace)]
    wanted = kept["drawn_with"] if kept["drawn_with"] in concepts else ANY
    kept = {**kept, "drawn_with": wanted}
    found = [desk.picture_name(path) for path in _drawn_with(desk, wanted)]
    first = [name for name in dict.fromkeys([*kept["asked"], *ticked]) if name not in found[: kept["limit"]]]
    first = [name for name in first if desk.has_picture(name)]
    on = set(ticked)
    cards = [_card(desk, name, name in on).value() for name in [*first, *found[: kept["limit"]]]]
    return [
        gr.Dropdown(choices=[ANY, *concepts], value=wanted),
        cards,
        gr.Button(visible=len(found) > kept["limit"]),
        noted(desk, kept, ticked),
    ]


def noted(desk: Desk, kept: Any, ticked: Sequence[str]) -> dict[str, Any]:
    """The state, which remembers what was suggested for these pictures."""
    return {**_kept(kept), "suggested": suggestion(desk, ticked)}


def suggested(kept: Any) -> list[str]:
    """What was suggested last."""
    return _kept(kept)["suggested"]


def suggestion(desk: Desk, ticked: Sequence[str]) -> list[str]:
    """The concepts that all ticked pictures were asked to show, from left to right."""
    there = [name for name in ticked if desk.has_picture(name)]
    return suggested_concepts(desk, there) if there else []


def uploads(value: Any) -> list[Path]:
    """The uploaded files, out of a value that may come from anybody.

    Raises:
        InputError: It is no list of files.
    """
    return [Path(name) for name in names(value)]


def names(value: Any) -> list[str]:
    """A list of texts, out of a value that may come from anybody.

    Raises:
        InputError: It is none, or one with more than any list of ours has.
    """
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > PICTURES_LIMIT or not all(isinstance(name, str) for name in value):
        raise InputError("the choice cannot be read", f"reload the page, and choose at most {PICTURES_LIMIT}")
    return list(value)


def _kept(kept: Any) -> dict[str, Any]:
    return {**_EMPTY, **kept} if isinstance(kept, dict) else dict(_EMPTY)


def _drawn_with(desk: Desk, concept: str) -> list[Path]:
    """Their single pictures, the newest first: a sheet of many is no picture of a concept."""
    found = [path for path in desk.pictures() if path.parent.name != GRIDS]
    if concept == ANY:
        return found
    return [
        path
        for path in found
        if (told := told_by(path)) is not None and any(record.name == concept for record in told.adapters)
    ]


def _card(desk: Desk, name: str, on: bool) -> PictureCard:
    path = desk.picture(name)
    told = told_by(path)
    return PictureCard(
        id=name,
        title=told_title(told, path.name),
        image=thumbnail_address(desk, path, _THUMBNAIL_PX),
        on=on,
        hint=f"{told.prompt} ({path.name})" if told else path.name,
    )
