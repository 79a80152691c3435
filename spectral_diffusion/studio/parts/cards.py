"""Cards to tick: concepts with their pictures and, where it makes sense, a strength slider each."""

from typing import Any, NamedTuple

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.parts.nodes import NODES

STRENGTH_LIMIT = 2.0
"""Beyond this a slider shows noise; the command line takes more."""
_STRENGTH_STEP = 0.05


class Card(NamedTuple):
    """One card.

    Args:
        id: What it stands for.
        title: What it is called.
        text: A line below that.
        image: Address of a picture, or none.
        on: Whether it is ticked.
        strength: Where its slider stands.
        hint: What hovering explains.
    """

    id: str
    title: str
    text: str = ""
    image: str = ""
    on: bool = False
    strength: float = 1.0
    hint: str = ""

    def value(self) -> dict[str, Any]:
        """As the component holds it."""
        return self._asdict()


class Ticked(NamedTuple):
    """A ticked card: what it stands for, and its strength."""

    id: str
    strength: float


def cards(*, strengths: bool = False, empty: str, **options: Any) -> gr.HTML:
    """A component of cards; its value is a list of `Card.value()`. Its event `change` tells of every new value,
    `tick` only of those that a person gave it.

    Args:
        strengths: Whether ticked cards have a slider.
        empty: What is said where there are no cards.
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='cards' role='group'></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        strengths=strengths,
        empty=empty,
        limit=STRENGTH_LIMIT,
        step=_STRENGTH_STEP,
        **options,
    )


def ticked(value: Any) -> list[Ticked]:
    """The cards that are ticked, out of a value that may come from anybody.

    Raises:
        InputError: It is no value of this component.
    """
    found: list[Ticked] = []
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            raise InputError("the choice of cards cannot be read", "reload the page")
        strength = item.get("strength", 1.0)
        if not isinstance(strength, int | float) or not abs(strength) <= STRENGTH_LIMIT:
            raise InputError(f"the strength of {item['id'][:60]} is none", f"choose 0 to {STRENGTH_LIMIT:g}")
        if item.get("on") is True:
            found.append(Ticked(item["id"], float(strength)))
    return found


_JS = """
const commit = (index, change) => {
  props.value = props.value.map((item, other) => other === index ? {...item, ...change} : item);
  draw();
  trigger('tick');
  trigger('change');
};
const slider = (item, index) => {
  const shown = make('output', {textContent: Number(item.strength).toFixed(2)});
  const range = make('input', {type: 'range', min: 0, max: props.limit, step: props.step, value: item.strength,
    'data-key': `strength ${item.id}`, 'aria-label': `Strength of ${item.title}`,
    title: 'Strength: how much of what was learned is added. 1 is as trained, 0 is nothing.'});
  range.addEventListener('input', () => { shown.textContent = Number(range.value).toFixed(2); });
  range.addEventListener('change', () => commit(index, {strength: Number(range.value)}));
  return make('span', {className: 'strength'}, range, shown);
};
const draw = () => {
  const nodes = (props.value || []).map((item, index) => {
    const box = make('input', {type: 'checkbox', checked: !!item.on, 'data-key': `on ${item.id}`});
    box.addEventListener('change', () => commit(index, {on: box.checked}));
    const picture = item.image ? make('img', {src: item.image, alt: ''}) : make('span', {className: 'none'});
    const label = make('label', {title: item.hint || ''}, box, picture,
      make('span', {className: 'words'}, make('b', {textContent: item.title}),
        make('small', {textContent: item.text})));
    const card = make('div', {className: item.on ? 'card on' : 'card'}, label);
    if (props.strengths && item.on) card.append(slider(item, index));
    return card;
  });
  refill(element.querySelector('.cards'),
    ...(nodes.length ? nodes : [make('p', {className: 'empty', textContent: props.empty})]));
};
watch('value', draw);
draw();
"""

_CSS = """
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(210px, 100%), 1fr)); gap: 8px; }
.card { border: 1px solid var(--border-color-primary); border-radius: 10px; background: var(--block-background-fill); }
.card.on { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.card label { display: flex; align-items: center; gap: 10px; padding: 8px 10px; cursor: pointer; min-height: 44px; }
.card input[type=checkbox] { width: 18px; height: 18px; accent-color: var(--color-accent); flex: none; margin: 0; }
.card img { width: 48px; height: 48px; object-fit: cover; border-radius: 6px; flex: none; margin: 0; }
.card .none { width: 48px; height: 48px; border-radius: 6px; flex: none; background: var(--background-fill-secondary); }
.card .words { min-width: 0; overflow-wrap: anywhere; line-height: 1.3; }
.card small { display: block; color: var(--body-text-color-subdued); }
.card .strength { display: flex; align-items: center; gap: 8px; padding: 0 10px 10px; }
.card input[type=range] { flex: 1; min-width: 0; accent-color: var(--color-accent); height: 24px; }
.card output { font-variant-numeric: tabular-nums; width: 2.6em; text-align: right; }
.card :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.empty { color: var(--body-text-color-subdued); margin: 8px 2px; }
"""
