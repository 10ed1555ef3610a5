// Whether somebody looks at the page: hidden tabs hold no connection.

/** Resolves once the page is visible. */
export function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (!document.hidden) return resolve();
    document.addEventListener('visibilitychange', () => resolve(), { signal, once: true });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Aborts once the page is hidden. */
export function hidden(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  if (document.hidden) controller.abort();
  document.addEventListener('visibilitychange', () => controller.abort(), { signal, once: true });
  return controller.signal;
}
