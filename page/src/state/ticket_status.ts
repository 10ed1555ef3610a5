// Follows a ticket until its status is final: by events while the page is visible, by polling otherwise.

import { signal } from '@preact/signals-core';

import { listen } from '../api/event_stream.ts';
import { delay, ProblemError, request, withRetries } from '../api/request.ts';
import { serverClock } from '../api/server_clock.ts';
import { pause } from '../api/signals.ts';
import type { Problem, TicketStatus } from '../api/types.ts';
import type { Outcome } from './storage.ts';
import { whileVisible } from './visibility.ts';

const FINAL = ['confirmed', 'rejected', 'expired', 'failed']; // An unknown status is not final.
const IDLE_TIMEOUT = 20; // seconds without an event: the queue position has not changed, or the connection is dead
const HIDDEN_POLLING = 5; // seconds

export const isFinal = ({ status }: { status?: string }): boolean => status !== undefined && FINAL.includes(status);

/** The status on this device of a ticket that the API no longer knows. */
export const UNKNOWN = 'unknown';

/** What the device saves of a final status. Seats that the organiser has taken back are no longer the visitor's. */
export function outcome({ status, booking }: TicketStatus): Outcome {
  if (!booking) return { status };
  const released = new Set(booking.releasedSeatIds);
  const seats = booking.seats.filter(({ id }) => !released.has(id));
  return seats.length > 0 ? { status, seats } : { status: 'released', seats: booking.seats };
}

export class TicketFollower {
  /** The last known status. `null` before the first. */
  readonly status = signal<TicketStatus | null>(null);
  /** When the status was received, in milliseconds by this device's clock. */
  readonly updatedAt = signal(0);
  /** The most bookings that were ahead of this one. */
  readonly aheadAtFirst = signal(0);
  /** How long the whole wait should take by the first estimate, in seconds. */
  readonly expectedAtFirst = signal(0);
  /** Why the status is not known at the moment. */
  readonly retryNotice = signal<{ title: string; retryAt: number } | null>(null);
  /** Why the ticket cannot be followed at all. */
  readonly failure = signal<Problem | null>(null);
  private readonly path: string;

  constructor(ticketId: string) {
    this.path = `/ticket-bookings/${encodeURIComponent(ticketId)}`;
  }

  /** Resolves with the final status. `null` if there is none, because of `failure`. */
  async follow(signal: AbortSignal): Promise<TicketStatus | null> {
    try {
      // At first without a stream: most tickets that are looked up are final.
      await this.poll(signal);
      for (let polls = 0; !this.isOver; polls += 1) {
        if (document.hidden) await this.pollHidden(signal);
        else await this.listen(signal, polls);
      }
      return this.status.value;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ProblemError)) throw error;
      this.failure.value = error.problem;
      return null;
    }
  }

  private get isOver(): boolean {
    return this.status.value !== null && isFinal(this.status.value);
  }

  private async listen(signal: AbortSignal, polls: number): Promise<void> {
    const untilHidden = whileVisible(signal);
    try {
      const status = (ticket: TicketStatus) => {
        this.update(ticket);
        return this.isOver;
      };
      await listen(`${this.path}/events`, { status }, IDLE_TIMEOUT, untilHidden.signal);
      if (this.isOver) return;
      const retryAfter = await this.poll(untilHidden.signal);
      if (!this.isOver) await pause(delay(polls, retryAfter, 5), untilHidden.signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!untilHidden.signal.aborted) throw error;
    } finally {
      untilHidden.dispose();
    }
  }

  /** A hidden tab holds no connection: a browser opens only six to a server, for all tabs. */
  private async pollHidden(signal: AbortSignal): Promise<void> {
    const retryAfter = await this.poll(signal);
    if (!this.isOver) await pause(delay(0, Math.max(retryAfter, HIDDEN_POLLING), HIDDEN_POLLING), signal);
  }

  /** Returns in how many seconds to ask again. */
  private async poll(signal: AbortSignal): Promise<number> {
    const attempt = () => request<TicketStatus>(this.path, signal);
    const { body, retryAfter } = await withRetries(attempt, signal, ({ problem }, seconds) => {
      this.retryNotice.value = { title: problem.title, retryAt: Date.now() + seconds * 1000 };
    });
    this.update(body);
    return retryAfter;
  }

  private update(status: TicketStatus): void {
    this.retryNotice.value = null;
    this.updatedAt.value = Date.now();
    const waited = (serverClock.now() - Date.parse(status.submittedAt)) / 1000;
    this.expectedAtFirst.value ||= status.queue?.etaSeconds == null ? 0 : waited + status.queue.etaSeconds;
    this.aheadAtFirst.value = Math.max(this.aheadAtFirst.value, status.queue?.ahead ?? 0);
    this.status.value = status;
  }
}
