// The page with the list of concerts.

import { signal } from '@preact/signals-core';

import { withRetries } from '../api/request.ts';
import { pause } from '../api/signals.ts';
import type { Catalogue } from './catalogue.ts';
import { visible } from './visibility.ts';

const REFRESH = 30; // seconds

export class ListPage {
  readonly view = 'list';
  readonly retryNotice = signal<{ title: string; retryAt: number } | null>(null);
  private readonly catalogue: Catalogue;

  constructor(catalogue: Catalogue) {
    this.catalogue = catalogue;
  }

  /** Keeps the list current. Ends by the signal only. */
  async run(signal: AbortSignal): Promise<void> {
    const age = (Date.now() - this.catalogue.listedAt) / 1000;
    await pause(Math.max(0, REFRESH * (1 + Math.random() / 4) - age), signal);
    for (;;) {
      await visible(signal);
      await withRetries(() => this.catalogue.loadList(signal), signal, ({ problem }, seconds) => {
        this.retryNotice.value = { title: problem.title, retryAt: Date.now() + seconds * 1000 };
      });
      this.retryNotice.value = null;
      await pause(REFRESH * (1 + Math.random() / 4), signal);
    }
  }
}
