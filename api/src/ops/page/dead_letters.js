// Dead letters: the list, the whole letter, and the decision to reissue or to discard it.

import { ask } from './dialog.js';
import { $, el, setText } from './dom.js';
import { count, time } from './format.js';
import { request } from './session.js';

/** What to do, by the reason of a letter. docs/RUNBOOK.md explains each. */
const ADVICE = {
  'workers-died': 'Find the cause of death in the logs of the workers and fix it. Then reissue.',
  'refused-by-database': 'Fix the cause that the detail names. Then reissue.',
  'set-aside': 'Find the error in the logs of the workers and fix it. Then reissue.',
  'unreadable-envelope': 'Find the publisher. Reissue once the workers can read it, or discard.',
  'unreadable-parcel': 'Find the publisher. Discard.',
  'unreadable-outcome': 'Repair the row that the detail names, or upgrade the worker. Then reissue.',
  'unreadable-price': 'Set the price of the tier that the detail names. Then reissue.',
  'ticket-reused': 'An alarm: a ticket key has leaked, or two installations share a queue.',
};

/** How long after a failure the list is requested again, in milliseconds. */
const RETRY_AFTER = 10_000;

let shownCount = null;
let next = null; // Where the next page begins.
let isLoading = false;
let retryAt = 0; // After a failure, in milliseconds.

/** Reads the list again when the number of open letters has changed. */
export function showDeadLetters(deadLetters) {
  const open = deadLetters?.open ?? null;
  if (open === null) setText($('letters-note'), 'Unknown: Postgres cannot be reached.');
  else if (open !== shownCount && !isLoading && Date.now() >= retryAt) load(null, open);
}

export function initDeadLetters() {
  $('more-letters').addEventListener('click', () => load(next, shownCount));
}

async function load(after, open) {
  isLoading = true;
  try {
    const page = await request(`/ops/dead-letters${after === null ? '' : `?after=${encodeURIComponent(after)}`}`);
    const rows = page.deadLetters.map(row);
    if (after === null) table().replaceChildren(...rows);
    else table().append(...rows);
    next = page.next ?? null;
    shownCount = open;
    $('more-letters').hidden = next === null;
    $('letters').hidden = table().children.length === 0;
    setText(
      $('letters-note'),
      open === 0
        ? 'None. Nothing needs a decision.'
        : `${count(open, 'dead letter')}: bookings or messages that could not be processed. Each needs a decision.`,
    );
  } catch (error) {
    setText($('letters-note'), error.message);
    retryAt = Date.now() + RETRY_AFTER;
  } finally {
    isLoading = false;
  }
}

const COLUMNS = ['Letter', 'Time', 'Reason', 'Detail', 'Decision'];

function table() {
  const letters = $('letters');
  if (!letters.tBodies[0]) {
    const heads = COLUMNS.map((column) => el('th', { scope: 'col' }, column));
    letters.append(el('thead', {}, el('tr', {}, ...heads)), el('tbody'));
  }
  return letters.tBodies[0];
}

function row(letter) {
  const button = (text, act) => {
    const properties = { className: 'action quiet', type: 'button', ariaLabel: `${text} dead letter ${letter.id}` };
    const element = el('button', properties, text);
    element.addEventListener('click', act);
    return element;
  };
  const cells = [
    String(letter.id),
    time(letter.createdAt),
    letter.reason,
    letter.detail ?? '',
    el(
      'div',
      { className: 'buttons' },
      button('Show', () => showLetter(letter)),
      button('Reissue…', () => reissue(letter)),
      button('Discard…', () => discard(letter)),
    ),
  ];
  return el(
    'tr',
    {},
    ...COLUMNS.map((column, i) => {
      const cell = el('td', {}, cells[i]);
      cell.dataset.column = column;
      return cell;
    }),
  );
}

const title = (letter) => `Dead letter ${letter.id}: ${letter.reason}`;
const advice = (letter) => ADVICE[letter.reason] ?? 'See "Dead letters" in docs/RUNBOOK.md.';

async function showLetter(letter) {
  let content;
  try {
    content = el('pre', {}, JSON.stringify(await request(path(letter)), null, 2));
  } catch (error) {
    content = error.message;
  }
  ask({ title: title(letter), body: [advice(letter), 'The payload has personal data.', content] });
}

function reissue(letter) {
  ask({
    title: title(letter),
    confirm: 'Reissue',
    body: [advice(letter), 'The booking is queued again with a new ticket, and decided like any new booking.'],
    submit: async ({ reason }) => {
      const { ticketId, location } = await decide(letter, 'reissue', reason);
      return {
        body: [
          'Reissued. Send the new ticket to the customer: nobody else knows it.',
          el('pre', {}, ticketId),
          `Its status: ${location}`,
        ],
        confirm: null,
      };
    },
  });
}

function discard(letter) {
  ask({
    title: title(letter),
    confirm: 'Discard',
    body: [advice(letter), 'The booking is given up for good. Its ticket stays failed.'],
    submit: async ({ reason }) => {
      await decide(letter, 'discard', reason);
      return null;
    },
  });
}

/** The next state reads the list again, also after a failure: somebody else may have decided. */
async function decide(letter, action, reason) {
  try {
    return await request(`${path(letter)}/${action}`, { method: 'POST', body: { reason } });
  } finally {
    shownCount = null;
  }
}

const path = (letter) => `/ops/dead-letters/${encodeURIComponent(letter.id)}`;
