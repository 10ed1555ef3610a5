// The page of a concert: its sale, the seats, the selection, and the booking until it is accepted.

import { computed, effect, signal, untracked } from '@preact/signals-core';

import { ProblemError, withRetries } from '../api/request.ts';
import type { Seat } from '../api/seats.ts';
import { pause } from '../api/signals.ts';
import type { Problem } from '../api/types.ts';
import { decimal } from '../model/money.ts';
import { opensAt, type SaleState, saleState, seatsOfTiers } from '../model/sale.ts';
import type { App } from './app.ts';
import { Booking } from './booking.ts';
import { coalesced } from './coalesced.ts';
import { SeatMap } from './seat_map.ts';
import { SeatSelection } from './seat_selection.ts';

/** A price that has changed after the visitor had seen another. In cents. */
export interface PriceChange {
  /** The name of the tier. */
  name: string;
  before: number;
  after: number;
}

export class ConcertPage {
  readonly view = 'concert';
  readonly id: string;
  readonly map: SeatMap;
  readonly selection: SeatSelection;
  readonly booking: Booking;
  readonly retryNotice = signal<{ title: string; retryAt: number } | null>(null);
  /** There is no such concert, or no longer. */
  readonly failure = signal<Problem | null>(null);
  /** Prices of chosen seats that have changed since they were chosen. The visitor must accept them to book. */
  readonly priceChanges = signal<readonly PriceChange[]>([]);
  /** The fields of the form that the api has refused, with the reason. */
  readonly fieldErrors = signal<ReadonlyMap<string, string>>(new Map());
  private readonly app: App;
  private catalogueVersion: string | null = null;
  private signal: AbortSignal = AbortSignal.abort();
  /** The price of each tier as the visitor knows it, in cents. */
  private shownPrices = new Map<number, number>();
  /** Buyers who wait for the sale do not all send in the same moment. In milliseconds. */
  private readonly jitter = Math.random() * 1000;

  readonly concert = computed(() => this.app.catalogue.concerts.value.get(this.id));

  /** How many seats there are, and how many are free: by the map once it is loaded, which is current. */
  readonly seats = computed(() => {
    const tiers = seatsOfTiers(this.app.catalogue.tiersOf(this.id));
    return this.map.sections.value === null
      ? tiers
      : { total: this.map.size, available: this.map.size - this.map.booked.value.size };
  });

  readonly sale = computed((): SaleState | null => {
    const concert = this.concert.value;
    return concert ? saleState(concert, this.seats.value, this.app.now.value - this.jitter) : null;
  });

  /** Milliseconds until the sale opens. */
  readonly opensIn = computed(() => {
    const concert = this.concert.value;
    return concert ? Math.max(0, opensAt(concert) + this.jitter - this.app.now.value) : 0;
  });

  constructor(id: string, app: App) {
    this.id = id;
    this.app = app;
    this.map = new SeatMap(id, (version) => this.onCatalogue(version));
    this.selection = new SeatSelection(id, this.map, app.catalogue, app.tickets, app.settings.maxSeats);
    this.booking = new Booking(app.tickets, (ticket) => app.showTicket(ticket));
  }

