"""Pictures to tick: thumbnails side by side, each with its box."""

from typing import Any, NamedTuple

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.parts.nodes import NODES

CARDS_LIMIT = 2000
"""No value of ours holds more."""


class PictureCard(NamedTuple):
    """One picture.

    Args:
        id: What it stands for.
        title: The line below it.
        image: Address of a thumbnail, or none.
        on: Whether it is ticked.
        hint: What hovering explains.
    """

    id: str
    title: str
    image: str = ""
    on: bool = False
    hint: str = ""

    def value(self) -> dict[str, Any]:
        """As the component holds it."""
        return self._asdict()


def picture_cards(*, empty: str, **options: Any) -> gr.HTML:
    """A component of pictures; its value is a list of `PictureCard.value()`, its event `change`.

    Args:
        empty: What is said where there are none.
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='picture-cards'></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        empty=empty,
        **options,
    )


def ticked_pictures(value: Any) -> list[str]:
    """What is ticked, in order, out of a value that may come from anybody.

    Raises:
        InputError: It is no value of this component.
    """
    items = value if isinstance(value, list) else []
    if len(items) > CARDS_LIMIT or not all(
        isinstance(item, dict) and isinstance(item.get("id"), str) for item in items
    ):
        raise InputError("the choice of pictures cannot be read", "reload the page")
    return list(dict.fromkeys(item["id"] for item in items if item.get("on") is True))


_JS = """
const commit = (wanted) => {
  props.value = props.value.map((item, index) => ({...item, on: wanted(item, index)}));
  draw();
  trigger('change');
};
const all = (text, on) => {
  const node = make('button', {type: 'button', textContent: text, 'data-key': text});
  node.addEventListener('click', () => commit(() => on));
  return node;
};
const draw = () => {
  const items = props.value || [];
  const cards = items.map((item, index) => {
    const box = make('input', {type: 'checkbox', checked: !!item.on, 'data-key': `on ${item.id}`});
    box.addEventListener('change', () => commit((other, at) => at === index ? box.checked : !!other.on));
    const picture = item.image
      ? make('img', {src: item.image, alt: '', loading: 'lazy'}) : make('span', {className: 'none'});
    return make('label', {title: item.hint || '', className: item.on ? 'pick on' : 'pick'},
      picture, make('span', {className: 'words'}, box, make('span', {textContent: item.title})));
  });
  const count = items.filter(item => item.on).length;
  const said = make('span', {role: 'status', textContent: `${count} of ${items.length} ticked`});
  const bar = make('div', {className: 'bar'}, said, all('All', true), all('None', false));
  const grid = make('div', {className: 'grid', role: 'group', 'aria-label': 'Pictures'}, ...cards);
  refill(element.querySelector('.picture-cards'),
    ...(items.length ? [bar, grid] : [make('p', {className: 'empty', textContent: props.empty})]));
};
watch('value', draw);
draw();
"""

_CSS = """
.picture-cards .bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 8px;
  color: var(--body-text-color-subdued); font-size: var(--text-sm); }
.picture-cards .bar button { border: 1px solid var(--border-color-primary); border-radius: 999px; padding: 4px 12px;
  background: var(--background-fill-secondary); color: var(--body-text-color); cursor: pointer;
  font-size: var(--text-sm); font-weight: 400; }
.picture-cards .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 8px; }
.pick { display: flex; flex-direction: column; border: 1px solid var(--border-color-primary); border-radius: 10px;
  overflow: hidden; background: var(--block-background-fill); cursor: pointer; }
.pick.on { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.pick img, .pick .none { width: 100%; height: 96px; object-fit: contain; margin: 0; display: block;
  background: var(--background-fill-secondary); }
.pick .words { display: flex; align-items: center; gap: 8px; padding: 6px 8px; min-height: 44px;
  font-size: var(--text-sm); line-height: 1.25; min-width: 0; }
.pick .words span { min-width: 0; overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 2;
  -webkit-box-orient: vertical; overflow: hidden; }
.pick input { width: 18px; height: 18px; flex: none; margin: 0; accent-color: var(--color-accent); }
.picture-cards :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.picture-cards .empty { color: var(--body-text-color-subdued); margin: 8px 2px; }
"""
