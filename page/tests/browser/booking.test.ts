// From the choice of seats to the receipt: nothing is booked or charged that was not asked for.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { eventually } from './support/eventually.ts';
import { problem } from './support/network.ts';
import { assertInView } from './support/page_checks.ts';
import { LAPTOP, PHONE, type Scenario, scenario } from './support/scenario.ts';
import { assertSelectionErrorInView } from './support/selection_error.ts';

const seat = (page: Page, number: string) => page.getByRole('button', { name: new RegExp(`^Seat ${number}, `) });
const bookButton = (page: Page) => page.locator('#order .foot').getByRole('button', { name: /^Book/ });
const ticketOf = (page: Page) => new URL(page.url()).pathname.replace('/t/', '');

/** Fills the form, with an address that nobody else has. */
async function fillIn(page: Page): Promise<string> {
  const userEmail = `${randomUUID()}@example.com`;
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill(userEmail);
  return userEmail;
}

async function openConcert({ open, admin }: Scenario, tiers?: Parameters<typeof admin.createConcert>[0]) {
  const concert = await admin.createConcert(tiers);
  const page = await open(`/c/${concert.id}`);
  await seat(page, concert.seats[0]!.seatNumber).waitFor();
  return { concert, page, numbers: concert.seats.map(({ seatNumber }) => seatNumber) };
}

scenario('totals are exact to the cent, and at most ten seats can be chosen', async (tools) => {
  const { page, numbers } = await openConcert(tools, {
    tiers: [{ type: 'Cheap', price: '0.10', seats: [{ section: 'hall', rows: 1, seatsPerRow: 20 }] }],
  });
  for (const number of numbers.slice(0, 3)) await seat(page, number).click();
  await page.getByRole('status').filter({ hasText: 'Total: 3 seats · 0.30' }).waitFor();
  for (const number of numbers.slice(3, 11)) await seat(page, number).click();
  await page.getByRole('alert').filter({ hasText: 'at most 10 seats' }).waitFor();
  await page.getByRole('button', { name: 'Book 10 seats for 1.00' }).waitFor();
  await page.getByRole('button', { name: `Remove seat ${numbers[0]}`, exact: true }).click();
  await page.getByRole('button', { name: 'Book 9 seats for 0.90' }).waitFor();
});

scenario('the limit of seats is that of the api', async ({ open, admin, network }) => {
  const { id, seats } = await admin.createConcert();
  await network.intercept('GET /c/*', async (route) => {
    const response = await route.fetch();
    const html = (await response.text()).replace(/"maxSeats":\d+/, '"maxSeats":2');
    await route.fulfill({ response, body: html });
  });
  const page = await open(`/c/${id}`);
  await page.getByText('Up to 2 seats at once.').waitFor();
  for (const { seatNumber } of seats.slice(0, 3)) await seat(page, seatNumber).click();
  await page.getByRole('alert').filter({ hasText: 'at most 2 seats' }).waitFor();
  await page.getByRole('button', { name: 'Book 2 seats for 20.00' }).waitFor();
});

scenario('with ten seats chosen, Book is in view on a laptop', async (tools) => {
  const { page, numbers } = await openConcert(tools);
  for (const number of numbers.slice(0, 10)) await seat(page, number).click();
  assert.deepEqual(page.viewportSize(), LAPTOP);
  await assertInView(bookButton(page));
  await seat(page, numbers[10]!).click();
  await assertInView(page.locator('#order').getByRole('alert').filter({ hasText: 'at most 10' }));
  await assertInView(bookButton(page));
});

