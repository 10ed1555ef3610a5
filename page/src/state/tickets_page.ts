// The page of the tickets that the device remembers: those that were waiting may have an outcome by now.

import { ProblemError, request } from '../api/request.ts';
import { pause } from '../api/signals.ts';
import type { TicketStatus } from '../api/types.ts';
import type { SavedTickets } from './storage.ts';
import { isFinal } from './ticket_status.ts';
import { visible } from './visibility.ts';

const PAUSE = 5; // seconds

export class TicketsPage {
  readonly view = 'tickets';
  private readonly tickets: SavedTickets;

  constructor(tickets: SavedTickets) {
    this.tickets = tickets;
  }

  /** Looks up the tickets without an outcome, one after the other. Ends when all have one. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      const waiting = this.tickets.all.value.filter(({ status }) => status === undefined);
      if (waiting.length === 0) return;
      for (const { ticketId } of waiting) {
        await visible(signal);
        await this.refresh(ticketId, signal);
      }
      await pause(PAUSE * (1 + Math.random() / 4), signal);
    }
  }

  private async refresh(ticketId: string, signal: AbortSignal): Promise<void> {
    try {
      const { body } = await request<TicketStatus>(`/ticket-bookings/${encodeURIComponent(ticketId)}`, signal);
      const ticket = this.tickets.find(ticketId);
      if (ticket && isFinal(body)) this.tickets.save({ ...ticket, status: body.status });
    } catch (error) {
      // Looked up again in the next round.
      if (signal.aborted || !(error instanceof ProblemError)) throw error;
    }
  }
}
