"""Jobs in a list to choose from; it may change every second under a person's hands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.parts.nodes import NODES


class JobRow(NamedTuple):
    """One job.

    Args:
        id: Of the job.
        title: What it does.
        words: How far it is.
        state: Where it stands.
        step, steps: Of its bar; of no steps the bar only moves.
        chosen: Whether it is the one that is shown.
    """

    id: str
    title: str
    words: str
    state: str
    step: int = 0
    steps: int = 0
    chosen: bool = False


def job_rows(*, label: str, empty: str, **options: Any) -> gr.HTML:
    """A component of rows; its value is what `rows_value` makes, its event `select` tells the `id` of the one pressed.

    Args:
        label: What the list is called.
        empty: What is said where there are no jobs.
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='jobs'><ul></ul><p></p></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        list_label=label,
        empty=empty,
        **options,
    )


def rows_value(rows: Sequence[JobRow]) -> list[dict[str, Any]]:
    """As the component holds them."""
    return [row._asdict() for row in rows]


def pressed_id(evt: gr.EventData) -> str:
    """The job that was pressed, out of an event that may come from anybody.

    Raises:
        InputError: The event names none.
    """
    job_id = getattr(evt, "id", None)
    if not isinstance(job_id, str):
        raise InputError("that job is gone", "choose another")
    return job_id


# Rows are changed and not made anew: a press that begins on one and ends on its successor would be none.
_JS = """
const list = element.querySelector('ul');
const nothing = element.querySelector('p');
list.setAttribute('aria-label', props.list_label);
const newRow = id => {
  const press = make('button', {type: 'button'}, make('b'), make('span'), make('progress'));
  press.addEventListener('click', () => trigger('select', {id}));
  const row = make('li', {}, press);
  row.dataset.id = id;
  return row;
};
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const fill = (row, job) => {
  const button = row.firstChild;
  row.className = `job ${job.state}`;
  button.setAttribute('aria-pressed', String(!!job.chosen));
  put(button.querySelector('b'), job.title);
  put(button.querySelector('span'), job.words);
  const bar = button.querySelector('progress');
  bar.hidden = !['running', 'paused', 'queued'].includes(job.state);
  bar.setAttribute('aria-label', `Progress of ${job.title}`);
  if (job.steps) { bar.max = job.steps; bar.value = job.step; } else { bar.removeAttribute('value'); }
};
const draw = () => {
  const jobs = props.value || [];
  const known = new Map([...list.children].map(row => [row.dataset.id, row]));
  jobs.forEach((job, index) => {
    const row = known.get(job.id) || newRow(job.id);
    known.delete(job.id);
    fill(row, job);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] || null);
  });
  known.forEach(row => row.remove());
  put(nothing, jobs.length ? '' : props.empty);
  nothing.hidden = jobs.length > 0;
};
watch('value', draw);
draw();
"""

_CSS = """
.jobs ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 6px; max-height: 320px; overflow-y: auto; }
.jobs p { color: var(--body-text-color-subdued); margin: 8px 2px; }
.job { margin: 0; padding: 2px; }
.job button { display: grid; gap: 2px; width: 100%; min-height: 44px; padding: 8px 12px; text-align: left;
  cursor: pointer; font-size: var(--text-md); border-radius: 8px; border: 1px solid var(--border-color-primary);
  background: var(--block-background-fill); color: var(--body-text-color); overflow-wrap: anywhere; }
.job button:hover { border-color: var(--color-accent); }
.job button[aria-pressed=true] { border-color: var(--color-accent); box-shadow: inset 3px 0 0 var(--color-accent); }
.job b { font-weight: 600; }
.job span { font-weight: 400; font-size: var(--text-sm); color: var(--body-text-color-subdued);
  font-variant-numeric: tabular-nums; }
.job.failed span { color: var(--error-text-color, inherit); }
.job progress { width: 100%; height: 8px; }
.job button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
"""
