// The order: the chosen seats and what they cost, and the form with its errors.

import { $, el } from './dom.js';
import { money, priceOf, sum, tierName } from './prices.js';
import { choice, deselect } from './seats.js';
import { count } from './format.js';

/** `error` says what is wrong with the selection, if anything. */
export function showOrder(error = '') {
  const seats = [...choice.seats].sort((a, b) => a.id - b.id);
  $('chosen').replaceChildren(...seats.map((seat) => el('li', {},
    el('span', {}, `${seat.seatNumber} · ${tierName(seat)}`),
    el('span', { className: 'sum' }, money(priceOf(seat))),
    el('button', { type: 'button', ariaLabel: `Remove ${seat.seatNumber}`, onclick: () => remove(seat) }, '×'))));
  const total = `${count(seats.length, 'seat')} · ${money(sum(seats.map(priceOf)))}`;
  $('total').textContent = seats.length > 0 ? `Total: ${total}` : 'No seats chosen yet.';
  $('bar-total').textContent = total;
  $('bar').hidden = seats.length === 0 || choice.isLocked;
  $('order').firstElementChild.disabled = choice.isLocked;
  $('seatIds-error').textContent = error;
}

function remove(seat) {
  deselect(seat);
  showOrder();
  $('order-title').focus(); // The focused button no longer exists.
}

/** The booking request from the form. */
export function readOrder(concertId) {
  const { userName, userEmail } = Object.fromEntries(new FormData($('order')));
  const seatIds = [...choice.seats].map((seat) => seat.id).sort((a, b) => a - b);
  return { userName, userEmail, seatIds, concertId };
}

/** Shows each error next to its field. Returns the errors whose field the form does not have. */
export function showFieldErrors(errors) {
  const labels = { userName: 'Your name', userEmail: 'Your e-mail', seatIds: 'Your choice' };
  for (const [field, label] of Object.entries(labels)) {
    const ofField = errors.filter((error) => error.field.startsWith(field)); // seatIds[1] is about seatIds, too.
    errors = errors.filter((error) => !ofField.includes(error));
    $(`${field}-error`).textContent = ofField.map(({ detail }) => `${label} ${detail}.`).join(' ');
    $(field)?.setAttribute('aria-invalid', ofField.length > 0);
  }
  $('order').querySelector('[aria-invalid=true]')?.focus();
  return errors;
}

$('map').addEventListener('choice', ({ detail }) => showOrder(detail));
$('to-order').addEventListener('click', () => $('userName').focus());
