// The notice that something cannot be loaded, and when the page tries again.

import { html, nothing, type TemplateResult } from 'lit-html';

import { count } from '../model/format.ts';

export interface RetryNotice {
  title: string;
  /** In milliseconds by this device's clock. */
  retryAt: number;
}

/** `now` is by this device's clock. */
export function retryNotice(notice: RetryNotice | null, now: number, hint: string): TemplateResult | typeof nothing {
  if (notice === null) return nothing;
  return html`
    <div class="card bad retry-notice" role="status">
      <p><strong>${notice.title}.</strong> ${hint}</p>
      <p class="small" aria-hidden="true">${retryText(notice.retryAt, now)}</p>
    </div>
  `;
}

/** Counts down to the next attempt. */
export function retryText(retryAt: number, now: number): string {
  const seconds = Math.ceil((retryAt - now) / 1000);
  if (!Number.isFinite(seconds)) return 'Reload the page to try again.';
  return seconds <= 0 ? 'Trying again…' : `Trying again in ${count(seconds, 'second')}.`;
}
