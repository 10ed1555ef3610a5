// Whether somebody looks at the page: hidden tabs hold no connection.

/** Resolves once the page is visible. */
export function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (!document.hidden) return resolve();
    const end = (settle: () => void) => {
      document.removeEventListener('visibilitychange', show);
      signal.removeEventListener('abort', abort);
      settle();
    };
    const show = () => end(resolve);
    const abort = () => end(() => reject(signal.reason));
    document.addEventListener('visibilitychange', show);
    signal.addEventListener('abort', abort);
  });
}

/** Aborts once the page is hidden. Dispose of it when it is no longer needed. */
export function whileVisible(signal: AbortSignal): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const hide = () => controller.abort(new Error('the page is hidden'));
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  else if (document.hidden) hide();
  document.addEventListener('visibilitychange', hide);
  signal.addEventListener('abort', abort);
  const dispose = () => {
    document.removeEventListener('visibilitychange', hide);
    signal.removeEventListener('abort', abort);
  };
  return { signal: controller.signal, dispose };
}
