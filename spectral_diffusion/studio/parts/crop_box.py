"""A photograph with a box on it that says which part stays: dragged, moved by arrow keys, or written as numbers."""

import math
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.curation import CROP_SIDE_PX
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.parts.nodes import BUTTONS, NODES, told


def crop_box(**options: Any) -> gr.HTML:
    """A component for a photograph, whose value is its `concept`, its `name` and the address of its `image`.

    Its event `crop` tells `concept`, `name` and the `box` in pixels of the picture, read by `read_box`.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value={"concept": "", "name": "", "image": ""},
        html_template="<div class='crop'></div>",
        css_template=BUTTONS + _CSS,
        js_on_load=NODES + _JS,
        least=CROP_SIDE_PX,
        **options,
    )


def read_box(evt: gr.EventData) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge that an event `crop` tells.

    Raises:
        InputError: It tells no box.
    """
    box = told(evt, "box")
    if isinstance(box, list) and len(box) == 4:
        numbers = [edge for edge in box if isinstance(edge, int | float) and not isinstance(edge, bool)]
        if len(numbers) == 4 and all(math.isfinite(edge) and abs(edge) < 1e6 for edge in numbers):
            left, top, right, bottom = map(round, numbers)
            return left, top, right, bottom
    raise InputError("the box is none", "drag one over the part that shall stay")


_JS = """
const root = element.querySelector('.crop');
const image = make('img', {alt: 'The photograph', draggable: false});
const box = make('div', {className: 'box', tabIndex: 0, role: 'group',
  title: 'What is inside stays. Drag it, or use the arrow keys; with Shift they change its size.'});
box.setAttribute('aria-label', 'The part that stays: arrow keys move it, with Shift they change its size');
const corners = ['nw', 'ne', 'sw', 'se'].map(name => make('span', {className: `corner ${name}`}));
box.append(...corners);
const frame = make('div', {className: 'frame'}, image, box);
const number = (label, hint) => {
  const field = make('input', {type: 'number', step: 1, min: 0, title: hint});
  return {field, node: make('label', {}, make('span', {textContent: label}), field)};
};
const left = number('Left', 'Pixels from the left edge'), top_ = number('Top', 'Pixels from the upper edge');
const width = number('Width', 'Pixels'), height = number('Height', 'Pixels');
const fields = [[left.field, 'x'], [top_.field, 'y'], [width.field, 'w'], [height.field, 'h']];
const square = make('input', {type: 'checkbox', checked: true});
const go = button('Crop', 'Keep what is in the box. The photograph as it is now goes to the trash of Files.', () => {
  said.textContent = 'Cropping.';
  trigger('crop', {concept, name, box: [part.x, part.y, part.x + part.w, part.y + part.h].map(Math.round)});
}, {className: 'main'});
const whole = button('Whole picture', 'Put the box around everything', () => { square.checked = false; all(); });
const said = make('p', {className: 'said', role: 'status'});
root.append(frame, make('div', {className: 'numbers'}, left.node, top_.node, width.node, height.node,
  make('label', {className: 'tick', title: 'Training sees squares: a square box shows what it will see'}, square,
    make('span', {textContent: 'Square'}))),
  make('div', {className: 'actions'}, go, whole), said);
let part = {x: 0, y: 0, w: 1, h: 1}, concept = '', name = '';
const wide = () => image.naturalWidth || 1, high = () => image.naturalHeight || 1;
const clamp = (value, low, up) => Math.min(Math.max(value, low), Math.max(low, up));
const show = () => {
  const style = box.style;
  style.left = `${100 * part.x / wide()}%`; style.top = `${100 * part.y / high()}%`;
  style.width = `${100 * part.w / wide()}%`; style.height = `${100 * part.h / high()}%`;
  for (const [field, key] of fields) {
    if (document.activeElement !== field) field.value = Math.round(part[key]);
  }
  const small = Math.min(part.w, part.h) < props.least;
  said.textContent = small ? `At least ${props.least} pixels must stay on each side.` : '';
};
const fit = (next) => {
  let w = clamp(next.w, 1, wide()), h = clamp(next.h, 1, high());
  if (square.checked) w = h = Math.min(w, h);
  part = {w, h, x: clamp(next.x, 0, wide() - w), y: clamp(next.y, 0, high() - h)};
  show();
};
const all = () => {
  const side = Math.min(wide(), high());
  fit(square.checked ? {w: side, h: side, x: (wide() - side) / 2, y: (high() - side) / 2}
    : {x: 0, y: 0, w: wide(), h: high()});
};
const place = (event) => {
  const edge = image.getBoundingClientRect();
  return {x: clamp((event.clientX - edge.left) / edge.width, 0, 1) * wide(),
    y: clamp((event.clientY - edge.top) / edge.height, 0, 1) * high()};
};
// Two opposite corners; square boxes grow from the one that stands still.
const span = (fixed, moved) => {
  let w = Math.abs(moved.x - fixed.x), h = Math.abs(moved.y - fixed.y);
  if (square.checked) {
    const roomX = moved.x < fixed.x ? fixed.x : wide() - fixed.x;
    const roomY = moved.y < fixed.y ? fixed.y : high() - fixed.y;
    w = h = Math.min(Math.max(w, h), roomX, roomY);
  }
  fit({w, h, x: moved.x < fixed.x ? fixed.x - w : fixed.x, y: moved.y < fixed.y ? fixed.y - h : fixed.y});
};
frame.addEventListener('pointerdown', event => {
  if (event.button) return;
  event.preventDefault();
  box.focus({preventScroll: true});
  const from = place(event), before = {...part};
  const corner = corners.indexOf(event.target);
  let move = now => span(from, now);
  if (corner >= 0) {
    const fixed = {x: before.x + (corner % 2 ? 0 : before.w), y: before.y + (corner > 1 ? 0 : before.h)};
    move = now => span(fixed, now);
  } else if (event.target === box) {
    move = now => fit({...before, x: before.x + now.x - from.x, y: before.y + now.y - from.y});
  }
  frame.setPointerCapture(event.pointerId);
  const drag = now => move(place(now));
  const end = () => {
    frame.removeEventListener('pointermove', drag);
    if (part.w < 2 || part.h < 2) { part = before; show(); }
  };
  frame.addEventListener('pointermove', drag);
  frame.addEventListener('pointerup', end, {once: true});
  frame.addEventListener('pointercancel', end, {once: true});
});
box.addEventListener('keydown', event => {
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!step) return;
  event.preventDefault();
  const by = Math.max(1, Math.round(Math.max(wide(), high()) / 100)), [x, y] = step.map(one => one * by);
  if (!event.shiftKey) fit({...part, x: part.x + x, y: part.y + y});
  else if (square.checked) fit({...part, w: part.w + x + y, h: part.h + x + y});
  else fit({...part, w: part.w + x, h: part.h + y});
});
for (const [field, key] of fields) {
  field.addEventListener('input', () => {
    const value = Number(field.value);
    if (!Number.isFinite(value) || field.value === '') return;
    const next = {...part, [key]: value};
    if (square.checked && key === 'w') next.h = value;
    if (square.checked && key === 'h') next.w = value;
    fit(next);
  });
  field.addEventListener('change', () => { field.value = Math.round(part[key]); });
}
square.addEventListener('change', () => fit(part));
image.addEventListener('load', all);
const draw = () => {
  const value = props.value || {};
  concept = value.concept || '';
  name = value.name || '';
  root.hidden = !value.image;
  if (image.getAttribute('src') === value.image) return show();
  if (value.image) image.src = value.image; else image.removeAttribute('src');
};
watch('value', draw);
draw();
"""

