// Ticket names and prices. A tier is one kind of ticket at one concert, with its price.

import { load } from './api.js';

/** By id, each with its name and its price in cents. */
export const tiers = new Map();

/** Loads the tiers of all listed concerts, or of one concert, which need not be listed. */
export async function loadTiers(signal, concert) {
  const loading = concert
    ? load(`/ticket-tiers?limit=1000&concertId=${concert}`, signal).then(({ data }) => data)
    : load('/ticket-tiers/all', signal);
  const [all, types] = await Promise.all([loading, load('/ticket-types', signal)]);
  const names = new Map(types.map((type) => [type.id, type.name]));
  tiers.clear();
  for (const tier of all) {
    tiers.set(tier.id, { ...tier, name: names.get(tier.ticketTypeId) ?? 'Ticket', cents: cents(tier.price) });
  }
}

/** For a seat, or anything else with a `ticketTierId`. */
export const tierName = ({ ticketTierId }) => tiers.get(ticketTierId)?.name ?? 'Ticket';
export const priceOf = ({ ticketTierId }) => tiers.get(ticketTierId)?.cents ?? NaN;

/** Prices are decimal strings and are added up in whole cents, because floats would lose cents. */
export function cents(decimal) {
  const [, whole, fraction = ''] = /^(\d+)(?:\.(\d\d?)0*)?$/.exec(decimal) ?? [];
  return whole ? Number(whole + fraction.padEnd(2, '0')) : NaN;
}

export function money(cents) {
  return Number.isNaN(cents) ? 'price unknown' : `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}

export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
