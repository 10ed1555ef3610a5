// The sale while a page is open: it opens and closes, seats go, tiers and the concert change.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { eventually } from './support/eventually.ts';
import { openStreams, setHidden } from './support/page_checks.ts';
import { PHONE, scenario } from './support/scenario.ts';
import { assertSelectionErrorInView } from './support/selection_error.ts';

const seat = (page: Page, number: string) => page.getByRole('button', { name: new RegExp(`^Seat ${number}, `) });
const order = (page: Page) => page.locator('#order');

scenario(
  'a sale opens by itself at the right moment, whatever the clock of the device says',
  async ({ anotherDevice, admin, database }) => {
    const opens = Date.now() + 8000;
    const { id, seats } = await admin.createConcert({ salesOpenAt: new Date(opens).toISOString() });
    const clocks = [['right', 0], ['an hour fast', 3600], ['an hour slow', -3600]] as const;
    await Promise.all(clocks.map(async ([clock, clockAhead], number) => {
      const page = await (await anotherDevice({ clockAhead })).open(`/c/${id}`);
      // Everything can be prepared.
      await seat(page, seats[number]!.seatNumber).click();
      await page.getByLabel('Name').fill('Alice');
      await page.getByLabel('E-mail').fill(`early-${number}@example.com`);
      await page.getByText(/The sale opens in 00:0/).waitFor();
      assert.equal(await order(page).getByRole('button', { name: /^Opens in/ }).isEnabled(), false);
      const book = order(page).getByRole('button', { name: 'Book 1 seat for 10.00' });
      await book.waitFor();
      const late = Date.now() - opens;
      assert.ok(late >= 0, `with a clock that is ${clock}, it opened ${-late} ms early`);
      await book.click();
      await page.getByRole('heading', { name: /Your seats (are|were not) booked/ }).waitFor();
      await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
    }));
    assert.equal(await database.countSales(id), 3);
  },
);

scenario('a sale that closes while the page is open cannot be booked any more', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert({ salesCloseAt: admin.moment(6) });
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).click();
  await order(page).getByRole('button', { name: 'Book 1 seat for 10.00' }).waitFor();
  await page.getByText('Sale closed', { exact: true }).waitFor();
  assert.equal(await order(page).getByRole('button', { name: 'The sale has closed' }).isEnabled(), false);
});

scenario('an organiser who closes and opens the sale is followed', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).click();
  await admin.closeSale(id);
  await page.getByText('Sale closed', { exact: true }).waitFor();
  await admin.openSale(id);
  await order(page).getByRole('button', { name: 'Book 1 seat for 10.00' }).waitFor();
});

scenario('a seat that another buyer takes is removed from the choice, in view on a phone', {
  device: { viewport: PHONE },
}, async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert();
  const [first, second] = [seats[0]!, seats[1]!];
  const page = await open(`/c/${id}`);
  await seat(page, first.seatNumber).click();
  await seat(page, second.seatNumber).click();
  await page.getByText('2 seats · 20.00').first().waitFor();
  await admin.sellToAnother([first.id]);
  await assertSelectionErrorInView(page, `Seat ${first.seatNumber} went to another buyer`);
  await page.getByText('1 seat · 10.00').first().waitFor();
  await page.getByRole('button', { name: new RegExp(`^Seat ${first.seatNumber}, .*taken$`) }).waitFor();
});

scenario('a concert sells out and gets seats back while the page is open', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert({
    tiers: [{ type: 'One', price: '1.00', seats: [{ section: 'a', rows: 1, seatsPerRow: 2 }] }],
  });
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  const ticket = await admin.sellToAnother(seats.map(({ id }) => id));
  await page.getByText('Sold out', { exact: true }).waitFor();
  assert.equal(await order(page).count(), 0);
  await admin.releaseSeats(ticket, [seats[0]!.id]);
  await seat(page, seats[0]!.seatNumber).click();
  await order(page).getByRole('button', { name: 'Book 1 seat for 1.00' }).waitFor();
});

