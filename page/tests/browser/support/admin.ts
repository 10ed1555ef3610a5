// Administration through the HTTP api: concerts, tiers, seats, prices, sale windows; and bookings of other buyers.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ADMIN_TOKEN, API_URL } from './environment.ts';
import { eventually } from './eventually.ts';

/** What can be said about a concert. What a test leaves out has a usual value. */
export interface ConcertFields {
  title: string;
  artist: string;
  /** At the venue: `2027-01-15`. */
  date: string;
  /** At the venue: `19:00`. */
  time: string;
  timeZone: string | null;
  venue: string;
  city: string;
  image: string;
  description: string | null;
  salesOpenAt: string | null;
  salesCloseAt: string | null;
  seatsPerCustomer: number | null;
  test: boolean;
  allowPastDate: boolean;
}

export interface SeatBlock {
  section: string;
  rows: number;
  seatsPerRow: number;
  firstRow?: number;
  prefix?: string;
}

export interface TierFields {
  /** The name of the ticket type, which is created if it is new. */
  type: string;
  price: string;
  seats?: SeatBlock[];
}

export interface Tier {
  id: number;
  concertId: string;
  ticketTypeId: number;
  price: string;
  total: number;
  available: number;
}

export interface Seat {
  id: number;
  seatNumber: string;
  row: number;
  section: string;
  ticketTierId: number;
  isBooked: boolean;
}

export interface Concert extends Record<string, unknown> {
  id: string;
  title: string;
}

/** A concert with its tiers and seats, in the order in which they were described. */
export interface FullConcert extends Concert {
  tiers: Tier[];
  seats: Seat[];
}

export interface Ticket {
  status: string;
  ticketId: string;
  [field: string]: unknown;
}

/** `moment(-60)` is a minute ago, as the api writes it. */
export const moment = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

/** Sends a request with the admin token. Fails if the status is not one of 2xx. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Authorization: `Bearer ${ADMIN_TOKEN}` };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method === 'POST') headers['Idempotency-Key'] = randomUUID();
  const response = await fetch(API_URL + path, {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return (text ? JSON.parse(text) : undefined) as T;
}

/** A picture that the api serves. */
export const POSTER_URL = `${API_URL}/docs/favicon-32x32.png`;
/** A browser that loads it logs an error, which the test must expect. */
export const BROKEN_PICTURE_URL = `${API_URL}/missing.jpg`;

let concerts = 0;

/**
 * Creates a concert that is on sale for a year, with these tiers and their seats. Without tiers: two rows of ten seats at
 * 10.00. Its title is unique unless the test names it.
 */
export async function createConcert(
  fields: Partial<ConcertFields> & { tiers?: TierFields[] } = {},
): Promise<FullConcert> {
  const {
    tiers = [{ type: 'Standard', price: '10.00', seats: [{ section: 'hall', rows: 2, seatsPerRow: 10 }] }],
    ...details
  } = fields;
  concerts += 1;
  const concert = await request<Concert>('POST', '/concerts', {
    title: `Concert ${concerts} ${randomUUID().slice(0, 4)}`,
    artist: 'The Testers',
    date: moment(365 * 86_400).slice(0, 10),
    time: '19:00',
    venue: 'Nepal Arena',
    city: 'Kathmandu',
    image: POSTER_URL,
    ...details,
  });
  const created: Tier[] = [];
  for (const tier of tiers) created.push(await createTier(concert.id, tier));
  return { ...concert, tiers: created, seats: await listSeats(concert.id) };
}

/** Adds a tier with its seats to a concert. */
export async function createTier(concertId: string, { type, price, seats = [] }: TierFields): Promise<Tier> {
  const ticketTypeId = await typeNamed(type);
  const tier = await request<Tier>('POST', '/ticket-tiers', { concertId, ticketTypeId, price });
  for (const block of seats) await createSeats(concertId, tier.id, block);
  return await request<Tier>('GET', `/ticket-tiers/${tier.id}`);
}

const types = new Map<string, Promise<number>>();

/** Scenarios may create concerts at the same time. */
function typeNamed(name: string): Promise<number> {
  const type = types.get(name) ?? findOrCreateType(name);
  types.set(name, type);
  return type;
}

async function findOrCreateType(name: string): Promise<number> {
  const find = async () => {
    const types = await request<{ id: number; name: string }[] | { data: { id: number; name: string }[] }>(
      'GET',
      '/ticket-types',
    );
    return (Array.isArray(types) ? types : types.data).find((type) => type.name === name)?.id;
  };
  return await find() ?? (await request<{ id: number }>('POST', '/ticket-types', { name })).id;
}

export async function createSeats(concertId: string, ticketTierId: number, block: SeatBlock): Promise<void> {
  await request('POST', `/concerts/${concertId}/seats`, { ticketTierId, ...block });
}

/** The seats of a concert in the order of their ids, which is that of their creation. */
export async function listSeats(concertId: string): Promise<Seat[]> {
  const { seats } = await request<{ seats: Seat[] }>('GET', `/seats/concert/${concertId}`);
  return seats.sort((a, b) => a.id - b.id);
}

/** Changes these fields of a concert, such as its sale window. */
export async function changeConcert(id: string, changes: Partial<ConcertFields>): Promise<Concert> {
  const concert = await request<Concert>('GET', `/concerts/${id}`);
  return await request<Concert>('PUT', '/concerts', { ...concert, ...changes });
}

/** The sale opened an hour ago, and does not close before the concert begins. */
export async function openSale(id: string): Promise<void> {
  await changeConcert(id, { salesOpenAt: moment(-3600), salesCloseAt: null });
}

/** The sale closed a second ago. */
export async function closeSale(id: string): Promise<void> {
  await changeConcert(id, { salesOpenAt: null, salesCloseAt: moment(-1) });
}

export async function changePrice(tier: Tier, price: string): Promise<Tier> {
  const { id, concertId, ticketTypeId } = tier;
  return await request<Tier>('PUT', '/ticket-tiers', { id, concertId, ticketTypeId, price });
}

export async function deleteConcert(id: string): Promise<void> {
  await request('DELETE', `/concerts/${id}`);
}

export async function deleteTier(id: number): Promise<void> {
  await request('DELETE', `/ticket-tiers/${id}`);
}

/** Books as another buyer, and returns the ticket, which may still be queued. */
export async function bookAsAnother(seatIds: number[], name = 'Another Buyer'): Promise<Ticket> {
  const body = { userName: name, userEmail: `${randomUUID().slice(0, 8)}@example.com`, seatIds };
  return await request<Ticket>('POST', '/ticket-bookings', body);
}

/** Waits until the ticket is no longer queued. */
export async function settled({ ticketId }: { ticketId: string }): Promise<Ticket> {
  return await eventually(async () => {
    const ticket = await request<Ticket>('GET', `/ticket-bookings/${ticketId}`);
    assert.notEqual(ticket.status, 'queued');
    return ticket;
  }, 30);
}

/** Books as another buyer, and waits until the seats are sold. */
export async function sellToAnother(seatIds: number[]): Promise<Ticket> {
  const ticket = await settled(await bookAsAnother(seatIds));
  assert.equal(ticket.status, 'confirmed', JSON.stringify(ticket));
  return ticket;
}

/** Takes seats of a confirmed booking back; without `seatIds`, all of them. */
export async function releaseSeats({ ticketId }: { ticketId: string }, seatIds?: number[]): Promise<void> {
  const body = { reason: 'A test', ...(seatIds && { seatIds }) };
  await request('POST', `/ticket-bookings/${ticketId}/release`, body);
}
