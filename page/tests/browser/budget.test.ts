// What a visit costs: requests and bytes, and how the page copes with twenty thousand seats.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { processorTime, recordTransfers, type Transfer } from './support/page_checks.ts';
import { PHONE, scenario } from './support/scenario.ts';

const isStream = ({ url }: Transfer) => url.endsWith('/events');
const isPicture = ({ type }: Transfer) => type === 'Image';

/** What a visit loads, event streams and pictures of concerts aside. */
async function visit(page: Page, path: string, ready: () => Promise<void>): Promise<Transfer[]> {
  const transfers = await recordTransfers(page);
  await page.goto(path);
  await ready();
  await page.waitForLoadState('load');
  return transfers.filter((transfer) => !isStream(transfer) && !isPicture(transfer));
}

const overNetwork = (transfers: Transfer[]) => transfers.filter(({ isFromCache }) => !isFromCache);
const addresses = (transfers: Transfer[]) => transfers.map(({ url, status }) => `${status} ${url}`).join('\n');

scenario('a first visit takes at most six requests, a second at most two', async ({ anotherDevice, admin }) => {
  const { id, title, seats } = await admin.createConcert();
  const seat = (page: Page) => page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, `) });
  const paths: [string, (page: Page) => Promise<void>][] = [
    ['/', (page) => page.getByRole('link', { name: title }).waitFor()],
    [`/c/${id}`, async (page) => {
      await seat(page).waitFor();
      // What the events of the stream make the page load is counted, too: this one comes after those of its start.
      await admin.sellToAnother([seats.pop()!.id]);
      await page.getByText(`${seats.length} of 20 free`).waitFor();
    }],
  ];
  for (const [path, ready] of paths) {
    const device = await anotherDevice();
    // The random pauses that keep pages from loading all at once.
    await device.context.addInitScript(() => {
      Math.random = () => 0;
    });
    for (const [name, most] of [['first', 6], ['second', 2]] as const) {
      const page = await device.context.newPage();
      const loaded = overNetwork(await visit(page, path, () => ready(page)));
      assert.ok(loaded.length <= most, `the ${name} visit of ${path} takes ${loaded.length}:\n${addresses(loaded)}`);
      const bytes = loaded.reduce((sum, { bytes }) => sum + bytes, 0);
      console.log(`${name} visit of ${path.slice(0, 3)}: ${loaded.length} requests, ${bytes} bytes`);
      await page.close();
    }
  }
});

scenario('a map of twenty thousand seats stays usable', { timeout: 120 }, async ({ open, admin }) => {
  const sections = Array.from(
    { length: 4 },
    (_, i) => ({ section: `s${i}`, rows: 50, seatsPerRow: 100, prefix: `S${i}` }),
  );
  const { id, seats } = await admin.createConcert({ tiers: [{ type: 'Standard', price: '10', seats: sections }] });
  const small = await admin.createConcert();
  const measure = async (concert: string) => {
    const page = await open(`/c/${concert}`);
    await page.locator('details').first().waitFor();
    const usable = await page.evaluate(() => performance.now());
    return { page, usable };
  };
  await measure(small.id); // The files are in the cache now, for both.
  const quick = await measure(small.id);
  const { page, usable } = await measure(id);
  // A ratio of two loads beside each other: a map two hundred times the size.
  assert.ok(usable < 10 * quick.usable, `${usable} ms, ${quick.usable} ms for a small map`);
  await page.locator('summary').first().click();
  await page.getByRole('button', { name: /^Seat S0-5000, / }).waitFor({ state: 'attached' });
  // A sale changes as many elements as it has seats, however many there are.
  const changed = page.evaluate(() =>
    new Promise<number>((resolve) => {
      const seats = new Set<Node>();
      new MutationObserver((changes) => {
        for (const { target } of changes) if ((target as HTMLElement).classList?.contains('seat')) seats.add(target);
        setTimeout(() => resolve(seats.size), 500);
      }).observe(document.querySelector('.map')!, { attributes: true, subtree: true });
    })
  );
  await admin.sellToAnother(seats.slice(0, 5).map(({ id }) => id));
  assert.equal(await changed, 5);
  await compare('choosing a seat', quick.page, page, async (page) => {
    await page.locator('.seat[data-is=free]').first().click();
    await page.locator('.seat[data-is=chosen]').first().click();
  });
  // On a phone, both maps are higher than the window.
  for (const each of [quick.page, page]) await each.setViewportSize(PHONE);
  await compare('scrolling by a window', quick.page, page, async (page) => {
    for (const distance of [600, -600]) {
      await page.evaluate((distance) => {
        scrollBy(0, distance);
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      }, distance);
    }
  });
});

/** What a visitor does takes not much longer on the large map than on the small one. */
async function compare(what: string, small: Page, large: Page, act: (page: Page) => Promise<void>): Promise<void> {
  const repeat = (page: Page) =>
    processorTime(page, async () => {
      for (let times = 0; times < 10; times += 1) await act(page);
    });
  for (const page of [small, large]) {
    await page.bringToFront();
    await act(page);
  }
  await small.bringToFront();
  const quick = await repeat(small);
  await large.bringToFront();
  const slow = await repeat(large);
  console.log(`${what}, ten times: ${slow.toFixed(1)} ms, ${quick.toFixed(1)} ms on a small map`);
  assert.ok(slow < 15 * quick, `${what} takes ${slow} ms, ${quick} ms on a small map`);
}
