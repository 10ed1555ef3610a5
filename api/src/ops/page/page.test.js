// The whole page in a simulated browser (happy-dom), which neither lays out nor draws: uPlot is replaced. The tests follow
// one another on one page, as a person would.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { Window } from 'npm:happy-dom@21.0.4';

const NOW = 1_800_000_000;
const CONTROLS = {
  intakePaused: false,
  acceptPerSecond: null,
  concerts: [],
  revision: 12,
  changedAt: null,
  changedBy: null,
  reason: null,
  isStored: true,
};

const requests = [];
/** The next responses to requests other than those of the state, as [status, body, headers]. */
const responses = [];
/** What /ops/state responds with: a function, so that it can fail. */
let respondWithState = () => [200, state()];

const browser = new Window({ url: 'http://127.0.0.1:3000/ops' });
const html = readFileSync(new URL('index.html', import.meta.url), 'utf8');
browser.document.write(html.replaceAll(/<(script|link)[^>]*>(<\/script>)?/g, ''));
Object.assign(globalThis, {
  document: browser.document,
  matchMedia: () => new EventTarget(),
  getComputedStyle: () => ({ getPropertyValue: () => '#000' }),
  // deno-lint-ignore require-await
  fetch: async (path, { method, headers, body }) => {
    requests.push({ method, path, body: body ? JSON.parse(body) : null, authorization: headers.Authorization });
    const isState = path.startsWith('/ops/state');
    const [status, content, extra = {}] = isState
      ? respondWithState()
      : responses.shift() ?? [200, { deadLetters: [] }];
    return new Response(JSON.stringify(content), { status, headers: extra });
  },
  uPlot: class {
    cursor = {};
    destroy() {}
    setData() {}
    setSize() {}
  },
});
sessionStorage.clear();
await import('./main.js');

function state(changes = {}) {
  const points = (value) => Array(60).fill(value);
  const worker = { process: 'w', version: '0.2.0', consuming: true, bookings: 0, heardSecondsAgo: 0.1, notReady: [] };
  return {
    now: NOW,
    instance: 'a',
    version: '0.2.0',
    controls: CONTROLS,
    history: {
      from: NOW - 60,
      series: { accepted: points(812), settled: { confirmed: points(812) }, depth: points(0), settleP50: points(0.4) },
    },
    workers: [worker],
    instances: [{ process: 'a', version: '0.2.0', isThis: true, bookings: 9, heardSecondsAgo: 0.1 }],
    deadLetters: { open: 0 },
    audit: null,
    canary: null,
    broker: { accepts: true, failures: [] },
    database: { reachable: true },
    ...changes,
  };
}

const $ = (id) => browser.document.getElementById(id);
const text = (id) => $(id).textContent.trim();
const click = (element) => element.dispatchEvent(new browser.MouseEvent('click', { bubbles: true, cancelable: true }));
const submit = (id) => $(id).dispatchEvent(new browser.Event('submit', { cancelable: true }));