_CSS = """
.crop .frame { position: relative; overflow: hidden; touch-action: none; cursor: crosshair; line-height: 0;
  width: fit-content; max-width: 100%; margin: 0 auto; border-radius: 6px; user-select: none; }
.crop .frame img { max-width: 100%; max-height: 460px; margin: 0; display: block; pointer-events: none; }
.crop .box { position: absolute; box-sizing: border-box; border: 2px solid white; outline: 1px solid black;
  cursor: move; box-shadow: 0 0 0 4000px rgb(0 0 0 / 55%); }
.crop .box:focus-visible { outline: 3px solid var(--color-accent); }
.crop .corner { position: absolute; width: 22px; height: 22px; background: white; border: 2px solid black;
  border-radius: 50%; box-sizing: border-box; }
.crop .nw { left: -2px; top: -2px; cursor: nwse-resize; }
.crop .ne { right: -2px; top: -2px; cursor: nesw-resize; }
.crop .sw { left: -2px; bottom: -2px; cursor: nesw-resize; }
.crop .se { right: -2px; bottom: -2px; cursor: nwse-resize; }
.crop .numbers { display: flex; flex-wrap: wrap; gap: 8px; margin: 10px 0; align-items: end; }
.crop .numbers label { display: grid; gap: 2px; font-size: var(--text-sm); color: var(--body-text-color-subdued); }
.crop .numbers .tick { display: flex; gap: 6px; align-items: center; min-height: 36px; }
.crop input[type=number] { width: 84px; padding: 6px 8px; border-radius: 6px;
  border: 1px solid var(--border-color-primary);
  background: var(--input-background-fill); color: var(--body-text-color); font: inherit; }
.crop input[type=checkbox] { width: 18px; height: 18px; accent-color: var(--color-accent); margin: 0; }
.crop .actions { display: flex; flex-wrap: wrap; gap: 8px; }
.crop input:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.crop .said { color: var(--body-text-color-subdued); font-size: var(--text-sm); min-height: 1.4em; margin: 6px 0 0; }
"""