scenario(
  'on a phone, Continue and Book can be reached, and an error message is in view',
  { device: { viewport: PHONE } },
  async (tools) => {
    // So many that the form is out of view while they are chosen.
    const { page, numbers } = await openConcert(tools, {
      tiers: [{ type: 'Standard', price: '10.00', seats: [{ section: 'hall', rows: 20, seatsPerRow: 10 }] }],
    });
    for (const number of numbers.slice(0, 10)) await seat(page, number).click();
    await seat(page, numbers[10]!).click();
    await assertSelectionErrorInView(page, 'at most 10 seats');
    await page.getByRole('button', { name: 'Continue' }).click();
    await assertInView(page.getByLabel('Name'));
    await assertInView(bookButton(page));
    // With ten seats, the form is higher than the window.
    await page.locator('#order-title').evaluate((title) => title.scrollIntoView());
    await assertInView(bookButton(page));
  },
);

scenario('the receipt survives a reload, a second window, going back, and a second booking', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  const first = page.url();
  await page.getByRole('row', { name: /Total 10\.00/ }).waitFor();
  await page.getByText(concert.title).first().waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await page.getByRole('link', { name: 'Book more seats' }).click();
  await seat(page, numbers[1]!).click();
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.notEqual(page.url(), first);
  await page.goBack();
  await page.goBack();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.equal(page.url(), first);
  await page.getByRole('link', { name: 'My tickets' }).click();
  assert.equal(await page.getByRole('link', { name: concert.title }).count(), 2);
  const other = await tools.open(new URL(first).pathname);
  await other.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
});

scenario('pressing Book twice books once', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  const userEmail = await fillIn(page);
  // Otherwise the form may be gone before the second press. The button moves after the first one, so a pointer would miss it.
  const held = await tools.network.hold('POST /ticket-bookings');
  await bookButton(page).evaluate((button: HTMLElement) => {
    button.click();
    button.click();
  });
  await held.arrived;
  await held.release();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.equal(new Set(held.requests.map((request) => request.headers()['idempotency-key'])).size, 1);
  assert.equal(await tools.database.countSales(concert.id), 1);
  assert.equal(await tools.database.countBookings(userEmail), 1);
});

scenario('a request that is lost, refused or limited is sent again, and books once', async (tools) => {
  const faults: Record<string, (network: Scenario['network']) => Promise<unknown>> = {
    'before it arrives': (network) => network.loseRequest('POST /ticket-bookings'),
    'after it was accepted': (network) => network.loseResponse('POST /ticket-bookings'),
    'by a full queue': (network) => network.unavailable('POST /ticket-bookings', 1, 1),
    'by a limit': (network) => network.tooManyRequests('POST /ticket-bookings', 1, 1),
  };
  await Promise.all(
    Object.entries(faults).map(async ([name, fault]) => {
      const { open, network } = await tools.anotherDevice();
      const { concert, page, numbers } = await openConcert({ ...tools, open });
      await seat(page, numbers[0]!).click();
      await fillIn(page);
      await fault(network);
      await bookButton(page).click();
      await page.getByText(/Trying again|Your booking is in the queue|Your seats are booked/).first().waitFor();
      await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
      assert.equal(await tools.database.countSales(concert.id), 1, name);
    }),
  );
});

scenario('without a network, the booking is sent once it is back', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await tools.network.offline();
  await bookButton(page).click();
  await page.getByText('Hamro Concert cannot be reached').first().waitFor();
  await tools.network.online();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor({ timeout: 20_000 });
  assert.equal(await tools.database.countSales(concert.id), 1);
});

scenario('leaving and returning sends nothing, and asks', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  const full = await tools.network.unavailable('POST /ticket-bookings', 1);
  await bookButton(page).click();
  await page.getByText('Very many people are booking right now').waitFor();
  await page.getByRole('link', { name: '← All concerts' }).click();
  await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  await full.stop();
  const posts = await tools.network.intercept('POST /ticket-bookings', (route) => route.fallback());
  await page.getByRole('link', { name: concert.title }).click();
  await page.getByText(`You had begun to book seat ${numbers[0]}.`).waitFor();
  await seat(page, numbers[1]!).waitFor();
  assert.equal(posts.requests.length, 0);
  assert.equal(await tools.database.countSales(concert.id), 0);
  // A fresh window by a link is no reload either.
  await page.goto('/');
  await page.goto(`/c/${concert.id}`);
  await page.getByText(`You had begun to book seat ${numbers[0]}.`).waitFor();
  assert.equal(posts.requests.length, 0);
  await page.getByRole('button', { name: 'Forget it' }).click();
  await page.getByText('You had begun').waitFor({ state: 'detached' });
  assert.equal(posts.requests.length, 0);
});

