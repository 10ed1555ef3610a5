import assert from 'node:assert/strict';
import test from 'node:test';

import {
  codes,
  fromResponse,
  merge,
  movingMax,
  movingMean,
  recentMean,
  secondsWhile,
  since,
  total,
  WINDOW,
} from './history.js';

const response = (from, series) => fromResponse({ from, series });

test('a response replaces the points that it repeats and adds the new ones', () => {
  const first = response(100, { accepted: [1, 2, null] });
  const merged = merge(first, response(102, { accepted: [3, 4] }));
  assert.deepEqual(merged, { from: 100, length: 4, series: { accepted: [1, 2, 3, 4] } });
});

test('a response that knows less than an earlier one does not replace its values', () => {
  const merged = merge(response(100, { accepted: [1, 2, 3] }), response(101, { accepted: [null, 5, 6] }));
  assert.deepEqual(merged.series.accepted, [1, 2, 5, 6]);
});

test('a gap between two responses is unknown', () => {
  const merged = merge(response(100, { accepted: [1] }), response(103, { accepted: [4] }));
  assert.deepEqual(merged.series.accepted, [1, null, null, 4]);
});

test('only fifteen minutes are kept', () => {
  const merged = merge(response(0, { accepted: Array(WINDOW).fill(1) }), response(WINDOW, { accepted: [2, 3] }));
  assert.equal(merged.from, 2);
  assert.equal(merged.length, WINDOW);
  assert.deepEqual(merged.series.accepted.slice(-3), [1, 2, 3]);
});

test('a response after a long absence replaces everything', () => {
  const merged = merge(response(0, { accepted: [1] }), response(5000, { accepted: Array(WINDOW).fill(2) }));
  assert.deepEqual([merged.from, merged.length, merged.series.accepted[0]], [5000, WINDOW, 2]);
});

test('the history of an instance whose clock goes back is replaced', () => {
  const merged = merge(response(1000, { accepted: [1, 2] }), response(500, { accepted: [3] }));
  assert.deepEqual(merged, { from: 500, length: 1, series: { accepted: [3] } });
});

test('a code that is missing in a second that was recorded has not occurred', () => {
  const first = response(100, { accepted: [1, null], refused: {} });
  const merged = merge(first, response(102, { accepted: [1, 1], refused: { 'queue-full': [5, null] } }));
  assert.deepEqual(merged.series['refused queue-full'], [0, null, 5, null]);
});

test('the total of a family is unknown only in seconds that were not recorded', () => {
  const history = response(1, {
    accepted: [1, 1, null],
    settled: { confirmed: [5, null, null], expired: [2, null, null] },
  });
  assert.deepEqual(total(history, 'settled'), [7, 0, null]);
  assert.deepEqual(total(history, 'refused'), [0, 0, null]);
});

test('codes are listed by how often they occurred, and those that did not occur are left out', () => {
  const refused = { overloaded: [0, 2], 'queue-full': [5, null], internal: [0, 0] };
  assert.deepEqual(codes(response(1, { accepted: [1, 1], refused }), 'refused'), ['queue-full', 'overloaded']);
});

test('the next request repeats the last ten seconds', () => {
  assert.equal(since(null), null);
  assert.equal(since(response(100, { accepted: Array(50).fill(1) })), 140);
});

test('unknown values are left out of a mean and of a period', () => {
  assert.equal(recentMean([9, 1, null, 3], 3), 2);
  assert.equal(recentMean([null], 3), null);
  assert.equal(recentMean(undefined, 3), null);
  assert.equal(secondsWhile([5, 0, null, 0], (value) => value === 0), 2);
});

test('a response with values that are no arrays is read as far as possible', () => {
  assert.deepEqual(response(5, { accepted: [1], settled: null, future: { a: 1 } }).series, { accepted: [1] });
});

test('a moving value covers five seconds, and is unknown where its second is', () => {
  const values = [10, null, 0, 5, 5, 5, 5];
  assert.deepEqual(movingMean(values), [10, null, 5, 5, 5, 3.75, 4]);
  assert.deepEqual(movingMax(values), [10, null, 10, 10, 10, 5, 5]);
});