scenario('whoever loses the last seats of a concert is told so', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert({
    tiers: [{ type: 'One', price: '1.00', seats: [{ section: 'a', rows: 1, seatsPerRow: 2 }] }],
  });
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).click();
  await admin.sellToAnother(seats.map(({ id }) => id));
  await page.getByText('Sold out', { exact: true }).first().waitFor();
  await assertSelectionErrorInView(page, `Seat ${seats[0]!.seatNumber} went to another buyer`);
  assert.equal(await order(page).getByRole('button', { name: 'Sold out' }).isEnabled(), false);
});

scenario('how many seats are left is current', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  await admin.sellToAnother(seats.slice(0, 9).map(({ id }) => id));
  await admin.sellToAnother(seats.slice(9, 18).map(({ id }) => id));
  await page.getByText('Only 2 seats left', { exact: true }).waitFor();
});

scenario('whoever has blocked site data follows the seats and the ticket', async ({ open, admin, context }) => {
  await context.addInitScript(() => {
    const refuse = () => Promise.reject(new DOMException('Access is denied.', 'SecurityError'));
    if ('LockManager' in globalThis) Object.assign(LockManager.prototype, { request: refuse, query: refuse });
    for (const storage of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(globalThis, storage, {
        get() {
          throw new DOMException('Access is denied.', 'SecurityError');
        },
      });
    }
  });
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  await admin.sellToAnother([seats[0]!.id]);
  await page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, .*taken$`) }).waitFor();
  await seat(page, seats[1]!.seatNumber).click();
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill('blocked@example.com');
  await order(page).getByRole('button', { name: /^Book/ }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
});

scenario('a tier that is added has its price at once, and leaves the focus where it is', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).click();
  await seat(page, seats[1]!.seatNumber).focus();
  await admin.createTier(id, {
    type: 'VIP',
    price: '55.50',
    seats: [{ section: 'vip', rows: 1, seatsPerRow: 3, prefix: 'V' }],
  });
  const added = page.getByRole('button', { name: /^Seat V-1, .*VIP, 55\.50, free$/ });
  await added.waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
  await eventually(async () => assert.match(await focused() ?? '', new RegExp(`^Seat ${seats[1]!.seatNumber}, `)));
  await added.click();
  await order(page).getByRole('button', { name: 'Book 2 seats for 65.50' }).waitFor();
});

scenario(
  'a concert that is deleted while it is open is gone, with a way out',
  async ({ open, admin, expectProblem }) => {
    const { id, title, seats } = await admin.createConcert();
    expectProblem(/status of 404/, { isOptional: true });
    const page = await open(`/c/${id}`);
    await seat(page, seats[0]!.seatNumber).click();
    await admin.deleteConcert(id);
    await page.getByRole('heading', { level: 1, name: `${title} is no longer listed` }).waitFor();
    assert.equal(await order(page).count(), 0);
    await eventually(async () => assert.match(await page.title(), /^Not found/));
    await page.getByRole('link', { name: 'See all concerts' }).click();
    await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  },
);

scenario('a hidden window has no stream, and catches up when it is shown', async ({ open, admin, context }) => {
  const { id, seats } = await admin.createConcert();
  const streams = openStreams(context);
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  await eventually(() => assert.deepEqual(streams(), [`/seats/concert/${id}/events`]));
  await setHidden(page, true);
  await eventually(() => assert.deepEqual(streams(), []));
  await admin.sellToAnother([seats[0]!.id]);
  await setHidden(page, false);
  await page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, .*taken$`) }).waitFor();
});

scenario(
  'while a part of a concert cannot be loaded, the rest is shown, and it comes once it can be',
  async ({ open, admin, network }) => {
    const { id, title, seats } = await admin.createConcert();
    const seatsDown = await network.unavailable('GET /seats/concert/*/status', 1);
    const typesDown = await network.unavailable('GET /ticket-types', 1);
    const page = await open('/');
    await page.locator(`a[href="/c/${id}"]`).click();
    await page.getByRole('heading', { level: 1, name: title }).waitFor();
    await page.getByText('Loading the seats…').waitFor();
    await page.getByText('The queue is full.').waitFor();
    await seatsDown.stop();
    await seat(page, seats[0]!.seatNumber).click();
    await page.getByText('The queue is full.').waitFor();
    await typesDown.stop();
    await page.getByText('The queue is full.').waitFor({ state: 'detached' });
    await order(page).getByRole('button', { name: 'Book 1 seat for 10.00' }).waitFor();
  },
);

