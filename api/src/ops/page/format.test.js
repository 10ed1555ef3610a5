import assert from 'node:assert/strict';
import test from 'node:test';

import { age, compact, duration, number, perSecond, time } from './format.js';

test('numbers are grouped and small ones keep a decimal', () => {
  assert.deepEqual([0, 3, 0.25, 812.4, 3200, 1e6].map(number), [
    '0',
    '3',
    '0.3',
    '812',
    '3\u202f200',
    '1\u202f000\u202f000',
  ]);
  assert.equal(perSecond(1234), '1\u202f234/s');
  assert.deepEqual([0, 12.5, 1000, 12_000, 1_250_000].map(compact), ['0', '13', '1k', '12k', '1.25M']);
});

test('durations have a unit that fits', () => {
  const texts = [0, 0.0042, 0.042, 0.4, 2.25, 12, 200, 7500].map(duration);
  assert.deepEqual(texts, ['0 s', '4.2 ms', '42 ms', '0.40 s', '2.3 s', '12 s', '3 min 20 s', '2 h 5 min']);
  assert.deepEqual([59.6, 60, 86_400 * 3].map(age), ['1 min', '1 min', '3 days']);
});

test('unknown values are a dash', () => {
  for (const unknown of [null, undefined, NaN, Infinity]) {
    assert.deepEqual([number, perSecond, compact, duration, age].map((format) => format(unknown)), [
      '–',
      '–',
      '–',
      '–',
      '–',
    ]);
  }
  assert.equal(time(null), '–');
  assert.equal(time('no time'), '–');
});
