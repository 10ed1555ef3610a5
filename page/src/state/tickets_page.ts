// The page of the tickets that the device remembers: those that were waiting may have an outcome by now.

import { delay, ProblemError, request } from '../api/request.ts';
import { pause } from '../api/signals.ts';
import type { TicketStatus } from '../api/types.ts';
import type { SavedTickets } from './storage.ts';
import { isFinal, outcome, UNKNOWN } from './ticket_status.ts';
import { visible } from './visibility.ts';

const PAUSE = 5; // seconds, at least

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
      let retryAfter = PAUSE;
      for (const { ticketId } of waiting) {
        await visible(signal);
        retryAfter = Math.max(retryAfter, await this.refresh(ticketId, signal));
      }
      await pause(delay(0, retryAfter, PAUSE), signal);
    }
  }

  /** Returns in how many seconds to ask again. */
  private async refresh(ticketId: string, signal: AbortSignal): Promise<number> {
    try {
      const { body, retryAfter } = await request<TicketStatus>(
        `/ticket-bookings/${encodeURIComponent(ticketId)}`,
        signal,
      );
      if (isFinal(body)) this.tickets.saveOutcome(ticketId, outcome(body));
      return retryAfter;
    } catch (error) {
      if (signal.aborted || !(error instanceof ProblemError)) throw error;
      // What the api says has a code. Anything else may come from a proxy, and it is looked up again in the next round.
      const mayExist = error.isTemporary || error.problem.code === undefined;
      if (!mayExist) this.tickets.saveOutcome(ticketId, { status: UNKNOWN });
      return error.retryAfter;
    }
  }
}
