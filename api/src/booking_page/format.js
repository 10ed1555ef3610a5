// Formats numbers and times.

export const count = (n, thing) => `${n} ${thing}${n === 1 ? '' : 's'}`;
export const about = (seconds) => `about ${count(Math.ceil(seconds), 'second')}`;
const date = (moment, dateStyle) => new Date(moment).toLocaleString('en-GB', { dateStyle, timeStyle: 'short' });

/** Date and time of a concert are local to the venue and shown without conversion. */
export const when = (concert) => date(`${concert.date}T${concert.time}`, 'full');

export function saleWindow(opens, closes) {
  if (Date.parse(opens) > Date.now()) return `The sale opens on ${date(opens, 'long')} (your time).`;
  const verb = Date.parse(closes) < Date.now() ? 'closed' : 'closes';
  return closes ? `The sale ${verb} on ${date(closes, 'long')} (your time).` : '';
}
