// Coalesces calls for work that is requested more often than it can be done.

/**
 * Single-flight with one trailing run: there are never two runs at the same time. All calls during a run share one more,
 * which begins after they were made, even if the current run fails.
 */
export function coalesced(work: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> = Promise.resolve();
  let next: Promise<void> | null = null;
  return () => {
    next ??= current.catch(() => {}).then(() => {
      next = null;
      current = work();
      return current;
    });
    return next;
  };
}
