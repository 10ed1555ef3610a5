// Requests to the API, with retries where a retry may help.

import { anySignal, pause } from './signals.ts';
import { serverClock } from './server_clock.ts';
import type { Problem } from './types.ts';

/** A response other than success. `status` 0 means that there was no response, or none that the API would send. */
export class ProblemError extends Error {
  readonly status: number;
  readonly problem: Problem;
  /** Seconds. */
  readonly retryAfter: number;

  constructor(status: number, problem: Problem, retryAfter = 1) {
    super(problem.detail ?? problem.title);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isTemporary(): boolean {
    // 500 too: what a server could not do now, it may do later, and a proxy has codes of its own.
    return [0, 408, 425, 429].includes(this.status) || this.status >= 500;
  }
}

export interface Success<T> {
  body: T;
  /** Seconds. */
  retryAfter: number;
}

export type RequestOptions = Omit<RequestInit, 'signal'>;

const TIMEOUT = 20_000; // milliseconds

/** Where the API is: a proxy may serve it below a path, such as /tickets/. The script is one level below. */
let base = new URL('..', import.meta.url);

/** For unit tests, whose modules are not where a browser loads them from. */
export function setBase(url: string): void {
  base = new URL(url);
}

/** The URL of a path of the API or of the page, such as `/concerts`. */
export const urlOf = (path: string): URL => new URL(path.replace(/^\//, ''), base);

/** Sends a request and parses the response. Throws a `ProblemError`, or the reason of the signal if it is aborted. */
export async function request<T>(path: string, signal: AbortSignal, options: RequestOptions = {}): Promise<Success<T>> {
  const { response, text } = await exchange(path, signal, options);
  const body = parse(text);
  const retryAfter = Number(response.headers.get('Retry-After')) || 1;
  if (response.ok && body !== null) return { body: body as T, retryAfter };
  const problem = isProblem(body) ? body : { title: 'Hamro Concert sent an invalid response' };
  throw new ProblemError(response.ok ? 0 : response.status, problem, retryAfter);
}

async function exchange(path: string, signal: AbortSignal, options: RequestOptions) {
  const limit = anySignal([signal], TIMEOUT);
  const began = Date.now();
  try {
    const response = await fetch(urlOf(path), { ...options, signal: limit.signal }).catch(unreachable);
    if (!isStored(response.headers)) serverClock.observe(response.headers.get('Date'), began, Date.now());
    return { response, text: await response.text().catch(unreachable) };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    limit.dispose();
  }
}

/** Whether a cache may have had the response, so that its `Date` is an earlier one. */
const isStored = (headers: Headers): boolean =>
  headers.has('Age') || (headers.get('Cache-Control') ?? '').includes('immutable');

/** Only what the network does becomes a problem: an error in the page's own code stays what it is. */
function unreachable(): never {
  throw new ProblemError(0, { title: 'Hamro Concert cannot be reached' });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // A proxy may respond with its own error page.
  }
}

const isProblem = (body: unknown): body is Problem =>
  typeof body === 'object' && body !== null && typeof (body as Problem).title === 'string';

/** Back-off in seconds, at least `retryAfter`. The jitter spreads the retries of clients that failed together. */
export function delay(attempt: number, retryAfter: number, atMost: number): number {
  return Math.max(retryAfter, Math.min(1.5 ** attempt, atMost)) * (1 + Math.random() / 4);
}

/** Retries until the attempt succeeds or fails permanently. Calls `onWait` before each pause. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  signal: AbortSignal,
  onWait: (error: ProblemError, seconds: number) => void,
): Promise<T> {
  for (let failures = 0;; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !(error instanceof ProblemError) || !error.isTemporary) throw error;
      const seconds = delay(failures, error.retryAfter, 30);
      onWait(error, seconds);
      await pause(seconds, signal);
    }
  }
}
