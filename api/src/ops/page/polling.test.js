import assert from 'node:assert/strict';
import test from 'node:test';

import { nextDelay, poll } from './polling.js';

test('the pause grows with each failure, up to ten seconds, and is never shorter than Retry-After', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 50].map((failures) => nextDelay(failures)), [1, 1, 2, 4, 8, 10, 10]);
  assert.equal(nextDelay(1, 60), 60);
});

/** Polls with these results: an error fails, anything else succeeds. Returns the pauses, and the errors that were shown. */
async function run(results, ends = () => false) {
  const controller = new AbortController();
  const pauses = [];
  const shown = [];
  const load = () => {
    const result = results.shift();
    if (results.length === 0) controller.abort();
    if (result instanceof Error) throw result;
  };
  const fail = (error) => {
    shown.push(error.message);
    return ends(error);
  };
  await poll({ load, fail, wait: (seconds) => pauses.push(seconds), visible: () => {} }, controller.signal);
  return { pauses, shown, left: results.length };
}

const error = (message, retryAfter = 0) => Object.assign(new Error(message), { retryAfter });

test('the state is read again a second after a success, and later after each failure', async () => {
  const { pauses, shown } = await run([1, error('a'), error('b'), error('c', 7), 1, error('d'), 1]);
  assert.deepEqual(pauses.slice(0, 6), [1, 1, 2, 7, 1, 1]);
  assert.deepEqual(shown, ['a', 'b', 'c', 'd']);
});

test('polling ends when an error says so', async () => {
  const { shown, left } = await run([error('wrong token'), 1, 1], () => true);
  assert.deepEqual([shown, left], [['wrong token'], 2]);
});

test('nothing is requested while the tab is hidden', async () => {
  const controller = new AbortController();
  let loads = 0;
  let show;
  const visible = () =>
    new Promise((resolve) => {
      show = resolve;
    });
  const load = () => {
    loads += 1;
    controller.abort();
  };
  const polling = poll({ load, fail: () => false, wait: () => {}, visible }, controller.signal);
  assert.equal(loads, 0);
  show();
  await polling;
  assert.equal(loads, 1);
});
