// Collects what must not happen in a browser during a test: console errors, uncaught errors, violations of the
// Content-Security-Policy, and requests to other machines. A test names those that it provokes.

import type { BrowserContext } from 'playwright-core';
import { API_URL } from './environment.ts';

interface Expectation {
  pattern: RegExp;
  isRequired: boolean;
  count: number;
}

export class Problems {
  readonly #found: string[] = [];
  readonly #expected: Expectation[] = [];
  readonly #allowedOrigins = new Set([new URL(API_URL).origin]);

  /** Problems that match the pattern do not fail the test, wherever they occur in it. There must be one if `isRequired`. */
  expect(pattern: RegExp, isRequired: boolean): void {
    this.#expected.push({ pattern, isRequired, count: 0 });
  }

  /** Requests to this origin do not fail the test. It should be routed, because nothing outside of the machine is reachable. */
  allowOrigin(origin: string): void {
    this.#allowedOrigins.add(origin);
  }

  async watch(context: BrowserContext): Promise<void> {
    context.on('console', (message) => {
      if (!['error', 'assert'].includes(message.type())) return;
      const { url, lineNumber } = message.location();
      this.#found.push(`console ${message.type()}: ${message.text()} [${url}:${lineNumber}]`);
    });
    context.on('weberror', (error) => this.#found.push(`uncaught: ${error.error().stack ?? error.error()}`));
    context.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      // A page may show data that it has made itself.
      if (['data:', 'blob:', 'about:'].includes(protocol) || this.#allowedOrigins.has(origin)) return;
      this.#found.push(`request to another machine: ${request.method()} ${request.url()}`);
    });
    await context.exposeBinding('hamroReportViolation', (_, report: string) => {
      this.#found.push(`policy violation: ${report}`);
    });
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        const { effectiveDirective, blockedURI, sourceFile, lineNumber } = event;
        const report = `${effectiveDirective} blocked ${blockedURI} [${sourceFile}:${lineNumber}]`;
        (globalThis as unknown as { hamroReportViolation(report: string): void }).hamroReportViolation(report);
      });
    });
  }

  /** What was not expected, and what was expected and has not occurred. */
  unexpected(): string[] {
    for (const expected of this.#expected) expected.count = 0;
    const unexpected = this.#found.filter((problem) => {
      const matching = this.#expected.filter(({ pattern }) => pattern.test(problem));
      for (const expected of matching) expected.count += 1;
      return matching.length === 0;
    });
    const missing = this.#expected.filter(({ isRequired, count }) => isRequired && count === 0);
    return [...unexpected, ...missing.map(({ pattern }) => `expected, but did not occur: ${pattern}`)];
  }
}
