// Sends a booking under one idempotency key until it is accepted or refused, so that it is booked once however often it is
// sent. What the visitor did not ask for is never sent: see `resume`.

import { signal } from '@preact/signals-core';

import { ProblemError, request, withRetries } from '../api/request.ts';
import type { Problem, TicketStatus } from '../api/types.ts';
import { type Intent, type SavedTickets, tabStorage } from './storage.ts';

export type BookingPhase =
  | { kind: 'idle' }
  | { kind: 'sending'; intent: Intent; retry: { problem: Problem; retryAt: number } | null }
  /** Sending has stopped, and nobody knows whether the booking was accepted. The visitor decides what follows. */
  | { kind: 'unknown'; intent: Intent; because: 'abandoned' | 'stopped' | 'no-response' }
  /** Nothing was booked. */
  | { kind: 'refused'; intent: Intent; problem: Problem };

export class Booking {
  readonly phase = signal<BookingPhase>({ kind: 'idle' });
  private sending: AbortController | null = null;
  private readonly tickets: SavedTickets;
  private readonly onAccepted: (ticketId: string) => void;

  constructor(tickets: SavedTickets, onAccepted: (ticketId: string) => void) {
    this.tickets = tickets;
    this.onAccepted = onAccepted;
  }

  /** Whether the selection and the form belong to a booking that is being sent. */
  get isLocked(): boolean {
    return this.phase.value.kind === 'sending';
  }

  /** The intent of a booking that is being sent, or of which nobody knows whether it was accepted. */
  get pendingIntent(): Intent | null {
    const phase = this.phase.value;
    return phase.kind === 'idle' || phase.kind === 'refused' ? null : phase.intent;
  }

  /**
   * Goes on with what was begun in this tab. A reload of the same concert sends it again at once, as the visitor has not left.
   * Whoever has stopped it, or left and came back, is asked.
   */
  resume(concert: string, isReload: boolean): void {
    const intent = tabStorage.intent(concert);
    if (intent?.request.concertId !== concert) return;
    if (isReload && !intent.needsConfirmation) void this.send(intent);
    else this.suspend(intent, 'abandoned');
  }

  /** Sends a new request. Does nothing while an earlier one is pending. */
  book(wanted: Omit<Intent, 'key'>): Promise<void> {
    return this.pendingIntent ? Promise.resolve() : this.send({ ...wanted, key: randomKey() });
  }

  /** Sends the request, or sends it again: it is booked once. */
  async send(intent: Intent): Promise<void> {
    if (this.sending) return;
    const sending = new AbortController();
    this.sending = sending;
    tabStorage.setIntent({ ...intent, needsConfirmation: false });
    this.phase.value = { kind: 'sending', intent, retry: null };
    try {
      const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': intent.key };
      const post = { method: 'POST', headers, body: JSON.stringify(intent.request) };
      const attempt = () => request<TicketStatus>('/ticket-bookings', sending.signal, post);
      const { body } = await withRetries(attempt, sending.signal, ({ problem }, seconds) => {
        this.phase.value = { kind: 'sending', intent, retry: { problem, retryAt: Date.now() + seconds * 1000 } };
      });
      if (typeof body.ticketId !== 'string') {
        throw new ProblemError(0, { title: 'Hamro Concert sent an invalid response' });
      }
      this.accept(intent, body.ticketId);
    } catch (error) {
      if (sending.signal.aborted) return;
      if (!(error instanceof ProblemError)) throw error;
      // What the api refuses has a code. Anything else may come from a proxy, after the api has accepted the booking.
      if (error.problem.code === undefined) return this.suspend(intent, 'no-response');
      tabStorage.forgetIntent(intent);
      this.phase.value = { kind: 'refused', intent, problem: error.problem };
    } finally {
      if (this.sending === sending) this.sending = null;
    }
  }

  /** Stops sending. The request may have been accepted, so the intent stays: the same request has the same key. */
  stop(): void {
    const { pendingIntent } = this;
    this.abort();
    if (pendingIntent) this.suspend(pendingIntent, 'stopped');
  }

  /** Forgets the booking, whatever became of it. */
  forget(): void {
    const { pendingIntent } = this;
    this.abort();
    if (pendingIntent) tabStorage.forgetIntent(pendingIntent);
    this.phase.value = { kind: 'idle' };
  }

  /** The visitor leaves: stops sending. The intent stays, and the visitor is asked about it on return. */
  abandon(): void {
    const phase = this.phase.peek();
    this.abort();
    if (phase.kind === 'sending') this.suspend(phase.intent, 'abandoned');
  }

  /** Hides a refusal, once the visitor has corrected what it names. */
  dismissRefusal(): void {
    if (this.phase.value.kind === 'refused') this.phase.value = { kind: 'idle' };
  }

  /** Stops until the visitor decides: what was sent is stored, and not sent again without a press. */
  private suspend(intent: Intent, because: 'abandoned' | 'stopped' | 'no-response'): void {
    tabStorage.setIntent({ ...intent, needsConfirmation: true });
    this.phase.value = { kind: 'unknown', intent, because };
  }

  private accept(intent: Intent, ticketId: string): void {
    const { concertId, userName, expectedTotal } = intent.request;
    const { title, seats } = intent;
    tabStorage.forgetIntent(intent);
    tabStorage.setSelection(concertId, []);
    this.tickets.save({ ticketId, concertId, title, userName, seats, total: expectedTotal, at: Date.now() });
    this.phase.value = { kind: 'idle' };
    this.onAccepted(ticketId);
  }

  private abort(): void {
    this.sending?.abort();
    this.sending = null;
  }
}

/** Not `randomUUID()`, which browsers provide only on HTTPS. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16)).join('-');
}
