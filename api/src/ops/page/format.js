// Formats numbers, durations and times. An unknown value is a dash.

export const UNKNOWN = '–';

const isKnown = (n) => typeof n === 'number' && Number.isFinite(n);

/** 3200 → "3 200", with a narrow space that does not break. Small numbers keep one decimal. */
export function number(n) {
  if (!isKnown(n)) return UNKNOWN;
  const digits = Math.abs(n) < 10 && !Number.isInteger(n) ? 1 : 0;
  return n.toLocaleString('en-GB', { maximumFractionDigits: digits }).replaceAll(',', '\u202f');
}

export const perSecond = (n) => (isKnown(n) ? `${number(n)}/s` : UNKNOWN);

/** For axes, where space is short: 12 000 → "12k". */
export function compact(n) {
  if (!isKnown(n)) return UNKNOWN;
  if (Math.abs(n) < 1000) return number(n);
  const [divisor, unit] = Math.abs(n) < 1e6 ? [1e3, 'k'] : [1e6, 'M'];
  return `${Number((n / divisor).toPrecision(3))}${unit}`;
}

/** 0.0042 → "4.2 ms", 0.4 → "0.40 s", 200 → "3 min 20 s". */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds === 0) return '0 s';
  if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  return age(seconds);
}

/** A duration in whole units: "12 s", "3 min 20 s", "2 h 5 min", "4 days". */
export function age(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  if (minutes < 1) return `${whole} s`;
  if (minutes < 60) return `${minutes} min${whole % 60 > 0 ? ` ${whole % 60} s` : ''}`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h${minutes % 60 > 0 ? ` ${minutes % 60} min` : ''}`;
  return count(Math.floor(minutes / (24 * 60)), 'day');
}

export const count = (n, thing) => `${number(n)} ${thing}${n === 1 ? '' : 's'}`;

/** The time of day by the clock of the reader, with the date if it is another day. */
export function time(moment, now = Date.now()) {
  const at = new Date(moment);
  if (moment === null || moment === undefined || Number.isNaN(at.getTime())) return UNKNOWN;
  const isToday = at.toDateString() === new Date(now).toDateString();
  return at.toLocaleString('en-GB', isToday ? { timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'medium' });
}

/** Enough of a UUID to tell processes apart. */
export const shortId = (uuid) => String(uuid ?? UNKNOWN).slice(-8);
