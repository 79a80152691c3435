"""What the studio's own components share: nodes made in the browser, and events read with care."""

from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError

NODES = """
const make = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.includes('-') || name === 'for' || name === 'role') node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
};
const button = (text, title, act, attributes) => {
  const node = make('button', {type: 'button', textContent: text, title, ...attributes});
  node.classList.add('act');
  node.addEventListener('click', act);
  return node;
};
const refill = (place, ...nodes) => {
  const at = document.activeElement, key = at && place.contains(at) ? at.dataset.key : undefined;
  place.replaceChildren(...nodes);
  const again = [...place.querySelectorAll('[data-key]')].find(node => node.dataset.key === key);
  if (again) again.focus();
};
"""
"""`make(tag, attributes, ...children)` and `button(text, hint, act, attributes)`: nodes of a page.

`refill(place, ...nodes)` puts nodes in place of others; the focus stays on what has the same `data-key`.
Texts of people go in as children or `textContent`, never as markup.
"""

BUTTONS = """
.act { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 6px 12px; min-height: 40px;
  margin: 0; cursor: pointer; background: var(--button-secondary-background-fill);
  color: var(--button-secondary-text-color); font: inherit; font-size: var(--text-sm); font-weight: 500; }
.act:hover { border-color: var(--color-accent); }
.act:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.act:disabled { opacity: .5; cursor: default; }
.act[hidden] { display: none; }
.act[aria-pressed=true] { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.act.main { background: var(--button-primary-background-fill); color: var(--button-primary-text-color);
  border-color: transparent; }
"""
"""How `button` looks: `main` is the one that a person most likely wants."""


def told(evt: gr.EventData, name: str) -> Any:
    """What an event of a component of ours tells under a name; None where it, coming from anybody, tells nothing."""
    data = getattr(evt, "_data", None)
    return data.get(name) if isinstance(data, dict) else None


def told_text(evt: gr.EventData, name: str) -> str:
    """The same where it is a text.

    Raises:
        InputError: It is none.
    """
    found = told(evt, name)
    if not isinstance(found, str):
        raise InputError("the page told nothing that can be used", "reload the page")
    return found
