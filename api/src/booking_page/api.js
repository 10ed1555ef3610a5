// The API as this page uses it: requests, which are tried again while trying may help, and event streams.

import { $ } from './dom.js';
import { about } from './format.js';

/** Rejects when the signal does. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** An answer's problem document (RFC 9457) as an error; status 0 means that no answer came. */
function problemError(status, problem, retryAfter) {
  return Object.assign(new Error(problem.detail), { status, problem, retryAfter });
}

export async function api(path, signal, options = {}) {
  let response, body;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]) });
    body = await response.text();
  } catch {
    signal.throwIfAborted();
    throw problemError(0, { title: 'Hamro Concert cannot be reached' });
  }
  try { body = JSON.parse(body); } catch { body = null; } // A proxy may answer with a page of its own.
  const retryAfter = Number(response.headers.get('Retry-After')) || 1;
  if (response.ok && body) return { body, retryAfter, location: response.headers.get('Location') };
  const problem = body?.title ? body : { title: 'Hamro Concert gave no sensible answer' };
  throw problemError(response.ok ? 0 : response.status, problem, retryAfter);
}

/** Back-off, never shorter than the server asks for. The jitter keeps those turned away from returning all at once. */
export function delay(attempt, { retryAfter = 1 }, atMost) {
  return Math.max(retryAfter, Math.min(1.5 ** attempt, atMost)) * (1 + Math.random() / 4);
}

/** Tries until it succeeds or fails for good, and tells `onWait` before each wait. */
export async function insist(attempt, signal, onWait) {
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

/** What is only shown: while it cannot be had, the page says so and goes on trying. */
export async function load(path, signal) {
  const { body } = await insist(() => api(path, signal), signal, ({ title }, seconds) => {
    $('trouble').textContent = `${title}. What you see may be out of date; next try in ${about(seconds)}.`;
  });
  $('trouble').textContent = '';
  return body;
}

const PROMPT = 5; // seconds: a stream starts with an event at once, unless something in between holds it back.

/**
 * Listens to a stream. `on` has a function for each event's name; one that returns true has heard enough. The browser
 * connects again by itself when the connection breaks. Returns
 *   'done'    when enough was heard,
 *   'silent'  when nothing has come for `silence` seconds: that may be so, or the connection is dead unnoticed,
 *   'failed'  when there is no stream to be had now.
 */
export function listen(path, on, silence, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const source = new EventSource(path);
    let isProven = false; // An event has come.
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
    for (const [name, hear] of Object.entries(on)) {
      source.addEventListener(name, ({ data }) => {
        isProven = true;
        if (hear(JSON.parse(data))) end(resolve, 'done');
        else wait();
      });
    }
    source.addEventListener('open', () => {
      isBroken = false;
      if (isProven) wait();
    });
    source.addEventListener('error', () => {
      // Closed: it was answered, but not with a stream, and the browser does not try again.
      if (source.readyState === EventSource.CLOSED) return end(resolve, 'failed');
      if (!isBroken) {
        isBroken = true;
        wait();
      }
    });
    signal.addEventListener('abort', () => end(reject, signal.reason), { once: true });
  });
}
