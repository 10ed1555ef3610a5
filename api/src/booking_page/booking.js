// A booking, from the Book button to its outcome: it is sent under one key until it is accepted, and its ticket is
// followed by events, or by polling where event streams are blocked.

import { api, delay, listen, pause, withRetries } from './api.js';
import { $, address, el, hideBanner, remember, showBanner } from './dom.js';
import { readOrder, showFieldErrors, showOrder } from './order.js';
import { cents, money, sum, tierName } from './prices.js';
import { choice, deselectTaken, seatsNamed, showOutcomeSeats } from './seats.js';
import { about, count, saleWindow } from './format.js';

const FINAL = ['confirmed', 'rejected', 'expired', 'failed']; // An unknown status is not final.
const SILENCE = 20; // seconds without an event: the queue position has not changed, or the connection is dead

let intent = null; // {key, request}: the last booking sent, while its outcome is unknown
let current = null; // an AbortController while a booking is sent or followed
let settled = null; // the status document of the ticket that has just ended

function startBooking() {
  endBooking();
  current = new AbortController();
  choice.isLocked = true;
  showOrder();
  return current.signal;
}

/** Stops following the booking. The booking itself is not affected. */
export function endBooking() {
  current?.abort();
  current = settled = null;
  choice.isLocked = false;
  showOrder();
  deselectTaken();
}

// ---- Sending -------------------------------------------------------------------------------------------------------
$('order').addEventListener('submit', (event) => {
  event.preventDefault();
  const request = readOrder(address().concert);
  const isEmpty = { field: 'seatIds', detail: 'is empty: choose a seat in the map' };
  if (request.seatIds.length === 0) return showFieldErrors([isEmpty]);
  // Sending the same booking again after giving up reuses its key, so that it is never booked twice.
  const isSame = JSON.stringify(intent?.request) === JSON.stringify(request);
  send(isSame ? intent : { key: randomKey(), request });
});

/** Not randomUUID(), which browsers provide only on HTTPS. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16)).join('-');
}

function setIntent(next) {
  intent = next;
  choice.requested = next?.request.seatIds ?? [];
}

/** Stores the intent, so that a reload of the page does not create a second booking. `null` removes it. */
function keepForReload(intent) {
  try { sessionStorage.setItem('wish', JSON.stringify(intent)); } catch { /* Storage is disabled. */ }
}

export function resume(concert) {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem('wish')); } catch { /* As above. */ }
  if (kept?.request.concertId === concert) send(kept);
}

/** Sends the intent until it is accepted or rejected, always with the same key. */
async function send(next) {
  setIntent(next);
  const signal = startBooking();
  keepForReload(next);
  showFieldErrors([]);
  showBanner('busy', 'Sending your booking…', [], 'Stop', giveUp);
  $('banner-title').focus();
  const { key, request } = next;
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const post = () => api('/ticket-bookings', signal, { method: 'POST', headers, body: JSON.stringify(request) });
  try {
    const accepted = await withRetries(post, signal, ({ title }, seconds) => {
      const text = `${title}. We will try again in ${about(seconds)}, until your booking is accepted. `
        + 'Your seats are booked only once, no matter how often we try.';
      showBanner('busy', 'Your booking has not been accepted yet', [text], 'Stop trying', giveUp);
    });
    keepForReload(null);
    remember(request.concertId, accepted.body.ticketId);
    follow(accepted.body.ticketId, accepted);
  } catch (error) {
    if (signal.aborted) return;
    keepForReload(null);
    const { problem } = error;
    // Seats that are known to be sold are rejected at once, without a ticket.
    if (['seats-taken', 'sold-out'].includes(problem?.code)) return showOutcome({ status: 'rejected', problem });
    setIntent(null);
    endBooking();
    hideBanner();
    const { errors } = error.problem ?? {};
    if (!errors || showFieldErrors(errors).length > 0) showFailure(error);
  }
}

function giveUp() {
  endBooking();
  keepForReload(null); // `intent` stays, in case the same booking is sent again.
  const text = 'Your booking may have been accepted already. To find out, book the same seats again with the same name '
    + 'and e-mail. This never books twice, and shows the outcome of the first attempt.';
  showBanner('bad', 'We stopped trying', [text], 'OK', dismiss);
}

