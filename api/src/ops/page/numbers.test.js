import assert from 'node:assert/strict';
import test from 'node:test';

import { currentNumbers, refusalRates, workerProgress } from './numbers.js';

const history = (series) => ({ from: 0, length: 60, series });
const points = (earlier, last) => [...Array(60 - last.length).fill(earlier), ...last];

test('a worker that settles nothing is known since when, until it settles again', () => {
  const settled = (settledTotal) => [{ process: 'w', settledTotal }];
  let progress = workerProgress(new Map(), settled(5), 100);
  progress = workerProgress(progress, settled(5), 107);
  assert.deepEqual(progress.get('w'), { settledTotal: 5, since: 100 });
  progress = workerProgress(progress, settled(6), 109);
  assert.deepEqual(progress.get('w'), { settledTotal: 6, since: 109 });
  assert.equal(workerProgress(progress, [], 110).size, 0);
});

test('rates are means over five seconds, and slow ones the worst of them', () => {
  const numbers = currentNumbers(history({
    accepted: points(1000, [10, 20, 30, 40, 50]),
    acceptP99: points(9, [0.1, 0.5, 0.2, null, null]),
    depth: points(7, [3]),
  }));
  assert.equal(numbers.accepted, 30);
  assert.equal(numbers.acceptP99, 0.5);
  assert.equal(numbers.waiting, 3);
  assert.equal(numbers.drainRate, null);
});

test('bookings are stuck only for as long as some have waited and none was settled', () => {
  const stuckFor = (settled, depth) =>
    currentNumbers(history({ accepted: points(1, []), 'settled confirmed': settled, depth })).stuckFor;
  assert.equal(stuckFor(points(5, Array(8).fill(0)), points(9, [])), 8);
  assert.equal(stuckFor(points(0, []), points(0, [1, 2, 3])), 3);
  assert.equal(stuckFor(points(0, []), points(0, [])), 0);
  assert.equal(stuckFor(points(5, []), points(9, [])), 0);
});

test('only codes that occurred within ten seconds have a rate', () => {
  const rates = refusalRates(history({
    'refused queue-full': points(0, Array(5).fill(10)),
    'refused internal': points(9, Array(10).fill(0)),
    'settled confirmed': points(5, []),
  }));
  assert.deepEqual(rates, { 'queue-full': 5 });
});
