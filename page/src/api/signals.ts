// Abort signals and waiting. Without `AbortSignal.any` and `AbortSignal.timeout`, which Safari has only since 17.4 and 16.

/** Aborts with the first of these signals, or after so many milliseconds. Dispose of it when it is no longer needed. */
export function anySignal(signals: AbortSignal[], timeout?: number): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const abort = (event: Event) => controller.abort((event.target as AbortSignal).reason);
  const timer = timeout === undefined ? undefined : setTimeout(() => controller.abort(new Error('timed out')), timeout);
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener('abort', abort);
  }
  const dispose = () => {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener('abort', abort);
  };
  return { signal: controller.signal, dispose };
}

/** Resolves after so many seconds. Rejects when the signal aborts. */
export function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, seconds * 1000);
    signal.addEventListener('abort', abort, { once: true });
  });
}
