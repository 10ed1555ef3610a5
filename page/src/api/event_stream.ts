// Event streams of the API.

import { urlOf } from './request.ts';

const FIRST_EVENT_TIMEOUT = 5; // seconds: a stream starts with an event at once, unless a proxy buffers it.

export type StreamEnd =
  /** A handler returned true. */
  | 'done'
  /** Nothing was received for `idleTimeout` seconds: there was no event, or the connection is dead. */
  | 'idle'
  /** No stream is available. */
  | 'failed';

/** A handler for each event name. The stream is closed once one returns true. */
export type Handlers = Record<string, (data: never) => boolean | void>;

/** A browser opens only six connections to a server, for all tabs: the other three are for requests. */
const STREAMS_MAX = 3;

/**
 * Listens to a stream. The browser reconnects by itself when the connection breaks. Rejects when the signal aborts.
 * `failed` also if the windows of this browser have enough streams already.
 */
export async function listen(
  path: string,
  on: Handlers,
  idleTimeout: number,
  signal: AbortSignal,
): Promise<StreamEnd> {
  signal.throwIfAborted();
  const { locks } = navigator as { locks?: LockManager };
  if (locks === undefined || !(await areUsable(locks))) return await open(path, on, idleTimeout, signal);
  for (let slot = 0; slot < STREAMS_MAX; slot += 1) {
    const end = await locks.request(`hamro.stream.${slot}`, { ifAvailable: true }, async (lock) => {
      return lock === null ? null : await open(path, on, idleTimeout, signal);
    });
    if (end !== null) return end;
  }
  return 'failed';
}

/** Browsers have locks on HTTPS and on localhost only, and refuse them where the visitor has blocked site data. */
const areUsable = (locks: LockManager): Promise<boolean> => locks.query().then(() => true, () => false);

function open(path: string, on: Handlers, idleTimeout: number, signal: AbortSignal): Promise<StreamEnd> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const source = new EventSource(urlOf(path));
    let hasReceivedEvent = false;
    let isBroken = false;
    let timer: ReturnType<typeof setTimeout> | undefined;

    const close = () => {
      source.close();
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const abort = () => {
      close();
      reject(signal.reason);
    };
    const end = (result: StreamEnd) => {
      close();
      resolve(result);
    };
    const wait = () => {
      clearTimeout(timer);
      const isUp = hasReceivedEvent && !isBroken;
      timer = setTimeout(() => end(isUp ? 'idle' : 'failed'), (isUp ? idleTimeout : FIRST_EVENT_TIMEOUT) * 1000);
    };

    signal.addEventListener('abort', abort);
    wait();
    for (const [name, handle] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        hasReceivedEvent = true;
        if (handle(JSON.parse((event as MessageEvent<string>).data) as never) === true) end('done');
        else wait();
      });
    }
    source.addEventListener('open', () => {
      isBroken = false;
      if (hasReceivedEvent) wait();
    });
    source.addEventListener('error', () => {
      // Closed: the response was not a stream, and the browser does not reconnect.
      if (source.readyState === EventSource.CLOSED) return end('failed');
      if (!isBroken) {
        isBroken = true;
        wait();
      }
    });
  });
}
