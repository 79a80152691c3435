"""The columns of the model in words and tables: who holds what, what is free, and what was measured of it."""

import html
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.board import Board, Columnless, Holding, lost
from spectral_diffusion.studio.parts.strip import STATE_CSS, hue_numbers

if TYPE_CHECKING:
    from spectral_diffusion.adapters import Adapter
    from spectral_diffusion.studio.desk import Desk

MEASURED_LIMIT = 16
"""So many adapters are compared at once: all of them are read."""
_KEPT = 32
TABLE_CSS = (
    STATE_CSS
    + """
.swatch { display: inline-block; width: 14px; height: 14px; border-radius: 4px; vertical-align: -2px;
  margin-right: 8px; box-sizing: border-box; }
.scroll { contain: inline-size; }
table, tr { border: 0; }
.tight { width: auto !important; }
td, th { white-space: nowrap; border: 0; border-top: 1px solid var(--border-color-primary); font-size: var(--text-sm); }
thead th, thead td { border-top: 0; }
td.words { white-space: normal; min-width: 120px; overflow-wrap: anywhere; }
td.near, th.near { text-align: right; }
"""
)


@dataclass(frozen=True)
class Measured:
    """How much trained columns share.

    Args:
        names: The concepts, with their columns.
        shares: For each two the largest |U_i^T U_j| or |V_i^T V_j| of any weight, 0 (disjoint) to 1 (in common).
        left_out: How many adapters were not compared.
    """

    names: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    left_out: int = 0

    @property
    def largest(self) -> float:
        """The most that any two share; 0 for fewer than two."""
        return max((share for i, row in enumerate(self.shares) for share in row[:i]), default=0.0)


