// The workers, which settle bookings. A paused one settles nothing, so bookings stay in the queue.

import process from 'node:process';
import { WORKER_PIDS } from './environment.ts';

let isPaused = false;

/** Freezes all workers until `resume`, or until the test ends. */
export function pause(): void {
  isPaused = true;
  for (const pid of WORKER_PIDS) process.kill(pid, 'SIGSTOP');
}

export function resume(): void {
  if (!isPaused) return;
  isPaused = false;
  for (const pid of WORKER_PIDS) process.kill(pid, 'SIGCONT');
}
