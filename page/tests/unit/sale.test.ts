import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Concert } from '../../src/api/types.ts';
import { hasBegun, saleState } from '../../src/model/sale.ts';

const concert = (more: Partial<Concert> = {}): Concert => ({
  id: '755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11',
  title: 'Night',
  artist: 'Band',
  date: '2026-12-22',
  time: '19:00:00',
  venue: 'Arena',
  city: 'Kathmandu',
  image: '',
  description: null,
  ...more,
});
const at = (text: string) => Date.parse(text);
const some = { total: 100, available: 50 };

test('a sale is open between its opening and its end, to the millisecond', () => {
  const sale = concert({ salesOpenAt: '2026-12-01T04:15:00Z', salesCloseAt: '2026-12-02T04:15:00Z' });
  const states = [-1, 0, 86_399_999, 86_400_000].map((after) =>
    saleState(sale, some, at('2026-12-01T04:15:00Z') + after)
  );
  assert.deepEqual(states, ['not-open', 'open', 'open', 'closed']);
});

test('the number of seats decides what an open sale is called', () => {
  const now = at('2026-12-01T00:00:00Z');
  const state = (total: number, available: number) => saleState(concert(), { total, available }, now);
  assert.deepEqual([state(0, 0), state(100, 0), state(100, 10), state(100, 11)], [
    'no-seats',
    'sold-out',
    'few-left',
    'open',
  ]);
});

test('a concert begins by the clock of its venue', () => {
  const kathmandu = concert({ timeZone: 'Asia/Kathmandu' }); // UTC+5:45
  assert.equal(hasBegun(kathmandu, at('2026-12-22T13:14:59Z')), false);
  assert.equal(hasBegun(kathmandu, at('2026-12-22T13:15:00Z')), true);
});

test('daylight saving time of the venue counts', () => {
  const berlin = concert({ timeZone: 'Europe/Berlin', date: '2026-07-01' }); // UTC+2
  assert.equal(hasBegun(berlin, at('2026-07-01T16:59:59Z')), false);
  assert.equal(hasBegun(berlin, at('2026-07-01T17:00:00Z')), true);
});

test('without a time zone, a concert of tonight is to come until its date is over everywhere', () => {
  for (const unknown of [concert(), concert({ timeZone: 'Mars/Olympus' })]) {
    assert.equal(hasBegun(unknown, at('2026-12-23T11:59:59Z')), false);
    assert.equal(hasBegun(unknown, at('2026-12-23T12:00:00Z')), true);
  }
});
