// The list of concerts: those to come, with their tiers and whether they can be booked.

import { html, nothing, type TemplateResult } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';

import type { Concert, TicketTier } from '../api/types.ts';
import { concertTime, count, moment } from '../model/format.ts';
import { cents, money } from '../model/money.ts';
import { hasBegun, type SaleState, saleState, seatsOfTiers } from '../model/sale.ts';
import type { App } from '../state/app.ts';
import type { ListPage } from '../state/list_page.ts';
import { paths } from '../state/router.ts';
import { link } from './link.ts';
import { poster } from './poster.ts';
import { retryNotice } from './retry_notice.ts';

const TIERS_SHOWN = 4;

export function listView(app: App, page: ListPage): TemplateResult {
  const { listed, concerts } = app.catalogue;
  const now = app.roughlyNow.value;
  const coming = listed.value?.map((id) => concerts.value.get(id)).filter((concert) => concert !== undefined)
    .filter((concert) => !hasBegun(concert, now));
  return html`
    <section class="welcome">
      <p lang="ne" class="tagline">स्वागत छ! तपाईंको सिट, तपाईंको साँझ।</p>
      <h1 tabindex="-1">Concerts</h1>
      <p class="muted">Choose your seats on the map. The queue is fair: first come, first served.</p>
    </section>
    ${page.retryNotice.value
      ? retryNotice(page.retryNotice.value, app.deviceNow.value, coming ? 'What you see may be out of date.' : '')
      : nothing}
    ${coming === undefined
      ? skeletons()
      : coming.length === 0
      ? html`<p class="card">No concert is on sale at the moment. Come back soon.</p>`
      : html`<ul class="concerts">
          ${repeat(ordered(app, coming), ({ id }) => id, (concert) => html`<li>${card(app, concert)}</li>`)}
        </ul>`}
  `;
}

/** What can be booked comes before what is sold out or closed; otherwise the next one first, as the API lists them. */
function ordered(app: App, concerts: Concert[]): Concert[] {
  const isOver = (concert: Concert) => ['sold-out', 'closed'].includes(stateOf(app, concert));
  return [...concerts.filter((concert) => !isOver(concert)), ...concerts.filter(isOver)];
}

const stateOf = (app: App, concert: Concert): SaleState =>
  saleState(concert, seatsOfTiers(app.catalogue.tiersOf(concert.id)), app.roughlyNow.value);

function card(app: App, concert: Concert): TemplateResult {
  const tiers = app.catalogue.tiersOf(concert.id).sort((a, b) => cents(b.price) - cents(a.price));
  const state = stateOf(app, concert);
  return link(
    app,
    paths.concert(concert.id),
    html`
      ${poster(concert, 'card')}
      ${badge(state, concert, seatsOfTiers(tiers).available)}
      <h2>${concert.title}</h2>
      <p>${concert.artist}</p>
      <p class="muted"><time datetime="${concert.date}T${concert.time}">${concertTime(concert)}</time></p>
      <p class="muted">${concert.venue}, ${concert.city}</p>
      ${tiers.length > 0
        ? html`<ul class="tiers small">
      ${tiers.slice(0, TIERS_SHOWN).map((tier) => tierLine(app, tier))}
      ${
          tiers.length > TIERS_SHOWN
            ? html`<li class="muted">and ${count(tiers.length - TIERS_SHOWN, 'more price')}</li>`
            : nothing
        }
    </ul>`
        : nothing}
    `,
    'card concert',
  );
}

function tierLine(app: App, tier: TicketTier): TemplateResult {
  return html`
    <li>
      <span>${app.catalogue.tierName(tier.id)}</span>
      <span class="muted">${tier.available > 0 ? `${tier.available.toLocaleString('en-GB')} left` : 'sold out'}</span>
      <span class="sum">${money(cents(tier.price))}</span>
    </li>
  `;
}

/** A word about the sale, if there is anything to say. `available` seats are free. */
export function badge(state: SaleState, concert: Concert, available: number): TemplateResult | typeof nothing {
  const text: Record<SaleState, string> = {
    'open': '',
    'not-open': concert.salesOpenAt ? `On sale from ${moment(concert.salesOpenAt, 'medium')}` : 'Not on sale yet',
    'few-left': `Only ${count(available, 'seat')} left`,
    'sold-out': 'Sold out',
    'closed': 'Sale closed',
    'no-seats': 'Seats are announced soon',
  };
  return text[state] ? html`<p class="badge ${state}">${text[state]}</p>` : nothing;
}

function skeletons(): TemplateResult {
  return html`
    <p class="visually-hidden" role="status">Loading the concerts…</p>
    <ul class="concerts" aria-hidden="true">
          ${[1, 2, 3].map(() =>
            html`
              <li>
                <div class="card concert skeleton">
                  <div class="poster card"></div>
                  <p></p>
                  <p></p>
                  <p></p>
                </div>
              </li>
            `
          )}
        </ul>
  `;
}
