// The page of a ticket: its place in the queue, and then its outcome.

import { computed } from '@preact/signals-core';

import { ProblemError } from '../api/request.ts';
import type { App } from './app.ts';
import { type SavedTicket, tabStorage } from './storage.ts';
import { isFinal, outcome, TicketFollower, UNKNOWN } from './ticket_status.ts';

export class TicketPage {
  readonly view = 'ticket';
  readonly id: string;
  readonly follower: TicketFollower;
  private readonly app: App;

  /** What this device knows of the ticket. Another device sees only its place and its status until it is settled. */
  readonly saved = computed((): SavedTicket | undefined => {
    return this.app.tickets.all.value.find(({ ticketId }) => ticketId === this.id);
  });

  readonly concertId = computed((): string | undefined => {
    return this.follower.status.value?.booking?.ticketData[0]?.concertId ?? this.saved.value?.concertId;
  });

  readonly concert = computed(() => this.app.catalogue.concerts.value.get(this.concertId.value ?? ''));

  constructor(id: string, app: App) {
    this.id = id;
    this.app = app;
    this.follower = new TicketFollower(id);
  }

  async run(signal: AbortSignal): Promise<void> {
    const ticket = await this.follower.follow(signal);
    if (this.follower.failure.value?.code !== undefined && this.saved.value?.status === undefined) {
      this.app.tickets.saveOutcome(this.id, { status: UNKNOWN });
    }
    if (ticket === null || !isFinal(ticket)) return;
    this.saveOutcome();
    const { concertId } = this;
    if (concertId.value === undefined) return;
    try {
      await this.app.catalogue.loadConcert(concertId.value, signal);
    } catch (error) {
      // The receipt is complete without the concert's name.
      if (!signal.aborted && !(error instanceof ProblemError)) throw error;
    }
    this.saveOutcome();
  }

  /** Saves the outcome on the device, and what was asked for if nothing of it was booked, to choose again. */
  private saveOutcome(): void {
    const status = this.follower.status.value;
    const known = this.saved.value;
    const concertId = this.concertId.value;
    if (status === null || concertId === undefined) return;
    const { booking } = status;
    this.app.tickets.save({
      ticketId: this.id,
      concertId,
      title: this.concert.value?.title ?? known?.title ?? 'Concert',
      userName: booking?.userName ?? known?.userName ?? '',
      seats: known?.seats ?? [],
      total: known?.total,
      at: known?.at ?? Date.parse(status.submittedAt),
      ...outcome(status),
    });
    const taken = status.problem?.seatIds ?? [];
    const left = (known?.seats ?? []).map(({ id }) => id).filter((id) => !taken.includes(id));
    if (!booking && known?.status === undefined) tabStorage.setSelection(concertId, left);
  }
}
