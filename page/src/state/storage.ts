// What the device remembers. Storage may be disabled, full, or hold what another version has written.

import { signal } from '@preact/signals-core';

import type { BookingBody, SeatLabel } from '../api/types.ts';

/** A booking that was sent, or is about to be, and whose ticket is not known. */
export interface Intent {
  /** The idempotency key: however often the request is sent, it is booked once. */
  key: string;
  request: BookingBody & { concertId: string; expectedTotal?: string };
  /** The visitor has stopped it or left: it is not sent again without a press. */
  needsConfirmation?: boolean;
  /** For people. */
  title: string;
  seats: SeatLabel[];
}

/** What the visitor has typed. */
export interface ContactDetails {
  userName: string;
  userEmail: string;
}

const isContactDetails = ({ userName, userEmail }: ContactDetails): boolean =>
  typeof userName === 'string' && typeof userEmail === 'string';

/** A ticket that this device has received. */
export interface SavedTicket {
  ticketId: string;
  concertId: string;
  title: string;
  userName: string;
  seats: SeatLabel[];
  /** A decimal. */
  total: string | undefined;
  /** When it was accepted, in milliseconds by this device's clock. */
  at: number;
  /** The final status, once it is known; `released` if all seats were taken back, `unknown` if the API has no such ticket. */
  status?: string | undefined;
}

/** What has become of a ticket. */
export type Outcome = { status: string } & Partial<Pick<SavedTicket, 'seats'>>;

const TICKETS_MAX = 50;

const areLabels = (seats: SeatLabel[]): boolean =>
  Array.isArray(seats) && seats.every((seat) => typeof seat?.id === 'number' && typeof seat.seatNumber === 'string');

function read<T>(storage: () => Storage, key: string, isValid: (value: T) => boolean): T | null {
  try {
    const value = JSON.parse(storage().getItem(key) ?? 'null') as T | null;
    return value !== null && isValid(value) ? value : null;
  } catch {
    return null;
  }
}

/** `null` removes it. */
function write(storage: () => Storage, key: string, value: unknown): void {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, JSON.stringify(value));
  } catch { /* Then it is not remembered. */ }
}

const session = () => sessionStorage;
const local = () => localStorage;

/** Of this tab: survives a reload, and ends with the tab. */
export const tabStorage = {
  intent: (concert: string): Intent | null =>
    read<Intent>(
      session,
      `hamro.intent.${concert}`,
      ({ key, request, seats }) => typeof key === 'string' && Array.isArray(request?.seatIds) && areLabels(seats),
    ),
  setIntent: (intent: Intent): void => write(session, `hamro.intent.${intent.request.concertId}`, intent),
  forgetIntent: ({ request }: Intent): void => write(session, `hamro.intent.${request.concertId}`, null),
  contactDetails: (): ContactDetails =>
    read<ContactDetails>(session, 'hamro.contactDetails', isContactDetails) ?? { userName: '', userEmail: '' },
  setContactDetails: (details: ContactDetails): void => write(session, 'hamro.contactDetails', details),
  selection: (concert: string): number[] => read<number[]>(session, `hamro.selection.${concert}`, Array.isArray) ?? [],
  setSelection: (concert: string, seats: number[]): void =>
    write(session, `hamro.selection.${concert}`, seats.length > 0 ? seats : null),
};

/** The tickets of this device, the newest first. Other tabs add to them, too. */
export class SavedTickets {
  readonly all = signal<readonly SavedTicket[]>([]);

  constructor() {
    this.reload();
    addEventListener('storage', () => this.reload());
  }

  find(ticketId: string): SavedTicket | undefined {
    return this.all.value.find((ticket) => ticket.ticketId === ticketId);
  }

  /** Adds the ticket, or replaces what was known of it. */
  save(ticket: SavedTicket): void {
    this.reload();
    const others = this.all.value.filter(({ ticketId }) => ticketId !== ticket.ticketId);
    this.all.value = [ticket, ...others].sort((a, b) => b.at - a.at).slice(0, TICKETS_MAX);
    write(local, 'hamro.tickets', this.all.value);
  }

  /** Adds what has become of the ticket, if the device still remembers it. */
  saveOutcome(ticketId: string, outcome: Outcome): void {
    const ticket = this.find(ticketId);
    if (ticket) this.save({ ...ticket, ...outcome });
  }

  forget(ticketId: string): void {
    this.reload();
    this.all.value = this.all.value.filter((ticket) => ticket.ticketId !== ticketId);
    write(local, 'hamro.tickets', this.all.value);
  }

  private reload(): void {
    const isTicket = (ticket: SavedTicket) =>
      typeof ticket?.ticketId === 'string' && typeof ticket.title === 'string' && areLabels(ticket.seats);
    this.all.value = (read<SavedTicket[]>(local, 'hamro.tickets', Array.isArray) ?? this.all.value).filter(isTicket);
  }
}
