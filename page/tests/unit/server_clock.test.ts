import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ServerClock } from '../../src/api/server_clock.ts';

const second = (millis: number) => new Date(Math.floor(millis / 1000) * 1000).toUTCString();

test('the time of the server is known although the clock of the device is an hour slow', () => {
  const clock = new ServerClock();
  const ahead = 3_600_000;
  const began = Date.now();
  // Responses at different moments within a second narrow it down.
  for (const after of [0, 333, 666, 999]) {
    const now = began + after;
    clock.observe(second(now + ahead), now - 5, now + 5);
  }
  const error = clock.now() - Date.now() - ahead;
  assert.ok(error <= 0 && error > -400, `${error}`);
});

test('the time is never ahead of the clock of the server', () => {
  const [began, ahead] = [Date.now(), 5_000];
  for (let after = 0; after < 1000; after += 50) {
    const clock = new ServerClock();
    clock.observe(second(began + after + ahead), began + after - 20, began + after + 20);
    assert.ok(clock.now() <= Date.now() + ahead, `${after}`);
  }
});

test('a clock that was set since replaces what was known', () => {
  const clock = new ServerClock();
  const now = Date.now();
  clock.observe(second(now), now, now);
  clock.observe(second(now + 60_000), now, now);
  assert.ok(Math.abs(clock.now() - Date.now() - 60_000) <= 1000);
});

test('several responses in a row that are earlier replace what was known, and a single one does not', () => {
  const clock = new ServerClock();
  const now = Date.now();
  clock.observe(second(now), now, now);
  clock.observe(second(now - 60_000), now, now);
  assert.ok(Math.abs(clock.now() - Date.now()) <= 1000);
  clock.observe(second(now), now, now);
  for (let response = 0; response < 3; response += 1) clock.observe(second(now - 60_000), now, now);
  assert.ok(Math.abs(clock.now() - Date.now() + 60_000) <= 1000);
});

test('without a usable header the clock of the device counts', () => {
  const clock = new ServerClock();
  clock.observe(null, 0, 0);
  clock.observe('tomorrow', 0, 0);
  assert.ok(Math.abs(clock.now() - Date.now()) < 1000);
});
