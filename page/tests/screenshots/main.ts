// Makes the pictures of the booking page in docs/images/: each view on a laptop, in the dark and on a phone, on one sheet per
// device. Run by `browser-test.sh --screenshots`, on the demo concerts.

import { mkdir } from 'node:fs/promises';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import * as admin from '../browser/support/admin.ts';
import { API_URL, CHROMIUM } from '../browser/support/environment.ts';
import * as workers from '../browser/support/workers.ts';

const DIRECTORY = new URL('../../../docs/images/', import.meta.url).pathname;

const DEVICES: Record<string, BrowserContextOptions> = {
  laptop: { viewport: { width: 1366, height: 768 } },
  dark: { viewport: { width: 1366, height: 768 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
};

interface Concerts {
  open: string;
  soon: string;
  soldOut: string;
}

type Shot = (caption: string) => Promise<void>;

/** Three of the demo concerts: one that is on sale, one that will be in an hour, one that is sold out. */
async function prepare(): Promise<Concerts> {
  const { data: [open, soon, soldOut] } = await admin.request<{ data: admin.Concert[] }>('GET', '/concerts');
  if (!open || !soon || !soldOut) throw new Error('there are no demo concerts: run browser-test.sh --screenshots');
  await admin.request('PUT', '/concerts', { ...soon, salesOpenAt: admin.moment(3600) });
  const { seats } = await admin.request<{ seats: admin.Seat[] }>('GET', `/seats/concert/${soldOut.id}`);
  for (let first = 0; first < seats.length; first += 10) {
    await admin.request('POST', '/ticket-bookings/seats', {
      userName: 'Bob',
      userEmail: `bob${first}@example.com`,
      seatIds: seats.slice(first, first + 10).map(({ id }) => id),
    });
  }
  return { open: open.id, soon: soon.id, soldOut: soldOut.id };
}

/** Bookings that will be ahead in the queue. */
async function queueOthers(concert: string): Promise<void> {
  const seats = await admin.request<admin.Seat[]>('GET', `/seats/concert/${concert}/available`);
  for (const { id } of seats.slice(-8)) {
    await admin.request('POST', '/ticket-bookings', {
      userName: 'Carol',
      userEmail: `carol${id}@example.com`,
      seatIds: [id],
    });
  }
}

async function visit(page: Page, concerts: Concerts, shot: Shot): Promise<void> {
  const map = page.locator('.seat').first();
  await page.goto('/');
  await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  await shot('The list of concerts');
  await page.goto(`/c/${concerts.open}`);
  await map.waitFor();
  for (let seat = 0; seat < 3; seat += 1) {
    await page.locator('.seat[data-is=free][data-id]').first().click();
  }
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill('alice@example.com');
  await page.evaluate('scrollTo(0, 0)');
  await shot('Three seats are chosen');
  workers.pause();
  await queueOthers(concerts.open);
  await page.locator('#order').getByRole('button', { name: /^Book/ }).click();
  await page.getByText('ahead of yours').waitFor();
  await shot('Waiting for the outcome');
  workers.resume();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await shot('The seats are booked');
  await page.goto(`/c/${concerts.soon}`);
  await map.waitFor();
  await shot('Not yet on sale');
  await page.goto(`/c/${concerts.soldOut}`);
  await map.waitFor();
  await shot('Sold out');
}

/** Puts the pictures on one sheet. */
async function makeSheet(browser: Browser, file: string, pictures: [string, Buffer][], columns: number): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1500, height: 100 } });
  const figures = pictures.map(([caption, picture]) =>
    `<figure><img src="data:image/png;base64,${
      picture.toString('base64')
    }"><figcaption>${caption}</figcaption></figure>`
  );
  await page.setContent(`<style>
    body { display: grid; grid-template-columns: repeat(${columns}, 1fr); gap: 16px; margin: 16px; background: #888 }
    figure { margin: 0; font: 16px sans-serif; text-align: center; color: #fff }
    img { width: 100%; display: block; margin-bottom: 4px }
  </style>${figures.join('')}`);
  await page.screenshot({ path: file, fullPage: true });
  await page.close();
}

const concerts = await prepare();
await mkdir(DIRECTORY, { recursive: true });
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
for (const [device, options] of Object.entries(DEVICES)) {
  const context = await browser.newContext({
    baseURL: API_URL,
    locale: 'en-GB',
    timezoneId: 'Asia/Kathmandu',
    ...options,
  });
  const page = await context.newPage();
  const pictures: [string, Buffer][] = [];
  await visit(page, concerts, async (caption) => {
    // Transitions and pictures have ended.
    await page.waitForLoadState('networkidle', { timeout: 3000 }).catch(() => {});
    pictures.push([caption, await page.screenshot({ animations: 'disabled' })]);
  });
  await makeSheet(browser, `${DIRECTORY}page-${device}.png`, pictures, device === 'phone' ? 6 : 2);
  await context.close();
}
await browser.close();
