"""What the strip of slots does in the browser: it draws them, and moves a concept by pointer, finger or keys.

Nothing moves for good here: where a concept was dropped is told, and what is drawn is what comes back.
"""

HTML = """
<div class="strip">
  <p class="waits"></p>
  <div class="rows" role="group" aria-label="Slots of the model"></div>
  <div class="tray"><span class="tray-title">Without a slot:</span><span class="tray-items"></span></div>
  <p class="live" role="status"></p>
</div>
"""

SCRIPT = """
const box = element.querySelector('.rows'), tray = element.querySelector('.tray');
const live = element.querySelector('.live'), waits = element.querySelector('.waits');
const LEAST_CELL_PX = 58, LANE_PX = 32, TOP_PX = 62, EDGE_PX = 36;
let perRow = 0, move = null;
const say = text => { if (live.textContent !== text) live.textContent = text; };
const percent = share => share == null ? '' :
  `${(100 * share).toFixed(share < 0.001 ? 3 : share < 0.01 ? 2 : 1)} %`;
const columns = number => {
  const start = number * props.value.rank;
  return props.value.rank > 1 ? `columns ${start} to ${start + props.value.rank - 1}` : `column ${start}`;
};
const holders = (number, but) => {
  const {rank, ranges} = props.value, start = number * rank;
  return [...new Set(ranges.filter(range => range.concept !== but && range.start < start + rank
    && start < range.start + range.width).map(range => range.concept))];
};
const tell = (number, but) => {
  const names = holders(number, but);
  return `slot ${number}, ${columns(number)}, ${names.length ? 'held by ' + names.join(' and ') : 'free'}`;
};
const lanes = ranges => {
  const ends = [];
  return ranges.map(range => {
    let lane = ends.findIndex(end => end <= range.start);
    if (lane < 0) lane = ends.length;
    ends[lane] = range.start + range.width;
    return lane;
  });
};
const fitting = () => {
  const count = props.value.energy.length, most = Math.max(1, Math.floor(box.clientWidth / LEAST_CELL_PX));
  return Math.min(most, Math.ceil(count / Math.ceil(count / most))) || 1;
};
const cell = (number, heights) => {
  const {capacity, energy} = props.value, node = make('div', {className: 'cell', role: 'listitem'});
  node.style.left = `${100 * (number % perRow) / perRow}%`;
  node.style.width = `${100 / perRow}%`;
  if (number >= capacity) {
    node.classList.add('outside');
    node.title = 'Columns that the narrowest weight lacks, or too few for a slot of this rank.';
    node.append(make('span', {className: 'unseen', textContent: node.title}));
    return node;
  }
  node.dataset.slot = number;
  const share = percent(energy[number]);
  node.title = `${tell(number)}${share ? `, ${share} of the energy` : ''}`.replace('slot', 'Slot');
  const bar = make('span', {className: 'bar'});
  bar.style.height = `${heights(energy[number])}%`;
  node.append(make('span', {className: 'well', 'aria-hidden': 'true'}, bar),
    make('span', {className: 'share', 'aria-hidden': 'true', textContent: share}),
    make('span', {className: 'number', 'aria-hidden': 'true', textContent: number}),
    make('span', {className: 'unseen', textContent: node.title}));
  return node;
};
const handle = (item, words) => {
  const node = make('button', {type: 'button', 'aria-label': words,
    className: `range hue-${item.hue} ${(item.state || 'none').replace(' ', '-')}`,
    title: `${words}. Drag it to another slot, or use the arrow keys, then Enter.`},
    make('span', {className: 'name', textContent: item.concept}));
  node.dataset.concept = item.concept;
  return node;
};
const pieces = (range, lane, rows) => {
  const {rank} = props.value, inRow = perRow * rank, stop = range.start + range.width;
  for (let row = Math.floor(range.start / inRow); row * inRow < stop && row < rows.length; row++) {
    const from = Math.max(range.start, row * inRow), to = Math.min(stop, (row + 1) * inRow);
    const words = `${range.concept}, columns ${range.start} to ${stop - 1}, ${range.words}`;
    const node = handle(range, words);
    node.dataset.start = range.start;
    if (from > range.start) { node.tabIndex = -1; node.setAttribute('aria-hidden', 'true'); }
    node.style.left = `calc(${100 * (from - row * inRow) / inRow}% + 2px)`;
    node.style.width = `calc(${100 * (to - from) / inRow}% - 4px)`;
    node.style.top = `${TOP_PX + lane * LANE_PX}px`;
    rows[row].append(node);
  }
};
const draw = () => {
  const value = props.value || {energy: [], ranges: [], without: [], waits: ''};
  const at = document.activeElement, inside = at && element.contains(at) ? at.dataset : {};
  const focused = inside.concept, focusedStart = inside.start;
  waits.textContent = value.waits;
  waits.hidden = !value.waits;
  perRow = fitting();
  const known = value.energy.filter(share => share > 0);
  const low = Math.log(Math.min(...known)), high = Math.log(Math.max(...known));
  const heights = share => !(share > 0) ? 0 : high === low ? 100 : 8 + 92 * (Math.log(share) - low) / (high - low);
  const of = lanes(value.ranges), most = Math.max(1, ...of.map(lane => lane + 1));
  const count = value.energy.length, rows = [];
  for (let first = 0; first < count; first += perRow) {
    const row = make('div', {className: 'row', role: 'list'});
    row.style.height = `${TOP_PX + most * LANE_PX + 4}px`;
    for (let number = first; number < Math.min(first + perRow, count); number++) row.append(cell(number, heights));
    rows.push(make('div', {className: 'wrap'}, row, make('div', {className: 'over'})));
  }
  box.replaceChildren(...rows);
  value.ranges.forEach((range, index) => pieces(range, of[index], rows.map(row => row.querySelector('.over'))));
  tray.hidden = !value.without.length;
  tray.querySelector('.tray-items').replaceChildren(
    ...value.without.map(item => handle(item, `${item.concept}, without a slot`)));
  if (box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
  else box.removeAttribute('tabindex');
  if (focused !== undefined) {
    const same = [...element.querySelectorAll('.range')].filter(node => node.dataset.concept === focused);
    const again = same.find(node => node.dataset.start === focusedStart) || same[0];
    if (again) again.focus({preventScroll: true});
  }
};
const mark = number => {
  element.querySelectorAll('.target').forEach(node => node.classList.remove('target', 'taken'));
  if (number === null) return;
  const node = element.querySelector(`.cell[data-slot="${number}"]`);
  if (!node) return;
  node.classList.add('target');
  if (holders(number, move.concept).length) node.classList.add('taken');
};
const aim = number => {
  if (!move || move.slot === number) return;
  move.slot = number;
  mark(number);
  say(number === null ? `${move.concept}: over no slot` : `${move.concept}: ${tell(number, move.concept)}`);
};
const begin = (node, by) => {
  const start = node.dataset.start, {rank} = props.value;
  const home = start === undefined ? null : Math.floor(Number(start) / rank);
  move = {concept: node.dataset.concept, node, by, home, slot: undefined};
  node.classList.add('moving');
};
const end = (drop, silent) => {
  if (!move) return;
  const {concept, node, home, slot} = move;
  node.classList.remove('moving');
  node.style.transform = '';
  mark(null);
  move = null;
  if (drop && slot !== null && slot !== undefined && slot !== home) trigger('select', {concept, slot});
  else if (!silent) say(`${concept} stays where it was.`);
};
const under = (x, y) => {
  const found = document.elementsFromPoint(x, y).find(node => node.dataset && node.dataset.slot !== undefined
    && element.contains(node));
  return found ? Number(found.dataset.slot) : null;
};
let press = null;
element.addEventListener('pointerdown', event => {
  const node = event.target.closest('.range');
  if (!node || event.button > 0) return;
  if (move) end(false, true);
  press = {node, x: event.clientX, y: event.clientY, id: event.pointerId};
  node.setPointerCapture(event.pointerId);
});
element.addEventListener('pointermove', event => {
  if (!press || event.pointerId !== press.id) return;
  const dx = event.clientX - press.x, dy = event.clientY - press.y;
  if (!move && Math.hypot(dx, dy) > 5) begin(press.node, 'pointer');
  if (!move || move.by !== 'pointer') return;
  move.node.style.transform = `translate(${dx}px, ${dy}px)`;
  const place = box.getBoundingClientRect();
  if (event.clientY < place.top + EDGE_PX) box.scrollTop -= 8;
  if (event.clientY > place.bottom - EDGE_PX) box.scrollTop += 8;
  aim(under(event.clientX, event.clientY));
});
const lift = drop => event => {
  if (!press || event.pointerId !== press.id) return;
  press = null;
  if (move && move.by === 'pointer') end(drop);
};
element.addEventListener('pointerup', lift(true));
element.addEventListener('pointercancel', lift(false));
const STEPS = {ArrowRight: 1, ArrowLeft: -1};
element.addEventListener('keydown', event => {
  const node = event.target.closest('.range');
  if (!node || event.altKey || event.ctrlKey || event.metaKey) return;
  const {capacity} = props.value;
  const vertical = {ArrowDown: perRow, ArrowUp: -perRow}[event.key], step = STEPS[event.key] || vertical;
  if (step || event.key === 'Home' || event.key === 'End') {
    event.preventDefault();
    if (!capacity) return;
    if (!move) begin(node, 'keys');
    const here = move.slot ?? move.home ?? (step > 0 ? -step : capacity);
    const first = Array.from({length: capacity}, (_, number) => number).find(number => !holders(number).length) ?? 0;
    const wanted = event.key === 'Home' ? 0 : event.key === 'End' ? capacity - 1
      : move.slot === undefined && move.home === null ? first : here + step;
    aim(wanted >= 0 && wanted < capacity ? wanted : Math.max(0, Math.min(capacity - 1, here)));
    const target = element.querySelector('.target');
    if (target) target.scrollIntoView({block: 'nearest'});
  } else if (event.key === 'Enter' && move) {
    event.preventDefault();
    end(true);
  } else if (event.key === 'Escape' && move) {
    event.preventDefault();
    event.stopPropagation();
    press = null;
    end(false);
  }
});
element.addEventListener('focusout', event => {
  if (move && move.by === 'keys' && event.target === move.node) end(false);
});
new ResizeObserver(() => { if (!move && props.value && fitting() !== perRow) draw(); }).observe(box);
const content = () => JSON.stringify({...props.value, note: ''});
let before = content();
watch('value', () => {
  const now = content(), {note} = props.value;
  // Polls that bring nothing new disturb nobody who is just moving something.
  if (now !== before) { before = now; if (move) end(false, true); draw(); }
  if (note) say(note);
});
draw();
"""
"""It follows `NODES`."""
