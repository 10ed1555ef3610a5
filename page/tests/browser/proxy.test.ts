// The page behind proxies.

import assert from 'node:assert/strict';
import { startProxy } from './support/proxy.ts';
import { scenario } from './support/scenario.ts';

scenario('below a path, a seat can be found and booked', async ({ context, network, admin }) => {
  const { title, seats } = await admin.createConcert();
  const proxy = await startProxy({ path: '/hamro' });
  network.allowOrigin(new URL(proxy.url).origin);
  const page = await context.newPage();
  await page.goto(`${proxy.url}/`);
  await page.getByRole('link', { name: title }).click();
  await page.getByRole('button', { name: new RegExp(`^Seat ${seats[0]!.seatNumber}, `) }).click();
  await page.getByLabel('Name').fill('Alice');
  await page.getByLabel('E-mail').fill('below@example.com');
  await page.locator('#order').getByRole('button', { name: /^Book/ }).click();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  assert.match(page.url(), /\/hamro\/t\//);
  for (let times = 0; times < 2; times += 1) await page.reload();
  await page.getByRole('heading', { name: 'Your seats are booked' }).waitFor();
  await page.getByRole('link', { name: 'Hamro Concert' }).click();
  await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  assert.equal(page.url(), `${proxy.url}/`);
  proxy.close();
});

scenario('below a path, the documentation shows the endpoints', async ({ context, network }) => {
  const proxy = await startProxy({ path: '/hamro' });
  network.allowOrigin(new URL(proxy.url).origin);
  const page = await context.newPage();
  await page.goto(`${proxy.url}/docs/`);
  await page.locator('.opblock').filter({ hasText: 'GET/queue' }).waitFor();
  proxy.close();
});

scenario('two builds behind one balancer serve 200 visits without a failure', { timeout: 160 }, async ({
  context,
  network,
  admin,
}) => {
  const { id, title } = await admin.createConcert();
  const proxy = await startProxy({ twoBuilds: true });
  network.allowOrigin(new URL(proxy.url).origin);
  // Each visit is a first one: a device with a route has no cache.
  await network.intercept('GET /nothing', (route) => route.fallback());
  const visit = async (visits: number) => {
    const page = await context.newPage();
    for (let number = 0; number < visits; number += 1) {
      await page.goto(`${proxy.url}/c/${id}`);
      await page.getByRole('heading', { level: 1, name: title }).waitFor();
      await page.locator('#order').waitFor();
    }
    await page.close();
  };
  await Promise.all([50, 50, 50, 50].map(visit));
  assert.ok(proxy.strayed() > 50, `only ${proxy.strayed()} requests met the other build`);
  proxy.close();
});
