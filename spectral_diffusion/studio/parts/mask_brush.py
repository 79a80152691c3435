"""A photograph to paint on: the paint is the mask, in the photograph's own pixels, however small it is shown."""

from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.dataset import PHOTOGRAPH_SIDE_PX
from spectral_diffusion.studio.parts.nodes import BUTTONS, NODES


def mask_brush(**options: Any) -> gr.HTML:
    """A component for a photograph: its value is `concept`, `name`, and the addresses of its `image` and its `mask`.

    Its event `save` tells `concept`, `name` and under `path` the upload of a picture that is white where there is
    paint; its event `remove` tells `concept` and `name`.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML(
        value={"concept": "", "name": "", "image": "", "mask": ""},
        html_template="<div class='brush'></div>",
        css_template=BUTTONS + _CSS,
        js_on_load=NODES + _JS,
        side_px=PHOTOGRAPH_SIDE_PX,
        **options,
    )


# Paint that was not saved stays with its photograph as long as the page is open.
_JS = """
const root = element.querySelector('.brush');
const image = make('img', {alt: 'The photograph', draggable: false});
const canvas = make('canvas', {tabIndex: 0, role: 'img',
  title: 'Paint over the concept. With the keyboard: arrows move the brush, space paints, brackets change its size'});
canvas.setAttribute('aria-label', 'Mask: arrow keys move the brush, space paints, brackets change its size');
const ring = make('span', {className: 'ring', hidden: true});
const frame = make('div', {className: 'frame'}, image, canvas, ring);
let concept = '', name = '', shown = '', files = '';
let erasing = false, dirty = false, ready = false, undo = [], at = null, size = 0.12;
const drafts = new Map();
const context = () => canvas.getContext('2d', {willReadFrequently: true});
const said = make('p', {className: 'said', role: 'status'});
const say = (text) => { said.textContent = text; };
const paintButton = button('Paint', 'Paint over the concept', () => tool(false));
const eraseButton = button('Erase', 'Take paint away', () => tool(true));
const tool = (value) => {
  erasing = value;
  paintButton.setAttribute('aria-pressed', String(!value));
  eraseButton.setAttribute('aria-pressed', String(value));
};
const range = make('input', {type: 'range', min: 1, max: 40, step: 1, value: 12,
  title: 'Size of the brush, in hundredths of the picture'});
range.addEventListener('input', () => { size = Number(range.value) / 100; showRing(); });
const keep = () => {
  undo.push(context().getImageData(0, 0, canvas.width, canvas.height));
  if (undo.length > 12) undo.shift();
};
const touched = () => { dirty = true; say('Not saved yet.'); };
const back = button('Undo', 'Take the last stroke back', () => {
  const before = undo.pop();
  if (before) { context().putImageData(before, 0, 0); touched(); }
});
const clear = button('Clear', 'Take all paint away', () => {
  keep();
  context().clearRect(0, 0, canvas.width, canvas.height);
  touched();
});
const invert = button('Invert', 'Paint what is bare, and bare what is painted', () => {
  keep();
  const paint = context();
  paint.globalCompositeOperation = 'xor';
  paint.fillStyle = 'red';
  paint.fillRect(0, 0, canvas.width, canvas.height);
  touched();
});
const save = button('Save mask', 'Training then counts what is painted more than the rest', async () => {
  if (!ready) return;
  const paint = context().getImageData(0, 0, canvas.width, canvas.height);
  let most = 0;
  const grey = new ImageData(canvas.width, canvas.height);
  for (let index = 0; index < paint.data.length; index += 4) {
    const value = paint.data[index + 3];
    if (value > most) most = value;
    grey.data[index] = grey.data[index + 1] = grey.data[index + 2] = value;
    grey.data[index + 3] = 255;
  }
  if (most < 128) return say('Nothing is painted yet. Paint over the concept.');
  const copy = make('canvas', {width: canvas.width, height: canvas.height});
  copy.getContext('2d').putImageData(grey, 0, 0);
  save.disabled = true;
  say('Saving.');
  const saved = shown, told = {concept, name};
  try {
    const blob = await new Promise(resolve => copy.toBlob(resolve, 'image/png'));
    const sent = await upload(new File([blob], 'mask.png', {type: 'image/png'}));
    if (saved === shown) dirty = false;
    drafts.delete(saved);
    trigger('save', {...told, path: sent.path});
  } catch (error) {
    say('The mask did not arrive. Try again.');
  }
  save.disabled = false;
});
save.classList.add('main');
const remove = button('Remove the mask', 'The whole photograph counts again. The mask goes to the trash', () => {
  dirty = false;
  drafts.delete(shown);
  trigger('remove', {concept, name});
});
root.append(frame, make('div', {className: 'tools'}, paintButton, eraseButton,
  make('label', {}, make('span', {textContent: 'Brush'}), range), back, clear, invert),
  make('div', {className: 'tools'}, save, remove), said);
