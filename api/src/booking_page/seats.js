// The seat map: the seats of one concert, and the visitor's selection.

import { $, el, say } from './dom.js';
import { money, priceOf, tierName } from './prices.js';

const MAX_SEATS = 10; // The API's default. The API itself enforces the limit.
const MANY_SEATS = 1000; // With more seats than this, sections start collapsed.

const seatsById = new Map(); // each seat has a button once its section was opened
let sections = [];

export const choice = {
  seats: new Set(),
  isLocked: false, // while a booking is sent or followed
  requested: [], // seat ids of a booking whose outcome is unknown: if they are taken, it may be by this booking
};

/** Fires the event `choice` after a change. `error` says what is wrong with the selection, if anything. */
function notifyChoice(error = '') {
  $('map').dispatchEvent(new CustomEvent('choice', { detail: error }));
}

// ---- What is taken -------------------------------------------------------------------------------------------------
export const seatCount = () => seatsById.size;

export function forgetSeats() {
  seatsById.clear();
  sections = [];
  choice.seats.clear();
  $('map').replaceChildren('Loading the seats…');
}

/** Shows all seats, as listed by the API. */
export function showSeats(seats) {
  if (seats.length > 0 && seats.length === seatsById.size && seats.every(({ id }) => seatsById.has(id))) {
    return mark(seats.map(({ id, isBooked }) => [id, isBooked]));
  }
  seatsById.clear();
  for (const seat of seats) seatsById.set(seat.id, seat);
  choice.seats = new Set([...choice.seats].map(({ id }) => seatsById.get(id)).filter(Boolean));
  buildMap();
  notifyChoice();
  deselectTaken();
}

/** Marks these seats as taken, and all others as free. */
export function showBooked(ids) {
  const booked = new Set(ids);
  mark([...seatsById.keys()].map((id) => [id, booked.has(id)]));
}

export function showChange(bookedIds, freedIds) {
  mark([...bookedIds.map((id) => [id, true]), ...freedIds.map((id) => [id, false])]);
}

function mark(seats) {
  for (const [id, isBooked] of seats) {
    const seat = seatsById.get(id);
    if (!seat || seat.isBooked === isBooked) continue;
    seat.isBooked = isBooked;
    paint(seat);
  }
  for (const section of sections) showFree(section);
  deselectTaken();
}

/** Removes seats from the selection that other buyers have booked. */
export function deselectTaken() {
  const lost = [...choice.seats].filter((seat) => seat.isBooked && !choice.requested.includes(seat.id));
  if (lost.length === 0) return;
  for (const seat of lost) deselect(seat);
  notifyChoice(`${seatsNamed(lost)} went to another buyer in the meantime.`);
}

/** Marks seats as taken that an outcome names. Returns those that belong to this concert. */
export function showOutcomeSeats(ids) {
  const seats = ids.map((id) => seatsById.get(id)).filter(Boolean);
  seats.forEach(deselect);
  notifyChoice();
  mark(seats.map(({ id }) => [id, true]));
  return seats;
}

export function deselect(seat) {
  choice.seats.delete(seat);
  paint(seat);
}

export const seatsNamed = (seats) =>
  (seats.length === 1 ? 'Seat ' : 'Seats ') + new Intl.ListFormat('en').format(seats.map((seat) => seat.seatNumber));

// ---- The map -------------------------------------------------------------------------------------------------------
/** Groups the seats by section and tier, nearest to the stage first. */
function buildMap() {
  const seats = [...seatsById.values()].sort((a, b) => a.row - b.row || a.id - b.id);
  const blocks = Map.groupBy(seats, (seat) => JSON.stringify([seat.section, seat.ticketTierId]));
  sections = [...blocks.values()].map((seats) => {
    const free = el('span', { className: 'muted small' });
    const summary = el('summary', {}, el('h3', {}, tierName(seats[0])), ' ', free);
    const details = el('details', { className: 'card' }, summary);
    // The seats of a section are created when it is opened.
    details.addEventListener('toggle', () => fillSection(seats, details), { once: true });
    details.open = seatsById.size <= MANY_SEATS;
    return { seats, details, free };
  });
  $('map').replaceChildren(...sections.map((section) => section.details));
  for (const section of sections) showFree(section);
  if (seats.length === 0) $('map').append('This concert has no seats yet.');
}

