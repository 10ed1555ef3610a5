// Work that is asked for more often than it can be done.

/**
 * Does the work, never twice at the same time. All calls while it is being done share one more round, which begins after they
 * were made. A round that fails does not keep the next one from beginning.
 */
export function oneAtATime(work: () => Promise<void>): () => Promise<void> {
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
