"""The photographs of a concept, each with its verdict and its caption beside it, which is saved when it is left."""

import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.gallery import judge_concept, list_photographs
from spectral_diffusion.diffusion.prompts import PROMPT_LIMIT
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import NODES
from spectral_diffusion.studio.thumbnails import thumbnail_address

THUMBNAIL_PX = 192


def caption_table(*, opens: str = "", **options: Any) -> gr.HTML:
    """A component of photographs.

    Its event `pick` tells `concept` and `name` of the one pressed, its event `caption` a `text` too.

    Args:
        opens: Id of what is shown of the one pressed; the page is scrolled until it is seen.
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value={"concept": "", "rows": []},
        html_template="<div class='captions'></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        limit=PROMPT_LIMIT,
        opens=opens,
        **options,
    )


def captioned(
    desk: Desk, concept: str, chosen: str | None = None, refused: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A value for the component.

    Args:
        desk: Whose.
        concept: The folder.
        chosen: The photograph that is looked at.
        refused: Why captions were not saved, by photograph.

    Raises:
        InputError: There is no such concept.
    """
    photographs = list_photographs(desk.workspace, concept)
    verdicts = judge_concept(desk.workspace, concept, desk.studio.config.training.resolution_px)
    rows = []
    for photograph in photographs:
        verdict = verdicts.get(photograph.name)
        words = photograph.fault or (verdict.words if verdict else "")
        rows.append(
            {
                "name": photograph.name,
                "image": thumbnail_address(desk, photograph.path, THUMBNAIL_PX),
                "caption": photograph.caption,
                "verdict": words,
                "good": not photograph.fault and verdict is not None and verdict.good,
                "masked": photograph.mask is not None,
                "refused": (refused or {}).get(photograph.name, ""),
                "on": photograph.name == chosen,
            }
        )
    # A value that is the same as before would not be drawn, and a caption never be called saved. An answer to `caption`
    # adds as `answered` the `name` and the `text` that it is about.
    return {"concept": concept, "rows": rows, "stamp": time.time_ns()}


# Rows are kept and brought up to date, never made anew: a person may be writing in one while another is saved.
_JS = """
const table = element.querySelector('.captions');
let concept, rows = new Map(), open = '';
const newRow = (name) => {
  const picture = make('img', {alt: ''});
  const pick = make('button', {type: 'button', className: 'pick', title: 'Crop it, paint its mask, or remove it'},
    picture);
  pick.setAttribute('aria-label', `Edit ${name}`);
  pick.addEventListener('click', () => trigger('pick', {concept, name}));
  const verdict = make('span', {className: 'verdict'}), masked = make('span', {className: 'mark', textContent: 'mask'});
  const text = make('textarea', {rows: 2, maxLength: props.limit, placeholder: 'Caption (may stay empty)',
    title: 'What the photograph shows, with the token: a photo of <octo> on grass. Empty, such a text is made. '
      + 'Saved when you leave it.'});
  text.setAttribute('aria-label', `Caption of ${name}`);
  const state = make('small', {className: 'state', role: 'status'});
  const row = {saved: '', sent: null, text, state, picture, pick, verdict, masked};
  text.addEventListener('input', () => { state.textContent = text.value === row.saved ? '' : 'not saved yet'; });
  text.addEventListener('change', () => {
    if (text.value === row.saved) return;
    row.sent = text.value;
    state.textContent = 'saving';
    trigger('caption', {concept, name, text: text.value});
  });
  text.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    text.blur();
  });
  row.node = make('div', {className: 'row'}, pick, make('div', {className: 'words'},
    make('div', {className: 'line'}, make('b', {textContent: name}), verdict, masked), text, state));
  return row;
};
const draw = () => {
  const value = props.value || {rows: []};
  if (value.concept !== concept) { rows = new Map(); concept = value.concept; }
  const kept = new Map();
  for (const item of value.rows || []) {
    const row = rows.get(item.name) || newRow(item.name);
    kept.set(item.name, row);
    if (row.picture.getAttribute('src') !== item.image) {
      if (item.image) row.picture.src = item.image; else row.picture.removeAttribute('src');
    }
    row.verdict.textContent = item.verdict;
    row.verdict.className = item.good ? 'verdict good' : 'verdict';
    row.masked.hidden = !item.masked;
    row.node.classList.toggle('on', !!item.on);
    row.pick.setAttribute('aria-pressed', item.on ? 'true' : 'false');
    const answered = value.answered || {};
    const isAnswer = answered.name === item.name && answered.text === row.sent && row.sent === row.text.value;
    const isUntouched = row.text.value === row.saved;
    if (item.refused) {
      row.state.textContent = item.refused;
      row.sent = null;
    } else if (isAnswer || isUntouched) {
      row.text.value = item.caption;
      if (isAnswer) { row.state.textContent = 'saved'; row.sent = null; }
    }
    row.saved = item.caption;
  }
  rows = kept;
  const chosen = (value.rows || []).find(item => item.on), now = chosen ? chosen.name : '';
  if (now && now !== open && props.opens) {
    const target = () => document.getElementById(props.opens);
    setTimeout(() => target() && target().scrollIntoView({block: 'nearest'}), 250);
  }
  open = now;
  const nodes = [...kept.values()].map(row => row.node);
  // Moving a node takes the focus away from what is in it.
  if (nodes.length !== table.children.length || nodes.some((node, index) => table.children[index] !== node)) {
    table.replaceChildren(...nodes);
  }
};
watch('value', draw);
draw();
"""

_CSS = """
.captions { display: grid; gap: 8px; }
.captions .row { display: flex; gap: 10px; padding: 8px; border-radius: 10px;
  border: 1px solid var(--border-color-primary); background: var(--block-background-fill); }
.captions .row.on { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.captions .pick { flex: none; width: 104px; height: 104px; padding: 0; border: 0; border-radius: 8px; cursor: pointer;
  background: var(--background-fill-secondary); overflow: hidden; }
.captions .pick img { width: 100%; height: 100%; object-fit: contain; margin: 0; }
.captions .words { flex: 1; min-width: 0; }
.captions .line { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: baseline; overflow-wrap: anywhere;
  line-height: 1.3; margin-bottom: 4px; }
.captions .verdict { color: var(--primary-700); font-size: var(--text-sm); }
.captions .verdict.good { color: var(--body-text-color-subdued); }
.dark & .captions .verdict:not(.good) { color: var(--primary-300); }
.captions .mark { font-size: var(--text-xs); border: 1px solid var(--border-color-primary); border-radius: 999px;
  padding: 0 8px; color: var(--body-text-color-subdued); }
.captions textarea { width: 100%; box-sizing: border-box; resize: vertical; border-radius: 6px;
  border: 1px solid var(--border-color-primary); padding: 6px 8px;
  background: var(--input-background-fill); color: var(--body-text-color);
  font: inherit; font-size: var(--text-sm); }
.captions .state { color: var(--body-text-color-subdued); }
.captions :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
@media (max-width: 640px) { .captions .pick { width: 72px; height: 72px; } }
"""
