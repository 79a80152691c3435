"""Every picture with its scores, as a table that a press on a heading sorts."""

from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.score_page import ranked
from spectral_diffusion.diffusion.score_words import PictureScore, Scores
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ScoreSpec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import NODES
from spectral_diffusion.studio.scoring import kept_picture, told_by, told_title
from spectral_diffusion.studio.thumbnails import thumbnail_address

THUMBNAIL_PX = 96


def score_table(**options: Any) -> gr.HTML:
    """The component; its value is what `table_of` makes.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value={}, html_template="<div class='score-table'></div>", css_template=_CSS, js_on_load=NODES + _JS, **options
    )


def table_of(desk: Desk, job: Job, scores: Scores) -> dict[str, Any]:
    """The scores of each picture, the best first; empty where a job of an older version tells of none."""
    spec = job.spec
    if not isinstance(spec, ScoreSpec) or len(scores.each) != len(spec.images):
        return {}
    parts = len(scores.leaks.concepts) if scores.leaks else 0
    columns = [
        name
        for name, is_there in (
            ("Image", any(one.image is not None for one in scores.each)),
            ("Text", any(one.text is not None for one in scores.each)),
            ("Own regions", bool(parts)),
        )
        if is_there
    ]
    order = ranked(scores.each)
    rows = []
    for place, index in enumerate(order):
        one, image = scores.each[index], spec.images[index]
        kept = kept_picture(desk, spec, index)
        rows.append(
            {
                "title": told_title(told_by(kept), image.name) if kept else image.name,
                "name": image.name,
                "image": thumbnail_address(desk, kept, THUMBNAIL_PX),
                "cells": [_cell(one, name, parts) for name in columns],
                "mark": _mark(place, len(order)),
            }
        )
    return {"columns": columns, "rows": rows}


def _cell(one: PictureScore, column: str, parts: int) -> dict[str, Any]:
    if column == "Own regions":
        own = one.own_regions
        return {"value": own, "text": "-" if own is None else f"{own} of {parts}"}
    value = one.image if column == "Image" else one.text
    return {"value": value, "text": "-" if value is None else f"{value:.3f}"}


def _mark(place: int, count: int) -> str:
    if count < 2:
        return ""
    return "best" if place == 0 else "worst" if place == count - 1 else ""


_JS = """
let by = 0, down = true;
const compare = (a, b) => {
  const [x, y] = [a.cells[by].value, b.cells[by].value];
  if (x === null || y === null) return (x === null) - (y === null);
  return down ? y - x : x - y;
};
const draw = () => {
  const columns = (props.value || {}).columns || [];
  const rows = [...((props.value || {}).rows || [])];
  if (by >= columns.length) by = 0;
  if (columns.length) rows.sort(compare);
  const heads = columns.map((name, index) => {
    const arrow = make('span', {'aria-hidden': 'true',
      textContent: index === by ? (down ? '\\u2193' : '\\u2191') : ''});
    const press = make('button', {type: 'button', title: `Sort by ${name}`, 'data-key': name}, `${name} `, arrow);
    press.addEventListener('click', () => {
      down = index === by ? !down : true;
      by = index;
      draw();
    });
    const order = index !== by ? 'none' : down ? 'descending' : 'ascending';
    return make('th', {scope: 'col', 'aria-sort': order}, press);
  });
  const lines = rows.map(row => {
    const picture = row.image ? make('img', {src: row.image, alt: '', loading: 'lazy'}) : null;
    const words = make('span', {title: row.name}, row.title);
    if (row.mark) words.append(make('b', {className: row.mark, textContent: row.mark}));
    return make('tr', {}, make('th', {scope: 'row'}, make('div', {}, picture, words)),
      ...row.cells.map(cell => make('td', {textContent: cell.text})));
  });
  const table = make('table', {},
    make('thead', {}, make('tr', {}, make('th', {scope: 'col', textContent: 'Picture'}), ...heads)),
    make('tbody', {}, ...lines));
  const frame = make('div', {className: 'frame', tabIndex: 0, role: 'region', 'aria-label': 'Scores of every picture'},
    table);
  refill(element.querySelector('.score-table'), ...(rows.length ? [frame] : []));
};
watch('value', draw);
draw();
"""

_CSS = """
.score-table .frame { overflow: auto; max-height: 480px; border: 1px solid var(--border-color-primary);
  border-radius: 10px; }
.score-table table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: 0; }
.score-table table, .score-table tr { border: 0; }
.score-table th, .score-table td { padding: 4px 10px; border: 0; text-align: right;
  border-top: 1px solid var(--border-color-primary); }
.score-table tr > :first-child { text-align: left; font-weight: 400; }
.score-table thead th { position: sticky; top: 0; background: var(--background-fill-secondary); border-top: 0;
  white-space: nowrap; font-weight: 600; }
.score-table thead button { background: none; border: 0; padding: 6px 0; font: inherit; cursor: pointer;
  color: var(--body-text-color); }
.score-table tbody div { display: flex; align-items: center; gap: 10px; }
.score-table img { width: 56px; height: 44px; object-fit: contain; margin: 0; flex: none; }
.score-table tbody span { min-width: 0; overflow-wrap: anywhere; font-size: var(--text-sm); line-height: 1.3; }
.score-table tbody b { margin-left: 8px; padding: 1px 8px; border-radius: 999px; white-space: nowrap;
  border: 1px solid currentColor; font-weight: 600; }
.score-table b.best { color: var(--color-accent); }
.dark & .score-table b.best { color: var(--link-text-color); }
.score-table :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
"""
