const MAX_SEATS = 10; // The API's default; it has the last word.
const MANY_SEATS = 1000; // In a hall of more, sections start closed.
const FINAL = ['confirmed', 'rejected', 'expired', 'failed']; // A status that we do not know is not final.

const page = {
  visit: new AbortController(), // ends when the address leads elsewhere
  concert: null,
  tiers: new Map(), // by id, each with its name and its price in cents
  seats: new Map(), // by id, each with its button once its section has been opened
  sections: [],
  chosen: new Set(), // seats
  wish: null, // {key, request}: what was last asked for, while its outcome is unknown
  booking: null, // an AbortController while a booking is sent or followed
  settled: null, // the status document of the ticket that has just ended
  refreshSeats: () => {},
};

// ---- Small helpers -------------------------------------------------------------------------------------------------
const $ = (id) => document.getElementById(id);

/** An element. Text goes in as text nodes, never as HTML. */
function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Money is added up in whole hundredths: prices are decimal strings, and floats would lose cents. */
function cents(decimal) {
  const [, whole, fraction = ''] = /^(\d+)(?:\.(\d\d?)0*)?$/.exec(decimal) ?? [];
  return whole ? Number(whole + fraction.padEnd(2, '0')) : NaN;
}
function money(cents) {
  return Number.isNaN(cents) ? 'price unknown' : `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const count = (n, thing) => `${n} ${thing}${n === 1 ? '' : 's'}`;
const about = (seconds) => `about ${count(Math.ceil(seconds), 'second')}`;
const date = (moment, dateStyle) => new Date(moment).toLocaleString('en-GB', { dateStyle, timeStyle: 'short' });
const say = (text) => { $('spoken').textContent = text; };

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

// ---- The API -------------------------------------------------------------------------------------------------------
/** An answer's problem document (RFC 9457) as an error; status 0 means that no answer came. */
function problemError(status, problem, retryAfter) {
  return Object.assign(new Error(problem.detail), { status, problem, retryAfter });
}

async function api(path, signal, options = {}) {
  let response, body;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]) });
    body = await response.text();
  } catch {
    signal.throwIfAborted();
    throw problemError(0, { title: 'Hamro Concert cannot be reached' });
  }
  try { body = JSON.parse(body); } catch { body = null; } // A proxy may answer with a page of its own.
  const retryAfter = Number(response.headers.get('Retry-After')) || 1;
  if (response.ok && body) return { body, retryAfter, location: response.headers.get('Location') };
  const problem = body?.title ? body : { title: 'Hamro Concert gave no sensible answer' };
  throw problemError(response.ok ? 0 : response.status, problem, retryAfter);
}

/** Back-off, never shorter than the server asks for. The jitter keeps those turned away from returning all at once. */
function delay(attempt, { retryAfter = 1 }, atMost) {
  return Math.max(retryAfter, Math.min(1.5 ** attempt, atMost)) * (1 + Math.random() / 4);
}

/** Tries until it succeeds or fails for good, and tells `onWait` before each wait. */
async function insist(attempt, signal, onWait) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || ![0, 429, 502, 503, 504].includes(error.status)) throw error;
      const seconds = delay(failures, error, 30);
      onWait(error.problem, seconds);
      await pause(seconds, signal);
    }
  }
}

/** What is only shown: while it cannot be had, the page says so and goes on trying. */
async function load(path, signal) {
  const { body } = await insist(() => api(path, signal), signal, ({ title }, seconds) => {
    $('trouble').textContent = `${title}. What you see may be out of date; next try in ${about(seconds)}.`;
  });
  $('trouble').textContent = '';
  return body;
}

// ---- Where we are: #concert=…&ticket=… -----------------------------------------------------------------------------
async function visit() {
  const { concert, ticket } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  page.visit.abort();
  page.visit = new AbortController();
  const { signal } = page.visit;
  page.concert = null;
  page.chosen.clear();
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

/** Changes the address and stays, so that a reload goes on from here. */
function remember(concert, ticket) {
  history.replaceState(null, '', `#${new URLSearchParams(ticket ? { concert, ticket } : { concert })}`);
}

