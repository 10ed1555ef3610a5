// How to book through this API: retried safely, followed by events, and by polling where events do not pass. It needs
// nothing else, and runs as it is in browsers and in Node 22.18 or later:
//
//   const wish = newWish({ userName: 'Alice', userEmail: 'alice@example.com', seatIds: [21, 22] });
//   const ticket = await bookSeats('http://localhost:3000', wish, { onStatus: show, signal });

/** What somebody wants, and the key that keeps it from being booked twice. Store it where a reload finds it. */
export interface Wish { key: string; request: BookingRequest }
export interface BookingRequest { userName: string; userEmail: string; seatIds: number[]; concertId?: string }

/** Where a ticket stands. */
export interface TicketStatus {
  status: string; // `queued`, or one of `FINAL`, for ever. The set is open: one that you do not know is not final.
  ticketId: string; submittedAt: string; settledAt?: string;
  queue?: { ahead: number | null; etaSeconds: number | null }; // while it is queued; null is what is not known
  booking?: Booking; // when it is confirmed
  problem?: Problem; // when it ended otherwise
}
export interface Booking {
  id: number; userName: string; userEmail: string; seatIds: number[];
  ticketData: { concertId: string; ticketTierId: number; seatNumbers: string[]; quantity: number; status: string;
    createdAt: string; pricePerTicket: string; totalAmount: string }[]; // money is decimal: add it up in cents
}
/** An RFC 9457 document. Tell problems apart by `code`, an open set; one that a proxy makes up has none. */
export interface Problem {
  type: string; title: string; status: number; detail?: string; code?: string; ticketId?: string;
  errors?: { field: string; detail: string }[]; seatIds?: number[]; opensAt?: string; closedAt?: string;
}
export class ProblemError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

const FINAL = ['confirmed', 'rejected', 'expired', 'failed'];
const PASSING = [429, 502, 503, 504]; // Not 500: a fault that the same request would meet again.
const SILENCE = 30_000; // A poll is held for 20 s, and a stream says something every 15 s: after 30 nothing will come.

/** Call it once for each wish, not for each try. Browsers have `randomUUID` on HTTPS and on localhost only. */
export const newWish = (request: BookingRequest): Wish => ({ key: crypto.randomUUID(), request });

/**
 * Books, and returns the ticket once it is final; `onStatus` is told of everything up to then. Goes on until `signal`
 * aborts: the booking may go through all the same, and the same wish, passed in again, finds out. After `expired` and
 * `failed` nothing was booked and the key is free again: the same wish will do for a new try. After `rejected`, make
 * another one.
 */
export async function bookSeats(api: string | URL, { key, request }: Wish, options: {
  onStatus?: (status: TicketStatus) => void; signal?: AbortSignal } = {}): Promise<TicketStatus> {
  const { onStatus = () => {}, signal = new AbortController().signal } = options;
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  // A 503 with a `ticketId` leaves open whether that ticket is in the queue. Trying again is safe all the same: under
  // the same key the next ticket shares its outcome.
  const post = { method: 'POST', headers, body: JSON.stringify(request) };
  let { status, location } = await insist(new URL('/ticket-bookings', api), post, signal);
  onStatus(status);
  const ticket = new URL(location ?? `/ticket-bookings/${status.ticketId}`, api);
  for await (status of follow(ticket, signal)) onStatus(status);
  return status;
}

/** What is told of a ticket, up to its final status. */
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
      if (!(error instanceof TypeError)) break; // What fetch throws when a connection fails is one: then connect again.
    }
    await pause(breaks, 2, signal);
  }
  for (;;) {
    const { status, retryAfter } = await insist(`${ticket}?wait=20`, {}, signal);
    yield status;
    if (FINAL.includes(status.status)) return;
    await pause(0, retryAfter, signal);
  }
}

/** The `status` events of a stream. Not by EventSource: Node has none, and it does not tell why a stream has failed. */
async function* events(ticket: URL, lastId: string, signal: AbortSignal) {
  const closing = new AbortController();
  const listen = () => setTimeout(() => closing.abort(new Error('The stream is silent')), SILENCE);
  let timer = listen();
  try {
    const headers = { Accept: 'text/event-stream', ...(lastId && { 'Last-Event-ID': lastId }) };
    const response = await fetch(`${ticket}/events`, { headers, signal: AbortSignal.any([signal, closing.signal]) });
    if (response.status !== 200 || !response.body) throw new Error(`No stream, but ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = listen();
      const blocks = (text + value).split(/\r?\n\r?\n/);
      text = blocks.pop()!; // Its rest has not come yet.
      for (const block of blocks) {
        // A field has one line here. A comment, which starts with a colon, becomes a field without a name.
        const { event, id, data } = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s)));
        if (event === 'status') yield { id, data };
      }
    }
  } finally {
    clearTimeout(timer);
    closing.abort();
  }
}

/** Sends a request until it is answered. Only what passes is tried again: no answer, or one of `PASSING`. */
async function insist(url: string | URL, request: RequestInit, signal: AbortSignal) {
  for (let tries = 0; ; tries += 1) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(SILENCE)]);
    const response = await fetch(url, { ...request, signal: limit }).catch(() => null);
    const body = await response?.json().catch(() => null); // null: cut short, or some proxy's own page
    signal.throwIfAborted();
    const [location, seconds] = ['Location', 'Retry-After'].map((name) => response?.headers.get(name));
    const retryAfter = Number(seconds) || 0;
    if (response?.ok && body) return { status: body as TicketStatus, location, retryAfter };
    if (response && !response.ok && !PASSING.includes(response.status)) {
      throw new ProblemError({ type: 'about:blank', title: response.statusText, status: response.status, ...body });
    }
    await pause(tries, retryAfter, signal);
  }
}

/** As long as the server asks for, and up to 1, 2, 4, … 30 s more: who failed together must not return together. */
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