tool(false);
const radius = () => Math.max(1, size * Math.min(canvas.width, canvas.height) / 2);
const showRing = () => {
  ring.hidden = !at;
  if (!at) return;
  const scale = canvas.getBoundingClientRect().width / canvas.width, across = 2 * radius() * scale;
  const sizes = {width: across, height: across, left: at.x * scale, top: at.y * scale};
  for (const [edge, px] of Object.entries(sizes)) ring.style[edge] = `${px}px`;
};
const stroke = (from, to) => {
  const paint = context();
  paint.globalCompositeOperation = erasing ? 'destination-out' : 'source-over';
  paint.strokeStyle = paint.fillStyle = 'red';
  paint.lineCap = 'round';
  paint.lineWidth = 2 * radius();
  paint.beginPath();
  paint.moveTo(from.x, from.y);
  paint.lineTo(to.x + 0.01, to.y);
  paint.stroke();
};
const place = (event) => {
  const edge = canvas.getBoundingClientRect();
  const scale = canvas.width / edge.width;
  return {x: (event.clientX - edge.left) * scale, y: (event.clientY - edge.top) * scale};
};
canvas.addEventListener('pointerdown', event => {
  if (event.button || !ready) return;
  event.preventDefault();
  canvas.focus({preventScroll: true});
  canvas.setPointerCapture(event.pointerId);
  keep();
  let last = place(event);
  stroke(last, last);
  const drag = now => { const next = place(now); stroke(last, next); last = next; };
  canvas.addEventListener('pointermove', drag);
  const end = () => canvas.removeEventListener('pointermove', drag);
  canvas.addEventListener('pointerup', end, {once: true});
  canvas.addEventListener('pointercancel', end, {once: true});
  touched();
});
canvas.addEventListener('pointermove', event => { at = place(event); showRing(); });
canvas.addEventListener('pointerleave', () => { at = null; showRing(); });
canvas.addEventListener('blur', () => { at = null; showRing(); });
canvas.addEventListener('keydown', event => {
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!ready || !(step || ' []'.includes(event.key))) return;
  event.preventDefault();
  at = at || {x: canvas.width / 2, y: canvas.height / 2};
  if (step) {
    const by = Math.max(2, radius() / 2);
    const within = (value, side) => Math.min(Math.max(value, 0), side);
    at = {x: within(at.x + step[0] * by, canvas.width), y: within(at.y + step[1] * by, canvas.height)};
  } else if (event.key === ' ') {
    keep();
    stroke(at, at);
    touched();
  } else {
    range.value = Number(range.value) + (event.key === ']' ? 2 : -2);
    size = Number(range.value) / 100;
  }
  showRing();
});
const loaded = (address) => new Promise((resolve, reject) => {
  const one = new Image();
  one.onload = () => resolve(one);
  one.onerror = reject;
  one.src = address;
});
const load = async (value) => {
  ready = false;
  undo = [];
  if (!image.complete || !image.naturalWidth) {
    await new Promise(resolve => image.addEventListener('load', resolve, {once: true}));
  }
  if (value !== props.value) return;
  const scale = Math.min(1, props.side_px / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  const draft = drafts.get(shown);
  if (draft && draft.width === canvas.width && draft.height === canvas.height) {
    context().drawImage(draft, 0, 0);
    touched();
  } else if (value.mask) {
    let mask;
    try { mask = await loaded(value.mask); } catch (error) { return say('The mask cannot be shown. Paint a new one.'); }
    if (value !== props.value) return;
    context().drawImage(mask, 0, 0, canvas.width, canvas.height);
    const pixels = context().getImageData(0, 0, canvas.width, canvas.height), data = pixels.data;
    for (let index = 0; index < data.length; index += 4) {
      data[index + 3] = data[index] * 0.299 + data[index + 1] * 0.587 + data[index + 2] * 0.114;
      data[index] = 255;
      data[index + 1] = data[index + 2] = 0;
    }
    context().putImageData(pixels, 0, 0);
  }
  ready = true;
};
const draw = () => {
  const value = props.value || {};
  const next = `${value.concept}/${value.name}`;
  if (dirty && name && next !== shown) {
    const copy = make('canvas', {width: canvas.width, height: canvas.height});
    copy.getContext('2d').drawImage(canvas, 0, 0);
    drafts.set(shown, copy);
    if (drafts.size > 8) drafts.delete(drafts.keys().next().value);
  }
  // Refreshed while somebody paints: the paint is newer.
  const nextFiles = `${value.image} ${value.mask}`;
  if (dirty && next === shown && nextFiles === files) return;
  dirty = false;
  shown = next;
  files = nextFiles;
  concept = value.concept || '';
  name = value.name || '';
  root.hidden = !value.image;
  remove.hidden = !value.mask;
  say('');
  if (!value.image) return;
  if (image.getAttribute('src') !== value.image) image.src = value.image;
  load(value);
};
watch('value', draw);
draw();
"""

_CSS = """
.brush .frame { position: relative; overflow: hidden; line-height: 0; width: fit-content; max-width: 100%;
  margin: 0 auto; border-radius: 6px; user-select: none; }
.brush .frame img { max-width: 100%; max-height: 460px; margin: 0; display: block; }
.brush canvas { position: absolute; inset: 0; width: 100%; height: 100%; opacity: .55; touch-action: none;
  cursor: crosshair; }
.brush canvas:focus-visible { outline: 3px solid var(--color-accent); outline-offset: -3px; }
.brush .ring { position: absolute; transform: translate(-50%, -50%); border: 1px solid white; outline: 1px solid black;
  border-radius: 50%; pointer-events: none; box-sizing: border-box; }
.brush .ring[hidden] { display: none; }
.brush .tools { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 10px; align-items: center; }
.brush .tools label { display: flex; gap: 8px; align-items: center; font-size: var(--text-sm);
  color: var(--body-text-color-subdued); }
.brush input[type=range] { width: 110px; accent-color: var(--color-accent); height: 24px; }
.brush input:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.brush .said { color: var(--body-text-color-subdued); font-size: var(--text-sm); min-height: 1.4em; margin: 6px 0 0; }
"""
