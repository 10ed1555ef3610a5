// The shortest way through the booking page: the list of concerts, choosing a seat, booking it, the receipt.

import assert from 'node:assert/strict';
import { scenario } from './support/scenario.ts';

scenario('the list shows a concert', async ({ open, admin }) => {
  const concert = await admin.createConcert();
  const page = await open('/');
  await page.getByRole('link', { name: concert.title }).waitFor();
});

scenario('a seat can be chosen and booked, and the receipt shows', async ({ open, admin, database }) => {
  const { id, title } = await admin.createConcert({
    tiers: [{ type: 'VIP', price: '12.50', seats: [{ section: 'front', rows: 2, seatsPerRow: 5 }] }],
  });
  const page = await open('/');
  await page.getByRole('link', { name: title }).click();
  await page.getByRole('heading', { name: title }).waitFor();
  await page.getByRole('button', { name: /F-3\b.*free/ }).click();
  await page.getByRole('button', { name: /F-3\b.*chosen/ }).waitFor();
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill('alice@example.com');
  await page.getByRole('button', { name: 'Book 1 seat for 12.50' }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await page.getByRole('row', { name: /Total.*12\.50/ }).waitFor();
  assert.equal(await database.countSales(id), 1);
  assert.equal(await database.countSoldSeats(id), 1);
});
