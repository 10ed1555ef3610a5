// The entry point: shows the list of concerts, or the concert that the address names. The other modules:
//   seats.js    the seat map and the choice          live.js    keeps the seat map current
//   order.js    the chosen seats and the form        booking.js sends a booking and follows its ticket
//   api.js      requests, retries, event streams     prices.js  ticket names and prices
//   dom.js      elements, banner, address            format.js   numbers and times

import { load } from './api.js';
import { endBooking, follow, resume, showFailure, showOutcomeAgain } from './booking.js';
import { $, address, el, hideBanner } from './dom.js';
import { loadSeats, watchSeats } from './live.js';
import { loadTiers, money, sum, tiers } from './prices.js';
import { forgetSeats } from './seats.js';
import { count, saleWindow, when } from './format.js';

let current = new AbortController(); // aborted when the address changes

async function visit() {
  const { concert, ticket } = address();
  current.abort();
  current = new AbortController();
  const { signal } = current;
  forgetSeats();
  endBooking();
  hideBanner();
  $('list').hidden = $('concert').hidden = true;
  try {
    if (ticket) follow(ticket);
    else if (concert) resume(concert);
    else await showList(signal);
    if (concert) await showConcert(concert, signal);
  } catch (error) {
    if (!signal.aborted) showFailure(error);
  }
}

// ---- The concerts --------------------------------------------------------------------------------------------------
async function showList(signal) {
  document.title = 'Hamro Concert';
  const [{ data }] = await Promise.all([load('/concerts?limit=1000', signal), loadTiers(signal)]);
  const today = new Date().toISOString().slice(0, 10);
  const cards = data.filter((concert) => concert.date >= today).map((concert) => el('li', {}, concertCard(concert)));
  $('concerts').replaceChildren(...(cards.length > 0 ? cards : ['No concert is on sale at the moment.']));
  $('list').hidden = false;
}

function concertCard(concert) {
  const offered = [...tiers.values()].filter((tier) => tier.concertId === concert.id);
  const free = offered.filter((tier) => tier.available > 0);
  const offer = free.length === 0 ? (offered.length > 0 ? 'Sold out' : 'No seats yet')
    : `From ${money(Math.min(...free.map((tier) => tier.cents)))} · `
      + count(sum(free.map((tier) => tier.available)), 'free seat');
  // The title's first letter replaces a picture that does not load.
  const image = el('img', { alt: '', loading: 'lazy', referrerPolicy: 'no-referrer', src: concert.image });
  image.addEventListener('error', () => image.remove());
  return el('a', { className: 'card', href: `#${new URLSearchParams({ concert: concert.id })}` },
    el('div', { className: 'poster' }, el('span', { ariaHidden: true }, concert.title.slice(0, 1)), image),
    el('h2', {}, concert.title),
    el('p', {}, concert.artist),
    el('p', { className: 'muted' }, when(concert)),
    el('p', { className: 'muted' }, `${concert.venue}, ${concert.city}`),
    el('p', {}, offer));
}

async function showConcert(id, signal) {
  const path = encodeURIComponent(id);
  const [concert] = await Promise.all([load(`/concerts/${path}`, signal), loadTiers(signal, path)]);
  document.title = `${concert.title} – Hamro Concert`;
  $('concert-title').textContent = concert.title;
  $('concert-when').textContent = `${concert.artist} · ${when(concert)} · ${concert.venue}, ${concert.city}`;
  $('concert-text').textContent = concert.description ?? '';
  $('concert-sale').textContent = saleWindow(concert.salesOpenAt, concert.salesCloseAt);
  $('concert').hidden = false;
  if (document.activeElement === document.body) $('concert-title').focus(); // The clicked link no longer exists.
  await loadSeats(path, signal);
  showOutcomeAgain();
  watchSeats(path, signal);
}

window.addEventListener('hashchange', visit);
visit();
