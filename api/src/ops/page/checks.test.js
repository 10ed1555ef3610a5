import assert from 'node:assert/strict';
import test from 'node:test';

import { auditText, canaryText } from './checks.js';

const NOW = 1_800_000_000;
const ago = (seconds) => new Date((NOW - seconds) * 1000).toISOString();

test('the auditor vouches for the seats only after a whole pass', () => {
  const audit = { completedAt: null, coverage: 0.42, doubleSoldSeats: 0, mismatches: { counters: 0 }, isPaused: true };
  assert.deepEqual(auditText(audit, NOW), {
    text: 'No seat sold twice so far',
    note: 'The first pass is not complete, 42 % of the seats checked, waiting for the end of a rush.',
    level: '',
  });
  const passed = auditText({ ...audit, completedAt: ago(400), coverage: 1, isPaused: false }, NOW);
  assert.deepEqual(passed, {
    text: '✔ No seat is sold twice',
    note: 'Completed 6 min 40 s ago, 100 % of the seats checked.',
    level: 'good',
  });
  assert.equal(auditText({ ...audit, doubleSoldSeats: 2 }, NOW).text, '✖ 2 seats sold twice');
  assert.equal(auditText({ ...audit, mismatches: { counters: 3 } }, NOW).text, '▲ 3 counters');
  assert.equal(auditText(null, NOW).text, 'No result');
});

test('a canary that is refused on purpose has not failed', () => {
  const canary = { lastRunAt: ago(5), lastSuccessAt: ago(40), failure: null, refusedWith: null, durationSeconds: 0.43 };
  assert.deepEqual(canaryText(canary, NOW), {
    text: '✔ Booked and released a seat in 0.43 s',
    note: '40 s ago.',
    level: 'good',
  });
  const refused = canaryText({ ...canary, refusedWith: 'intake-paused' }, NOW);
  assert.equal(refused.text, 'Refused on purpose: intake-paused');
  assert.equal(refused.level, undefined);
  assert.equal(canaryText({ ...canary, failure: 'settle: still queued after 30 s' }, NOW).level, 'bad');
  assert.equal(canaryText({ ...canary, lastSuccessAt: null }, NOW).text, 'No result yet');
});
