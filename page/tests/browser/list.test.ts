// The list of concerts.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from './support/eventually.ts';
import { assertNoHorizontalScroll } from './support/page_checks.ts';
import { PHONE, scenario } from './support/scenario.ts';

const DAY = 86_400;

scenario('without a concert, the list says so', async ({ open, network }) => {
  // Other scenarios have created some.
  await network.intercept('GET /', async (route) => {
    const response = await route.fetch();
    const html = (await response.text()).replace(/"concerts":\[.*?\],"isList"/, '"concerts":[],"isList"');
    await route.fulfill({ response, body: html });
  });
  const page = await open('/');
  await page.getByText('No concert is on sale at the moment').waitFor();
  assert.equal(await page.getByRole('listitem').count(), 0);
});

scenario('each concert shows its date, its tiers with price and what is left', async ({ open, admin }) => {
  const { title } = await admin.createConcert({
    timeZone: 'Asia/Kathmandu',
    tiers: [
      { type: 'Balcony', price: '5.50', seats: [{ section: 'balcony', rows: 1, seatsPerRow: 20 }] },
      { type: 'Front', price: '99.00', seats: [{ section: 'front', rows: 1, seatsPerRow: 10 }] },
    ],
  });
  const page = await open('/');
  const card = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: title }) });
  const tiers = await card.getByRole('listitem').allInnerTexts();
  assert.deepEqual(tiers.map((text) => text.split(/\s*\n\s*/)), [['Front', '10 left', '99.00'], [
    'Balcony',
    '20 left',
    '5.50',
  ]]);
});

scenario('badges say whether a concert can be booked', async ({ open, admin }) => {
  const soon = await admin.createConcert({ salesOpenAt: admin.moment(DAY) });
  const closed = await admin.createConcert({ salesCloseAt: admin.moment(-1) });
  const few = await admin.createConcert();
  await admin.sellToAnother(few.seats.slice(0, 10).map(({ id }) => id));
  await admin.sellToAnother(few.seats.slice(10, 19).map(({ id }) => id));
  const soldOut = await admin.createConcert({
    tiers: [{ type: 'One', price: '1', seats: [{ section: 'a', rows: 1, seatsPerRow: 1 }] }],
  });
  await admin.sellToAnother([soldOut.seats[0]!.id]);
  const page = await open('/');
  const card = (title: string) => page.getByRole('link', { name: title });
  await card(soon.title).getByText(/^On sale from /).waitFor();
  await card(closed.title).getByText('Sale closed').waitFor();
  await card(few.title).getByText('Only 1 seat left').waitFor();
  await card(soldOut.title).getByText('Sold out', { exact: true }).waitFor();
  // What can be booked comes first.
  const titles = await page.getByRole('heading', { level: 2 }).allInnerTexts();
  assert.ok(titles.indexOf(few.title) < titles.indexOf(soldOut.title), titles.join());
});

scenario(
  'a picture that does not load leaves the first letter of the title',
  async ({ open, admin, expectProblem }) => {
    const { id, title } = await admin.createConcert({
      title: `👩‍🎤 Broken ${randomUUID()}`, // Several code points that a reader sees as one letter.
      image: admin.BROKEN_PICTURE_URL,
    });
    expectProblem(/status of 404 .*missing\.jpg/);
    try {
      const page = await open('/');
      const card = page.getByRole('link', { name: title });
      await card.scrollIntoViewIfNeeded();
      await card.locator('img.broken').waitFor({ state: 'attached' });
      assert.equal(await card.locator('img').isVisible(), false);
      assert.equal(await card.locator('.poster').innerText(), '👩‍🎤');
    } finally {
      // Other scenarios load the list, too.
      await admin.deleteConcert(id);
    }
  },
);

scenario(
  'a concert of tonight is listed wherever the visitor is',
  { device: { timezoneId: 'America/Los_Angeles' } },
  async ({ open, admin }) => {
    const today = new Date().toISOString().slice(0, 10);
    const { title } = await admin.createConcert({ date: today, time: '23:59' });
    const page = await open('/');
    await page.getByRole('link', { name: title }).waitFor();
  },
);

