"""What became of uploads, in words: how many are stored, what was changed on the way, and why others are refused."""

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What became of one upload.

    Args:
        name: As the person called it.
        stored: What it is called here, or nothing where it is not here.
        notes: What was changed or taken over.
        refused: Why it is not stored, or nothing.
    """

    name: str
    stored: str = ""
    notes: tuple[str, ...] = ()
    refused: str = ""


def outcomes(found: Sequence[Outcome], what: str) -> str:
    """The outcomes as markup, those that need a person's attention first.

    Args:
        found: One for each upload.
        what: They are, in the singular: `photograph`.
    """
    if not found:
        return ""
    stored = sum(1 for one in found if one.stored)
    refused = [one for one in found if one.refused]
    told = f"{stored} {what}{'' if stored == 1 else 's'} stored"
    if refused:
        told += f", {len(refused)} refused"
    lines = [_line(one.name, one.refused, is_refused=True) for one in refused]
    lines += [
        _line(one.name if one.stored in ("", one.name) else f"{one.name} is now {one.stored}", "; ".join(one.notes))
        for one in found
        if not one.refused
    ]
    said = f"<b>{html.escape(told)}.</b><ul>{''.join(lines)}</ul>"
    return f'<div class="outcomes" role="status" tabindex="0">{said}</div>'


def _line(name: str, words: str, *, is_refused: bool = False) -> str:
    kind = ' class="refused"' if is_refused else ""
    # Many faults begin with the name of what has them.
    text = words.removeprefix(name) if words.startswith((f"{name} ", f"{name}: ")) else f": {words}" if words else ""
    return f"<li{kind}><span>{html.escape(name)}</span>{html.escape(text)}</li>"


CSS = """
.outcomes { max-height: 260px; overflow-y: auto; overflow-wrap: anywhere; font-size: var(--text-sm); }
.outcomes ul { margin: 4px 0 0; padding-left: 18px; color: var(--body-text-color-subdued); }
.outcomes li { margin: 2px 0; }
.outcomes span { color: var(--body-text-color); }
.outcomes .refused { color: var(--primary-700); }
.dark & .outcomes .refused { color: var(--primary-300); }
"""
"""For the `gr.HTML` that shows them."""
