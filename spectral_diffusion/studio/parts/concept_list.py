"""The concepts as a list to choose from: cover, name, token, how many photographs, and what is wrong."""

from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.gallery import ConceptSummary, list_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.nodes import NODES
from spectral_diffusion.studio.thumbnails import COVER_PX, thumbnail_address


def concept_list(**options: Any) -> gr.HTML:
    """A component of concepts; its event `pick` tells the `folder` of the one pressed.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='concept-list' role='group' aria-label='Concepts'></div>",
        css_template=_CSS,
        js_on_load=NODES + _JS,
        **options,
    )


def listed_concepts(desk: Desk, chosen: str | None) -> list[dict[str, Any]]:
    """A value for the component.

    Args:
        desk: Whose concepts.
        chosen: The folder of the one that is looked at.
    """
    return [_item(desk, concept, concept.folder == chosen) for concept in list_concepts(desk.workspace)]


def concept_of(desk: Desk, folder: Any) -> ConceptSummary:
    """The concept in a folder of that name.

    Raises:
        InputError: There is none.
    """
    for concept in list_concepts(desk.workspace):
        if concept.folder == folder:
            return concept
    raise InputError(f"there is no concept {str(folder)[:60]!r} any more", "choose another")


def counted(count: int) -> str:
    """So many photographs, in words."""
    return "no photographs yet" if not count else f"{count} photograph{'' if count == 1 else 's'}"


def _item(desk: Desk, concept: ConceptSummary, on: bool) -> dict[str, Any]:
    return {
        "folder": concept.folder,
        "title": concept.name,
        "token": concept.token,
        "text": counted(concept.count),
        "trained": concept.has_adapter,
        "fault": concept.fault if concept.count else "",
        "image": thumbnail_address(desk, concept.cover, COVER_PX),
        "on": on,
    }


_JS = """
const list = element.querySelector('.concept-list');
const draw = () => {
  const nodes = (props.value || []).map(item => {
    const words = make('span', {className: 'words'},
      make('b', {textContent: item.title}),
      make('small', {textContent: item.token}),
      make('small', {textContent: item.text + (item.trained ? ', trained' : '')}),
      item.fault ? make('small', {className: 'fault', textContent: item.fault}) : null);
    const picture = item.image ? make('img', {src: item.image, alt: ''}) : make('span', {className: 'none'});
    const card = make('button', {type: 'button', className: item.on ? 'concept on' : 'concept',
      'aria-pressed': item.on ? 'true' : 'false', 'data-key': item.folder}, picture, words);
    card.addEventListener('click', () => trigger('pick', {folder: item.folder}));
    return card;
  });
  const none = make('p', {textContent: 'No concept yet. Make one, or put the sample concepts back.'});
  refill(list, ...(nodes.length ? nodes : [none]));
};
watch('value', draw);
draw();
"""

_CSS = """
.concept-list { display: grid; gap: 6px; grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr)); }
.concept { display: flex; align-items: center; gap: 10px; text-align: left; padding: 8px; min-height: 44px; width: 100%;
  border: 1px solid var(--border-color-primary); border-radius: 10px; background: var(--block-background-fill);
  color: var(--body-text-color); cursor: pointer; font: inherit; }
.concept:hover { border-color: var(--color-accent); }
.concept.on { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); }
.concept:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.concept img, .concept .none { width: 52px; height: 52px; object-fit: cover; border-radius: 6px; flex: none; margin: 0;
  background: var(--background-fill-secondary); }
.concept .words { min-width: 0; overflow-wrap: anywhere; line-height: 1.3; }
.concept small { display: block; font-weight: normal; color: var(--body-text-color-subdued); }
.concept .fault { color: var(--error-text-color, var(--color-accent)); }
.concept-list p { margin: 4px 2px; color: var(--body-text-color-subdued); }
"""
