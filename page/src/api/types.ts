// The documents of the API that the page uses, as openapi.json describes them.

import type { components } from './schema.d.ts';

type Schemas = components['schemas'];

export type Concert = Schemas['Concert'];
export type TicketTier = Schemas['TicketTier'];
export type TicketType = Schemas['TicketType'];
export type SeatStatus = Schemas['SeatStatus'];
export type Layout = Schemas['Layout'];
export type SeatLabel = Schemas['SeatLabel'];
export type SeatsSnapshot = Schemas['SeatsSnapshot'];
export type SeatsChange = Schemas['SeatsChange'];
export type BookingBody = Schemas['BookingBody'];
export type Booking = Schemas['Booking'];
export type TicketStatus = Omit<Schemas['TicketStatus'], 'problem'> & { problem?: Problem };
/** An RFC 9457 document, with the members that the page reads. Errors from proxies have only a title. */
export interface Problem {
  title: string;
  detail?: string;
  /** Tells problems apart. New ones may be added. */
  code?: string;
  errors?: { field: string; detail: string }[];
  seatIds?: number[];
  seats?: SeatLabel[];
  opensAt?: string;
  closedAt?: string;
  concertId?: string;
  /** `price-changed`: decimals. */
  expectedTotal?: string;
  total?: string;
}