function showFree({ seats, free }) {
  const left = seats.filter((seat) => !seat.isBooked).length;
  const offer = left > 0 ? `${left} of ${seats.length} free` : 'sold out';
  const { section } = seats[0];
  const where = section.toLowerCase() === tierName(seats[0]).toLowerCase() ? '' : `section ${section} · `;
  free.textContent = `${money(priceOf(seats[0]))} · ${where}${offer}`;
}

/** Creates the seats row by row and yields now and then, so that thousands of seats do not freeze the page. */
async function fillSection(seats, details) {
  let started = performance.now();
  for (const [number, row] of Map.groupBy(seats, (seat) => seat.row)) {
    const label = { className: 'seats', role: 'group', ariaLabel: `Row ${number}` };
    const buttons = el('div', label, ...row.map(seatButton));
    // Each section is one Tab stop. The arrow keys move within it.
    if (row[0] === seats[0]) buttons.firstChild.tabIndex = 0;
    const range = el('span', { className: 'muted' }, `${row[0].seatNumber} to ${row.at(-1).seatNumber}`);
    details.append(el('div', { className: 'row' }, el('span', {}, `Row ${number}`, el('br'), range), buttons));
    if (performance.now() - started > 12) {
      await new Promise((resolve) => { setTimeout(resolve); });
      started = performance.now();
    }
  }
}

function seatButton(seat) {
  seat.button = el('button', { type: 'button', className: 'seat', tabIndex: -1 }, seat.seatNumber.split('-').at(-1));
  seat.button.dataset.id = seat.id;
  paint(seat);
  return seat.button;
}

function paint(seat) {
  if (!seat.button) return;
  const is = choice.seats.has(seat) ? 'chosen' : seat.isBooked ? 'taken' : 'free';
  const ariaLabel = `Seat ${seat.seatNumber}, ${tierName(seat)}, ${money(priceOf(seat))}, ${is}`;
  seat.button.dataset.is = is;
  Object.assign(seat.button, { ariaPressed: is === 'chosen', ariaDisabled: is === 'taken', ariaLabel });
}

// ---- Choosing ------------------------------------------------------------------------------------------------------
$('map').addEventListener('click', ({ target }) => {
  const seat = seatsById.get(Number(target.closest('.seat')?.dataset.id));
  if (!seat) return;
  if (choice.isLocked) return say('Your booking is being processed. Wait for its outcome first.');
  let error = '';
  if (choice.seats.delete(seat)) { /* It was selected and is now deselected. */ }
  else if (seat.isBooked) return say(`Seat ${seat.seatNumber} is taken.`);
  else if (choice.seats.size < MAX_SEATS) choice.seats.add(seat);
  else error = `You can book at most ${MAX_SEATS} seats at once.`;
  paint(seat);
  notifyChoice(error);
});

$('map').addEventListener('keydown', (event) => {
  const row = event.target.closest('.row');
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const seatAt = (row, index) => [...(row?.querySelectorAll('.seat') ?? [])].at(index);
  const at = [...row.querySelectorAll('.seat')].indexOf(event.target);
  const [above, below] = [row.previousElementSibling, row.nextElementSibling];
  const ways = {
    ArrowLeft: () => (at > 0 ? seatAt(row, at - 1) : seatAt(above, -1)),
    ArrowRight: () => seatAt(row, at + 1) ?? seatAt(below, 0),
    ArrowUp: () => seatAt(above, at) ?? seatAt(above, -1),
    ArrowDown: () => seatAt(below, at) ?? seatAt(below, -1),
  };
  if (!ways[event.key]) return;
  event.preventDefault();
  ways[event.key]()?.focus();
});

$('map').addEventListener('focusin', ({ target }) => {
  if (!target.matches('.seat')) return;
  for (const seat of target.closest('details').querySelectorAll('.seat[tabindex="0"]')) seat.tabIndex = -1;
  target.tabIndex = 0;
});