// ---- The concerts --------------------------------------------------------------------------------------------------
async function loadTiers(signal) {
  const [tiers, types] = await Promise.all([load('/ticket-tiers/all', signal), load('/ticket-types', signal)]);
  const names = new Map(types.map((type) => [type.id, type.name]));
  const known = (tier) => ({ ...tier, name: names.get(tier.ticketTypeId) ?? 'Ticket', cents: cents(tier.price) });
  page.tiers = new Map(tiers.map((tier) => [tier.id, known(tier)]));
}

async function showList(signal) {
  document.title = 'Hamro Concert';
  const [{ data }] = await Promise.all([load('/concerts?limit=1000', signal), loadTiers(signal)]);
  const today = new Date().toISOString().slice(0, 10);
  const cards = data.filter((concert) => concert.date >= today).map((concert) => el('li', {}, concertCard(concert)));
  $('concerts').replaceChildren(...(cards.length > 0 ? cards : ['No concert is on sale at the moment.']));
  $('list').hidden = false;
}

function concertCard(concert) {
  const tiers = [...page.tiers.values()].filter((tier) => tier.concertId === concert.id);
  const free = tiers.filter((tier) => tier.available > 0);
  const offer = free.length === 0 ? (tiers.length > 0 ? 'Sold out' : 'No seats yet')
    : `From ${money(Math.min(...free.map((tier) => tier.cents)))} · `
      + count(sum(free.map((tier) => tier.available)), 'free seat');
  // The title's first letter stands in for a picture that does not load.
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

/** Date and time are the venue's own: they are shown as they stand. */
const when = (concert) => date(`${concert.date}T${concert.time}`, 'full');

async function showConcert(id, signal) {
  page.seats.clear();
  const path = encodeURIComponent(id);
  const [concert] = await Promise.all([load(`/concerts/${path}`, signal), loadTiers(signal)]);
  page.concert = concert;
  document.title = `${concert.title} – Hamro Concert`;
  $('concert-title').textContent = concert.title;
  $('concert-when').textContent = `${concert.artist} · ${when(concert)} · ${concert.venue}, ${concert.city}`;
  $('concert-text').textContent = concert.description ?? '';
  $('concert-sale').textContent = saleWindow(concert.salesOpenAt, concert.salesCloseAt);
  $('map').replaceChildren('Loading the seats…');
  $('concert').hidden = false;
  if (document.activeElement === document.body) $('concert-title').focus(); // The link that led here is gone.
  page.refreshSeats = watchSeats(path, showSeats, signal);
}

function saleWindow(opens, closes) {
  if (Date.parse(opens) > Date.now()) return `The sale opens on ${date(opens, 'long')} (your time).`;
  const verb = Date.parse(closes) < Date.now() ? 'closed' : 'closes';
  return closes ? `The sale ${verb} on ${date(closes, 'long')} (your time).` : '';
}

// ---- The seat map --------------------------------------------------------------------------------------------------
/**
 * Tells `onSeats` of a concert's seats as they change, until the signal. It asks for all of them every few seconds
 * while somebody looks. `onSeats` merges what it gets, so a stream that brings only changes can take this one's place.
 * Returns a function that makes it ask at once.
 */
function watchSeats(concert, onSeats, signal) {
  const fail = (error) => { if (!signal.aborted) $('trouble').textContent = error.problem?.title ?? error.message; };
  const ask = async () => onSeats((await load(`/seats/concert/${concert}`, signal)).seats);
  const askNow = () => { if (!document.hidden) ask().catch(fail); };
  async function watch() {
    for (;;) {
      const started = performance.now();
      if (!document.hidden) await ask();
      // A big map on a slow line must not be all that the line carries.
      await pause(Math.max(4, (performance.now() - started) / 50), signal);
    }
  }
  watch().catch(fail);
  document.addEventListener('visibilitychange', askNow, { signal });
  return askNow;
}

function showSeats(seats) {
  const isNew = seats.some((seat) => !page.seats.has(seat.id)) || seats.length === 0;
  const lost = [];
  for (const fresh of seats) {
    const seat = page.seats.get(fresh.id);
    if (!seat) {
      page.seats.set(fresh.id, fresh);
    } else if (seat.isBooked !== fresh.isBooked) {
      seat.isBooked = fresh.isBooked;
      // While our own booking is under way, it may be ours that took it.
      if (seat.isBooked && !page.booking && page.chosen.delete(seat)) lost.push(seat);
      paint(seat);
    }
  }
  if (isNew) buildMap();
  for (const section of page.sections) showFree(section);
  if (lost.length > 0) showOrder(`${seatsNamed(lost)} went to somebody else in the meantime.`);
  if (isNew && page.settled) showOutcome(page.settled); // Now it can name the seats.
}

/** A section is what has one name and one price. Those nearest to the stage come first. */
function buildMap() {
  const seats = [...page.seats.values()].sort((a, b) => a.row - b.row || a.id - b.id);
  const blocks = Map.groupBy(seats, (seat) => JSON.stringify([seat.section, seat.ticketTierId]));
  page.sections = [...blocks.values()].map((seats) => {
    const free = el('span', { className: 'muted small' });
    const summary = el('summary', {}, el('h3', {}, tierName(seats[0])), ' ', free);
    const details = el('details', { className: 'card' }, summary);
    // Seats are made when somebody looks at them.
    details.addEventListener('toggle', () => fillSection(seats, details), { once: true });
    details.open = page.seats.size <= MANY_SEATS;
    return { seats, details, free };
  });
  $('map').replaceChildren(...page.sections.map((section) => section.details));
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
  const is = page.chosen.has(seat) ? 'chosen' : seat.isBooked ? 'taken' : 'free';
  const ariaLabel = `Seat ${seat.seatNumber}, ${tierName(seat)}, ${money(priceOf(seat))}, ${is}`;
  seat.button.dataset.is = is;
  Object.assign(seat.button, { ariaPressed: is === 'chosen', ariaDisabled: is === 'taken', ariaLabel });
}

const tierName = (seat) => page.tiers.get(seat.ticketTierId)?.name ?? 'Ticket';
const priceOf = (seat) => page.tiers.get(seat.ticketTierId)?.cents ?? NaN;
const seatsNamed = (seats) =>
  (seats.length === 1 ? 'Seat ' : 'Seats ') + new Intl.ListFormat('en').format(seats.map((seat) => seat.seatNumber));

$('map').addEventListener('click', ({ target }) => {
  const seat = page.seats.get(Number(target.closest('.seat')?.dataset.id));
  if (!seat) return;
  if (page.booking) return say('Your booking is under way. Wait for it before you choose again.');
  let complaint = '';
  if (page.chosen.delete(seat)) { /* It was chosen, and is so no more. */ }
  else if (seat.isBooked) return say(`Seat ${seat.seatNumber} is taken.`);
  else if (page.chosen.size < MAX_SEATS) page.chosen.add(seat);
  else complaint = `You can book ${MAX_SEATS} seats at once, no more.`;
  paint(seat);
  showOrder(complaint);
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

// ---- The order -----------------------------------------------------------------------------------------------------
/** The chosen seats and what they cost, with a word on what is wrong with the choice, if anything is. */
function showOrder(complaint = '') {
  const seats = [...page.chosen].sort((a, b) => a.id - b.id);
  $('chosen').replaceChildren(...seats.map((seat) => el('li', {},
    el('span', {}, `${seat.seatNumber} · ${tierName(seat)}`),
    el('span', { className: 'sum' }, money(priceOf(seat))),
    el('button', { type: 'button', ariaLabel: `Remove ${seat.seatNumber}`, onclick: () => unchoose(seat) }, '×'))));
  const total = `${count(seats.length, 'seat')} · ${money(sum(seats.map(priceOf)))}`;
  $('total').textContent = seats.length > 0 ? `Total: ${total}` : 'No seats chosen yet.';
  $('bar-total').textContent = total;
  $('bar').hidden = seats.length === 0 || page.booking !== null;
  $('order').firstElementChild.disabled = page.booking !== null;
  $('seatIds-error').textContent = complaint;
}

function unchoose(seat) {
  page.chosen.delete(seat);
  paint(seat);
  showOrder();
  $('order-title').focus(); // The button that had the focus is gone.
}

/** Puts each error next to its field. Returns those that have no field here. */
function showFieldErrors(errors) {
  const labels = { userName: 'Your name', userEmail: 'Your e-mail', seatIds: 'Your choice' };
  for (const [field, label] of Object.entries(labels)) {
    const told = errors.filter((error) => error.field.startsWith(field)); // seatIds[1] is about seatIds, too.
    errors = errors.filter((error) => !told.includes(error));
    $(`${field}-error`).textContent = told.map(({ detail }) => `${label} ${detail}.`).join(' ');
    $(field)?.setAttribute('aria-invalid', told.length > 0);
  }
  $('order').querySelector('[aria-invalid=true]')?.focus();
  return errors;
}

$('to-order').addEventListener('click', () => $('userName').focus());

$('order').addEventListener('submit', (event) => {
  event.preventDefault();
  const { userName, userEmail } = Object.fromEntries(new FormData(event.target));
  const seatIds = [...page.chosen].map((seat) => seat.id).sort((a, b) => a - b);
  const isEmpty = { field: 'seatIds', detail: 'is empty: choose a seat in the map' };
  if (seatIds.length === 0) return showFieldErrors([isEmpty]);
  const request = { userName, userEmail, seatIds, concertId: page.concert.id };
  // To give up and then ask for the very same again is the same wish: its key keeps it from becoming two bookings.
  const isSame = JSON.stringify(page.wish?.request) === JSON.stringify(request);
  send(isSame ? page.wish : { key: randomKey(), request });
});

/** Not randomUUID(), which a browser has only on HTTPS. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16)).join('-');
}

// ---- The booking ---------------------------------------------------------------------------------------------------
function startBooking() {
  endBooking();
  page.booking = new AbortController();
  showOrder();
  return page.booking.signal;
}

function endBooking() {
  page.booking?.abort();
  page.booking = page.settled = null;
  showOrder();
}

/** A wish on its way outlives a reload, which must not turn it into a second one. `null` forgets it. */
function keepForReload(wish) {
  try { sessionStorage.setItem('wish', JSON.stringify(wish)); } catch { /* Storage is off: then it does not. */ }
}

function resume(concert) {
  let wish = null;
  try { wish = JSON.parse(sessionStorage.getItem('wish')); } catch { /* As above. */ }
  if (wish?.request.concertId === concert) send(wish);
}

/** Sends the wish until it is accepted or refused, always under its one key. */
async function send(wish) {
  const signal = startBooking();
  page.wish = wish;
  keepForReload(wish);
  showFieldErrors([]);
  showBanner('busy', 'Sending your booking…', [], 'Stop', giveUp);
  $('banner-title').focus();
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': wish.key };
  const post = () => api('/ticket-bookings', signal, { method: 'POST', headers, body: JSON.stringify(wish.request) });
  try {
    const accepted = await insist(post, signal, ({ title }, seconds) => {
      const text = `${title}. We try again in ${about(seconds)}, and go on until it gets through. `
        + 'However often we try, your seats are booked only once.';
      showBanner('busy', 'Your booking is not through yet', [text], 'Stop trying', giveUp);
    });
    keepForReload(null);
    remember(wish.request.concertId, accepted.body.ticketId);
    follow(accepted.body.ticketId, accepted);
  } catch (error) {
    if (signal.aborted) return;
    page.wish = null;
    keepForReload(null);
    endBooking();
    hideBanner();
    const { errors } = error.problem ?? {};
    if (!errors || showFieldErrors(errors).length > 0) showFailure(error);
  }
}

function giveUp() {
  endBooking();
  keepForReload(null); // page.wish stays, for whoever tries the same again.
  const text = 'If your booking got through before that, it stands. To be sure, book the same seats again under the '
    + 'same name and e-mail: that never books twice, and shows what became of the first try.';
  showBanner('bad', 'We stopped trying', [text], 'OK', dismiss);
}

/** Asks after the ticket until it has a final status. `answer` is what is known of it already. */
async function follow(ticket, answer = null) {
  const signal = startBooking();
  const path = answer?.location ?? `/ticket-bookings/${encodeURIComponent(ticket)}`;
  if (!answer) showBanner('busy', 'Looking for your booking…');
  try {
    for (let polls = 0; !FINAL.includes(answer?.body.status); polls += 1) {
      if (answer) {
        showQueued(answer.body);
        await pause(delay(polls, answer, 5), signal);
      }
      answer = await insist(() => api(path, signal), signal, ({ title }, seconds) => {
        const text = `${title}. Your place is safe; we ask again in ${about(seconds)}.`;
        showBanner('busy', 'We lost sight of your booking for a moment', [text]);
      });
    }
    endBooking();
    page.wish = null;
    page.settled = answer.body;
    showOutcome(answer.body);
    page.refreshSeats();
  } catch (error) {
    if (signal.aborted) return;
    endBooking();
    showFailure(error);
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

function showOutcome({ status, booking, problem }) {
  const named = booking?.seatIds ?? problem?.seatIds ?? [];
  const gone = named.map((id) => page.seats.get(id)).filter(Boolean);
  for (const seat of gone) {
    seat.isBooked = true; // The next refresh will say so anyway.
    page.chosen.delete(seat);
    paint(seat);
  }
  showOrder();
  if (booking) return showBanner('good', 'Your seats are booked', receipt(booking), 'Book more seats', dismiss);
  const titles = { rejected: 'Your seats were not booked', expired: 'It took too long', failed: 'We made a mistake' };
  let text = saleWindow(problem?.opensAt, problem?.closedAt) || (problem?.detail ?? 'Nothing was booked.');
  if (problem?.code === 'seats-taken' && gone.length > 0) {
    text = `${seatsNamed(gone)} went to somebody else before your turn came, so nothing was booked.`;
    if (page.chosen.size > 0) text += ' The rest of your choice is still marked.';
  }
  showBanner('bad', titles[status], [text], 'Choose again', dismiss);
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

// ---- The banner ----------------------------------------------------------------------------------------------------
/** Says where the booking stands. A new title is read out; a countdown under the same title is not. */
function showBanner(kind, title, content = [], action = null, act = null) {
  const isNews = $('banner').hidden || $('banner-title').textContent !== title;
  const hadFocus = $('banner').contains(document.activeElement);
  $('banner').className = `card ${kind}`;
  $('banner').hidden = false;
  $('banner-title').textContent = title;
  $('banner-body').replaceChildren(...content);
  $('banner-action').hidden = !action;
  $('banner-action').textContent = action;
  $('banner-action').onclick = act;
  if (isNews && hadFocus) $('banner-title').focus();
  if (isNews) say(`${title}. ${$('banner-body').innerText}`);
}

function showFailure(error) {
  showBanner('bad', error.problem?.title ?? 'Something went wrong', [error.message], 'OK', dismiss);
}

function hideBanner() {
  $('banner').hidden = true;
  say('');
}

function dismiss() {
  page.settled = null;
  hideBanner();
  if (!page.concert) location.hash = '';
  else remember(page.concert.id);
  $('map-title').focus();
}

window.addEventListener('hashchange', visit);
visit();
