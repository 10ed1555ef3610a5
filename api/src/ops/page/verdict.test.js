import assert from 'node:assert/strict';
import test from 'node:test';

import { findings } from './verdict.js';

const NOW = 1_800_000_000;

/** A state in which nothing is wrong. */
const state = (changes = {}) => ({
  controls: { intakePaused: false, acceptPerSecond: null, changedBy: null, reason: null, isStored: true },
  workers: [worker()],
  instances: [{ process: 'a', version: '0.1.0', isThis: true, heardSecondsAgo: 0.2 }],
  deadLetters: { open: 0 },
  audit: { doubleSoldSeats: 0, mismatches: { counters: 0 }, isPaused: false },
  canary: { lastRunAt: new Date(NOW * 1000).toISOString(), lastSuccessAt: null, failure: null },
  broker: { accepts: true, failures: [] },
  database: { reachable: true, connectionsInUse: 1, connectionsMax: 10, clockOffsetMs: -3 },
  ...changes,
});

const worker = (changes = {}) => ({
  process: 'w',
  version: '0.1.0',
  consuming: true,
  bookings: 0,
  heardSecondsAgo: 0.4,
  settledTotal: 7,
  notReady: [],
  ...changes,
});

/** A minute of a sale in which all is well, with other values in its last seconds. */
function history(changes = {}, seconds = 20) {
  const usual = {
    accepted: 812,
    depth: 40,
    oldestAgeSeconds: 0.2,
    drainRate: 3000,
    acceptP50: 0.002,
    acceptP99: 0.006,
    settleP50: 0.4,
    settleP99: 0.9,
    'settled confirmed': 700,
    'settled seats-taken': 112,
    'refused queue-full': 0,
  };
  const series = {};
  for (const name of new Set([...Object.keys(usual), ...Object.keys(changes)])) {
    const first = usual[name] ?? 0;
    series[name] = Array.from({ length: 60 }, (_, i) => (i < 60 - seconds ? first : changes[name] ?? first));
  }
  return { from: NOW - 60, length: 60, series };
}

const all = (state, past = history(), progress = new Map()) => findings(state, past, progress, NOW);
const ids = (...args) => all(...args).map(({ id }) => id);
const verdict = (...args) => all(...args)[0];

const STUCK = { depth: 3200, oldestAgeSeconds: 14, drainRate: null, 'settled confirmed': 0, 'settled seats-taken': 0 };

test('a sale that goes well is called so, with its rate and the time until bookings are settled', () => {
  const [only, ...others] = all(state());
  assert.equal(only.level, 'good');
  assert.equal(only.title, 'Sale is going well: 812 bookings/s, settled in 0.40 s');
  assert.deepEqual(others, []);
});

test('an installation without bookings is ready, and one without numbers is unknown', () => {
  const quiet = { accepted: 0, depth: 0, oldestAgeSeconds: null, 'settled confirmed': 0, 'settled seats-taken': 0 };
  assert.equal(verdict(state(), history(quiet, 60)).id, 'idle');
  const unknown = { from: NOW, length: 0, series: {} };
  assert.deepEqual(all(state(), unknown).map(({ id, level }) => [id, level]), [['unknown', 'notice']]);
});

test('workers that settle nothing while bookings wait are stuck after ten seconds', () => {
  const stuck = verdict(state(), history(STUCK, 14));
  assert.equal(stuck.level, 'critical');
  assert.equal(stuck.title, 'Workers stuck: nothing settled for 14 s, 3\u202f200 waiting');
  assert.ok(!ids(state(), history(STUCK, 9)).includes('stuck'));
});

test('bookings that have only just arrived do not make workers stuck', () => {
  const quiet = { accepted: 0, depth: 0, oldestAgeSeconds: null, 'settled confirmed': 0, 'settled seats-taken': 0 };
  const arrived = history(quiet, 60);
  for (const [name, value] of Object.entries({ accepted: 50, depth: 50, oldestAgeSeconds: 1 })) {
    arrived.series[name][59] = value;
  }
  assert.ok(!ids(state(), arrived).includes('stuck'));
});

test('a pause of the intake is the verdict, with the administrator and the reason', () => {
  const controls = {
    intakePaused: true,
    acceptPerSecond: 50,
    changedBy: 'alice',
    reason: 'wrong price',
    isStored: true,
  };
  const [first, second] = all(state({ controls }));
  assert.equal(first.title, 'Intake paused by alice: wrong price');
  assert.equal(second.title, 'Intake limited to 50/s');
});

test('a failure is the verdict even while the intake is paused', () => {
  const controls = { intakePaused: true, acceptPerSecond: null, changedBy: 'alice', reason: 'x', isStored: true };
  assert.deepEqual(ids(state({ controls }), history(STUCK)), ['stuck', 'paused']);
});

test('a limit of the intake does not hide that the sale goes well', () => {
  const controls = {
    intakePaused: false,
    acceptPerSecond: 50,
    changedBy: 'bob',
    reason: 'slow database',
    isStored: true,
  };
  assert.deepEqual(all(state({ controls })).map(({ title }) => title), [
    'Sale is going well: 812 bookings/s, settled in 0.40 s',
    'Intake limited to 50/s by bob: slow database',
  ]);
});

test('controls of concerts are mentioned and do not hide that the sale goes well', () => {
  const controls = {
    intakePaused: false,
    acceptPerSecond: null,
    concerts: [
      { concertId: 'a', paused: true, acceptPerSecond: 5 },
      { concertId: 'b', paused: true, acceptPerSecond: null },
    ],
    isStored: true,
  };
  assert.deepEqual(all(state({ controls })).map(({ title }) => title), [
    'Sale is going well: 812 bookings/s, settled in 0.40 s',
    'Bookings of 2 concerts paused',
    'Bookings of 1 concert limited',
  ]);
});