/** Waits until the condition holds. */
async function until(holds) {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries === 500) throw new Error(`timed out: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function signIn(token) {
  $('sign-in-error').textContent = '';
  $('token').value = token;
  submit('sign-in');
  await until(() => $('sign-in').hidden || text('sign-in-error') !== '');
}

test('a refused token is explained and not kept', async () => {
  assert.equal($('sign-in').hidden, false);
  for (
    const [status, headers, expected] of [
      [401, {}, 'This token is wrong.'],
      [403, {}, 'This installation has no admin token. Set ADMIN_TOKEN and restart the api.'],
      [429, { 'Retry-After': '8' }, 'Too many wrong tokens. Try again in 8 s.'],
    ]
  ) {
    respondWithState = () => [status, { title: 'Refused' }, headers];
    await signIn('wrong');
    assert.equal(text('sign-in-error'), expected);
    assert.equal($('view').hidden, true);
    assert.equal(sessionStorage.length, 0);
  }
});

test('the right token opens the view, and is in no address', async () => {
  respondWithState = () => [200, state()];
  await signIn('secret');
  assert.equal($('view').hidden, false);
  assert.equal(text('verdict-title'), 'Sale is going well: 812 bookings/s, settled in 0.40 s');
  assert.equal(text('level-word'), 'good');
  assert.ok(document.title.includes('Sale is going well'));
  assert.equal($('token').value, '');
  assert.equal(requests.at(-1).authorization, 'Bearer secret');
  assert.ok(requests.every(({ path }) => !path.includes('secret')));
});

test('later requests ask only for the last seconds', async () => {
  await until(() => requests.at(-1).path === `/ops/state?since=${NOW - 10}`);
});

test('texts of the installation are never read as HTML', async () => {
  const notReady = ['<img src=x onerror=alert(1)>'];
  respondWithState = () => [200, state({ workers: [{ ...state().workers[0], notReady }] })];
  await until(() => text('workers').includes(notReady[0]));
  assert.ok(text('verdict-title').includes(notReady[0]));
  assert.equal(document.querySelector('img'), null);
});

test('a pause needs a reason, and after a change by somebody else a second decision', async () => {
  respondWithState = () => [200, state()];
  click($('pause'));
  assert.equal($('ask').open, true);
  assert.equal(text('ask-title'), 'Pause the intake?');
  submit('ask-form');
  assert.equal(text('ask-error'), 'Enter a reason.');

  const theirs = { ...CONTROLS, acceptPerSecond: 50, revision: 13, changedBy: 'bob', reason: 'slow database' };
  responses.push([412, { title: 'Precondition failed', controls: theirs }]);
  $('ask-reason').value = 'wrong price';
  submit('ask-form');
  await until(() => text('ask-confirm') === 'Pause intake anyway');
  assert.ok(text('ask-body').startsWith('bob has changed the controls meanwhile'), text('ask-body'));
  assert.ok(text('ask-body').endsWith('If you confirm, the intake is paused, limited to 50/s.'));

  const stored = { ...theirs, intakePaused: true, revision: 14, changedBy: 'alice', reason: 'wrong price' };
  responses.push([200, stored]);
  submit('ask-form');
  await until(() => !$('ask').open);
  const changes = requests.filter(({ method }) => method === 'PUT').map(({ body }) => body);
  assert.deepEqual(changes, [
    { intakePaused: true, acceptPerSecond: null, reason: 'wrong price', revision: 12 },
    { intakePaused: true, acceptPerSecond: 50, reason: 'wrong price', revision: 13 },
  ]);
  assert.equal(text('pause'), 'Resume intake…');
});

test('a state that was read before a change does not show the earlier controls again', async () => {
  const read = requests.length;
  await until(() => requests.length > read + 1);
  assert.equal(text('pause'), 'Resume intake…');
});

const CONCERT = '755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11';
const button = (label) => [...document.querySelectorAll('button')].find(({ ariaLabel }) => ariaLabel === label);

test('a concert is paused by its id, and its controls are changed and removed', async () => {
  const puts = requests.filter(({ method }) => method === 'PUT').length;
  assert.equal($('concert-controls').hidden, true);
  $('concert-id').value = 'Folk Night';
  submit('concert-form');
  assert.ok(text('concert-error').startsWith('Enter the id of a concert'));
  assert.equal($('ask').open, false);
  $('concert-id').value = ` ${CONCERT.toUpperCase()} `;
  submit('concert-form');
  assert.equal(text('concert-error'), '');
  assert.equal(text('ask-title'), 'Pause the concert?');
  assert.ok(text('ask-body').endsWith(`Concert ${CONCERT}: running, without a limit.`), text('ask-body'));

  const theirs = { ...CONTROLS, concerts: [{ concertId: CONCERT, paused: false, acceptPerSecond: 5 }], revision: 15 };
  const paused = { ...theirs, concerts: [{ ...theirs.concerts[0], paused: true }], revision: 16 };
  responses.push([412, { title: 'Precondition failed', controls: theirs }], [200, paused]);
  $('ask-reason').value = 'wrong seat map';
  submit('ask-form');
  await until(() => text('ask-confirm') === 'Pause concert anyway');
  assert.ok(text('ask-body').endsWith(`If you confirm, Concert ${CONCERT} is paused, limited to 5/s.`));
  submit('ask-form');
  await until(() => !$('ask').open);
  assert.ok(text('concert-controls').includes(`${CONCERT}paused, limited to 5/s`), text('concert-controls'));

  // Its button keeps the focus while the state is read again and again.
  respondWithState = () => [200, state({ controls: paused })];
  button(`Remove… concert ${CONCERT}`).focus();
  const read = requests.length;
  await until(() => requests.length > read + 1);
  assert.equal(document.activeElement, button(`Remove… concert ${CONCERT}`));

  const limited = { ...paused, concerts: [{ ...paused.concerts[0], acceptPerSecond: 8 }], revision: 17 };
  responses.push([200, limited]);
  click(button(`Change limit… concert ${CONCERT}`));
  assert.equal($('ask-rate').value, '5');
  $('ask-rate').value = '8';
  $('ask-reason').value = 'more';
  submit('ask-form');
  await until(() => text('concert-controls').includes('limited to 8/s'));

  respondWithState = () => [200, state()];
  responses.push([200, { ...CONTROLS, revision: 18 }]);
  click(button(`Remove… concert ${CONCERT}`));
  $('ask-reason').value = 'repaired';
  submit('ask-form');
  await until(() => $('concert-controls').hidden);
  const changes = requests.filter(({ method }) => method === 'PUT').slice(puts);
  assert.ok(changes.every(({ path }) => path === `/ops/controls/concerts/${CONCERT}`));
  assert.deepEqual(changes.map(({ body }) => body), [
    { paused: true, acceptPerSecond: null, reason: 'wrong seat map', revision: 14 },
    { paused: true, acceptPerSecond: 5, reason: 'wrong seat map', revision: 15 },
    { paused: true, acceptPerSecond: 8, reason: 'more', revision: 16 },
    { paused: false, acceptPerSecond: null, reason: 'repaired', revision: 17 },
  ]);
});

/** Presses a button of the only dead letter in the list, and gives a reason. Returns the request. */
async function decide(button, reason) {
  click([...$('letters').querySelectorAll('button')].find(({ ariaLabel }) => ariaLabel === `${button} dead letter 7`));
  $('ask-reason').value = reason;
  const before = requests.length;
  submit('ask-form');
  await until(() => requests.slice(before).some(({ method }) => method === 'POST'));
  const { path, body } = requests.findLast(({ method }) => method === 'POST');
  return { path, body };
}

test('a dead letter is decided with a reason, and the list is read again, also when somebody else was faster', async () => {
  const letter = { id: 7, reason: 'workers-died', detail: 'died 3 times', createdAt: '2026-11-26T09:00:00Z' };
  const listed = [200, { deadLetters: [letter], next: null }];
  responses.push(listed);
  respondWithState = () => [200, state({ deadLetters: { open: 1 } })];
  await until(() => text('letters').includes('workers-died'));

  responses.push([409, { title: 'Conflict', detail: 'Dead letter 7 is being reissued.' }], listed);
  const discarded = await decide('Discard…', 'test booking');
  assert.deepEqual(discarded, { path: '/ops/dead-letters/7/discard', body: { reason: 'test booking' } });
  await until(() => text('ask-error') === 'Dead letter 7 is being reissued.');
  click($('ask-cancel'));
  await until(() => responses.length === 0);

  const location = '/ticket-bookings/01a20f0b';
  responses.push([200, { ticketId: '01a20f0b', location }], [200, { deadLetters: [], next: null }]);
  const reissued = await decide('Reissue…', 'fixed');
  assert.deepEqual(reissued, { path: '/ops/dead-letters/7/reissue', body: { reason: 'fixed' } });
  await until(() => text('ask-body').endsWith(`01a20f0bIts status: ${location}`));
  assert.equal($('ask-confirm').hidden, true);
  click($('ask-cancel'));
  await until(() => !text('letters').includes('workers-died'));
});

test('a state that is out of date is grey, and its age is the verdict', async () => {
  respondWithState = () => {
    throw new TypeError('no network');
  };
  const now = Date.now;
  Date.now = () => now() + 12_000;
  try {
    await until(() => text('verdict-title').startsWith('No connection for 1'));
  } finally {
    Date.now = now;
  }
  assert.ok(document.body.classList.contains('stale'));
  respondWithState = () => [200, state()];
  await until(() => !document.body.classList.contains('stale'));
});

test('a token that is withdrawn closes the view', async () => {
  respondWithState = () => [401, { title: 'Unauthorized' }];
  await until(() => !$('sign-in').hidden);
  assert.equal($('view').hidden, true);
  assert.equal(text('sign-in-error'), 'This token is wrong.');
  assert.equal(sessionStorage.length, 0);
});

test('every field has a label', () => {
  for (const field of document.querySelectorAll('input')) {
    assert.ok(document.querySelector(`label[for="${field.id}"]`), field.id);
  }
});
