// A concert: what it is, its seats, and the form to book them.

import { html, nothing, type TemplateResult } from 'lit-html';

import type { Concert } from '../api/types.ts';
import { concertTime, countdown, moment } from '../model/format.ts';
import type { App } from '../state/app.ts';
import type { ConcertPage } from '../state/concert_page.ts';
import { paths } from '../state/router.ts';
import { link } from './link.ts';
import { badge } from './list.ts';
import { missingView } from './missing.ts';
import { orderForm } from './order.ts';
import { poster } from './poster.ts';
import { retryNotice } from './retry_notice.ts';
import type { SeatList } from './seat_list.ts';

export function concertView(app: App, page: ConcertPage, seatList: SeatList | null): TemplateResult {
  const failure = page.failure.value;
  if (failure) {
    return page.concert.value
      ? missingView(app, `${page.concert.value.title} is no longer listed`, 'The organiser has removed this concert.')
      : missingView(app, 'There is no such concert', 'It may have been removed, or its address is incomplete.');
  }
  const concert = page.concert.value;
  const hint = 'What you see may be out of date.';
  return html`
    ${retryNotice(page.retryNotice.value ?? page.map.retryNotice.value, app.deviceNow.value, hint)}
    ${concert ? loaded(app, page, concert, seatList) : loading()}
  `;
}

function loaded(app: App, page: ConcertPage, concert: Concert, seatList: SeatList | null): TemplateResult {
  const state = page.sale.value ?? 'open';
  const hasForm = ['open', 'few-left', 'not-open'].includes(state) || page.selection.seats.value.length > 0 ||
    page.booking.phase.value.kind !== 'idle' || page.selection.errorMessage.value !== '';
  return html`
    <article>
      <div class="hero">
          ${poster(concert, 'hero')}
          <div>
            <p class="small">${link(app, paths.list, '← All concerts')}</p>
            <h1 tabindex="-1">${concert.title}</h1>
            <p>${concert.artist}</p>
            <p><time datetime="${concert.date}T${concert.time}">${concertTime(concert)}</time><br>${concert
              .venue}, ${concert.city}</p>
            ${badge(state, concert, page.seats.value.available)}
            ${state === 'not-open'
              ? html`<p class="countdown" role="timer" aria-live="off">
          The sale opens in <strong>${countdown(page.opensIn.value)}</strong></p>`
              : nothing}
            ${state === 'closed'
              ? html`<p>${
                concert.salesCloseAt && Date.parse(concert.salesCloseAt) <= app.now.value
                  ? `The sale closed on ${moment(concert.salesCloseAt)} (your time).`
                  : 'The concert has begun.'
              }</p>`
              : nothing}
            ${concert.description ? html`<p class="description muted">${concert.description}</p>` : nothing}
          </div>
        </div>
      <div class=${hasForm ? 'selection' : 'selection wide'}>
          <section aria-labelledby="map-title" class="map-column">
            <h2 id="map-title" tabindex="-1">${state === 'closed' ? 'Seats' : 'Choose your seats'}</h2>
            <p id="map-help" class="muted small">Up to ${app.settings
              .maxSeats} seats at once.<span class="keyboard-hint"> Keyboard: arrow keys
              move, space chooses.</span></p>
            <p class="key small" aria-hidden="true">
              <span class="seat" data-is="free">1</span>free <span class="seat" data-is="chosen">2</span>your choice
              <span class="seat" data-is="taken">3</span>taken
            </p>
            <p class="stage muted small">Stage</p>
            ${page.map.sections.value === null
              ? html`<p role="status">Loading the seats…</p>`
              : page.map.size === 0
              ? html`<p class="card">This concert has no seats yet.</p>`
              : seatList?.element ?? nothing}
          </section>
          ${hasForm ? orderForm(app, page, state) : nothing}
        </div>
    </article>
  `;
}

const loading = (): TemplateResult =>
  html`
    <p class="visually-hidden" role="status">Loading the concert…</p>
    <div class="hero skeleton" aria-hidden="true">
      <div class="poster hero"></div>
      <div>
        <p></p>
        <p></p>
        <p></p>
      </div>
    </div>
  `;
