// How the page looks and reads: for all eyes, without a pointer, on small windows, on paper.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { assertLooksDiffer, look } from './support/look.ts';
import { problem } from './support/network.ts';
import {
  assertAccessible,
  assertAmountsAreWhole,
  assertFocusInView,
  assertNoHorizontalScroll,
  enlargeText,
} from './support/page_checks.ts';
import { LAPTOP, PHONE, type Scenario, scenario } from './support/scenario.ts';

const seat = (page: Page, number: string) => page.getByRole('button', { name: new RegExp(`^Seat ${number}, `) });

/** Opens each state of the page in turn. */
async function eachState(tools: Scenario, check: (page: Page, state: string) => Promise<void>): Promise<void> {
  const { admin, open, workers, network } = tools;
  const concert = await admin.createConcert({
    title: 'A rather long title of a night with very many artists – हाम्रो कन्सर्ट',
    description: 'One line\nand another.',
    tiers: [
      { type: 'VIP', price: '1234.50', seats: [{ section: 'front', rows: 2, seatsPerRow: 30 }] },
      { type: 'Standard', price: '10.00', seats: [{ section: 'hall', rows: 3, seatsPerRow: 12 }] },
    ],
  });
  const [first, second] = [concert.seats[0]!, concert.seats[1]!];
  const [soldSeat] = concert.seats.slice(-1);
  await admin.sellToAnother([soldSeat!.id]);
  const soon = await admin.createConcert({ salesOpenAt: admin.moment(3600) });
  const closed = await admin.createConcert({ salesCloseAt: admin.moment(-1) });
  const soldOut = await admin.createConcert({
    tiers: [{ type: 'One', price: '1', seats: [{ section: 'a', rows: 1, seatsPerRow: 1 }] }],
  });
  await admin.sellToAnother([soldOut.seats[0]!.id]);

  const list = await open('/');
  await list.getByRole('link', { name: concert.title }).first().waitFor();
  await check(list, 'list');
  await list.close();
  for (const [state, { id }] of Object.entries({ 'not open': soon, closed, 'sold out': soldOut })) {
    const page = await open(`/c/${id}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.locator('.map').waitFor();
    await check(page, state);
    await page.close();
  }
  const page = await open(`/c/${concert.id}`);
  await seat(page, first.seatNumber).waitFor();
  await check(page, 'nothing chosen');
  await page.locator('#order button.action').last().click();
  await seat(page, first.seatNumber).click();
  await seat(page, second.seatNumber).click();
  await page.locator('#order').getByRole('button', { name: /^Book/ }).click();
  await check(page, 'errors');
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill(
    'a-very-long-address-of-somebody@a-very-long-domain-of-some-company.example.com',
  );
  const book = page.locator('#order .foot').getByRole('button', { name: /^Book/ });
  const full = await network.unavailable('POST /ticket-bookings', 60);
  await book.click();
  await page.getByText('Very many people are booking right now').waitFor();
  await check(page, 'queue full');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('We stopped trying.').waitFor();
  await check(page, 'outcome unknown');
  await page.getByRole('button', { name: 'Forget it' }).click();
  await full.stop();
  await network.respond('POST /ticket-bookings', {
    status: 409,
    body: problem(409, 'limit-reached', 'Limit reached', 'You have as many seats as you may have.'),
  }, 1);
  await book.click();
  await page.getByText('Nothing was booked.').waitFor();
  await check(page, 'refused');
  await admin.changePrice(concert.tiers[0]!, '4321.50');
  await page.getByText('The price has changed.').waitFor();
  await check(page, 'price changed');
  await page.getByRole('button', { name: 'Accept the new price' }).click();
  workers.pause();
  await book.click();
  await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  await check(page, 'waiting');
  workers.resume();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await check(page, 'booked');
  await admin.releaseSeats({ ticketId: new URL(page.url()).pathname.replace('/t/', '') }, [first.id]);
  await page.reload();
  await page.getByText(`The organiser has taken seat ${first.seatNumber} back.`, { exact: false }).waitFor();
  await check(page, 'taken back');
  await page.getByRole('link', { name: 'My tickets' }).click();
  await check(page, 'my tickets');
  await page.goto('/nowhere-1'.replace('nowhere-1', 'c/nonsense'));
  await page.getByRole('heading', { level: 1, name: 'There is no such concert' }).waitFor();
  await check(page, 'missing');
}

scenario('axe finds nothing in any state, light or dark', {
  device: { reducedMotion: 'reduce' },
  timeout: 180,
}, async (tools) => {
  tools.expectProblem(/status of (404|422)/);
  await eachState(tools, async (page, state) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await assertAccessible(page).catch((error: Error) => assert.fail(`${state}, ${colorScheme}: ${error.message}`));
    }
  });
});

scenario('nothing is wider than a window of 320 px, or than a phone with text of twice the size', {
  device: { viewport: { width: 320, height: 640 } },
  timeout: 180,
}, async (tools) => {
  tools.expectProblem(/status of (404|422)/);
  await eachState(tools, async (page, state) => {
    await assertNoHorizontalScroll(page).catch((error: Error) => assert.fail(`${state}: ${error.message}`));
    await assertAmountsAreWhole(page).catch((error: Error) => assert.fail(`${state}: ${error.message}`));
    await page.setViewportSize(PHONE);
    await enlargeText(page, 200);
    await assertNoHorizontalScroll(page).catch((error: Error) => assert.fail(`${state}, large text: ${error.message}`));
    await enlargeText(page, 100);
    await page.setViewportSize({ width: 320, height: 640 });
  });
});

scenario(
  'in forced colours, free, chosen and taken seats look different',
  { device: { forcedColors: 'active' } },
  async ({ open, admin }) => {
    const { id, seats } = await admin.createConcert();
    const page = await open(`/c/${id}`);
    const one = seat(page, seats[0]!.seatNumber);
    await one.waitFor();
    const free = await look(one);
    await one.click();
    const chosen = await look(one);
    await one.click();
    await admin.sellToAnother([seats[0]!.id]);
    await page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, .*taken$`) }).waitFor();
    const taken = await look(one);
    assertLooksDiffer({ free, chosen, taken });
  },
);

