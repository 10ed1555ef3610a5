// The seats that the visitor has chosen, until they are booked.

import { computed, signal } from '@preact/signals-core';

import type { Seat } from '../api/seats.ts';
import { list, lowerFirst } from '../model/format.ts';
import { sum } from '../model/money.ts';
import type { Catalogue } from './catalogue.ts';
import type { SeatMap } from './seat_map.ts';
import { type SavedTickets, tabStorage } from './storage.ts';

export const seatsNamed = (seats: readonly { number: string }[]): string =>
  `${seats.length === 1 ? 'Seat' : 'Seats'} ${list(seats.map(({ number }) => number))}`;

export class SeatSelection {
  readonly seats = signal<readonly Seat[]>([]);
  /** What is wrong with the selection, or what has happened to it. */
  readonly errorMessage = signal('');
  /** In cents. NaN if a price is not known. */
  readonly total = computed((): number => sum(this.seats.value.map((seat) => this.catalogue.priceOf(seat.tierId))));
  /** Seats of a booking whose outcome is unknown: if they are taken, it may be by this booking. */
  requested: readonly number[] = [];
  private readonly concert: string;
  private readonly map: SeatMap;
  private readonly catalogue: Catalogue;
  private readonly tickets: SavedTickets;
  private readonly maxSeats: number;

  constructor(concert: string, map: SeatMap, catalogue: Catalogue, tickets: SavedTickets, maxSeats: number) {
    this.concert = concert;
    this.map = map;
    this.catalogue = catalogue;
    this.tickets = tickets;
    this.maxSeats = maxSeats;
  }

  has(seat: Seat): boolean {
    return this.seats.value.some(({ id }) => id === seat.id);
  }

  /** Chooses the seat, or no longer. */
  toggle(seat: Seat): void {
    if (this.has(seat)) return this.remove(seat);
    if (!this.map.isFree(seat)) return this.showError(`Seat ${seat.number} is taken.`);
    if (Number.isNaN(this.catalogue.priceOf(seat.tierId))) {
      return this.showError(`The price of seat ${seat.number} is still being loaded. Try again in a moment.`);
    }
    if (this.seats.value.length >= this.maxSeats) {
      return this.showError(
        `You can book at most ${this.maxSeats} seats at once. Remove one to choose seat ${seat.number}.`,
      );
    }
    this.set([...this.seats.value, seat]);
  }

  remove(seat: Seat): void {
    this.set(this.seats.value.filter(({ id }) => id !== seat.id));
  }

  clear(): void {
    this.set([]);
  }

  /** Chooses what was chosen in this tab before, as far as it is not lost. Call once the seats are loaded. */
  restore(): void {
    const seats = tabStorage.selection(this.concert).map((id) => this.map.seat(id)).filter((seat) =>
      seat !== undefined
    );
    const lost = seats.filter((seat) => this.isLost(seat));
    this.set(seats.filter((seat) => !this.isLost(seat)));
    if (lost.length > 0) this.showError(this.reasons(lost).join(' '));
  }

  /** Removes seats that no longer exist, or that are booked. Call after each change of the map. */
  check(): void {
    const chosen = this.seats.value;
    const current = chosen.map(({ id }) => this.map.seat(id)).filter((seat) => seat !== undefined);
    const lost = current.filter((seat) => this.isLost(seat));
    if (current.length === chosen.length && lost.length === 0) return;
    const gone = chosen.filter(({ id }) => !this.map.seat(id));
    this.set(current.filter((seat) => !lost.includes(seat)));
    this.showError(
      [...this.reasons(lost), gone.length > 0 && `${seatsNamed(gone)} can no longer be booked.`]
        .filter(Boolean).join(' '),
    );
  }

  showError(text: string): void {
    this.errorMessage.value = text;
  }

  private isLost(seat: Seat): boolean {
    return !this.map.isFree(seat) && !this.requested.includes(seat.id);
  }

  private reasons(lost: readonly Seat[]): string[] {
    const statusOf = ({ id }: Seat) => {
      const mine = this.tickets.all.value.filter((ticket) =>
        ticket.concertId === this.concert && ticket.seats.some((seat) => seat.id === id)
      );
      if (mine.some(({ status }) => status === 'confirmed')) return 'mine';
      return mine.some(({ status }) => status === undefined) ? 'perhaps' : 'others';
    };
    const named = (whose: string) => {
      const seats = lost.filter((seat) => statusOf(seat) === whose);
      return seats.length > 0 ? seatsNamed(seats) : null;
    };
    const [mine, perhaps, others] = ['mine', 'perhaps', 'others'].map(named);
    return [
      mine ? `You have booked ${lowerFirst(mine)} already: see My tickets.` : '',
      perhaps ? `${perhaps} may be yours by now: see My tickets.` : '',
      others ? `${others} went to another buyer in the meantime.` : '',
    ].filter((text) => text !== '');
  }

  private set(seats: Seat[]): void {
    this.seats.value = seats.sort((a, b) => a.id - b.id);
    this.errorMessage.value = '';
    tabStorage.setSelection(this.concert, seats.map(({ id }) => id));
  }
}
