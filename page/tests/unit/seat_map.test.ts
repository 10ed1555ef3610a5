import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';

import { setBase } from '../../src/api/request.ts';
import { SeatMap } from '../../src/state/seat_map.ts';

const LAYOUT = {
  totalSeats: 1,
  tiers: [7],
  sections: ['Hall'],
  runs: [{ firstId: 11, count: 1, tier: 0, section: 0, row: 1, prefix: 'H-', firstNumber: 1 }],
};

/** Event streams are not available, as behind a proxy that does not allow them. */
class NoEvents extends EventTarget {
  static readonly CLOSED = 2;
  readonly readyState = NoEvents.CLOSED;
  constructor() {
    super();
    queueMicrotask(() => this.dispatchEvent(new Event('error')));
  }
  close(): void {}
}

test('a page that polls follows the sale again soon after an outage, or after a response that took a while', async (t) => {
  setBase('https://example.com/');
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  t.mock.method(performance, 'now', () => Date.now());
  const browser = globalThis as unknown as Record<string, unknown>;
  browser['document'] = Object.assign(new EventTarget(), { hidden: false });
  browser['EventSource'] = NoEvents;
  const api = { isDown: false, isSlow: false, isSold: false };
  t.mock.method(globalThis, 'fetch', async (url: URL) => {
    if (api.isDown) throw new TypeError('no network');
    if (api.isSlow) await new Promise((resolve) => setTimeout(resolve, 15_000));
    const body = url.pathname.includes('/layouts/') ? LAYOUT : { booked: btoa(api.isSold ? '\x01' : '\0') };
    return Response.json({ layoutVersion: 'one', totalSeats: 1, ...body });
  });
  const advance = async (seconds: number) => {
    for (let step = 0; step < seconds * 2; step += 1) {
      t.mock.timers.tick(500);
      for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    }
  };

  const map = new SeatMap('755cb316', () => {});
  const ended = new AbortController();
  const watching = map.watch(ended.signal);
  await advance(10);
  assert.deepEqual([...map.booked.value], []);
  api.isDown = true;
  await advance(60);
  assert.notEqual(map.retryNotice.value, null);
  api.isDown = false;
  await advance(40); // The longest pause between two attempts.
  assert.equal(map.retryNotice.value, null);
  api.isSold = true;
  await advance(16);
  assert.deepEqual([...map.booked.value], [11]);

  api.isSlow = true;
  await advance(30);
  [api.isSlow, api.isSold] = [false, false];
  await advance(31); // A slow response, and the longest pause after it.
  assert.deepEqual([...map.booked.value], []);
  ended.abort();
  await assert.rejects(watching);
});
