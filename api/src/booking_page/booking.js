// A booking, from the press on Book to its outcome: it is sent under one key until it is accepted, and its ticket is
// followed, by events, or by asking where events do not pass.

import { api, delay, insist, listen, pause } from './api.js';
import { $, address, el, hideBanner, remember, showBanner } from './dom.js';
import { readOrder, showFieldErrors, showOrder } from './order.js';
import { cents, money, sum, tierName } from './prices.js';
import { choice, seatsNamed, showOutcomeSeats, unchooseLost } from './seats.js';
import { about, count, saleWindow } from './format.js';

const FINAL = ['confirmed', 'rejected', 'expired', 'failed']; // A status that we do not know is not final.
const SILENCE = 20; // seconds without an event: a place in the queue that does not change, or a dead connection

let wish = null; // {key, request}: what was last asked for, while its outcome is unknown
let current = null; // an AbortController while a booking is sent or followed
let settled = null; // the status document of the ticket that has just ended

function startBooking() {
  endBooking();
  current = new AbortController();
  choice.isLocked = true;
  showOrder();
  return current.signal;
}

/** Ends what the page does for it. The booking itself stands. */
export function endBooking() {
  current?.abort();
  current = settled = null;
  choice.isLocked = false;
  showOrder();
  unchooseLost();
}

// ---- Sending -------------------------------------------------------------------------------------------------------
$('order').addEventListener('submit', (event) => {
  event.preventDefault();
  const request = readOrder(address().concert);
  const isEmpty = { field: 'seatIds', detail: 'is empty: choose a seat in the map' };
  if (request.seatIds.length === 0) return showFieldErrors([isEmpty]);
  // To give up and then ask for the very same again is the same wish: its key keeps it from becoming two bookings.
  const isSame = JSON.stringify(wish?.request) === JSON.stringify(request);
  send(isSame ? wish : { key: randomKey(), request });
});

/** Not randomUUID(), which a browser has only on HTTPS. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16)).join('-');
}

function setWish(next) {
  wish = next;
  choice.asked = next?.request.seatIds ?? [];
}

/** A wish on its way outlives a reload, which must not turn it into a second one. `null` forgets it. */
function keepForReload(wish) {
  try { sessionStorage.setItem('wish', JSON.stringify(wish)); } catch { /* Storage is off: then it does not. */ }
}

export function resume(concert) {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem('wish')); } catch { /* As above. */ }
  if (kept?.request.concertId === concert) send(kept);
}

/** Sends the wish until it is accepted or refused, always under its one key. */
async function send(next) {
  setWish(next);
  const signal = startBooking();
  keepForReload(next);
  showFieldErrors([]);
  showBanner('busy', 'Sending your booking…', [], 'Stop', giveUp);
  $('banner-title').focus();
  const { key, request } = next;
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const post = () => api('/ticket-bookings', signal, { method: 'POST', headers, body: JSON.stringify(request) });
  try {
    const accepted = await insist(post, signal, ({ title }, seconds) => {
      const text = `${title}. We try again in ${about(seconds)}, and go on until it gets through. `
        + 'However often we try, your seats are booked only once.';
      showBanner('busy', 'Your booking is not through yet', [text], 'Stop trying', giveUp);
    });
    keepForReload(null);
    remember(request.concertId, accepted.body.ticketId);
    follow(accepted.body.ticketId, accepted);
  } catch (error) {
    if (signal.aborted) return;
    setWish(null);
    keepForReload(null);
    endBooking();
    hideBanner();
    const { errors } = error.problem ?? {};
    if (!errors || showFieldErrors(errors).length > 0) showFailure(error);
  }
}

function giveUp() {
  endBooking();
  keepForReload(null); // The wish itself stays, for whoever tries the same again.
  const text = 'If your booking got through before that, it stands. To be sure, book the same seats again under the '
    + 'same name and e-mail: that never books twice, and shows what became of the first try.';
  showBanner('bad', 'We stopped trying', [text], 'OK', dismiss);
}

// ---- Following -----------------------------------------------------------------------------------------------------
/** Follows the ticket until it has a final status. `accepted` is the answer that brought it, if this page had one. */
export async function follow(ticket, accepted = null) {
  const signal = startBooking();
  const path = accepted?.location ?? `/ticket-bookings/${encodeURIComponent(ticket)}`;
  if (accepted) showQueued(accepted.body);
  else showBanner('busy', 'Looking for your booking…');
  try {
    showOutcome(await outcomeByEvents(path, signal) ?? await outcomeByAsking(path, accepted, signal));
  } catch (error) {
    if (signal.aborted) return;
    endBooking();
    showFailure(error);
  }
}

/** `null` if events do not pass. */
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

async function outcomeByAsking(path, answer, signal) {
  for (let polls = 0; ; polls += 1) {
    if (answer) await pause(delay(polls, answer, 5), signal);
    answer = await insist(() => api(path, signal), signal, ({ title }, seconds) => {
      const text = `${title}. Your place is safe; we ask again in ${about(seconds)}.`;
      showBanner('busy', 'We lost sight of your booking for a moment', [text]);
    });
    if (FINAL.includes(answer.body.status)) return answer.body;
    showQueued(answer.body);
  }
}

function showQueued({ queue }) {
  const facts = [
    queue?.ahead != null && `${count(queue.ahead, 'booking')} ahead of yours.`,
    queue?.etaSeconds != null && `It should take ${about(queue.etaSeconds)}.`,
    'You can reload this page, or keep its address and come back: your place is safe.',
  ];
  showBanner('busy', 'Your booking is in the queue', [facts.filter(Boolean).join(' ')]);
}

// ---- The outcome ---------------------------------------------------------------------------------------------------
function showOutcome(ticket) {
  const { status, booking, problem } = ticket;
  const gone = showOutcomeSeats(booking?.seatIds ?? problem?.seatIds ?? []);
  setWish(null);
  endBooking();
  settled = ticket;
  if (booking) return showBanner('good', 'Your seats are booked', receipt(booking), 'Book more seats', dismiss);
  const titles = { rejected: 'Your seats were not booked', expired: 'It took too long', failed: 'We made a mistake' };
  let text = saleWindow(problem?.opensAt, problem?.closedAt) || (problem?.detail ?? 'Nothing was booked.');
  if (problem?.code === 'seats-taken' && gone.length > 0) {
    text = `${seatsNamed(gone)} went to somebody else before your turn came, so nothing was booked.`;
    if (choice.seats.size > 0) text += ' The rest of your choice is still marked.';
  }
  showBanner('bad', titles[status], [text], 'Choose again', dismiss);
}

/** Once the seats are loaded, an outcome that came before them can name them. */
export function showOutcomeAgain() {
  if (settled) showOutcome(settled);
}

function receipt(booking) {
  const amount = (text) => el('td', { className: 'sum' }, text);
  const lines = booking.ticketData.map((tickets) => el('tr', {},
    el('td', {}, `${tierName(tickets)} ${tickets.seatNumbers.join(', ')}`),
    amount(`${tickets.quantity} × ${tickets.pricePerTicket}`),
    amount(tickets.totalAmount)));
  const total = money(sum(booking.ticketData.map((tickets) => cents(tickets.totalAmount))));
  return [
    el('p', {}, 'Booking number ', el('strong', {}, booking.id), `, for ${booking.userName} (${booking.userEmail}).`),
    el('table', {}, ...lines, el('tr', {}, el('th', { colSpan: 2 }, 'Total'), amount(total))),
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