scenario('a thousand past concerts do not empty the list', async ({ open, admin, database }) => {
  const { id, title } = await admin.createConcert();
  await database.query(`INSERT INTO concerts (id, title, artist, date, time, venue, city, image)
    SELECT gen_random_uuid(), 'Past ' || n, 'The Past', '2001-01-01', '19:00', 'Arena', 'Kathmandu', 'https://example.com/x.jpg'
    FROM generate_series(1, 1000) n`);
  try {
    const page = await open('/');
    await page.locator(`a[href="/c/${id}"]`, { hasText: title }).waitFor();
    assert.equal(await page.getByText('Past 1', { exact: true }).count(), 0);
  } finally {
    await database.query("DELETE FROM concerts WHERE date = '2001-01-01'");
  }
});

scenario(
  'sixty concerts are all listed, the next one first, on a phone',
  { device: { viewport: PHONE } },
  async ({ open, admin, database }) => {
    await database.query(`INSERT INTO concerts (id, title, artist, date, time, venue, city, image)
      SELECT gen_random_uuid(), 'Season ' || n, 'The Many', DATE '2101-01-01' + n, '19:00', 'Arena', 'Kathmandu',
             '${admin.POSTER_URL}'
      FROM generate_series(1, 60) n`);
    try {
      const page = await open('/');
      const season = page.getByRole('heading', { level: 2, name: /^Season / });
      await season.first().waitFor();
      const titles = await season.allInnerTexts();
      assert.deepEqual(titles, Array.from({ length: 60 }, (_, n) => `Season ${n + 1}`));
      await assertNoHorizontalScroll(page);
    } finally {
      await database.query("DELETE FROM concerts WHERE artist = 'The Many'");
    }
  },
);

scenario(
  'while the database is away, the list says so, shows that it loads, and recovers',
  async ({ open, admin, network, expectProblem }) => {
    const { title } = await admin.createConcert();
    expectProblem(/status of 503/);
    // The document without data is what the api sends then.
    await network.intercept('GET /', async (route) => {
      const response = await route.fetch();
      const html = (await response.text()).replace(/<script type="application\/json" id="data">.*?<\/script>/, '');
      await route.fulfill({ response, status: 503, body: html });
    }, 1);
    const down = await network.unavailable('GET /concerts', 1);
    const page = await open('/');
    await page.getByText('Loading the concerts').waitFor({ state: 'attached' });
    await page.getByText('The queue is full.').waitFor();
    await page.getByText(/Trying again/).waitFor();
    await down.stop();
    await page.getByRole('link', { name: title }).waitFor();
    await page.getByText('The queue is full.').waitFor({ state: 'detached' });
  },
);

scenario('names with markup stay text', async ({ open, admin }) => {
  const title = `</script><img src=x onerror=alert(1)> <b>Night</b> ${randomUUID()}`;
  const { id } = await admin.createConcert({
    title,
    artist: '"><script>alert(2)</script>',
    description: '<!-- <script>\nSecond line',
  });
  for (const path of ['/', `/c/${id}`]) {
    const page = await open(path);
    await page.getByRole('heading', { name: title }).waitFor();
    assert.equal(await page.locator('img[src="x"], b').count(), 0);
  }
});

scenario('addresses of earlier versions and unknown ones lead somewhere', async ({ open, admin, expectProblem }) => {
  const { id, title } = await admin.createConcert();
  const page = await open(`/#concert=${id}`);
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/c/${id}`);
  for (const path of ['/c/00000000-0000-4000-8000-000000000000', '/c/nonsense']) {
    expectProblem(/status of (404|422)/);
    const missing = await open(path);
    await missing.getByRole('heading', { level: 1, name: 'There is no such concert' }).waitFor();
    await eventually(async () => assert.match(await missing.title(), /^Not found/));
    await missing.getByRole('link', { name: 'See all concerts' }).click();
    await missing.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  }
});

scenario('going back shows what was there before', async ({ open, admin }) => {
  const { title } = await admin.createConcert();
  const page = await open('/');
  await page.getByRole('link', { name: title }).click();
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1');
  await page.goBack();
  await page.getByRole('heading', { level: 1, name: 'Concerts' }).waitFor();
  await page.goForward();
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
});
