// Keeps the seat map as it is at the API: by events, and by asking now and then where events do not pass.

import { listen, load, pause } from './api.js';
import { $ } from './dom.js';
import { seatCount, showBooked, showChange, showSeats } from './seats.js';

const SILENCE = 120; // seconds: then a new stream, should this one be dead unnoticed. Its snapshot may be big.
const POLLING = 30; // seconds, and up to as many more: then the stream is tried again

export async function loadSeats(concert, signal) {
  showSeats((await load(`/seats/concert/${concert}`, signal)).seats);
}

/** Once the seats are loaded, until the signal. */
export async function watchSeats(concert, signal) {
  try {
    for (;;) {
      await seen(signal);
      // A page that nobody looks at gives its stream back: a browser opens six connections to a server, for all tabs.
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
    // The hall has been rebuilt. Not everybody who watches loads it at the same moment.
    await pause(1 + 2 * Math.random(), signal);
    await loadSeats(concert, signal);
  }
}

async function poll(concert, signal) {
  const end = performance.now() + POLLING * 1000 * (1 + Math.random());
  while (performance.now() < end) {
    const started = performance.now();
    await loadSeats(concert, signal);
    // A big map on a slow line must not be all that the line carries.
    await pause(Math.max(4, (performance.now() - started) / 50), signal);
  }
}

/** Resolves as soon as the page is seen. */
function seen(signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (!document.hidden) return resolve();
    document.addEventListener('visibilitychange', resolve, { signal, once: true });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Aborts as soon as the page is not seen. */
function hidden(signal) {
  const controller = new AbortController();
  document.addEventListener('visibilitychange', () => controller.abort(), { signal, once: true });
  return controller.signal;
}
