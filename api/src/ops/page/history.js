// The last 15 minutes: one point for each second, as the api reports them. Pure functions, tested in history.test.js.
//
// A history is {from, length, series}. `series` maps a name such as "accepted" or "refused queue-full" to an array of
// numbers, with null where the value is unknown.

export const WINDOW = 900; // seconds
/** The latest points are requested again: heartbeats that arrive late change them. */
const REPEATED = 10;

const FAMILIES = ['settled', 'refused'];

/** Flattens the series of a response: `settled: {confirmed: […]}` becomes "settled confirmed". */
export function fromResponse({ from, series }) {
  const flat = {};
  let length = 0;
  for (const [name, values] of Object.entries(series ?? {})) {
    const members = FAMILIES.includes(name)
      ? Object.entries(values ?? {}).map(([code, points]) => [`${name} ${code}`, points])
      : [[name, values]];
    for (const [key, points] of members) {
      if (!Array.isArray(points)) continue;
      flat[key] = points;
      length = Math.max(length, points.length);
    }
  }
  return { from, length, series: flat };
}

/**
 * The last 15 minutes until the end of `update`. Where both know a value, that of `update` is newer. An instance that has
 * just started knows less than others, whose responses are kept.
 */
export function merge(known, update) {
  const end = update.from + update.length;
  const from = Math.max(end - WINDOW, Math.min(update.from, known?.from ?? update.from));
  const merged = { from, length: end - from, series: {} };
  const names = new Set([...Object.keys(known?.series ?? {}), ...Object.keys(update.series)]);
  for (const name of names) {
    merged.series[name] = Array.from({ length: merged.length }, (_, i) => {
      const second = from + i;
      return point(update, name, second) ?? point(known, name, second);
    });
  }
  return merged;
}

function point(history, name, second) {
  const i = second - (history?.from ?? Infinity);
  if (i < 0 || i >= history.length) return null;
  const value = history.series[name]?.[i];
  if (value !== undefined && value !== null) return value;
  // A code that a response does not name has not occurred while its second was recorded.
  const isMissingCode = history.series[name] === undefined && name.includes(' ');
  return isMissingCode && (history.series.accepted?.[i] ?? null) !== null ? 0 : null;
}

/** From which second on to request points. */
export const since = (history) => (history ? history.from + history.length - REPEATED : null);

/** The codes of a family, the most frequent first. */
export function codes(history, family) {
  const totals = Object.entries(history.series)
    .filter(([name]) => name.startsWith(`${family} `))
    .map(([name, points]) => [name.slice(family.length + 1), sum(points)])
    .filter(([, total]) => total > 0);
  return totals.sort((a, b) => b[1] - a[1]).map(([code]) => code);
}

/** The sum of a family in each second: null only where it is unknown. */
export function total(history, family) {
  const members = Object.keys(history.series).filter((name) => name.startsWith(`${family} `));
  return Array.from({ length: history.length }, (_, i) => {
    const known = members.map((name) => history.series[name][i]).filter((value) => value !== null);
    if (known.length > 0) return sum(known);
    return (history.series.accepted?.[i] ?? null) === null ? null : 0;
  });
}

export const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);

/** A moment, in seconds: values are shown over so long, so that they can be read while they change. */
export const MOMENT = 5;

/** At each second, the mean of a moment. It is unknown where the second itself is. */
export const movingMean = (values) => moving(values, (known) => sum(known) / known.length);
/** At each second, the greatest value of a moment. */
export const movingMax = (values) => moving(values, (known) => Math.max(...known));

function moving(values, combine) {
  return (values ?? []).map((value, i) => {
    if (value === null) return null;
    return combine(values.slice(Math.max(0, i + 1 - MOMENT), i + 1).filter((one) => one !== null));
  });
}

/** The mean of the known ones of the last `seconds` values. */
export function recentMean(values, seconds) {
  const known = (values ?? []).slice(-seconds).filter((value) => value !== null);
  return known.length === 0 ? null : sum(known) / known.length;
}

/** The greatest of the last `seconds` values. */
export function recentMax(values, seconds) {
  const known = (values ?? []).slice(-seconds).filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** The last known one of the last `seconds` values. */
export function latest(values, seconds) {
  return (values ?? []).slice(-seconds).findLast((value) => value !== null) ?? null;
}

/** For how many of the last seconds the condition has held. Unknown values neither end nor count. */
export function secondsWhile(values, holds) {
  let seconds = 0;
  for (const value of (values ?? []).toReversed()) {
    if (value === null) continue;
    if (!holds(value)) break;
    seconds += 1;
  }
  return seconds;
}
