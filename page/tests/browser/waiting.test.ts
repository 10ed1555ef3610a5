// The wait in the queue, and its outcomes.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { eventually } from './support/eventually.ts';
import { problem } from './support/network.ts';
import { assertInView, openStreams, setHidden } from './support/page_checks.ts';
import { PHONE, type Scenario, scenario } from './support/scenario.ts';

const seat = (page: Page, number: string) => page.getByRole('button', { name: new RegExp(`^Seat ${number}, `) });

/** Books a seat, and returns the page that waits for the outcome. */
async function book(tools: Scenario, concert: { id: string }, number: string): Promise<Page> {
  const page = await tools.open(`/c/${concert.id}`);
  await seat(page, number).click();
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill(`${randomUUID()}@example.com`);
  await page.locator('#order').getByRole('button', { name: /^Book/ }).click();
  await page.waitForURL(/\/t\//);
  return page;
}

scenario(
  'a waiting page shows what was asked for, also after a reload, and the outcome in the title and in view',
  async (tools) => {
    const { admin, workers } = tools;
    const concert = await admin.createConcert();
    workers.pause();
    const page = await book(tools, concert, concert.seats[0]!.seatNumber);
    const check = async () => {
      await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
      await page.getByText(concert.title).waitFor();
      await page.getByText(`Seat ${concert.seats[0]!.seatNumber} · 10.00 · for Alice`).waitFor();
      await page.getByText(/Waiting for \d+ second/).waitFor();
    };
    await check();
    await page.reload();
    await check();
    assert.match(await page.title(), new RegExp(`^(Waiting|\\d+ ahead): ${concert.title}`));
    workers.resume();
    const heading = page.getByRole('heading', { name: 'Your seats are booked' });
    await heading.waitFor();
    await assertInView(heading);
    assert.equal(await page.title(), `✓ Booked: ${concert.title} – Hamro Concert`);
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Your seats are booked');
  },
);

scenario('the outcome is in view although the visitor has scrolled', {
  device: { viewport: { width: 360, height: 320 } },
}, async (tools) => {
  const concert = await tools.admin.createConcert();
  tools.workers.pause();
  const page = await book(tools, concert, concert.seats[0]!.seatNumber);
  await page.getByText('You can close or reload this page').scrollIntoViewIfNeeded();
  await page.mouse.wheel(0, 1000);
  await eventually(async () => assert.ok(await page.evaluate(() => scrollY) > 100));
  tools.workers.resume();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await eventually(async () => await assertInView(page.getByRole('heading', { name: 'Your seats are booked' })), 2);
});

scenario('a waiting page has one stream, a hidden one has none and learns the outcome all the same', async (tools) => {
  const concert = await tools.admin.createConcert();
  tools.workers.pause();
  const streams = openStreams(tools.context);
  const page = await book(tools, concert, concert.seats[0]!.seatNumber);
  await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  const { pathname } = new URL(page.url());
  await eventually(() => assert.deepEqual(streams(), [`/ticket-bookings/${pathname.replace('/t/', '')}/events`]));
  await setHidden(page, true);
  await eventually(() => assert.deepEqual(streams(), []));
  tools.workers.resume();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.match(await page.title(), /^✓ Booked/);
});

scenario('another device sees the place and the outcome', async (tools) => {
  const concert = await tools.admin.createConcert();
  tools.workers.pause();
  const page = await book(tools, concert, concert.seats[0]!.seatNumber);
  const other = await (await tools.anotherDevice({ viewport: PHONE })).open(new URL(page.url()).pathname);
  await other.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  tools.workers.resume();
  await other.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await other.getByText(concert.title).first().waitFor();
});

scenario('seven waiting tabs all settle', async (tools) => {
  const concert = await tools.admin.createConcert();
  tools.workers.pause();
  const pages: Page[] = [];
  for (const { seatNumber } of concert.seats.slice(0, 7)) pages.push(await book(tools, concert, seatNumber));
  for (const page of pages) await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  tools.workers.resume();
  for (const page of pages) {
    await page.bringToFront();
    await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor({ timeout: 20_000 });
  }
  assert.equal(await tools.database.countSales(concert.id), 7);
});

scenario('a deep queue is told in words, with progress', async (tools) => {
  const concert = await tools.admin.createConcert();
  tools.workers.pause();
  await tools.network.blockEvents();
  let ahead = 128_456;
  await tools.network.intercept('GET /ticket-bookings/*', async (route) => {
    const response = await route.fetch();
    const body = { ...await response.json(), queue: { ahead, etaSeconds: 947 } };
    ahead = 32_114;
    await route.fulfill({ response, json: body });
  });
  const page = await book(tools, concert, concert.seats[0]!.seatNumber);
  await page.getByText('128,456').waitFor();
  await page.getByText('It should take about 16 minutes.').waitFor();
  await page.getByText('32,114').waitFor({ timeout: 15_000 });
  const progress = page.getByRole('progressbar');
  await eventually(async () =>
    assert.equal(await progress.evaluate((bar: HTMLProgressElement) => bar.value / bar.max), 0.75)
  );
  assert.match(await page.title(), /^32,114 ahead: /);
});

const REJECTIONS: [string, Record<string, unknown>, RegExp][] = [
  [
    'seats-taken',
    { seats: [{ id: 1, section: 'hall', row: 1, seatNumber: 'H-1' }], seatIds: [1] },
    /Seat H-1 went to another buyer/,
  ],
  ['sold-out', {}, /sold out/],
  ['sale-not-open', { opensAt: '2031-01-01T10:00:00Z' }, /The sale opens on 1 January 2031/],
  ['sale-closed', { closedAt: '2021-01-01T10:00:00Z' }, /The sale closed on 1 January 2021/],
  ['limit-reached', {}, /Says why/],
  ['seats-not-found', {}, /Says why/],
  ['idempotency-key-reused', {}, /Says why/],
  ['rejected', {}, /Says why/],
  ['price-changed', { expectedTotal: '10.00', total: '12.50' }, /cost 12\.50 now, not 10\.00/],
  ['something-new', {}, /Says why/],
];

scenario('each rejection says why, and what can be done', async ({ open, network }) => {
  for (const [code, more, text] of REJECTIONS) {
    const rejected = await network.respond('GET /ticket-bookings/*', {
      status: 200,
      body: {
        ticketId: '019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88',
        status: 'rejected',
        submittedAt: '2026-11-22T16:14:22.341Z',
        settledAt: '2026-11-22T16:14:23Z',
        problem: { ...problem(409, code, 'No', 'Says why.'), ...more },
      },
    });
    const page = await open('/t/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88');
    await page.getByRole('heading', { name: 'Your seats were not booked' }).waitFor();
    await page.getByText(text).waitFor();
    await page.getByText('Nothing was booked, and nothing is to be paid.').waitFor();
    assert.ok(
      await page.getByRole('link', { name: /Choose again|See other concerts|See the new price/ }).count() > 0,
      code,
    );
    assert.match(await page.title(), /^✗ Not booked/);
    await rejected.stop();
    await page.close();
  }
});

for (const [status, title] of [['expired', 'Your booking expired'], ['failed', 'Your booking failed']] as const) {
  scenario(`a booking that has ${status} says so`, async ({ open, network }) => {
    await network.respond('GET /ticket-bookings/*', {
      status: 200,
      body: {
        ticketId: '019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88',
        status,
        submittedAt: '2026-11-22T16:14:22.341Z',
        problem: problem(503, status, 'No', 'Says why.'),
      },
    });
    const page = await open('/t/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88');
    await page.getByRole('heading', { name: title }).waitFor();
    await page.getByText('Says why.').waitFor();
  });
}

scenario('seats that the organiser has taken back are told', async (tools) => {
  const concert = await tools.admin.createConcert();
  const ticket = await tools.admin.sellToAnother([concert.seats[0]!.id, concert.seats[1]!.id]);
  await tools.admin.releaseSeats(ticket, [concert.seats[0]!.id]);
  const page = await tools.open(`/t/${ticket.ticketId}`);
  await page.getByText(`The organiser has taken seat ${concert.seats[0]!.seatNumber} back.`, {
    exact: false,
  }).waitFor();
  await tools.admin.releaseSeats(ticket);
  const again = await tools.open(`/t/${ticket.ticketId}`);
  await again.getByRole('heading', { name: 'The organiser has taken your seats back' }).waitFor();
});

scenario('an unknown ticket has a heading and a way out', async ({ open, expectProblem }) => {
  expectProblem(/status of 404/);
  const page = await open('/t/nonsense');
  await page.getByRole('heading', { level: 1 }).filter({ hasText: /ticket/i }).waitFor();
  await page.getByRole('link', { name: 'See all concerts' }).waitFor();
  await eventually(async () => assert.match(await page.title(), /^Ticket not found/));
});

scenario('a browser without AbortSignal.any and Map.groupBy books, too', {
  device: {
    lacks: [
      'AbortSignal.any',
      'AbortSignal.timeout',
      'Map.groupBy',
      'Object.groupBy',
      'Array.prototype.toSorted',
      'Promise.withResolvers',
    ],
  },
}, async (tools) => {
  const concert = await tools.admin.createConcert();
  const page = await book(tools, concert, concert.seats[0]!.seatNumber);
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
});
