"""What was found about pictures, for the page: the numbers with their meaning, and the leak matrix as a heat map."""

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.score_words import Interval, Leaks, Scores, leak_sentences


def result_view(**options: Any) -> gr.HTML:
    """A component that shows what `result_html` makes.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML("", css_template=_CSS, js_on_load=None, **options)


def result_html(scores: Scores) -> str:
    """The result, without the pictures one by one."""
    tiles = [_tile(figure, meaning) for figure, meaning in scores.headline()]
    leaking = leak_sentences(scores)
    general = [sentence for sentence in scores.sentences() if sentence not in leaking]
    body = f"<div class='tiles'>{''.join(tiles)}</div>{_paragraphs(general)}"
    if scores.leaks is not None:
        body += f"<h3>Leak matrix</h3>{_heat_map(scores.leaks)}{_paragraphs(leaking)}"
    return f"<div class='score-result'>{body}</div>"


def _tile(figure: str, meaning: str) -> str:
    return f"<div><b>{html.escape(figure)}</b><span>{html.escape(meaning)}</span></div>"


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def _heat_map(leaks: Leaks) -> str:
    values = [value for row in leaks.similarity for value in row]
    low, high = min(values), max(values)
    top = "".join(f"<th scope='col'>like {html.escape(name)}</th>" for name in leaks.concepts)
    rows = ""
    for region, (name, row, own) in enumerate(zip(leaks.concepts, leaks.similarity, leaks.own_is_nearest, strict=True)):
        nearest = max(range(len(row)), key=row.__getitem__)
        cells = "".join(
            f"<td class='{_kinds(region, column, nearest)}' style='--heat: {(value - low) / ((high - low) or 1):.2f}'>"
            f"{value:.2f}</td>"
            for column, value in enumerate(row)
        )
        rows += f"<tr><th scope='row'>{html.escape(name)}'s region</th>{cells}<td class='share'>{_share(own)}</td></tr>"
    return (
        "<div class='frame' tabindex='0' role='region' aria-label='Leak matrix'><table><thead><tr><td></td>"
        f"{top}<th scope='col'>own is nearest</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "<p class='legend'>The frame marks each region's own concept; a dashed frame what it looks most like, where "
        "that is another.</p>"
    )


def _kinds(region: int, column: int, nearest: int) -> str:
    kinds = ["cell"]
    if column == region:
        kinds.append("own")
    elif column == nearest:
        kinds.append("other")
    return " ".join(kinds)


def _share(own: Interval) -> str:
    return f"{own.mean:.0%}"


_CSS = """
.score-result .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 8px;
  margin-bottom: 12px; }
.score-result .tiles div { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 8px 12px;
  background: var(--block-background-fill); min-width: 0; }
.score-result .tiles b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.score-result .tiles span, .score-result .legend { color: var(--body-text-color-subdued); font-size: var(--text-sm); }
.score-result p { margin: 0 0 8px; max-width: 75ch; overflow-wrap: anywhere; }
.score-result h3 { margin: 16px 0 8px; }
.score-result .frame { overflow-x: auto; margin-bottom: 8px; }
.score-result table { border-collapse: separate; border-spacing: 4px; font-variant-numeric: tabular-nums; margin: 0; }
.score-result th, .score-result table, .score-result tr { border: 0; background: none; }
.score-result th { font-weight: 600; font-size: var(--text-sm); padding: 4px; line-height: 1.25; }
.score-result tbody th { text-align: left; max-width: 160px; overflow-wrap: break-word; }
.score-result td { text-align: center; padding: 10px 6px; min-width: 56px; border: 2px solid transparent; }
.score-result .cell { border-radius: 8px; color: var(--body-text-color);
  background: color-mix(in srgb, var(--color-accent) calc(var(--heat) * 55%), var(--background-fill-secondary)); }
.score-result .own { border-color: var(--body-text-color); font-weight: 600; }
.score-result .other { border: 2px dashed var(--body-text-color); }
.score-result .share { color: var(--body-text-color-subdued); }
.score-result .frame:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
"""
