// Runs docs/book-seats.ts on a network with this fault: `node run.ts API REQUEST FAULT`. Prints a JSON document with
// the client's requests, the statuses it received, and its result. See typescript_client.rs.
import process from 'node:process';
import { bookSeats, newBookingIntent, ProblemError, type TicketStatus } from '../../../../../docs/book-seats.ts';

/** Handles the `nth` request of its kind, counted from 0. `send` sends it over the network. */
type Fault = (send: () => Promise<Response>, nth: number, signal: AbortSignal) => Response | Promise<Response>;

const cut = () => new TypeError('fetch failed'); // the error that fetch throws
const stream = (body: ReadableStream) => new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });

// `hasFastTimers`: timeouts elapse 20 times as fast, because the client tolerates half a minute of silence.
const FAULTS: Record<string, { book?: Fault; events?: Fault; hasFastTimers?: boolean }> = {
  none: {},
  abort: {}, // the caller aborts, see below
  'lost-response': {
    book: async (send, nth) => {
      const response = await send();
      if (nth === 0) throw cut();
      return response;
    },
  },
  'unknown-outcome': {
    book: async (send, nth) => {
      const response = await send();
      if (nth > 0) return response;
      const { ticketId } = await response.json();
      const problem = { type: 'urn:hamro-concert:problem:broker-unavailable', code: 'broker-unavailable', ticketId };
      return Response.json(problem, { status: 503, headers: { 'Retry-After': '1' } });
    },
  },
  'refused-streams': { events: () => new Response('<h1>Bad Gateway</h1>', { status: 502 }) },
  // Like a proxy that buffers the whole response.
  'silent-streams': {
    hasFastTimers: true,
    events: (_, __, signal) =>
      stream(new ReadableStream({
        start: (body) => signal.addEventListener('abort', () => body.error(signal.reason)),
      })),
  },
  'broken-streams': {
    hasFastTimers: true,
    events: () => stream(new ReadableStream({ start: (body) => body.error(cut()) })),
  },
  // Sends fragments with all features of the format and an unknown status, and then breaks.
  'broken-stream': {
    events: (send, nth) => {
      if (nth > 0) return send();
      const pieces = [': hello\r\n\r\nevent: status\r\nid:sor', 'ted\r\ndata: {"status":"sorted"}\r', '\n\r\n: bye\n'];
      const encoded = pieces.map((piece) => new TextEncoder().encode(piece));
      return stream(new ReadableStream({
        pull: (body) => encoded.length > 0 ? body.enqueue(encoded.shift()) : body.error(cut()),
      }, { highWaterMark: 0 }));
    },
  },
};

const [api, request, faultName] = process.argv.slice(2);
const fault = FAULTS[faultName];
const requests: { kind: string; at: number; key: string | null; lastEventId: string | null }[] = [];
const statuses: TicketStatus[] = [];

const { fetch: send, setTimeout: wait } = globalThis;
globalThis.fetch = async (input, init) => {
  const kind = init?.method === 'POST' ? 'book' : `${input}`.endsWith('/events') ? 'events' : 'poll';
  const nth = requests.filter((earlier) => earlier.kind === kind).length;
  const headers = new Headers(init?.headers);
  const [key, lastEventId] = [headers.get('Idempotency-Key'), headers.get('Last-Event-ID')];
  requests.push({ kind, at: Math.floor(performance.now()), key, lastEventId });
  const inject = kind === 'book' ? fault.book : kind === 'events' ? fault.events : undefined;
  return await (inject ? inject(() => send(input, init), nth, init!.signal!) : send(input, init));
};
if (fault.hasFastTimers) {
  globalThis.setTimeout = ((wake: (...args: unknown[]) => void, ms: number, ...args: unknown[]) =>
    wait(() => wake(...args), ms / 20)) as typeof wait;
}

const stop = new AbortController();
const onStatus = (status: TicketStatus) => {
  statuses.push(status);
  if (faultName === 'abort' && statuses.length === 2) stop.abort(); // in the middle of the stream
};
const end = await bookSeats(api, newBookingIntent(JSON.parse(request)), { onStatus, signal: stop.signal }).then(
  (final) => ({ final }),
  (error) => (error instanceof ProblemError ? { problem: error.problem } : { error: String(error) }),
);
console.log(JSON.stringify({ requests, statuses, ...end }));
