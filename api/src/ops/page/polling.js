// Reads the state once a second. After a failure it waits longer; while the tab is hidden it does not ask at all.

const INTERVAL = 1; // seconds
const SLOWEST = 10;

/** The pause before the next request. */
export function nextDelay(failures, retryAfter = 0) {
  return failures === 0 ? INTERVAL : Math.max(retryAfter, Math.min(2 ** (failures - 1), SLOWEST));
}

/**
 * Polls until `signal` aborts, or until `fail` returns true for an error.
 *   load()                  reads and shows the state
 *   fail(error, seconds)    shows an error; seconds until the next request. True ends the polling
 *   wait(seconds)           resolves after that time, or sooner when the network is back
 *   visible(signal)         resolves while the tab is visible
 */
export async function poll({ load, fail, wait, visible }, signal) {
  let failures = 0;
  while (!signal.aborted) {
    await visible(signal);
    if (signal.aborted) return;
    let seconds = nextDelay(0);
    try {
      await load();
      failures = 0;
    } catch (error) {
      failures += 1;
      seconds = nextDelay(failures, error.retryAfter);
      if (signal.aborted || fail(error, seconds)) return;
    }
    await wait(seconds);
  }
}

/** Resolves when the tab is visible. */
export function visible(signal) {
  if (document.visibilityState === 'visible') return Promise.resolve();
  return nextEvent(signal, document, 'visibilitychange').then(() => visible(signal));
}

export function wait(seconds) {
  const over = new AbortController();
  const elapsed = new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    globalThis.addEventListener('online', resolve, { signal: over.signal });
  });
  return elapsed.finally(() => over.abort());
}

function nextEvent(signal, target, name) {
  if (signal.aborted) return new Promise(() => {});
  return new Promise((resolve) => {
    target.addEventListener(name, resolve, { once: true, signal });
  });
}