scenario('everything works by keyboard, from the list to the receipt', async ({ open, admin }) => {
  const { title, id } = await admin.createConcert();
  const page = await open('/');
  const link = page.locator(`a[href="/c/${id}"]`);
  await link.waitFor();
  await link.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  const focused = () =>
    page.evaluate(() =>
      document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? ''
    );
  const tabTo = async (pattern: RegExp) => {
    for (let steps = 0; steps < 30; steps += 1) {
      await page.keyboard.press('Tab');
      if (pattern.test(await focused())) return await assertFocusInView(page);
    }
    assert.fail(`Tab does not lead to ${pattern}, but to ${await focused()}`);
  };
  await page.locator('.seat[data-id]').first().waitFor();
  await tabTo(/^Seat H-1, /);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Space');
  assert.match(await focused(), /^Seat H-2, .*chosen$/);
  await page.keyboard.press('ArrowDown');
  assert.match(await focused(), /^Seat H-12, /);
  await page.keyboard.press('End');
  assert.match(await focused(), /^Seat H-20, /);
  await page.keyboard.press('Home');
  await page.keyboard.press('PageUp');
  assert.match(await focused(), /^Seat H-1, /);
  for (const text of ['Alice', 'keyboard@example.com']) {
    for (let steps = 0;; steps += 1) {
      await page.keyboard.press('Tab');
      assert.ok(steps < 30, 'Tab does not lead to the fields');
      const [tag, value] = await page.evaluate(
        () => [document.activeElement?.tagName, (document.activeElement as HTMLInputElement).value],
      );
      if (tag === 'INPUT' && value === '') break;
    }
    await page.keyboard.type(text);
  }
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.equal(await focused(), 'Your seats are booked');
});

scenario('arrow keys go on from one section to the next', async ({ open, admin }) => {
  const { id } = await admin.createConcert({
    tiers: [
      { type: 'VIP', price: '20', seats: [{ section: 'front', rows: 1, seatsPerRow: 3 }] },
      { type: 'Standard', price: '10', seats: [{ section: 'hall', rows: 1, seatsPerRow: 3 }] },
    ],
  });
  const page = await open(`/c/${id}`);
  await seat(page, 'F-3').focus();
  await page.keyboard.press('ArrowRight');
  assert.match(await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? ''), /^Seat H-1, /);
  await page.keyboard.press('ArrowUp');
  assert.match(await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? ''), /^Seat F-1, /);
});

scenario('a row never wraps: neighbours stay neighbours', { device: { viewport: PHONE } }, async ({ open, admin }) => {
  const { id } = await admin.createConcert({
    tiers: [{ type: 'Standard', price: '10', seats: [{ section: 'hall', rows: 2, seatsPerRow: 50 }] }],
  });
  const page = await open(`/c/${id}`);
  await seat(page, 'H-50').waitFor();
  const tops = await page.locator('.row').first().locator('.seat').evaluateAll((seats) =>
    seats.map((seat) => seat.getBoundingClientRect().top)
  );
  assert.equal(new Set(tops).size, 1);
  await assertNoHorizontalScroll(page);
});

scenario('a printed receipt is one page without buttons', async ({ open, admin }) => {
  const { seats } = await admin.createConcert();
  const { ticketId } = await admin.sellToAnother(seats.slice(0, 10).map(({ id }) => id));
  const page = await open(`/t/${ticketId}`, { viewport: LAPTOP });
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  const pdf = (await page.pdf({ format: 'A4' })).toString('latin1');
  assert.equal(pdf.match(/\/Type\s*\/Page\b/g)?.length, 1);
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.getByRole('button', { name: 'Print' }).isVisible(), false);
});
