import assert from 'node:assert/strict';
import test from 'node:test';

import { CHARTS, emptyText, STYLES } from './chart_list.js';

const chart = (id) => CHARTS.find((one) => one.id === id);

function history(series) {
  return { from: 0, length: 2, series: { accepted: [1, 1], ...series } };
}

test('each code has a line, and its style does not depend on how often it occurs', () => {
  const before = chart('refused').lines(history({ 'refused queue-full': [9, 9], 'refused internal': [1, 0] }));
  const after = chart('refused').lines(history({ 'refused queue-full': [1, 0], 'refused internal': [9, 9] }));
  assert.deepEqual(before.map(({ name }) => name), ['internal', 'queue-full']);
  assert.deepEqual(before.map(({ style }) => style), after.map(({ style }) => style));
});

test('many codes become five lines and the sum of the others', () => {
  const series = {};
  for (let n = 1; n <= 8; n += 1) series[`refused code-${n}`] = [n, n === 1 ? null : 0];
  const lines = chart('refused').lines(history(series));
  assert.deepEqual(lines.map(({ name }) => name), ['code-4', 'code-5', 'code-6', 'code-7', 'code-8', '3 others']);
  assert.deepEqual(lines.at(-1).values, [6, 3]); // Means over the seconds so far.
});

test('the lines of a chart differ in colour and in dashes', () => {
  assert.equal(new Set(STYLES.map(({ color }) => color)).size, STYLES.length);
  assert.equal(new Set(STYLES.map(({ dash }) => dash.join())).size, STYLES.length);
});

test('a chart without a line says why', () => {
  const text = (id, series) => emptyText(chart(id), chart(id).lines(history(series)), history(series));
  assert.equal(text('refused', {}), 'None refused');
  assert.equal(text('refused', { 'refused internal': [0, 0] }), 'None refused');
  assert.equal(text('depth', { depth: [null, null] }), 'Unknown');
  assert.equal(text('depth', {}), 'Unknown');
  assert.equal(text('depth', { depth: [0, null] }), 'None waiting');
  assert.equal(text('depth', { depth: [0, 5] }), '');
  assert.equal(text('age', { depth: [0, 0], oldestAgeSeconds: [null, null] }), 'None waiting');
  assert.equal(text('age', { depth: [5, 5], oldestAgeSeconds: [null, null] }), 'Unknown');
  assert.equal(text('accept', { accepted: [0, 0] }), 'No bookings');
  assert.equal(text('accept', { accepted: [null, null] }), 'Unknown');
  assert.equal(text('settle', {}), 'None settled');
  assert.equal(text('refused', { accepted: [null, null] }), 'Unknown');
});
