// The tools of these tests do what they say. Each scenario uses a page that it makes itself, or the api.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from './support/eventually.ts';
import { assertLooksDiffer, look } from './support/look.ts';
import {
  assertAccessible,
  assertInView,
  assertNoHorizontalScroll,
  openStreams,
  recordTransfers,
  setHidden,
} from './support/page_checks.ts';
import { PHONE, scenario } from './support/scenario.ts';

const PAGE = '<!doctype html><html lang="en"><title>Made here</title><main><h1>Made here</h1>';

scenario('problems in the browser are found, and expected ones are ignored', async ({ open, expectProblem }) => {
  const page = await open('/');
  expectProblem(/console error: this is wrong/);
  await page.evaluate(() => console.error('this is wrong'));
  expectProblem(/uncaught: Error: nobody catches this/);
  await page.evaluate(() =>
    void setTimeout(() => {
      throw new Error('nobody catches this');
    })
  );
  expectProblem(/policy violation: script-src/);
  expectProblem(/console error: .*script.*Content Security Policy/);
  await page.evaluate(() =>
    document.body.append(Object.assign(document.createElement('script'), { text: 'location = "/docs"' }))
  );
  expectProblem(/request to another machine: GET http:\/\/pictures\.example/);
  expectProblem(/ERR_NAME_NOT_RESOLVED/);
  await page.evaluate(() => document.body.append(Object.assign(new Image(), { src: 'http://pictures.example/1.png' })));
  expectProblem(/404 \(Not Found\).*no-such-page/);
  const status = await page.evaluate(async () => (await fetch('/no-such-page')).status);
  assert.equal(status, 404);
  // Console messages and failed requests arrive a moment later.
  await page.waitForTimeout(300);
});

scenario('faults of the network reach the page as described', async ({ open, network, admin, database }) => {
  const { id, seats } = await admin.createConcert();
  const page = await open('/');
  const userEmail = `${randomUUID()}@example.com`;
  const book = (seat: number) =>
    page.evaluate(async ({ seatIds, userEmail }) => {
      const body = JSON.stringify({ userName: 'Alice', userEmail, seatIds });
      const headers = { 'Content-Type': 'application/json' };
      const response = await fetch('/ticket-bookings', { method: 'POST', headers, body }).catch(() => undefined);
      return response && { status: response.status, retryAfter: response.headers.get('Retry-After') };
    }, { seatIds: [seat], userEmail });
  const lost = await network.loseRequest('POST /ticket-bookings');
  assert.equal(await book(seats[0]!.id), undefined);
  assert.equal(lost.requests.length, 1);
  await network.loseResponse('POST /ticket-bookings');
  assert.equal(await book(seats[1]!.id), undefined);
  await eventually(async () => assert.equal(await database.countSales(id), 1));
  await network.unavailable('POST /ticket-bookings', 2, 1);
  assert.deepEqual(await book(seats[0]!.id), { status: 503, retryAfter: '2' });
  await network.tooManyRequests('POST /ticket-bookings', 3, 1);
  assert.deepEqual(await book(seats[0]!.id), { status: 429, retryAfter: '3' });
  await network.offline();
  assert.equal(await book(seats[0]!.id), undefined);
  await network.online();
  assert.equal((await book(seats[0]!.id))?.status, 202);
  await eventually(async () => assert.equal(await database.countBookings(userEmail), 2));
  const held = await network.hold('GET /concerts');
  const answered = page.evaluate(async () => (await fetch('/concerts')).status);
  await held.arrived;
  await held.release();
  assert.equal(await answered, 200);
});

scenario('bookings wait while workers are paused or a seat is locked', async ({ admin, database, workers }) => {
  const { id, tiers: [tier], seats: [one, two] } = await admin.createConcert();
  workers.pause();
  const waiting = await admin.bookAsAnother([one!.id]);
  assert.equal(await database.countSales(id), 0);
  workers.resume();
  assert.equal((await admin.settled(waiting)).status, 'confirmed');
  const hold = await database.holdSeat(two!.id);
  const held = await admin.bookAsAnother([two!.id]);
  assert.equal((await admin.request<{ status: string }>('GET', `/ticket-bookings/${held.ticketId}`)).status, 'queued');
  await admin.changePrice(tier!, '99.00');
  await hold.release();
  await admin.settled(held);
  assert.deepEqual(await database.chargedPrices(held.ticketId), ['99.00']);
  await admin.closeSale(id);
  await admin.openSale(id);
  const empty = await admin.createConcert({ tiers: [] });
  await admin.deleteConcert(empty.id);
});

scenario('accessibility, looks and sizes are checked', { device: { viewport: PHONE } }, async ({ open }) => {
  const page = await open('about:blank');
  await page.setContent(`${PAGE}<button>One</button><p>Text</p>`);
  await assertAccessible(page);
  await assertNoHorizontalScroll(page);
  const button = page.getByRole('button', { name: 'One' });
  await assertInView(button);
  const before = await look(button);
  await button.evaluate((button) => {
    button.style.background = 'black';
  });
  assertLooksDiffer({ before, after: await look(button) });
  assert.throws(() => assertLooksDiffer({ one: before, same: before }), /one and same look alike/);

  await page.setContent(
    `${PAGE}<img src="data:,"><div style="width: 500px">wide</div><p style="margin-top: 2000px">deep</p>`,
  );
  await assert.rejects(assertAccessible(page), /image-alt \(critical\)/);
  await assert.rejects(assertNoHorizontalScroll(page), /wide in a window of 360 px: <div/);
  await assert.rejects(assertInView(page.getByText('deep')), /is not in view/);
});

scenario('open streams are counted, and a window can be hidden', async ({ context, open, admin }) => {
  const { id } = await admin.createConcert();
  const streams = openStreams(context);
  const page = await open('/');
  await page.evaluate((id) => {
    const source = new EventSource(`/seats/concert/${id}/events`);
    document.addEventListener('visibilitychange', () => document.hidden && source.close());
  }, id);
  await eventually(() => assert.deepEqual(streams(), [`/seats/concert/${id}/events`]));
  await setHidden(page, true);
  await eventually(() => assert.deepEqual(streams(), []));
});

scenario('devices differ in scripts, clock, functions and colours', async ({ anotherDevice }) => {
  const old = await anotherDevice({
    lacks: ['AbortSignal.any'],
    clockAhead: 3600,
    colorScheme: 'dark',
    forcedColors: 'active',
  });
  const page = await old.open('/');
  const found = await page.evaluate(() => ({
    any: typeof (AbortSignal as { any?: unknown }).any,
    year: new Date(0).getUTCFullYear(),
    now: Date.now(),
    isDark: matchMedia('(prefers-color-scheme: dark)').matches,
    isForced: matchMedia('(forced-colors: active)').matches,
  }));
  assert.ok(Math.abs(found.now - Date.now() - 3_600_000) < 60_000, `${found.now}`);
  assert.deepEqual({ ...found, now: 0 }, { any: 'undefined', year: 1970, now: 0, isDark: true, isForced: true });
  const plain = await (await anotherDevice({ javaScriptEnabled: false })).open('/');
  // Playwright finds no text in it.
  await plain.locator('noscript').getByRole('paragraph').waitFor();
});

scenario('what a page loads is recorded, and a second visit uses the cache', async ({ context, open }) => {
  await open('/');
  const page = await context.newPage();
  const transfers = await recordTransfers(page);
  await page.goto('/');
  const [document] = transfers;
  assert.deepEqual([document?.type, document?.status], ['Document', 200]);
  await eventually(() => document!.bytes > 0 || document!.isFromCache);
});