class Measurer:
    """Compares the columns of adapter files, each choice of files once."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], Measured] = OrderedDict()
        self._lock = threading.Lock()

    def measure(self, desk: "Desk", board: Board) -> Measured:
        """Compare all columns in which something is trained.

        Raises:
            InputError: A file is gone or cannot be read.
        """
        import torch

        from spectral_diffusion.fusion.slots import measure_overlaps

        trained = [holding for holding in board.holdings if holding.files]
        taken = [(holding, desk.adapter_path(holding.files[0])) for holding in trained[:MEASURED_LIMIT]]
        key = tuple((path, path.stat().st_mtime_ns, holding.concept, holding.slot) for holding, path in taken)
        with self._lock:
            if key not in self._known:
                adapters = [_part(path, holding) for holding, path in taken]
                try:
                    shared = [*measure_overlaps(adapters).values()]
                except RuntimeError as error:
                    raise InputError(
                        "these adapters change weights of different shapes, though they name one base",
                        "look at them in Files, and delete the one that came from elsewhere",
                    ) from error
                rows = torch.stack(shared).amax(dim=0).tolist() if shared else []
                self._known[key] = Measured(
                    tuple(f"{holding.concept} ({holding.slot})" for holding, _ in taken),
                    tuple(map(tuple, rows)),
                    len(trained) - len(taken),
                )
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[key]


def _part(path: Path, holding: Holding) -> "Adapter":
    from spectral_diffusion.fusion import load_fused

    for part in load_fused(path).parts:
        if (part.adapter.name, part.adapter.slot) == (holding.concept, holding.slot):
            return part.adapter
    raise InputError(f"{path.name} holds {holding.concept} no more", "come back to this screen")


def room_words(board: Board) -> str:
    """What is free, in a sentence."""
    free, rank = len(board.free), board.rank
    if not board.capacity:
        return f"No slot of rank {rank} fits: the narrowest weight has {board.facts.narrowest} columns."
    if not free:
        return f"None of the {board.capacity} slots is free. Release one, or train with a smaller rank than {rank}."
    more = f"{free} more concept{'s' if free > 1 else ''} of rank {rank} fit{'' if free > 1 else 's'}"
    return f"{free} of {board.capacity} slots {'are' if free > 1 else 'is'} free: {more}."


def room_html(board: Board) -> str:
    """The same as part of the page, with what else is to be known."""
    lines = [f"<b>{html.escape(room_words(board))}</b>"]
    if board.elsewhere:
        names = html.escape(", ".join(board.elsewhere))
        lines.append(f"Columns of {names} are held too; they are none of this model's.")
    for holding in lost(board):
        files = html.escape(", ".join(holding.files))
        lines.append(f"{files}: {holding.slot} are not in the ledger, so that a training could be given them.")
    return f'<p class="notice">{" ".join(lines)}</p>'


def table_html(board: Board) -> str:
    """Who holds which columns, as a table."""
    if not board.holdings and not board.columnless:
        return '<p class="hint">Nobody holds a slot yet.</p>'
    hues = hue_numbers(board)
    rows = "".join(_row(board, holding, hues[holding.concept]) for holding in board.holdings)
    rows += "".join(_columnless_row(one, hues[one.concept]) for one in board.columnless)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Concept", "Slot", "Columns", "Energy", "State"))
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(board: Board, holding: Holding, hue: int) -> str:
    slot, energy = holding.slot, board.energy(holding.slot)
    aligned = slot.width == board.rank and slot.start % board.rank == 0
    swatch = f'<span class="swatch hue-{hue} {holding.state.replace(" ", "-")}"></span>'
    token = f" {html.escape(holding.token)}" if holding.token else ""
    state = holding.words
    if holding.files:
        state += f": {', '.join(holding.files)}"
    if not holding.is_noted:
        state += "; the ledger does not know"
    return (
        f'<tr><th scope="row">{swatch}{html.escape(holding.concept)}<span class="hint">{token}</span></th>'
        f"<td>{slot.start // board.rank if aligned else f'{slot.width} wide'}</td>"
        f"<td>{slot.start}-{slot.stop - 1}</td>"
        f"<td>{percent(energy)}</td>"
        f'<td class="words">{html.escape(state)}</td></tr>'
    )


def _columnless_row(one: Columnless, hue: int) -> str:
    token = f" {html.escape(one.token)}" if one.token else ""
    state = f"trained: {', '.join(one.files)}"
    return (
        f'<tr><th scope="row"><span class="swatch hue-{hue} trained"></span>{html.escape(one.concept)}'
        f'<span class="hint">{token}</span></th><td>-</td><td>{html.escape(one.columns)}</td><td>-</td>'
        f'<td class="words">{html.escape(state)}</td></tr>'
    )


def overlap_html(measured: Measured) -> str:
    """What was measured, as a table with its meaning."""
    from spectral_diffusion.fusion.slots import OVERLAP_TOLERANCE

    if len(measured.names) < 2:
        return '<p class="hint">Two trained concepts are needed to compare.</p>'
    largest = measured.largest
    if largest <= OVERLAP_TOLERANCE:
        said = f"The trained columns are disjoint: of any two, the most that is shared is {largest:.1g} of 1."
    else:
        said = (
            f"Two of these share columns ({largest:.2f} of 1) and cannot be fused: train one of them again in a slot "
            "of its own."
        )
    if measured.left_out:
        said += f" {measured.left_out} more were not compared."
    names = [html.escape(name) for name in measured.names]
    head = "".join(f'<th scope="col" class="near">{name}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(
            f'<td class="near">{share:.1g}</td>' if share < 0.095 else f'<td class="near">{share:.2f}</td>'
            for share in row
        )
        + "</tr>"
        for name, row in zip(names, measured.shares, strict=True)
    )
    explained = (
        "The largest |U<sub>i</sub><sup>T</sup>U<sub>j</sub>| or |V<sub>i</sub><sup>T</sup>V<sub>j</sub>| over all "
        "adapted weights, measured in the files: 0 is no common column, 1 a column in common."
    )
    return (
        f'<p class="notice">{html.escape(said)}</p><p class="hint">{explained}</p>'
        f'<div class="scroll" tabindex="0"><table class="tight"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def percent(share: float | None) -> str:
    """A share of all, for people."""
    if share is None:
        return "not measured"
    return f"{100 * share:.{3 if share < 0.001 else 2 if share < 0.01 else 1}f} %"
