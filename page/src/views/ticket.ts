// A ticket: the wait in the queue, then the outcome.

import { html, nothing, type TemplateResult } from 'lit-html';

import type { Booking, Problem, SeatLabel, TicketStatus } from '../api/types.ts';
import { concertTime, count, list, lowerFirst, moment, roughly } from '../model/format.ts';
import { cents, money, sum } from '../model/money.ts';
import type { App } from '../state/app.ts';
import { paths } from '../state/router.ts';
import type { TicketPage } from '../state/ticket_page.ts';
import { isFinal } from '../state/ticket_status.ts';
import { link } from './link.ts';
import { missingView } from './missing.ts';
import { retryText } from './retry_notice.ts';

/** When a wait has taken so many times the estimate, the page says so. */
const LATE = 3;

export function ticketView(app: App, page: TicketPage): TemplateResult {
  const problem = page.follower.failure.value;
  if (problem) return missingView(app, problem.title, 'Check the address of your ticket: it may be incomplete.');
  const status = page.follower.status.value;
  if (status === null || !isFinal(status)) return waiting(app, page, status);
  return status.booking ? receipt(app, page, status.booking) : rejection(app, page, status);
}

/** A short text for the title of the window. */
export function ticketTitle(app: App, page: TicketPage): string {
  if (page.follower.failure.value) return 'Ticket not found';
  const status = page.follower.status.value;
  if (status === null) return 'Your booking';
  if (status.booking) return `✓ Booked: ${titleOf(app, page)}`;
  if (isFinal(status)) return `✗ Not booked: ${titleOf(app, page)}`;
  const ahead = status.queue?.ahead;
  return ahead ? `${ahead.toLocaleString('en-GB')} ahead: ${titleOf(app, page)}` : `Waiting: ${titleOf(app, page)}`;
}

const titleOf = (_: App, page: TicketPage): string =>
  page.concert.value?.title ?? page.saved.value?.title ?? 'your booking';

// ---- Waiting -------------------------------------------------------------------------------------------------------
function waiting(app: App, page: TicketPage, status: TicketStatus | null): TemplateResult {
  const { follower, saved } = page;
  const now = app.deviceNow.value;
  const { retryNotice } = follower;
  return html`<section class="card outcome busy" aria-busy="true">
    <h1 tabindex="-1">${status === null ? 'Looking for your booking…' : 'Your booking is in the queue'}</h1>
    ${
    saved.value
      ? html`<p><strong>${saved.value.title}</strong><br>
      ${seatNumbers(saved.value.seats)}${saved.value.total === undefined ? '' : ` · ${money(cents(saved.value.total))}`}
      · for ${saved.value.userName}</p>`
      : nothing
  }
    ${status === null ? nothing : place(app, page, status, now)}
    ${
    retryNotice.value
      ? html`<p role="status">${retryNotice.value.title}. You keep your place in the queue.
      <span aria-hidden="true">${retryText(retryNotice.value.retryAt, now)}</span></p>`
      : nothing
  }
    <p class="muted">You can close or reload this page, and come back to this address. You keep your place.</p>
  </section>`;
}

function place(app: App, page: TicketPage, { queue, submittedAt }: TicketStatus, now: number): TemplateResult {
  const ahead = queue?.ahead;
  const eta = queue?.etaSeconds;
  const waited = Math.max(0, app.now.value - Date.parse(submittedAt)) / 1000;
  const first = page.follower.aheadAtFirst.value;
  // What the first estimates said: later ones grow with the wait.
  const expected = page.follower.expectedAtFirst.value;
  const isLate = waited > LATE * Math.max(expected, 5);
  return html`
    ${ahead == null
      ? html`<p class="ahead">Waiting for your turn</p>`
      : html`<p class="ahead">${
        ahead === 0 ? 'You are next' : html`<strong>${ahead.toLocaleString('en-GB')}</strong>
          ${ahead === 1 ? 'booking' : 'bookings'} ahead of yours`
      }</p>
        ${
        first > 0
          ? html`<progress max=${first} .value=${first - ahead} aria-label="Progress in the queue"></progress>`
          : nothing
      }`}
    <p>${isLate
      ? 'This takes longer than usual. Your place is safe.'
      : eta == null
      ? nothing
      : `It should take ${roughly(eta)}.`}</p>
    <p class="small muted" aria-hidden="true">Waiting for ${elapsed(waited)} · updated
      ${count(Math.max(0, Math.round((now - page.follower.updatedAt.value) / 1000)), 'second')} ago</p>
  `;
}

const elapsed = (seconds: number): string =>
  seconds < 60 ? count(Math.floor(seconds), 'second') : count(Math.floor(seconds / 60), 'minute');

