"""Texts to press: one click puts one of them somewhere."""

from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import NODES


def chips(**options: Any) -> gr.HTML:
    """A component of texts; its value is a list of them, its event `select` tells the `index` of the one pressed.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML([], html_template="<div class='chips'></div>", css_template=_CSS, js_on_load=NODES + _JS, **options)


def pressed(desk: Desk, offered: Any, evt: gr.EventData) -> str:
    """The text that was pressed, as an answer to `select`.

    Raises:
        InputError: There is no such text.
    """
    index = getattr(evt, "index", None)
    if not isinstance(offered, list) or not isinstance(index, int) or not 0 <= index < len(offered):
        raise InputError("that text is gone", "choose another")
    return str(offered[index])


_JS = """
const draw = () => {
  const nodes = (props.value || []).map((text, index) => {
    const chip = make('button', {type: 'button', textContent: text});
    chip.addEventListener('click', () => trigger('select', {index}));
    return chip;
  });
  element.querySelector('.chips').replaceChildren(...nodes);
};
watch('value', draw);
draw();
"""

_CSS = """
.chips { display: flex; flex-wrap: wrap; gap: 6px; }
.chips button { border: 1px solid var(--border-color-primary); border-radius: 999px; padding: 5px 11px;
  background: var(--background-fill-secondary); color: var(--body-text-color); font-size: var(--text-sm);
  text-align: left; cursor: pointer; }
.chips button:hover { border-color: var(--color-accent); }
.chips button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
"""