scenario('whoever goes to another address while sending, and comes back, is asked', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  const full = await tools.network.unavailable('POST /ticket-bookings', 30);
  await bookButton(page).click();
  await page.getByText('Very many people are booking right now').waitFor();
  await page.goto('/');
  await full.stop();
  const posts = await tools.network.intercept('POST /ticket-bookings', (route) => route.fallback());
  await page.goto(`/c/${concert.id}`);
  await page.getByText(`You had begun to book seat ${numbers[0]}.`).waitFor();
  await seat(page, numbers[1]!).waitFor();
  assert.equal(posts.requests.length, 0);
});

scenario(
  'a booking of unknown outcome is remembered while another concert is booked, and its seats are not told as lost',
  async (tools) => {
    const { concert, page, numbers } = await openConcert(tools);
    const other = await tools.admin.createConcert();
    await seat(page, numbers[0]!).click();
    await fillIn(page);
    const lost = await tools.network.loseResponse('POST /ticket-bookings', Infinity);
    await bookButton(page).click();
    await page.getByText('Hamro Concert cannot be reached').first().waitFor();
    await page.getByRole('link', { name: '← All concerts' }).click();
    await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
    await lost.stop();
    await page.goto(`/c/${other.id}`);
    await seat(page, other.seats[0]!.seatNumber).click();
    await bookButton(page).click();
    await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
    await eventually(async () => assert.equal(await tools.database.countSales(concert.id), 1));
    await page.goto(`/c/${concert.id}`);
    await page.getByText(`You had begun to book seat ${numbers[0]}.`).waitFor();
    await page.getByRole('button', { name: `Remove seat ${numbers[0]}`, exact: true }).waitFor();
    assert.equal(await page.getByText('went to another buyer').count(), 0);
    await page.getByRole('button', { name: `Book seat ${numbers[0]} for 10.00` }).click();
    await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
    assert.equal(await tools.database.countSales(concert.id), 1);
  },
);

scenario(
  'with ten seats chosen, what becomes of the booking is in view, and the focus stays in the form',
  async (tools) => {
    const { page, numbers } = await openConcert(tools);
    for (const number of numbers.slice(0, 10)) await seat(page, number).click();
    await fillIn(page);
    await tools.network.unavailable('POST /ticket-bookings', 30);
    await bookButton(page).click();
    const focus = () => page.evaluate(() => document.activeElement?.id);
    await page.getByText('Very many people are booking right now').waitFor();
    await eventually(() => assertInView(page.getByText('Very many people are booking right now')));
    await eventually(async () => assert.equal(await focus(), 'order-title'));
    await page.getByRole('button', { name: 'Stop' }).press('Enter');
    await eventually(() => assertInView(page.getByText('We stopped trying.')));
    await eventually(async () => assert.equal(await focus(), 'order-title'));
    await page.getByRole('button', { name: 'Forget it' }).press('Enter');
    await eventually(async () => assert.equal(await focus(), 'order-title'));
  },
);

scenario('a reload while sending goes on with the same key', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  const userEmail = await fillIn(page);
  await tools.network.loseResponse('POST /ticket-bookings');
  await bookButton(page).click();
  await eventually(async () => assert.equal(await tools.database.countSales(concert.id), 1));
  const posts = await tools.network.intercept('POST /ticket-bookings', (route) => route.fallback());
  await page.reload();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.ok(posts.requests.length <= 1);
  assert.equal(await tools.database.countSales(concert.id), 1);
  assert.ok(await tools.database.countBookings(userEmail) >= 1);
});

