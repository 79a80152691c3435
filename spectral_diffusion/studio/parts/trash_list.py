"""What lies in the trash: brought back, or removed for good."""

from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.curation import restore
from spectral_diffusion.diffusion.library import restore_adapter
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.adapter_table import day
from spectral_diffusion.studio.parts.nodes import BUTTONS, NODES
from spectral_diffusion.trash import Trash, TrashedItem


def trash_list(**options: Any) -> gr.HTML:
    """A component of things in the trash; its events `restore` and `erase` tell the `id` of one.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value=[],
        html_template="<div class='trash'></div>",
        css_template=BUTTONS + _CSS,
        js_on_load=NODES + _JS,
        **options,
    )


def listed_trash(desk: Desk) -> list[dict[str, Any]]:
    """A value for the component."""
    return [
        {
            "id": item.id,
            "name": item.name,
            "text": f"{item.what}, {day(item.when)}" + (f", from {item.origin}" if item.origin else ""),
            "fault": item.fault,
        }
        for item in Trash(desk.workspace).items()
    ]


def item_of(desk: Desk, item_id: Any) -> TrashedItem:
    """The thing in the trash of that id.

    Raises:
        InputError: There is none.
    """
    for item in Trash(desk.workspace).items():
        if item.id == item_id:
            return item
    raise InputError("that is not in the trash any more", "look again")


def bring_back(desk: Desk, item_id: Any) -> str:
    """Put something back where it was; returns what to say of it.

    Raises:
        InputError: It is gone, or its place is; or the workspace cannot be written to.
    """
    item = item_of(desk, item_id)
    if item.what == "adapter":
        back = restore_adapter(desk.workspace, item.id)
        return ". ".join([f"{back.file_name} is back", *back.notes]) + "."
    place = restore(desk.workspace, item.id)
    return f"{place.name} is back" + (f", as {item.name} is taken." if place.name != item.name else ".")


def erase(desk: Desk, item_id: Any) -> str:
    """Remove something for good; returns its name.

    Raises:
        InputError: It is gone.
    """
    item = item_of(desk, item_id)
    Trash(desk.workspace).remove(item.id)
    return item.name


# Nothing is removed for good by one press.
_JS = """
const list = element.querySelector('.trash');
let asked = null;
const draw = () => {
  const nodes = (props.value || []).map(item => {
    const back = button('Restore', 'Put it back where it was', () => trigger('restore', {id: item.id}),
      {'aria-label': `Restore ${item.name}`, 'data-key': `back ${item.id}`});
    back.disabled = !!item.fault;
    const gone = asked === item.id
      ? button('Yes, remove for good', 'There is no way back', () => { asked = null; trigger('erase', {id: item.id}); },
        {'aria-label': `Yes, remove ${item.name} for good`, 'data-key': `gone ${item.id}`})
      : button('Remove', 'Remove it for good; you are asked once more', () => { asked = item.id; draw(); },
        {'aria-label': `Remove ${item.name} for good`, 'data-key': `gone ${item.id}`});
    return make('div', {className: 'item'}, make('span', {className: 'words'}, make('b', {textContent: item.name}),
      make('small', {textContent: item.text}),
      item.fault ? make('small', {className: 'fault', textContent: item.fault}) : null), back, gone);
  });
  refill(list, ...(nodes.length ? nodes : [make('p', {textContent: 'The trash is empty.'})]));
};
watch('value', () => { asked = null; draw(); });
draw();
"""

_CSS = """
.trash { display: grid; gap: 6px; }
.trash .item { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 6px 10px; border-radius: 8px;
  border: 1px solid var(--border-color-primary); background: var(--block-background-fill); }
.trash .words { flex: 1 1 180px; min-width: 0; overflow-wrap: anywhere; line-height: 1.3; }
.trash small { display: block; color: var(--body-text-color-subdued); }
.trash .fault { color: var(--primary-700); }
.dark & .trash .fault { color: var(--primary-300); }
.trash p { margin: 4px 2px; color: var(--body-text-color-subdued); }
"""
