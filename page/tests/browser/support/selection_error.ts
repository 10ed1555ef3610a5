// What is wrong with the chosen seats: beside the form, or above the bar while the form is out of view.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { eventually } from './eventually.ts';
import { assertInView } from './page_checks.ts';

/** The text is in view, wherever the page shows it. */
export async function assertSelectionErrorInView(page: Page, text: string): Promise<void> {
  await eventually(async () => {
    // While the form is out of view, both places have it.
    const shown = await page.locator('.selection-error:visible').filter({ hasText: text }).all();
    assert.ok(shown.length > 0, `"${text}" is not shown`);
    await Promise.any(shown.map((message) => assertInView(message))).catch((error: AggregateError) => {
      throw error.errors[0];
    });
  });
}
