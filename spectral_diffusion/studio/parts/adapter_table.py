"""Adapter files as a list to choose from, and all that is known of the one chosen."""

import html
import time
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.library import AdapterSummary
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import NODES


def adapter_table(**options: Any) -> gr.HTML:
    """A component of adapter files; its event `pick` tells the `file` of the one pressed.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='adapters' role='group' aria-label='Adapters'></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        **options,
    )


def listed_adapters(desk: Desk, chosen: str | None) -> list[dict[str, Any]]:
    """A value for the component, the newest file first."""
    found = sorted(desk.adapters(), key=lambda summary: (-summary.modified, summary.file_name))
    return [
        {
            "file": summary.file_name,
            "title": summary.file_name.removesuffix(".safetensors"),
            "kind": "fused" if summary.is_fused else "adapter",
            "tokens": " ".join(summary.tokens),
            "columns": "" if summary.fault else columns(summary),
            "base": summary.base_name if not summary.fault else "",
            "size": amount(summary.size_bytes),
            "when": day(summary.modified),
            "fault": summary.fault,
            "on": summary.file_name == chosen,
        }
        for summary in found
    ]


def adapter_of(desk: Desk, file_name: Any) -> AdapterSummary:
    """The adapter file of that name.

    Raises:
        InputError: There is none.
    """
    for summary in desk.adapters():
        if summary.file_name == file_name:
            return summary
    raise InputError(f"there is no adapter {str(file_name)[:60]!r} any more", "choose another")


def facts(summary: AdapterSummary) -> str:
    """What is known of a file, as markup."""
    head = f"<p><b>{html.escape(summary.file_name)}</b></p>"
    if summary.fault:
        return f"{head}<p class='notice'>{html.escape(summary.fault)}</p>"
    head += f"<p class='hint'>{amount(summary.size_bytes)}, {day(summary.modified)}, "
    head += f"for the model {html.escape(summary.base_name)}</p>"
    rows = "".join(
        f"<tr><td>{html.escape(part.name)}</td><td><code>{html.escape(' '.join(part.tokens))}</code></td>"
        f"<td>{html.escape(', '.join(info.class_word for info in part.tokens.values()))}</td>"
        f"<td>{html.escape(part.columns.removeprefix('columns '))}</td>"
        f"<td>{part.rank}</td><td>{part.strength:g}</td></tr>"
        for part in summary.parts
    )
    names = ("Concept", "Token", "Class word", "Columns", "Rank", "Strength")
    top = "".join(f"<th scope='col'>{name}</th>" for name in names)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{head}<div class='scroll' tabindex='0'>{table}</div>"


def columns(summary: AdapterSummary) -> str:
    """The columns that a file's concepts lie in."""
    ranges = [part.columns.removeprefix("columns ") for part in summary.parts if part.slot is not None]
    without = dict.fromkeys(part.columns for part in summary.parts if part.slot is None)
    return "; ".join([f"columns {', '.join(ranges)}"] * bool(ranges) + [*without])


def amount(size_bytes: int) -> str:
    """A size as people say it."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit != "MB" else f"{size:.1f} MB"
        size /= 1000
    return f"{size:.2f} GB"


def day(seconds: float) -> str:
    """A moment as date and time of the machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


_JS = """
const list = element.querySelector('.adapters');
const draw = () => {
  const nodes = (props.value || []).map(item => {
    const facts = [item.kind, item.columns, item.base, item.size, item.when].filter(Boolean).join(' \\u00b7 ');
    const row = make('button', {type: 'button', className: item.on ? 'file on' : 'file',
      'aria-pressed': item.on ? 'true' : 'false', 'data-key': item.file},
      make('span', {className: 'top'}, make('b', {textContent: item.title}), make('code', {textContent: item.tokens})),
      make('small', {textContent: facts}),
      item.fault ? make('small', {className: 'fault', textContent: item.fault}) : null);
    row.addEventListener('click', () => trigger('pick', {file: item.file}));
    return row;
  });
  const none = make('p', {textContent: 'No adapter yet: train a concept in Train, or import a file below.'});
  refill(list, ...(nodes.length ? nodes : [none]));
};
watch('value', draw);
draw();
"""

_CSS = """
.adapters { display: grid; gap: 6px; }
.file { display: block; text-align: left; width: 100%; padding: 8px 12px; border-radius: 10px; cursor: pointer;
  border: 1px solid var(--border-color-primary); background: var(--block-background-fill);
  color: var(--body-text-color); overflow-wrap: anywhere; font: inherit; line-height: 1.4; }
.file:hover { border-color: var(--color-accent); }
.file.on { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.file:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.file .top { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; }
.file small { display: block; font-weight: normal; color: var(--body-text-color-subdued); }
.file .fault { color: var(--primary-700); }
.dark & .file .fault { color: var(--primary-300); }
.adapters p { margin: 4px 2px; color: var(--body-text-color-subdued); }
"""
