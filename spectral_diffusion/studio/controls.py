"""What a person sets before drawing, read from the page and shown on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.diffusion.library import SUFFIX, AdapterSummary
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing, titles, whole
from spectral_diffusion.studio.limits import COUNT_LIMIT, SEED_LIMIT
from spectral_diffusion.studio.parts.cards import Card, ticked
from spectral_diffusion.studio.thumbnails import COVER_PX, thumbnail_address

FIRST_TICKED = 3
"""So many concepts are ticked when the page is opened: as many as toybox draws well side by side."""


@dataclass(frozen=True)
class Controls:
    """What a person sets, in the order in which events get it."""

    cards: gr.HTML
    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    size: gr.Radio
    width_px: gr.Number
    height_px: gr.Number
    steps: gr.Slider
    guidance_scale: gr.Slider
    seed: gr.Number
    count: gr.Slider

    @property
    def all(self) -> list[Any]:
        """All of them."""
        return list(self.__dict__.values())


def read_drawing(
    desk: Desk,
    chosen: Any,
    prompt: Any,
    negative_prompt: Any,
    size: Any,
    width_px: Any,
    height_px: Any,
    steps: Any,
    guidance_scale: Any,
    seed: Any,
    count: Any,
) -> Drawing:
    """What the controls say.

    Raises:
        InputError: A value is missing or out of bounds; or the page is still being filled.
    """
    if not chosen and any(not summary.fault for summary in desk.adapters()):
        raise InputError("the page does not show your concepts yet", "try again in a moment")
    width, height = _size(desk, size, width_px, height_px)
    if isinstance(guidance_scale, bool) or not isinstance(guidance_scale, int | float):
        raise InputError("the guidance is no number", "write one from 1 to 30")
    return Drawing(
        adapters=tuple(ticked(chosen)),
        prompt=str(prompt or ""),
        negative_prompt=str(negative_prompt or ""),
        width_px=width,
        height_px=height,
        steps=whole(steps, "number of steps", 1, 1000),
        guidance_scale=float(guidance_scale),
        seed=whole(seed, "seed", 0, SEED_LIMIT),
        count=whole(count, "number of pictures", 1, COUNT_LIMIT),
    )


def shown_drawing(desk: Desk, drawing: Drawing) -> list[Any]:
    """A drawing as values of the controls."""
    strengths = {adapter.id: adapter.strength for adapter in drawing.adapters}
    return [
        [card.value() for card in adapter_cards(desk, strengths)],
        drawing.prompt,
        drawing.negative_prompt,
        "Own",
        drawing.width_px,
        drawing.height_px,
        drawing.steps,
        drawing.guidance_scale,
        drawing.seed,
        drawing.count,
    ]


def adapter_cards(desk: Desk, strengths: dict[str, float] | None) -> list[Card]:
    """A card for every adapter file that can be used.

    Args:
        desk: Whose.
        strengths: Of those that are ticked, by file name; None ticks the first ones that go together.
    """
    covers = {concept.name: concept.cover for concept in list_concepts(desk.workspace)}
    usable = [summary for summary in desk.adapters() if not summary.fault]
    if strengths is None:
        strengths = dict.fromkeys(_first_ticked([summary for summary in usable if _fits(desk, summary)]), 1.0)
    uses = Counter(titles(summary) for summary in usable)
    made = []
    for summary in usable:
        cover = next((covers[name] for name in summary.names if covers.get(name)), None)
        told = " ".join(summary.tokens) + ("" if _fits(desk, summary) else f", of {summary.base_name}")
        made.append(
            Card(
                id=summary.file_name,
                title=titles(summary),
                text=told if uses[titles(summary)] == 1 else f"{told}, {summary.file_name}",
                image=thumbnail_address(desk, cover, COVER_PX),
                on=summary.file_name in strengths,
                strength=strengths.get(summary.file_name, 1.0),
                hint=f"Write {' '.join(summary.tokens)} in the prompt to draw it.",
            )
        )
    return made


def _first_ticked(usable: Sequence[AdapterSummary]) -> list[str]:
    """The first files of one concept each that can be drawn together: one for a token, rather that of its name."""
    single = [summary for summary in usable if not summary.is_fused]
    kept: set[str] = set()
    tokens: set[str] = set()
    for summary in sorted(single, key=lambda summary: summary.file_name != f"{titles(summary)}{SUFFIX}"):
        if tokens.isdisjoint(summary.tokens):
            kept.add(summary.file_name)
            tokens.update(summary.tokens)
    return [summary.file_name for summary in single if summary.file_name in kept][:FIRST_TICKED]


def _fits(desk: Desk, summary: AdapterSummary) -> bool:
    """Whether an adapter was trained on the model that draws here, as far as that is known."""
    facts = desk.studio.facts
    if facts is None:
        return summary.base_name == Path(desk.studio.base).name
    return all(
        facts.fingerprints.get(component) == digest
        for part in summary.parts
        for component, digest in part.fingerprints.items()
    )


def _size(desk: Desk, size: Any, width_px: Any, height_px: Any) -> tuple[int, int]:
    recipe = desk.studio.config.generation
    short, long = recipe.height_px, recipe.height_px * 3 // 2
    match size:
        case "Square":
            return recipe.width_px, recipe.height_px
        case "Wide":
            return long, short
        case "Tall":
            return short, long
        case _:
            return whole(width_px, "width", 16, 4096), whole(height_px, "height", 16, 4096)