scenario('without events, the page polls', { timeout: 90 }, async ({ open, admin, network }) => {
  await network.blockEvents();
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  await admin.sellToAnother([seats[0]!.id]);
  await page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, .*taken$`) }).waitFor({
    timeout: 40_000,
  });
  await seat(page, seats[1]!.seatNumber).click();
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill('polling@example.com');
  await order(page).getByRole('button', { name: /^Book/ }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor({ timeout: 20_000 });
});

scenario(
  'a paused sale is told as what it is, and the booking is sent once it goes on',
  async ({ open, admin, network, database }) => {
    const { id, seats } = await admin.createConcert();
    const page = await open(`/c/${id}`);
    await seat(page, seats[0]!.seatNumber).click();
    await page.getByLabel('Name').fill('Alice');
    await page.getByLabel('E-mail').fill('paused@example.com');
    const paused = await network.respond('POST /ticket-bookings', {
      status: 503,
      headers: { 'Retry-After': '1' },
      body: {
        type: 'urn:x',
        status: 503,
        code: 'intake-paused',
        title: 'Bookings are paused',
        detail: 'Bookings are paused.',
      },
    });
    await order(page).getByRole('button', { name: /^Book/ }).click();
    await page.getByText('The organisers have paused the sale').waitFor();
    await paused.stop();
    await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
    assert.equal(await database.countSales(id), 1);
  },
);

scenario('a response from the cache does not set the clock back', async ({ open, admin, context }) => {
  const { id, seats } = await admin.createConcert({ salesOpenAt: admin.moment(100) });
  const first = await open(`/c/${id}`);
  await seat(first, seats[0]!.seatNumber).waitFor();
  await first.close();
  // As if the layout had been stored two hours ago.
  await context.route((url) => url.pathname.includes('/layouts/'), async (route) => {
    const response = await route.fetch();
    const headers = { ...response.headers(), date: new Date(Date.now() - 7_200_000).toUTCString() };
    await route.fulfill({ response, headers });
  });
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).waitFor();
  // What is shown is from before the layout was loaded.
  const timer = page.getByRole('timer');
  const before = await timer.innerText();
  await eventually(async () => assert.notEqual(await timer.innerText(), before));
  assert.match(await timer.innerText(), /The sale opens in 0[01]:/);
});

scenario(
  'a change of the catalogue leaves the seats, the focus and what is open as they are',
  async ({ open, admin }) => {
    const { id, seats, tiers } = await admin.createConcert();
    const page = await open(`/c/${id}`);
    const one = seat(page, seats[0]!.seatNumber);
    await one.focus();
    const element = await one.elementHandle();
    await admin.changePrice(tiers[0]!, '11.00');
    await page.getByRole('button', { name: /^Seat .*11\.00, free$/ }).first().waitFor();
    assert.ok(await element!.evaluate((element) => element.isConnected && element === document.activeElement));
  },
);

scenario('while nothing happens, nothing is made anew', async ({ open, admin }) => {
  const { id, seats } = await admin.createConcert();
  const page = await open(`/c/${id}`);
  await seat(page, seats[0]!.seatNumber).click();
  const changes = await page.evaluate(() =>
    new Promise<number>((resolve) => {
      let changes = 0;
      new MutationObserver((records) => {
        changes += records.length;
      }).observe(document.getElementById('app')!, {
        subtree: true,
        childList: true,
        attributes: true,
        characterData: true,
      });
      setTimeout(() => resolve(changes), 2000);
    })
  );
  assert.ok(changes < 10, `${changes} changes of the document`);
});
