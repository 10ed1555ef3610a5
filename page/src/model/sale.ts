// Whether a concert's seats can be bought.

import type { Concert, TicketTier } from '../api/types.ts';

export type SaleState =
  | 'not-open'
  | 'open'
  /** At most a tenth of the seats is left. */
  | 'few-left'
  | 'sold-out'
  | 'closed'
  /** There are no seats yet. */
  | 'no-seats';

const HOUR = 3_600_000;

/** `now` is by the server's clock. */
export function saleState(concert: Concert, seats: { total: number; available: number }, now: number): SaleState {
  if (hasClosed(concert, now)) return 'closed';
  if (opensAt(concert) > now) return 'not-open';
  if (seats.total === 0) return 'no-seats';
  if (seats.available === 0) return 'sold-out';
  return seats.available * 10 <= seats.total ? 'few-left' : 'open';
}

/** When sales open, in milliseconds. -Infinity if they are open from the start. */
export const opensAt = (concert: Concert): number => moment(concert.salesOpenAt, -Infinity);

const hasClosed = (concert: Concert, now: number): boolean =>
  moment(concert.salesCloseAt, Infinity) <= now || hasBegun(concert, now);

/** Whether the concert has begun for certain. */
export const hasBegun = (concert: Concert, now: number): boolean => now >= beginsAt(concert);

const begins = new WeakMap<Concert, number>();

/** Without a known time zone of the venue, the date must be over everywhere: at 12:00 UTC of the next day. */
function beginsAt(concert: Concert): number {
  const known = begins.get(concert);
  if (known !== undefined) return known;
  const { date, time, timeZone } = concert;
  const moment = (timeZone === undefined ? null : venueTime(`${date}T${time}`, timeZone)) ??
    Date.parse(`${date}T00:00:00Z`) + 36 * HOUR;
  begins.set(concert, moment);
  return moment;
}

/** The moment that is this local time in the zone. `null` if the browser does not know the zone. */
function venueTime(local: string, timeZone: string): number | null {
  const asUtc = Date.parse(`${local}Z`);
  // The offset at a moment that is near; once more for one that is nearer, because the offset may change between them.
  let guess = asUtc;
  for (let round = 0; round < 2; round += 1) {
    const offset = offsetAt(guess, timeZone);
    if (offset === null) return null;
    guess = asUtc - offset;
  }
  return guess;
}

const formats = new Map<string, Intl.DateTimeFormat | null>();

/** How far the zone is ahead of UTC, in milliseconds. */
function offsetAt(when: number, timeZone: string): number | null {
  const format = formatOf(timeZone);
  if (format === null) return null;
  const parts = format.formatToParts(when);
  const get = (type: string) => Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(get('year'), get('month') - 1, get('day'), get('hour'), get('minute'), get('second'));
  return local - Math.floor(when / 1000) * 1000;
}

function formatOf(timeZone: string): Intl.DateTimeFormat | null {
  let format = formats.get(timeZone);
  if (format === undefined) {
    try {
      format = new Intl.DateTimeFormat('en-US', {
        timeZone,
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      });
    } catch {
      format = null;
    }
    formats.set(timeZone, format);
  }
  return format;
}

const moment = (timestamp: string | undefined, otherwise: number): number =>
  timestamp === undefined ? otherwise : Date.parse(timestamp);

/** How many seats the tiers have together. */
export function seatsOfTiers(tiers: TicketTier[]): { total: number; available: number } {
  return tiers.reduce((seats, tier) => (
    { total: seats.total + tier.total, available: seats.available + tier.available }
  ), { total: 0, available: 0 });
}