  /** `isReload`: the visitor has reloaded the page, and so has not left the concert. Ends by the signal only. */
  async run(signal: AbortSignal, isReload: boolean): Promise<void> {
    this.signal = signal;
    const disposers = [
      effect(() => {
        this.map.booked.value;
        this.map.sections.value;
        this.selection.requested = this.booking.pendingIntent?.request.seatIds ?? [];
        this.selection.check();
      }),
      effect(() => this.comparePrices()),
      effect(() => this.onPhase()),
    ];
    signal.addEventListener('abort', () => {
      disposers.forEach((dispose) => dispose());
      this.booking.abandon();
    }, { once: true });
    this.booking.resume(this.id, isReload);
    if (this.concert.value === undefined) await this.reload();
    else if (!this.app.isFirstPage) void this.reload();
    if (this.failure.value) return;
    const restore = effect(() => {
      if (this.map.sections.value !== null) {
        queueMicrotask(() => {
          restore();
          this.restoreSelection();
        });
      }
    });
    try {
      await this.map.watch(signal);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.status === 404) this.failure.value = error.problem;
      else this.retryNotice.value = { title: error.problem.title, retryAt: Infinity };
    }
  }

  /** Books the chosen seats at the total that is shown. */
  book(userName: string, userEmail: string): void {
    const seats = this.selection.seats.value;
    if (seats.length === 0) return this.selection.showError('Choose a seat first.');
    if (Number.isNaN(this.selection.total.value) || this.priceChanges.value.length > 0) return;
    this.fieldErrors.value = new Map();
    void this.booking.book({
      title: this.concert.value?.title ?? 'Concert',
      request: {
        userName,
        userEmail,
        concertId: this.id,
        seatIds: seats.map(({ id }) => id),
        expectedTotal: decimal(this.selection.total.value),
      },
      seats: seats.map(({ id, section, row, number }) => ({ id, section, row, seatNumber: number })),
    }).catch((error: unknown) => this.app.fail(error));
  }

  /** The visitor has seen the new prices and agrees. */
  acceptPrices(): void {
    this.shownPrices = this.currentPrices();
    this.priceChanges.value = [];
  }

  /** Clears the error of a field that is being corrected. */
  clearFieldError(field: string): void {
    if (!this.fieldErrors.value.has(field)) return;
    this.fieldErrors.value = new Map([...this.fieldErrors.value].filter(([name]) => name !== field));
    if (this.fieldErrors.value.size === 0) this.booking.dismissRefusal();
  }

  private restoreSelection(): void {
    const { pendingIntent } = this.booking;
    if (pendingIntent && this.booking.isLocked) {
      const seats = pendingIntent.request.seatIds.map((id) => this.map.seat(id)).filter((seat): seat is Seat => !!seat);
      this.selection.seats.value = seats;
    } else if (this.selection.seats.value.length === 0) {
      this.selection.restore();
    }
  }

  /** The stream says which version of the catalogue is current. */
  private onCatalogue(version: string): void {
    const known = this.catalogueVersion ?? this.app.takeDocumentVersion();
    this.catalogueVersion = version;
    if (version !== known) void this.reloadSoon();
  }

  private async reloadSoon(): Promise<void> {
    try {
      // The random pause keeps the clients of a busy sale from reloading all at once.
      await pause(Math.random(), this.signal);
      await this.reload();
    } catch (error) {
      if (!this.signal.aborted) this.app.fail(error);
    }
  }

  /** Loads the concert and its tiers again. While that fails, changes are not queued: one more run loads them all. */
  private readonly reload = coalesced(async () => {
    try {
      const attempt = () => this.app.catalogue.loadConcert(this.id, this.signal);
      await withRetries(attempt, this.signal, ({ problem }, seconds) => {
        this.retryNotice.value = { title: problem.title, retryAt: Date.now() + seconds * 1000 };
      });
      this.retryNotice.value = null;
    } catch (error) {
      if (this.signal.aborted) return;
      if (!(error instanceof ProblemError)) throw error;
      // Nothing can be shown of an id that the api does not accept.
      if (error.status === 404 || this.concert.value === undefined) {
        this.failure.value = error.problem;
        this.booking.abandon();
      } else {
        this.retryNotice.value = { title: error.problem.title, retryAt: Infinity };
      }
    }
  });

  private currentPrices(): Map<number, number> {
    const tiers = this.app.catalogue.tiersOf(this.id);
    return new Map(tiers.map(({ id }) => [id, this.app.catalogue.priceOf(id)]));
  }

  /** Notes which prices of chosen seats differ from what the visitor has seen. */
  private comparePrices(): void {
    const current = this.currentPrices();
    const chosen = new Set(this.selection.seats.value.map(({ tierId }) => tierId));
    const changes: PriceChange[] = [];
    for (const [tier, after] of current) {
      const before = this.shownPrices.get(tier);
      if (before !== undefined && before !== after && chosen.has(tier)) {
        // What is being sent has its price already. If it comes back, the visitor is asked.
        if (!this.booking.isLocked) changes.push({ name: this.app.catalogue.tierName(tier), before, after });
      } else {
        this.shownPrices.set(tier, after);
      }
    }
    const isSame = JSON.stringify(changes) === JSON.stringify(this.priceChanges.peek());
    if (!isSame) this.priceChanges.value = changes;
  }

  /** A refusal says which fields to correct, or which seats are gone. */
  private onPhase(): void {
    const phase = this.booking.phase.value;
    if (phase.kind !== 'refused') return;
    const { problem } = phase;
    if (problem.code === 'seats-taken' || problem.code === 'sold-out') {
      // What an effect writes, it must not read.
      untracked(() => this.map.mark(problem.seatIds ?? [], []));
    }
    const fields = new Map((problem.errors ?? []).map(({ field, detail }) => [field.replace(/\[.*/, ''), detail]));
    if (fields.has('seatIds')) this.selection.showError(`Your choice ${fields.get('seatIds')}.`);
    this.fieldErrors.value = fields;
  }
}
