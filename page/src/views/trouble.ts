// What is shown while something cannot be loaded.

import { html, nothing, type TemplateResult } from 'lit-html';

import { count } from '../model/format.ts';

export interface Trouble {
  title: string;
  /** In milliseconds by this device's clock. */
  retryAt: number;
}

/** `now` is by this device's clock. */
export function trouble(what: Trouble | null, now: number, hint: string): TemplateResult | typeof nothing {
  if (what === null) return nothing;
  return html`
    <div class="card bad trouble" role="status">
      <p><strong>${what.title}.</strong> ${hint}</p>
      <p class="small" aria-hidden="true">${retryText(what.retryAt, now)}</p>
    </div>
  `;
}

/** Counts down to the next attempt. */
export function retryText(retryAt: number, now: number): string {
  const seconds = Math.ceil((retryAt - now) / 1000);
  if (!Number.isFinite(seconds)) return 'Reload the page to try again.';
  return seconds <= 0 ? 'Trying again…' : `Trying again in ${count(seconds, 'second')}.`;
}
