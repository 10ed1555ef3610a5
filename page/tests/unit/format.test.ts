import assert from 'node:assert/strict';
import { test } from 'node:test';

import { countdown, initial, roughly } from '../../src/model/format.ts';

test('a wait is told in words that get vaguer with its length', () => {
  const words = [0, 9, 10, 41, 60, 947, 7200].map(roughly);
  assert.deepEqual(words, [
    'a few seconds',
    'a few seconds',
    'about 10 seconds',
    'about 50 seconds',
    'about 1 minute',
    'about 16 minutes',
    'about 2 hours',
  ]);
});

test('a countdown reaches zero only when the time has come', () => {
  assert.equal(countdown(1), '00:01');
  assert.equal(countdown(0), '00:00');
  assert.equal(countdown(-5000), '00:00');
  assert.equal(countdown(299_000), '04:59');
  assert.equal(countdown(7_499_000), '2:04:59');
  assert.equal(countdown(3 * 86_400_000), '3 days');
});

test('the first letter of a title is one that a reader sees', () => {
  assert.deepEqual(['Rock', '🎸 Night', 'हामी', ''].map(initial), ['R', '🎸', 'हा', '']);
});