scenario('another price than the one shown is never charged', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await page.getByRole('button', { name: 'Book 1 seat for 10.00' }).waitFor();
  // The page does not learn of the new price before the request is sent.
  const held = await tools.network.hold('POST /ticket-bookings');
  await bookButton(page).click();
  await held.arrived;
  await tools.admin.changePrice(concert.tiers[0]!, '99.00');
  await held.release();
  await page.getByRole('heading', { name: 'Your seats were not booked' }).waitFor();
  await page.getByText('cost 99.00 now, not 10.00').waitFor();
  assert.equal(await tools.database.countSales(concert.id), 0);
  await page.getByRole('link', { name: 'See the new price' }).click();
  await page.getByRole('button', { name: 'Book 1 seat for 99.00' }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.deepEqual(await tools.database.chargedPrices(ticketOf(page)), ['99.00']);
});

scenario('an open page shows the old and the new price, and asks', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await tools.admin.changePrice(concert.tiers[0]!, '99.00');
  const note = page.getByRole('alert').filter({ hasText: 'The price has changed' });
  await note.getByText('10.00').waitFor();
  await note.getByText('99.00').first().waitFor();
  assert.equal(await bookButton(page).isEnabled(), false);
  await page.getByRole('button', { name: 'Accept the new price' }).click();
  await page.getByRole('button', { name: 'Book 1 seat for 99.00' }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.deepEqual(await tools.database.chargedPrices(ticketOf(page)), ['99.00']);
});

scenario('a price that changes while the booking is sent is asked about if it comes back', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await tools.network.unavailable('POST /ticket-bookings', 30);
  await bookButton(page).click();
  await page.getByText('Very many people are booking right now').waitFor();
  await tools.admin.changePrice(concert.tiers[0]!, '99.00');
  await page.getByRole('button', { name: new RegExp(`^Seat ${numbers[1]}, .*99\\.00`) }).waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('button', { name: 'Forget it' }).click();
  const note = page.getByRole('alert').filter({ hasText: 'The price has changed' });
  await eventually(() => assertInView(note.getByText('10.00')));
  assert.equal(await bookButton(page).isEnabled(), false);
});

scenario('an error beside its field goes when it is corrected', async (tools) => {
  const { page, numbers } = await openConcert(tools);
  const posts = await tools.network.intercept('POST /ticket-bookings', (route) => route.fallback());
  await bookButton(page).click();
  await page.getByRole('alert').filter({ hasText: 'Choose a seat first.' }).waitFor();
  await seat(page, numbers[0]!).click();
  await bookButton(page).click();
  await page.getByText('Your name is missing.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'userName');
  await page.getByLabel('Name').fill('Alice');
  await page.getByText('Your name is missing.').waitFor({ state: 'detached' });
  await page.getByLabel('E-mail').fill('alice');
  await bookButton(page).click();
  await page.getByText('Your e-mail is not complete').waitFor();
  assert.equal(posts.requests.length, 0);
});

scenario('what only the api refuses is shown beside its field', async (tools) => {
  const { page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  tools.expectProblem(/status of 422/);
  await page.getByLabel('Name').fill('A\u200b\u0007lice');
  await bookButton(page).click();
  await page.getByText(/^Your name /).waitFor();
  await page.getByText('Correct what is marked below.').waitFor();
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement?.id), 'userName'));
  await page.getByLabel('Name').fill('Alice');
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
});

scenario('whoever has stopped, or was asked, is asked again after a reload', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  const userEmail = await fillIn(page);
  await tools.network.unavailable('POST /ticket-bookings', 30, 1);
  await bookButton(page).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('We stopped trying.').waitFor();
  assert.equal(await bookButton(page).isEnabled(), false, 'another booking may be sent beside it');
  const posts = await tools.network.intercept('POST /ticket-bookings', (route) => route.fallback());
  for (let reload = 0; reload < 2; reload += 1) {
    await page.reload();
    await page.getByText(`You had begun to book seat ${numbers[0]}.`).waitFor();
    await seat(page, numbers[1]!).waitFor();
  }
  assert.equal(posts.requests.length, 0);
  await page.getByRole('button', { name: `Book seat ${numbers[0]} for 10.00` }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.equal(await tools.database.countSales(concert.id), 1);
  assert.equal(await tools.database.countBookings(userEmail), 1);
});

