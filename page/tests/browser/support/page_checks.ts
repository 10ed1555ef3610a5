// Checks of a page: accessibility, what is in view, how wide it is, what it loads.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type axe from 'axe-core';
import type { BrowserContext, Locator, Page, Request } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** axe-core finds nothing wrong with the page, or with the part of it that the selector names. */
export async function assertAccessible(page: Page, { within = 'html', without = [] as string[] } = {}): Promise<void> {
  // The policy of the page forbids a script element. This is not one.
  await page.evaluate(`if (!globalThis.axe) { ${AXE} }`);
  const violations = await page.evaluate(async ([within, without]) => {
    const rules = Object.fromEntries(without.map((rule) => [rule, { enabled: false }]));
    const results = await (globalThis as unknown as { axe: typeof axe }).axe.run(within, {
      resultTypes: ['violations'],
      rules,
    });
    return results.violations;
  }, [within, without] as const);
  const report = violations.flatMap(({ id, impact, help, nodes }) => [
    `${id} (${impact}): ${help}`,
    ...nodes.map(({ target, html, failureSummary }) =>
      `  ${target.join(' ')}  ${html.slice(0, 160)}\n    ${failureSummary?.replaceAll('\n', '\n    ')}`
    ),
  ]);
  assert.ok(report.length === 0, `axe-core reports:\n${report.join('\n')}`);
}

/** The whole element is in the viewport, and nothing covers its middle. */
export async function assertInView(element: Locator): Promise<void> {
  await element.waitFor();
  const found = await element.evaluate((element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return {
      isInside: left >= -0.5 && top >= -0.5 && right <= clientWidth + 0.5 && bottom <= clientHeight + 0.5,
      coveredBy: hit && (element.contains(hit) || hit.contains(element))
        ? null
        : hit?.outerHTML.slice(0, 100) ?? 'nothing',
      box: { left, top, right, bottom, clientWidth, clientHeight },
    };
  });
  assert.ok(found.isInside, `${element} is not in view: ${JSON.stringify(found.box)}`);
  assert.equal(found.coveredBy, null, `${element} is covered`);
}

/** No amount of money is broken into two lines. */
export async function assertAmountsAreWhole(page: Page): Promise<void> {
  const broken = await page.locator('.sum').evaluateAll((amounts) =>
    amounts.filter((amount) => {
      const text = document.createRange();
      text.selectNodeContents(amount);
      return new Set([...text.getClientRects()].map(({ bottom }) => Math.round(bottom))).size > 1;
    }).map(({ outerHTML }) => outerHTML)
  );
  assert.deepEqual(broken, []);
}

/** The page is not wider than its window. */
export async function assertNoHorizontalScroll(page: Page): Promise<void> {
  const { wide, width, culprits } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const all = [...document.body.querySelectorAll('*')];
    const culprits = all.filter((element) => element.getBoundingClientRect().right > clientWidth + 0.5);
    return {
      wide: scrollWidth,
      width: clientWidth,
      culprits: culprits.slice(0, 3).map(({ outerHTML }) => outerHTML.slice(0, 100)),
    };
  });
  assert.ok(wide <= width, `the page is ${wide} px wide in a window of ${width} px: ${culprits.join(', ')}`);
}

/** The focus is on an element that is in view. */
export async function assertFocusInView(page: Page): Promise<void> {
  const focused = page.locator(':focus');
  assert.equal(await focused.count(), 1, 'nothing has the focus');
  await assertInView(focused);
}

/** The size of the text, in percent of the usual one. */
export async function enlargeText(page: Page, percent: number): Promise<void> {
  await page.evaluate((size) => {
    document.documentElement.style.fontSize = size;
  }, `${percent}%`);
}

/** For the page it is as if another tab were in front of it, or no longer. Chromium without a screen has no tabs. */
export async function setHidden(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, value: isHidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
}

/** Records the event streams of all windows from now on. Returns the paths of those that are open. */
export function openStreams(context: BrowserContext): () => string[] {
  const open = new Set<Request>();
  context.on('request', (request) => {
    if (request.resourceType() === 'eventsource') open.add(request);
  });
  for (const end of ['requestfinished', 'requestfailed'] as const) {
    context.on(end as 'requestfailed', (request) => open.delete(request));
  }
  return () => [...open].map((request) => new URL(request.url()).pathname);
}

/** The page computes this many times slower, as on a phone. */
export async function slowDown(page: Page, factor: number): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate: factor });
}

export interface Transfer {
  url: string;
  type: string;
  status: number;
  isFromCache: boolean;
  /** With headers, as sent over the network; 0 if it came from the cache or has not ended. */
  bytes: number;
}

/** Records what the page loads from now on. The array grows. */
export async function recordTransfers(page: Page): Promise<Transfer[]> {
  const session = await page.context().newCDPSession(page);
  const transfers = new Map<string, Transfer>();
  const recorded: Transfer[] = [];
  session.on('Network.responseReceived', ({ requestId, type, response }) => {
    const { url, status, fromDiskCache = false } = response;
    const transfer = { url, type, status, isFromCache: fromDiskCache || cached.has(requestId), bytes: 0 };
    transfers.set(requestId, transfer);
    recorded.push(transfer);
  });
  const cached = new Set<string>();
  session.on('Network.requestServedFromCache', ({ requestId }) => cached.add(requestId));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const transfer = transfers.get(requestId);
    if (transfer && !transfer.isFromCache) transfer.bytes = encodedDataLength;
  });
  await session.send('Network.enable');
  return recorded;
}

/** How much processor time the page's thread has used until the work is done and shown, in milliseconds. */
export async function processorTime(page: Page, work: () => Promise<void>): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const read = async () => {
    // Two frames later, what was changed is laid out and painted.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration')!.value * 1000;
  };
  const before = await read();
  await work();
  const used = await read() - before;
  await session.detach();
  return used;
}
