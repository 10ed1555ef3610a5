// Keeps the seat map current: by events, or by polling where event streams are blocked.

import { listen, load, pause } from './api.js';
import { $ } from './dom.js';
import { seatCount, showBooked, showChange, showSeats } from './seats.js';

const SILENCE = 120; // seconds until a silent stream, which may be dead, is replaced. A new snapshot may be large.
const POLLING = 30; // seconds, randomly up to twice as long, until the stream is tried again

export async function loadSeats(concert, signal) {
  showSeats((await load(`/seats/concert/${concert}`, signal)).seats);
}

/** Call after the seats are loaded. Runs until the signal aborts. */
export async function watchSeats(concert, signal) {
  try {
    for (;;) {
      await seen(signal);
      // A hidden page closes its stream, because a browser opens only six connections to a server, for all tabs.
      const looking = AbortSignal.any([signal, hidden(signal)]);
      await follow(concert, looking).catch((error) => { if (!looking.aborted) throw error; });
    }
  } catch (error) {
    if (!signal.aborted) $('trouble').textContent = error.problem?.title ?? error.message;
  }
}

async function follow(concert, signal) {
  const snapshot = ({ totalSeats, bookedSeatIds }) => {
    $('trouble').textContent = '';
    showBooked(bookedSeatIds);
    return totalSeats !== seatCount();
  };
  const change = ({ bookedSeatIds, freedSeatIds }) => showChange(bookedSeatIds, freedSeatIds);
  const end = await listen(`/seats/concert/${concert}/events`, { snapshot, change }, SILENCE, signal);
  if (end === 'failed') await poll(concert, signal);
  if (end === 'done') {
    // Seats were added or removed. The random pause keeps clients from reloading all at once.
    await pause(1 + 2 * Math.random(), signal);
    await loadSeats(concert, signal);
  }
}

async function poll(concert, signal) {
  const end = performance.now() + POLLING * 1000 * (1 + Math.random());
  while (performance.now() < end) {
    const started = performance.now();
    await loadSeats(concert, signal);
    // On a slow connection, a large map must not use the whole bandwidth.
    await pause(Math.max(4, (performance.now() - started) / 50), signal);
  }
}

/** Resolves once the page is visible. */
function seen(signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (!document.hidden) return resolve();
    document.addEventListener('visibilitychange', resolve, { signal, once: true });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Aborts once the page is hidden. */
function hidden(signal) {
  const controller = new AbortController();
  document.addEventListener('visibilitychange', () => controller.abort(), { signal, once: true });
  return controller.signal;
}
