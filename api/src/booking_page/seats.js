// The seat map: the seats of one concert, and those that the visitor has chosen.

import { $, el, say } from './dom.js';
import { money, priceOf, tierName } from './prices.js';

const MAX_SEATS = 10; // The API's default; it has the last word.
const MANY_SEATS = 1000; // In a hall of more, sections start closed.

const hall = new Map(); // all seats by id, each with its button once its section has been opened
let sections = [];

export const choice = {
  seats: new Set(),
  isLocked: false, // while a booking is under way
  asked: [], // ids in a booking whose outcome is not known: should these be taken, then perhaps by us
};

/** Whoever shows the choice is told that it has changed, with a word on what is wrong with it, if anything is. */
function tellChoice(complaint = '') {
  $('map').dispatchEvent(new CustomEvent('choice', { detail: complaint }));
}

// ---- What is taken -------------------------------------------------------------------------------------------------
export const seatCount = () => hall.size;

export function forgetSeats() {
  hall.clear();
  sections = [];
  choice.seats.clear();
  $('map').replaceChildren('Loading the seats…');
}

/** All seats, as the API lists them. */
export function showSeats(seats) {
  if (seats.length > 0 && seats.length === hall.size && seats.every(({ id }) => hall.has(id))) {
    return mark(seats.map(({ id, isBooked }) => [id, isBooked]));
  }
  hall.clear();
  for (const seat of seats) hall.set(seat.id, seat);
  choice.seats = new Set([...choice.seats].map(({ id }) => hall.get(id)).filter(Boolean));
  buildMap();
  tellChoice();
  unchooseLost();
}

/** Those with these ids are taken, and no others. */
export function showBooked(ids) {
  const booked = new Set(ids);
  mark([...hall.keys()].map((id) => [id, booked.has(id)]));
}

export function showChange(bookedIds, freedIds) {
  mark([...bookedIds.map((id) => [id, true]), ...freedIds.map((id) => [id, false])]);
}

function mark(seats) {
  for (const [id, isBooked] of seats) {
    const seat = hall.get(id);
    if (!seat || seat.isBooked === isBooked) continue;
    seat.isBooked = isBooked;
    paint(seat);
  }
  for (const section of sections) showFree(section);
  unchooseLost();
}

/** What somebody else has got is chosen no more. */
export function unchooseLost() {
  const lost = [...choice.seats].filter((seat) => seat.isBooked && !choice.asked.includes(seat.id));
  if (lost.length === 0) return;
  for (const seat of lost) unchoose(seat);
  tellChoice(`${seatsNamed(lost)} went to somebody else in the meantime.`);
}

/** A booking's outcome has named these as taken, by it or before it. Returns those that are in this hall. */
export function showOutcomeSeats(ids) {
  const seats = ids.map((id) => hall.get(id)).filter(Boolean);
  seats.forEach(unchoose);
  tellChoice();
  mark(seats.map(({ id }) => [id, true]));
  return seats;
}

export function unchoose(seat) {
  choice.seats.delete(seat);
  paint(seat);
}

export const seatsNamed = (seats) =>
  (seats.length === 1 ? 'Seat ' : 'Seats ') + new Intl.ListFormat('en').format(seats.map((seat) => seat.seatNumber));

// ---- The map -------------------------------------------------------------------------------------------------------
/** A section is what has one name and one price. Those nearest to the stage come first. */
function buildMap() {
  const seats = [...hall.values()].sort((a, b) => a.row - b.row || a.id - b.id);
  const blocks = Map.groupBy(seats, (seat) => JSON.stringify([seat.section, seat.ticketTierId]));
  sections = [...blocks.values()].map((seats) => {
    const free = el('span', { className: 'muted small' });
    const summary = el('summary', {}, el('h3', {}, tierName(seats[0])), ' ', free);
    const details = el('details', { className: 'card' }, summary);
    // Seats are made when somebody looks at them.
    details.addEventListener('toggle', () => fillSection(seats, details), { once: true });
    details.open = hall.size <= MANY_SEATS;
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

/** Row by row, letting go now and then, so that thousands of seats do not freeze the page. */
async function fillSection(seats, details) {
  let started = performance.now();
  for (const [number, row] of Map.groupBy(seats, (seat) => seat.row)) {
    const label = { className: 'seats', role: 'group', ariaLabel: `Row ${number}` };
    const buttons = el('div', label, ...row.map(seatButton));
    // The Tab key stops once a section; from there the arrow keys lead on.
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
  const seat = hall.get(Number(target.closest('.seat')?.dataset.id));
  if (!seat) return;
  if (choice.isLocked) return say('Your booking is under way. Wait for it before you choose again.');
  let complaint = '';
  if (choice.seats.delete(seat)) { /* It was chosen, and is so no more. */ }
  else if (seat.isBooked) return say(`Seat ${seat.seatNumber} is taken.`);
  else if (choice.seats.size < MAX_SEATS) choice.seats.add(seat);
  else complaint = `You can book ${MAX_SEATS} seats at once, no more.`;
  paint(seat);
  tellChoice(complaint);
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
