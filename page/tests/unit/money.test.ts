import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cents, decimal, money, sum } from '../../src/model/money.ts';

test('prices are added up without losing cents', () => {
  assert.equal(decimal(sum(['0.10', '0.10', '0.10'].map(cents))), '0.30');
  assert.equal(decimal(sum(['19.99', '0.01', '1000000'].map(cents))), '1000020.00');
});

test('a decimal is read whatever its number of places', () => {
  assert.deepEqual(['5', '5.5', '5.50', '5.500', '0.05'].map(cents), [500, 550, 550, 550, 5]);
});

test('what is no price is shown as unknown, and never as a number', () => {
  for (const text of [undefined, '', 'NaN', '-1', '1e3', '1.234']) {
    assert.equal(money(cents(text)), 'price unknown', text);
  }
});
