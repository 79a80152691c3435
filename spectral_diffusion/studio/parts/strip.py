"""The spectrum as a strip of slots: who holds which, and moving them by pointer, finger or keys."""

from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.board import Board
from spectral_diffusion.studio.parts.nodes import NODES, told, told_text
from spectral_diffusion.studio.parts.strip_script import HTML, SCRIPT

HUES = ("#e8a33d", "#6fbce8", "#55b896", "#e9da5b", "#8aa9e6", "#ee8f5f", "#d692bd", "#b3b0aa")
"""Fills that stay apart for people who see colours differently, all light enough for dark letters."""
_HUE_RULES = "".join(f".hue-{number} {{ --hue: {hue}; }}\n" for number, hue in enumerate(HUES))


def strip(**options: Any) -> gr.HTML:
    """A component of slots; its value is `strip_value`, its event `select` tells which `concept` went to which `slot`.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=waiting_value(""),
        html_template=HTML,
        css_template=STATE_CSS + _CSS,
        js_on_load=NODES + SCRIPT,
        **options,
    )


def strip_value(board: Board, note: str = "") -> dict[str, Any]:
    """The columns of the model as the component holds them.

    Args:
        board: The columns.
        note: What has just happened, in a sentence; it is shown below and read out.
    """
    last = max([board.facts.narrowest, *(holding.slot.stop for holding in board.holdings)])
    # A stranger's file may claim to lie anywhere.
    cells = -(-min(last, 2 * board.facts.narrowest) // board.rank)
    hues = hue_numbers(board)
    return {
        "rank": board.rank,
        "capacity": board.capacity,
        "energy": [
            None if number >= board.capacity else board.energy(board.columns(number)) for number in range(cells)
        ],
        "ranges": [
            {
                "concept": holding.concept,
                "start": holding.slot.start,
                "width": holding.slot.width,
                "state": holding.state,
                "words": holding.words,
                "hue": hues[holding.concept],
            }
            for holding in board.holdings
        ],
        "without": [{"concept": concept, "hue": hues[concept]} for concept in board.without],
        "note": note,
        "waits": "",
    }


def waiting_value(why: str) -> dict[str, Any]:
    """The component's value as long as there is nothing to show."""
    return {"rank": 1, "capacity": 0, "energy": [], "ranges": [], "without": [], "note": "", "waits": why}


def hue_numbers(board: Board) -> dict[str, int]:
    """Which of `HUES` each concept has."""
    shown = sorted({*board.concepts, *(one.concept for one in board.columnless)})
    return {concept: number % len(HUES) for number, concept in enumerate(shown)}


def dropped(evt: gr.EventData) -> tuple[str, int]:
    """Which concept was put into which slot.

    Raises:
        InputError: The event says neither.
    """
    concept, slot = told_text(evt, "concept"), told(evt, "slot")
    if isinstance(slot, bool) or not isinstance(slot, int):
        raise InputError("what was moved where cannot be read", "reload the page")
    return concept, slot


STATE_CSS = f"""
{_HUE_RULES}
.trained {{ background: var(--hue); color: #1c1a17; border: 1px solid var(--hue); }}
.in-training {{ color: #1c1a17; border: 1px solid var(--hue);
  background: repeating-linear-gradient(90deg, var(--hue) 0 7px, color-mix(in srgb, var(--hue) 70%, white) 7px 14px); }}
.reserved, .half-trained, .none {{ color: var(--body-text-color); border: 2px dashed var(--hue);
  background: color-mix(in srgb, var(--hue) 16%, var(--block-background-fill)); }}
.half-trained {{ border-style: double; border-width: 4px; }}
"""
"""How a concept's colour and state look, wherever they are shown."""

_CSS = """
.strip { position: relative; }
.waits { margin: 8px 0; padding: 12px; border-radius: 8px; background: var(--background-fill-secondary); }
.rows { max-height: 460px; overflow-y: auto; overflow-x: hidden; }
.rows:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.wrap { position: relative; margin-bottom: 6px; }
.row { position: relative; border-radius: 8px; background: var(--block-background-fill); overflow: hidden;
  box-shadow: inset 0 0 0 1px var(--border-color-primary); }
.over { position: absolute; inset: 0; pointer-events: none; }
.cell { position: absolute; top: 0; bottom: 0; border-left: 1px solid var(--border-color-primary);
  display: grid; grid-template-rows: 26px 15px 15px; padding-top: 4px; font-size: 11px; line-height: 15px;
  text-align: center; font-variant-numeric: tabular-nums; }
.cell:first-child { border-left: none; }
.well { display: flex; align-items: end; justify-content: center; }
.bar { width: 62%; background: var(--body-text-color-subdued); opacity: .55; border-radius: 2px 2px 0 0; }
.share { color: var(--body-text-color-subdued); }
.number { font-weight: 600; color: var(--body-text-color); }
.outside { background: repeating-linear-gradient(45deg, transparent 0 5px, var(--border-color-primary) 5px 6px); }
.target { background: color-mix(in srgb, var(--color-accent) 22%, transparent);
  box-shadow: inset 0 0 0 2px var(--color-accent); }
.target.taken { background: repeating-linear-gradient(45deg, transparent 0 6px, color-mix(in srgb,
  var(--error-text-color, #b91c1c) 30%, transparent) 6px 9px); box-shadow: inset 0 0 0 2px #b91c1c; }
.range { height: 28px; border-radius: 6px; font-size: 12px; line-height: 1.4; padding: 0 4px; cursor: grab;
  touch-action: none; user-select: none; -webkit-user-select: none; overflow: hidden; min-width: 0; }
.over .range { position: absolute; pointer-events: auto; }
.range.moving { cursor: grabbing; opacity: .8; z-index: 5; pointer-events: none;
  box-shadow: 0 4px 12px rgb(0 0 0 / .3); }
.range:focus-visible { outline: 3px solid var(--color-accent); outline-offset: 1px; z-index: 4; }
.name { display: block; color: inherit; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  pointer-events: none; }
.tray { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin: 6px 0; }
.tray[hidden], .waits[hidden] { display: none; }
.tray-title { font-size: var(--text-sm); color: var(--body-text-color-subdued); }
.tray-items { display: flex; flex-wrap: wrap; gap: 6px; }
.tray .range { min-width: 56px; max-width: 220px; padding: 0 10px; }
.live { min-height: 1.5em; margin: 4px 0 0; font-size: var(--text-sm); color: var(--body-text-color); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: no-preference) { .range { transition: box-shadow .15s; } }
"""
