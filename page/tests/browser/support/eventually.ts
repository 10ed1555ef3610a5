// Waiting for conditions. Tests never sleep for a fixed time.

import { setTimeout as sleep } from 'node:timers/promises';

/** Repeats the check until it neither throws nor returns false, and returns its result. After `seconds`, throws its last error. */
export async function eventually<T>(check: () => T | Promise<T>, seconds = 10): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    try {
      const result = await check();
      if (result !== false) return result;
      throw new Error(`the condition is still false: ${check}`);
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(50);
  }
}