scenario('seats that are known to be sold are refused at once, and the rest of the choice stays', async (tools) => {
  const { page, numbers, concert } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await seat(page, numbers[1]!).click();
  await fillIn(page);
  const taken = concert.seats[0]!;
  await tools.network.respond('POST /ticket-bookings', {
    status: 409,
    body: {
      ...problem(409, 'seats-taken', 'Seats are taken', `Seat ${taken.seatNumber} is already taken.`),
      seatIds: [taken.id],
      seats: [{ id: taken.id, section: taken.section, row: taken.row, seatNumber: taken.seatNumber }],
    },
  }, 1);
  await bookButton(page).click();
  await page.getByRole('alert').filter({ hasText: 'Nothing was booked.' }).waitFor();
  await page.getByRole('button', { name: new RegExp(`^Seat ${numbers[0]}, .*taken$`) }).waitFor();
  await page.getByRole('button', { name: 'Book 1 seat for 10.00' }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
});

scenario('an error page of a proxy says nothing about the booking, which keeps its key', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  tools.expectProblem(/status of 403/);
  // The api has accepted the booking, but its response does not arrive.
  await tools.network.intercept('POST /ticket-bookings', async (route) => {
    await route.fetch();
    await route.fulfill({ status: 403, contentType: 'text/html', body: '<h1>Forbidden</h1>' });
  }, 1);
  await bookButton(page).click();
  await page.getByText('There was no proper response.').waitFor();
  await page.getByRole('button', { name: `Book seat ${numbers[0]} for 10.00` }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.equal(await tools.database.countSales(concert.id), 1);
});

scenario('my tickets learn the outcome of those that were left waiting', async (tools) => {
  const { page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  tools.workers.pause();
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  await page.getByRole('link', { name: 'My tickets (1 waiting)' }).click();
  await page.getByText('Waiting', { exact: true }).waitFor();
  tools.workers.resume();
  await page.getByText('Booked', { exact: true }).waitFor({ timeout: 15_000 });
  await page.getByRole('link', { name: 'My tickets', exact: true }).waitFor();
});

scenario('my tickets say which seats were taken back, and which tickets are no longer known', async (tools) => {
  const { concert, page, numbers } = await openConcert(tools);
  await seat(page, numbers[0]!).click();
  await fillIn(page);
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await tools.admin.releaseSeats({ ticketId: ticketOf(page) }, [concert.seats[0]!.id]);
  await page.reload();
  await page.getByRole('heading', { name: 'The organiser has taken your seats back' }).waitFor();
  tools.workers.pause();
  await page.getByRole('link', { name: 'Book more seats' }).click();
  await seat(page, numbers[1]!).click();
  await bookButton(page).click();
  await page.getByRole('heading', { name: 'Your booking is in the queue' }).waitFor();
  await tools.network.respond('GET /ticket-bookings/*', {
    status: 404,
    body: problem(404, 'not-found', 'There is no such ticket', 'It may have been deleted.'),
  });
  await page.getByRole('link', { name: 'My tickets (1 waiting)' }).click();
  await page.getByText('Taken back', { exact: true }).waitFor();
  await page.getByText('No longer known', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'My tickets', exact: true }).waitFor();
  tools.workers.resume();
  // The second press of a double click removes nothing.
  await page.getByRole('button', { name: /^Remove/ }).first().dblclick();
  await page.getByText('No longer known', { exact: true }).waitFor({ state: 'detached' });
  await page.getByText('Taken back', { exact: true }).waitFor();
});