// ---- Following -----------------------------------------------------------------------------------------------------
/** Follows the ticket until its status is final. `accepted` is the response to the booking, if this page sent it. */
export async function follow(ticket, accepted = null) {
  const signal = startBooking();
  const path = accepted?.location ?? `/ticket-bookings/${encodeURIComponent(ticket)}`;
  if (accepted) showQueued(accepted.body);
  else showBanner('busy', 'Looking for your booking…');
  try {
    showOutcome(await outcomeByEvents(path, signal) ?? await outcomeByPolling(path, accepted, signal));
  } catch (error) {
    if (signal.aborted) return;
    endBooking();
    showFailure(error);
  }
}

/** `null` if event streams are blocked. */
async function outcomeByEvents(path, signal) {
  let outcome = null;
  const status = (ticket) => {
    if (FINAL.includes(ticket.status)) outcome = ticket;
    else showQueued(ticket);
    return outcome !== null;
  };
  await listen(`${path}/events`, { status }, SILENCE, signal);
  return outcome;
}

async function outcomeByPolling(path, response, signal) {
  for (let polls = 0; ; polls += 1) {
    if (response) await pause(delay(polls, response, 5), signal);
    response = await withRetries(() => api(path, signal), signal, ({ title }, seconds) => {
      const text = `${title}. You keep your place in the queue. We will check again in ${about(seconds)}.`;
      showBanner('busy', 'We cannot check your booking at the moment', [text]);
    });
    if (FINAL.includes(response.body.status)) return response.body;
    showQueued(response.body);
  }
}

function showQueued({ queue }) {
  const facts = [
    queue?.ahead != null && `${count(queue.ahead, 'booking')} ahead of yours.`,
    queue?.etaSeconds != null && `It should take ${about(queue.etaSeconds)}.`,
    'You can reload this page, or save its address and come back later. You keep your place.',
  ];
  showBanner('busy', 'Your booking is in the queue', [facts.filter(Boolean).join(' ')]);
}

// ---- The outcome ---------------------------------------------------------------------------------------------------
function showOutcome(ticket) {
  const { status, booking, problem } = ticket;
  const kept = booking?.seatIds.filter((id) => !booking.releasedSeatIds?.includes(id));
  const gone = showOutcomeSeats(kept ?? problem?.seatIds ?? []);
  setIntent(null);
  endBooking();
  settled = ticket;
  if (booking) return showBanner('good', 'Your seats are booked', receipt(booking), 'Book more seats', dismiss);
  const titles = {
    rejected: 'Your seats were not booked', expired: 'Your booking expired', failed: 'Your booking failed',
  };
  let text = saleWindow(problem?.opensAt, problem?.closedAt) || (problem?.detail ?? 'Nothing was booked.');
  if (problem?.code === 'seats-taken' && gone.length > 0) {
    text = `${seatsNamed(gone)} went to another buyer before your booking was processed. Nothing was booked.`;
    if (choice.seats.size > 0) text += ' Your other seats are still selected.';
  }
  showBanner('bad', titles[status], [text], 'Choose again', dismiss);
}

/** Shows the outcome again once the seats are loaded, now with the seat numbers. */
export function showOutcomeAgain() {
  if (settled) showOutcome(settled);
}

function receipt(booking) {
  const amount = (text) => el('td', { className: 'sum' }, text);
  const lines = booking.ticketData.map((tickets) => el('tr', {},
    el('td', {}, `${tierName(tickets)} ${tickets.seatNumbers.join(', ')}`),
    amount(`${tickets.quantity} × ${tickets.pricePerTicket}`),
    amount(tickets.totalAmount)));
  const released = (booking.seats ?? []).filter(({ id }) => booking.releasedSeatIds?.includes(id));
  const names = released.map(({ seatNumber }) => seatNumber).join(', ');
  const total = money(sum(booking.ticketData.map((tickets) => cents(tickets.totalAmount))));
  return [
    el('p', {}, 'Booking number ', el('strong', {}, booking.id), `, for ${booking.userName} (${booking.userEmail}).`),
    el('table', {}, ...lines, el('tr', {}, el('th', { colSpan: 2 }, 'Total'), amount(total))),
    ...(names ? [el('p', {}, `The organiser has taken these seats back: ${names}.`)] : []),
  ];
}

export function showFailure(error) {
  showBanner('bad', error.problem?.title ?? 'Something went wrong', [error.message], 'OK', dismiss);
}

function dismiss() {
  settled = null;
  hideBanner();
  if ($('concert').hidden) location.hash = '';
  else remember(address().concert);
  $('map-title').focus();
}
