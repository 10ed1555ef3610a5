// A client for this API. It retries safely, follows the ticket by events, and polls where event streams are blocked.
// It has no dependencies and runs unchanged in browsers and in Node 22.18 or later:
//
//   const intent = newBookingIntent({ userName: 'Alice', userEmail: 'alice@example.com', seatIds: [21, 22] });
//   const ticket = await bookSeats('http://localhost:3000', intent, { onStatus: show, signal });

/** A booking request with the idempotency key that prevents booking it twice. Store it so that it survives a reload. */
export interface BookingIntent { key: string; request: BookingRequest }
export interface BookingRequest { userName: string; userEmail: string; seatIds: number[]; concertId?: string;
  expectedTotal?: string } // such as '100.00': what the seats cost together; at any other total nothing is booked

/** The status document of a ticket. */
export interface TicketStatus {
  status: string; // `queued`, or one of `FINAL`. New values may be added: treat an unknown one as not final.
  ticketId: string; submittedAt: string; settledAt?: string;
  queue?: { ahead: number | null; etaSeconds: number | null }; // while queued; null if unknown
  booking?: Booking; // if confirmed
  releasedSeatIds?: number[]; // seats that no longer belong to the booking; missing if none
  problem?: Problem; // if rejected, expired or failed
}
export interface Booking {
  id: number; userName: string; userEmail: string; seatIds: number[]; seats: SeatLabel[];
  releasedSeatIds?: number[];
  ticketData: { concertId: string; ticketTierId: number; seatNumbers: string[]; quantity: number; status: string;
    createdAt: string; pricePerTicket: string; totalAmount: string }[]; // money is decimal: add it up in cents
}
export interface SeatLabel { id: number; section: string; row: number; seatNumber: string }
/** An RFC 9457 document. Distinguish problems by `code`; new ones may be added, and errors from proxies have none. */
export interface Problem {
  type: string; title: string; status: number; detail?: string; code?: string; ticketId?: string;
  errors?: { field: string; detail: string }[]; seatIds?: number[]; seats?: SeatLabel[]; opensAt?: string; closedAt?: string;
  total?: string; expectedTotal?: string; // of `price-changed`
}
export class ProblemError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

const FINAL = ['confirmed', 'rejected', 'expired', 'failed'];
const RETRYABLE = [408, 429, 502, 503, 504]; // Not 500: the same request would fail again.
const TIMEOUT_MS = 30_000; // Longer than the server holds a poll (20 s) or leaves a stream without data (15 s).

/** Call it once per booking, not per attempt. Browsers provide `randomUUID` on HTTPS and on localhost only. */
export const newBookingIntent = (request: BookingRequest): BookingIntent => ({ key: crypto.randomUUID(), request });

/**
 * Books, and returns the ticket once it is final. Calls `onStatus` with each status, including the final one. Retries
 * until `signal` aborts. The booking may still go through after an abort: call this again with the same intent to find
 * out. After `expired` or `failed` nothing was booked and the key is free: use the same intent to try again. After
 * `rejected`, create a new one: if the seats were taken, the key is used up; after `price-changed`, ask the customer
 * first. Throws a `ProblemError` if the booking was not queued: seats that are known to be sold (`seats-taken`,
 * `sold-out`) are refused at once, without a ticket.
 */
export async function bookSeats(api: string | URL, { key, request }: BookingIntent, options: {
  onStatus?: (status: TicketStatus) => void; signal?: AbortSignal } = {}): Promise<TicketStatus> {
  const { onStatus = () => {}, signal = new AbortController().signal } = options;
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  // After a 503 with a `ticketId`, that ticket may or may not be in the queue. A retry is still safe: with the same key,
  // the next ticket shares its outcome.
  const post = { method: 'POST', headers, body: JSON.stringify(request) };
  let { status, location } = await requestWithRetries(new URL('/ticket-bookings', api), post, signal);
  onStatus(status);
  const ticket = new URL(location ?? `/ticket-bookings/${status.ticketId}`, api);
  for await (status of follow(ticket, signal)) onStatus(status);
  return status;
}

/** The statuses of a ticket, up to the final one: from event streams first, by polling if they fail. */
async function* follow(ticket: URL, signal: AbortSignal): AsyncGenerator<TicketStatus> {
  for (let breaks = 0, lastId = ''; breaks < 3; breaks += 1) {
    try {
      for await (const { id, data } of events(ticket, lastId, signal)) {
        const status: TicketStatus = JSON.parse(data);
        yield status;
        if (FINAL.includes(status.status)) return;
        lastId = id;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TypeError)) break; // `fetch` throws a TypeError if a connection fails: reconnect.
    }
    await pause(breaks, 2, signal);
  }
  for (;;) {
    const { status, retryAfter } = await requestWithRetries(`${ticket}?wait=20`, {}, signal);
    yield status;
    if (FINAL.includes(status.status)) return;
    await pause(0, retryAfter, signal);
  }
}

/** The `status` events of a stream. Node has no EventSource, and EventSource does not report why a stream failed. */
async function* events(ticket: URL, lastId: string, signal: AbortSignal) {
  const closing = new AbortController();
  const startTimer = () => setTimeout(() => closing.abort(new Error('No data on the event stream')), TIMEOUT_MS);
  let timer = startTimer();
  try {
    const headers = { Accept: 'text/event-stream', ...(lastId && { 'Last-Event-ID': lastId }) };
    const response = await fetch(`${ticket}/events`, { headers, signal: AbortSignal.any([signal, closing.signal]) });
    if (response.status !== 200 || !response.body) throw new Error(`No event stream: status ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = startTimer();
      const blocks = (text + value).split(/\r?\n\r?\n/);
      text = blocks.pop()!; // Incomplete until more data arrives.
      for (const block of blocks) {
        // This server sends one line per field. A comment starts with a colon and becomes a field without a name.
        const { event, id, data } = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s)));
        if (event === 'status') yield { id, data };
      }
    }
  } finally {
    clearTimeout(timer);
    closing.abort();
  }
}

/** Sends a request until it succeeds. Retries only if there is no complete response or its status is in `RETRYABLE`. */
async function requestWithRetries(url: string | URL, request: RequestInit, signal: AbortSignal) {
  for (let tries = 0; ; tries += 1) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await fetch(url, { ...request, signal: limit }).catch(() => null);
    const body = await response?.json().catch(() => null); // null: truncated, or a proxy's error page
    signal.throwIfAborted();
    const [location, seconds] = ['Location', 'Retry-After'].map((name) => response?.headers.get(name));
    const retryAfter = Number(seconds) || 0;
    if (response?.ok && body) return { status: body as TicketStatus, location, retryAfter };
    if (response && !response.ok && !RETRYABLE.includes(response.status)) {
      throw new ProblemError({ type: 'about:blank', title: response.statusText, status: response.status, ...body });
    }
    await pause(tries, retryAfter, signal);
  }
}

/** Waits for `retryAfter` plus a random time of up to 1, 2, 4, … 30 s, so that clients do not retry in step. */
async function pause(tries: number, retryAfter: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const seconds = retryAfter + Math.random() * Math.min(2 ** tries, 30);
  await new Promise<void>((resolve) => {
    const wake = () => { clearTimeout(timer); signal.removeEventListener('abort', wake); resolve(); };
    const timer = setTimeout(wake, seconds * 1000);
    signal.addEventListener('abort', wake);
  });
  signal.throwIfAborted();
}
