// What the page complains about: beside the form, or above the bar while the form is out of view.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { eventually } from './eventually.ts';
import { assertInView } from './page_checks.ts';

/** The text is in view, wherever the page shows it. */
export async function assertComplaintInView(page: Page, text: string): Promise<void> {
  await eventually(async () => {
    const shown = page.locator('.complaint:visible').filter({ hasText: text });
    assert.equal(await shown.count(), 1, `"${text}" is not shown`);
    await assertInView(shown);
  });
}