test('silent workers are counted, and the last one that falls silent is critical', () => {
  const silent = worker({ process: 'v', heardSecondsAgo: 12.3 });
  assert.equal(verdict(state({ workers: [worker(), silent] })).title, '1 of 2 workers silent for 12 s');
  assert.deepEqual(ids(state({ workers: [silent] })), ['no-worker']);
  assert.equal(verdict(state({ workers: [] })).title, 'No worker is running, 40 waiting');
});

test('a worker that holds bookings and settles none is stuck, and one without bookings is not', () => {
  const progress = new Map([['w', { settledTotal: 7, since: NOW - 30 }]]);
  const stuck = verdict(state({ workers: [worker({ bookings: 500 })] }), history(), progress);
  assert.equal(stuck.title, '1 of 1 worker settled nothing for 30 s while holding bookings');
  assert.equal(verdict(state({ workers: [worker({ bookings: 0 })] }), history(), progress).id, 'good');
});

test('a worker that is not ready names its reason', () => {
  const workers = [worker({ notReady: ['seats: a batch has taken 12 s'] })];
  assert.equal(verdict(state({ workers })).title, '1 of 1 worker not ready: seats: a batch has taken 12 s');
});

test('refusals are a warning, and critical when most bookings are refused', () => {
  const some = verdict(state(), history({ 'refused queue-full': 120 }));
  assert.deepEqual([some.level, some.title], ['warning', 'Refusing 120/s: queue-full']);
  assert.equal(verdict(state(), history({ 'refused queue-full': 900 })).level, 'critical');
});

test('refusals that a client or an administrator has caused are no failure', () => {
  const harmless = {
    'refused seats-taken': 100,
    'refused ticket-not-found': 100,
    'refused unauthorized': 100,
    'refused intake-paused': 100,
    'refused intake-limited': 100,
    'refused too-many-requests': 100,
  };
  assert.deepEqual(ids(state(), history(harmless)), ['good', 'client-limits']);
});

test('the age of the oldest booking is a notice, then a warning', () => {
  const at = (oldestAgeSeconds) => verdict(state(), history({ depth: 36_000, oldestAgeSeconds }));
  assert.equal(at(9).id, 'good');
  assert.equal(at(12).level, 'notice');
  assert.equal(at(60).level, 'warning');
  assert.equal(at(60).title, 'Buyers wait 1 min: 36\u202f000 waiting, settled in about 12 s');
});

test('servers that are away are critical', () => {
  const broker = { accepts: false, failures: ['connection refused'] };
  assert.equal(verdict(state({ broker })).title, 'RabbitMQ accepts no bookings: connection refused');
  assert.equal(verdict(state({ database: { reachable: false } })).id, 'database');
});

test('workers are not accused by an instance that hears nobody, not even itself', () => {
  const workers = [worker({ heardSecondsAgo: 30 })];
  const instances = [{ process: 'a', version: '0.1.0', isThis: true, heardSecondsAgo: 30 }];
  assert.deepEqual(ids(state({ workers, instances })), ['no-heartbeats']);
  assert.deepEqual(ids(state({ workers: [], instances: [] })), ['no-heartbeats']);
  const broker = { accepts: false, failures: [] };
  assert.deepEqual(ids(state({ workers, instances, broker })), ['broker']);
});

test('each other finding has its text', () => {
  const cases = [
    [{ audit: { doubleSoldSeats: 2, mismatches: {} } }, 'critical', '2 seats sold twice'],
    [{ audit: { doubleSoldSeats: 0, mismatches: { counters: 3 } } }, 'warning', 'Stored data disagrees: 3 counters'],
    [{ deadLetters: { open: 1 } }, 'warning', '1 dead letter needs a decision'],
    [{ deadLetters: { open: 3 } }, 'warning', '3 dead letters need a decision'],
    [
      { canary: { failure: 'settle: still queued after 30 s' } },
      'warning',
      'The canary failed: settle: still queued after 30 s',
    ],
    [
      { database: { reachable: true, clockOffsetMs: -1500 } },
      'warning',
      'The clocks of this instance and Postgres differ by 1.5 s',
    ],
    [
      { broker: { accepts: true, failures: ['outcomes: refused'] } },
      'warning',
      'A connection to RabbitMQ fails: outcomes: refused',
    ],
    [
      { controls: { intakePaused: false, acceptPerSecond: null, isStored: false } },
      'warning',
      'The controls are the last known ones',
    ],
  ];
  for (const [changes, level, title] of cases) {
    const first = verdict(state(changes));
    assert.equal(first.level, level, title);
    assert.ok(first.title.startsWith(title), first.title);
  }
});

test('the report of a canary that was switched off does not hide how the sale goes', () => {
  const lastRunAt = new Date((NOW - 3600) * 1000).toISOString();
  for (const failure of [null, 'settle: still queued after 30 s']) {
    assert.deepEqual(ids(state({ canary: { lastRunAt, lastSuccessAt: null, failure } })), ['good', 'canary-old']);
  }
});

test('a state in which everything is unknown has a verdict', () => {
  const unknown = { from: NOW, length: 2, series: { accepted: [null, null] } };
  assert.equal(verdict({ workers: [worker()], instances: state().instances }, unknown).id, 'unknown');
  assert.equal(verdict({}, unknown).id, 'no-heartbeats');
});
