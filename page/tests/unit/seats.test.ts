import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bookedIds, seatsOf } from '../../src/api/seats.ts';

const layout = {
  layoutVersion: '9b1c5e0d2f7a4c360f8fad5bd9cb469f',
  totalSeats: 4,
  tiers: [7, 8],
  sections: ['Balcony'],
  runs: [
    { firstId: 11, count: 3, tier: 0, section: 0, row: 1, prefix: 'A-', firstNumber: 9 },
    { firstId: 40, count: 1, tier: 1, section: 0, row: 2, prefix: 'Box' },
  ],
};

test('the seats of a layout are those of its runs', () => {
  assert.deepEqual(seatsOf(layout).map(({ id, tierId, section, row, number }) => [id, tierId, section, row, number]), [
    [11, 7, 'Balcony', 1, 'A-9'],
    [12, 7, 'Balcony', 1, 'A-10'],
    [13, 7, 'Balcony', 1, 'A-11'],
    [40, 8, 'Balcony', 2, 'Box'],
  ]);
});

test('each bit of a status says whether its seat is booked, the least significant first', () => {
  const status = {
    layoutVersion: layout.layoutVersion,
    totalSeats: 4,
    availableSeats: 2,
    booked: btoa(String.fromCharCode(0b1010)),
  };
  assert.deepEqual(bookedIds(seatsOf(layout), status), [12, 40]);
});

test('a layout that contradicts itself is refused', () => {
  assert.throws(() => seatsOf({ ...layout, tiers: [] }), /invalid seat layout/);
});