// ---- Confirmed -----------------------------------------------------------------------------------------------------
function receipt(app: App, page: TicketPage, booking: Booking): TemplateResult {
  const concert = page.concert.value;
  const released = new Set(booking.releasedSeatIds ?? []);
  const kept = booking.seats.filter(({ id }) => !released.has(id));
  const gone = booking.seats.filter(({ id }) => released.has(id));
  const total = sum(booking.ticketData.map(({ totalAmount }) => cents(totalAmount)));
  return html`<article class="card outcome ${kept.length > 0 ? 'good' : 'bad'} receipt">
    <h1 tabindex="-1">${kept.length > 0 ? 'Your seats are booked' : 'The organiser has taken your seats back'}</h1>
    <h2>${titleOf(app, page)}</h2>
    ${
    concert
      ? html`<p>${concert.artist}<br>${concertTime(concert)}${concert.timeZone ? ` (${concert.timeZone})` : ''}<br>
      ${concert.venue}, ${concert.city}</p>`
      : nothing
  }
    <ul class="stubs" aria-label="Seats">${kept.map((seat) => stub(seat))}</ul>
    ${
    gone.length > 0
      ? html`<p class="bad-text">The organiser has taken ${lowerFirst(seatNumbers(gone))} back.
      ${gone.length === 1 ? 'It is' : 'They are'} no longer yours.</p>`
      : nothing
  }
    <table>
      <caption class="visually-hidden">What the seats cost</caption>
      <tbody>${
    booking.ticketData.map((line) =>
      html`
        <tr>
          <td>${app.catalogue.tierName(line.ticketTierId)} ${list(line.seatNumbers)}
            <span class="small muted">${line.quantity} × ${money(cents(line.pricePerTicket))}</span></td>
          <td class="sum">${money(cents(line.totalAmount))}</td>
        </tr>
      `
    )
  }
      <tr><th scope="row">Total</th><td class="sum"><strong>${money(total)}</strong></td></tr></tbody>
    </table>
    <p>Booking number <strong>${booking.id}</strong>, for ${booking.userName} (${booking.userEmail}).</p>
    <p class="muted small noprint">This address is your ticket. Anyone who has it can see the ticket, so do not share it.</p>
    <p class="actions noprint">
      <button type="button" class="action" @click=${() => print()}>Print</button>
      ${
    page.concertId.value ? link(app, paths.concert(page.concertId.value), 'Book more seats', 'action quiet') : nothing
  }
    </p>
  </article>`;
}

function stub({ section, row, seatNumber }: SeatLabel): TemplateResult {
  return html`<li><span class="small muted">${section} · row ${row}</span><strong>${seatNumber}</strong></li>`;
}

// ---- Nothing was booked --------------------------------------------------------------------------------------------
const TITLES: Record<string, string> = { expired: 'Your booking expired', failed: 'Your booking failed' };

function rejection(app: App, page: TicketPage, { status, problem }: TicketStatus): TemplateResult {
  const concert = page.concertId.value;
  const isOver = ['sold-out', 'sale-closed'].includes(problem?.code ?? '');
  return html`
    <section class="card outcome bad">
      <h1 tabindex="-1">${TITLES[status] ?? 'Your seats were not booked'}</h1>
      <h2>${titleOf(app, page)}</h2>
      <p>${reason(problem)}</p>
      <p>Nothing was booked, and nothing is to be paid.</p>
      <p class="actions">
          ${concert && !isOver
            ? link(
              app,
              paths.concert(concert),
              problem?.code === 'price-changed' ? 'See the new price' : 'Choose again',
              'action',
            )
            : link(app, paths.list, 'See other concerts', 'action')}
        </p>
    </section>
  `;
}

/** Why nothing was booked, in words for a buyer. */
export function reason(problem: Problem | undefined): string {
  switch (problem?.code) {
    case 'seats-taken': {
      const seats = problem.seats ?? [];
      return seats.length > 0
        ? `${seatNumbers(seats)} went to another buyer before your booking was processed.`
        : 'Another buyer was faster. Choose other seats.';
    }
    case 'sold-out':
      return 'The last seats went to other buyers before your booking was processed. The concert is sold out.';
    case 'sale-not-open':
      return problem.opensAt
        ? `The sale opens on ${moment(problem.opensAt)} (your time).`
        : 'The sale is not open yet.';
    case 'sale-closed':
      return problem.closedAt ? `The sale closed on ${moment(problem.closedAt)} (your time).` : 'The sale has closed.';
    case 'price-changed':
      return problem.total !== undefined && problem.expectedTotal !== undefined
        ? `The price changed before your booking was processed: these seats cost ${money(cents(problem.total))} now, ` +
          `not ${money(cents(problem.expectedTotal))}.`
        : 'The price changed before your booking was processed.';
    default:
      return problem?.detail ?? problem?.title ?? 'The reason is not known.';
  }
}

const seatNumbers = (seats: readonly SeatLabel[]): string =>
  `${seats.length === 1 ? 'Seat' : 'Seats'} ${list(seats.map(({ seatNumber }) => seatNumber))}`;
