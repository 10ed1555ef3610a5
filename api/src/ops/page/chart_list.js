// The charts, and which lines each has. Pure functions, tested in chart_list.test.js.

import { compact, duration, perSecond } from './format.js';
import { codes, movingMax, movingMean, total } from './history.js';

/** Lines per chart. The codes beyond them are one line, "others". */
const LINES_MAX = 5;

/** Colours and dashes are both different, so that a line can be told by either. */
export const STYLES = [
  { color: '--line-1', dash: [] },
  { color: '--line-2', dash: [6, 3] },
  { color: '--line-3', dash: [2, 2] },
  { color: '--line-4', dash: [10, 3, 2, 3] },
  { color: '--line-5', dash: [4, 6] },
  { color: '--line-6', dash: [1, 4] },
];

/**
 * Each chart is {id, title, format, empty, of, lines(history)}. A line is {name, values, style}. `empty` is shown if all
 * known values are zero, and if there is none because there was nothing to measure: all values of `of(history)` are zero.
 * Rates and durations change from second to second, so a line shows them over five seconds.
 */
export const CHARTS = [
  {
    id: 'bookings',
    title: 'Bookings',
    format: perSecond,
    empty: 'No bookings',
    lines: (history) => [
      line('accepted', movingMean(history.series.accepted), 0),
      line('settled', movingMean(total(history, 'settled')), 1),
    ],
  },
  {
    id: 'refused',
    title: 'Refused, by code',
    format: perSecond,
    empty: 'None refused',
    of: (history) => total(history, 'refused'),
    lines: (history) => familyLines(history, 'refused'),
  },
  {
    id: 'depth',
    title: 'Bookings waiting',
    format: compact,
    empty: 'None waiting',
    lines: (history) => [line('waiting', history.series.depth, 0)],
  },
  {
    id: 'age',
    title: 'Age of the oldest',
    format: duration,
    empty: 'None waiting',
    of: ({ series }) => series.depth ?? [],
    lines: (history) => [line('oldest', history.series.oldestAgeSeconds, 0)],
  },
  {
    id: 'accept',
    title: 'Time to accept',
    format: duration,
    empty: 'No bookings',
    of: ({ series }) => series.accepted ?? [],
    lines: ({ series }) => [line('p50', movingMean(series.acceptP50), 0), line('p99', movingMax(series.acceptP99), 1)],
  },
  {
    id: 'settle',
    title: 'Time until settled',
    format: duration,
    empty: 'None settled',
    of: (history) => total(history, 'settled'),
    lines: ({ series }) => [line('p50', movingMean(series.settleP50), 0), line('p99', movingMax(series.settleP99), 1)],
  },
  {
    id: 'outcomes',
    title: 'Settled, by outcome',
    format: perSecond,
    empty: 'None settled',
    of: (history) => total(history, 'settled'),
    lines: (history) => familyLines(history, 'settled'),
  },
  {
    id: 'workers',
    title: 'Workers alive',
    format: compact,
    empty: 'No worker',
    lines: (history) => [line('workers', history.series.workers, 0)],
  },
];

function line(name, values, i) {
  return { name, values: values ?? [], style: STYLES[i] };
}

/** A line for each of the most frequent codes. The order of their names decides their styles, so that these stay. */
function familyLines(history, family) {
  const all = codes(history, family);
  const shown = all.length > LINES_MAX + 1 ? all.slice(0, LINES_MAX) : all;
  const lines = shown.toSorted().map((code, i) => line(code, movingMean(history.series[`${family} ${code}`]), i));
  if (shown.length === all.length) return lines;
  const others = all.slice(LINES_MAX).map((code) => history.series[`${family} ${code}`]);
  const rest = Array.from({ length: history.length }, (_, i) => {
    const known = others.map((values) => values[i]).filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
  });
  return [...lines, line(`${others.length} others`, movingMean(rest), LINES_MAX)];
}

/** Why a chart shows no line, or '' if it shows one. */
export function emptyText({ empty, of = () => [] }, lines, history) {
  const known = knownValues(lines.flatMap(({ values }) => values));
  if (known.length > 0) return isZero(known) ? empty : '';
  const measured = knownValues(of(history));
  return measured.length > 0 && isZero(measured) ? empty : 'Unknown';
}

const knownValues = (values) => values.filter((value) => value !== null);
const isZero = (values) => values.every((value) => value === 0);
