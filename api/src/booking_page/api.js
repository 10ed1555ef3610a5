// Requests to the API, with retries where a retry may help, and event streams.

import { $ } from './dom.js';
import { about } from './format.js';

/** Where the API is: a proxy may serve it below a path, such as /tickets/. */
const BASE = new URL('..', import.meta.url);

/** The URL of a path of the API. A `Location` is complete already. */
const urlOf = (path) => new URL(path.replace(/^\//, ''), BASE);

/** Rejects when the signal aborts. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** A response's problem document (RFC 9457) as an error. Status 0 means that there was no response. */
function problemError(status, problem, retryAfter) {
  return Object.assign(new Error(problem.detail), { status, problem, retryAfter });
}

export async function api(path, signal, options = {}) {
  let response, body;
  try {
    response = await fetch(urlOf(path), { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]) });
    body = await response.text();
  } catch {
    signal.throwIfAborted();
    throw problemError(0, { title: 'Hamro Concert cannot be reached' });
  }
  try { body = JSON.parse(body); } catch { body = null; } // A proxy may respond with its own error page.
  const retryAfter = Number(response.headers.get('Retry-After')) || 1;
  const location = response.headers.get('Location');
  if (response.ok && body) return { body, retryAfter, location: location && new URL(location, response.url).href };
  const problem = body?.title ? body : { title: 'Hamro Concert sent an invalid response' };
  throw problemError(response.ok ? 0 : response.status, problem, retryAfter);
}

/** Back-off in seconds, at least `Retry-After`. The jitter spreads the retries of clients that failed together. */
export function delay(attempt, { retryAfter = 1 }, atMost) {
  return Math.max(retryAfter, Math.min(1.5 ** attempt, atMost)) * (1 + Math.random() / 4);
}

/** Retries until the attempt succeeds or fails permanently. Calls `onWait` before each pause. */
export async function withRetries(attempt, signal, onWait) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || ![0, 429, 502, 503, 504].includes(error.status)) throw error;
      const seconds = delay(failures, error, 30);
      onWait(error.problem, seconds);
      await pause(seconds, signal);
    }
  }
}

/** Loads data that is only displayed. While it is unavailable, the page says so and retries. */
export async function load(path, signal) {
  const { body } = await withRetries(() => api(path, signal), signal, ({ title }, seconds) => {
    $('trouble').textContent = `${title}. What you see may be out of date. Retrying in ${about(seconds)}.`;
  });
  $('trouble').textContent = '';
  return body;
}

const PROMPT = 5; // seconds: a stream starts with an event at once, unless a proxy buffers it.

/**
 * Listens to a stream. `on` has a handler for each event name; the stream is closed once a handler returns true. The
 * browser reconnects automatically when the connection breaks. Returns
 *   'done'    when a handler returned true,
 *   'silent'  when nothing was received for `silence` seconds: there was no event, or the connection is dead,
 *   'failed'  when no stream is available.
 */
export function listen(path, on, silence, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const source = new EventSource(urlOf(path));
    let isProven = false; // An event was received.
    let isBroken = false;
    let timer;
    const end = (settle, value) => {
      source.close();
      clearTimeout(timer);
      settle(value);
    };
    const wait = () => {
      clearTimeout(timer);
      const isUp = isProven && !isBroken;
      timer = setTimeout(() => end(resolve, isUp ? 'silent' : 'failed'), (isUp ? silence : PROMPT) * 1000);
    };
    wait();
    for (const [name, handle] of Object.entries(on)) {
      source.addEventListener(name, ({ data }) => {
        isProven = true;
        if (handle(JSON.parse(data))) end(resolve, 'done');
        else wait();
      });
    }
    source.addEventListener('open', () => {
      isBroken = false;
      if (isProven) wait();
    });
    source.addEventListener('error', () => {
      // Closed: the response was not a stream, and the browser does not reconnect.
      if (source.readyState === EventSource.CLOSED) return end(resolve, 'failed');
      if (!isBroken) {
        isBroken = true;
        wait();
      }
    });
    signal.addEventListener('abort', () => end(reject, signal.reason), { once: true });
  });
}
