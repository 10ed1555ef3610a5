// The order: the chosen seats and what they cost, the form, and what becomes of the booking until it is accepted.

import { html, nothing, type TemplateResult } from 'lit-html';
import { live } from 'lit-html/directives/live.js';
import { ref } from 'lit-html/directives/ref.js';

import type { Seat } from '../api/seats.ts';
import type { Problem } from '../api/types.ts';
import { count, countdown, list } from '../model/format.ts';
import { cents, money } from '../model/money.ts';
import type { SaleState } from '../model/sale.ts';
import type { App } from '../state/app.ts';
import type { BookingPhase } from '../state/booking.ts';
import type { ConcertPage } from '../state/concert_page.ts';
import { type Intent, tabStorage } from '../state/storage.ts';
import { retryText } from './retry_notice.ts';
import { reason } from './ticket.ts';

type Field = 'userName' | 'userEmail';

export function orderForm(app: App, page: ConcertPage, state: SaleState): TemplateResult {
  const seats = page.selection.seats.value;
  const phase = page.booking.phase.value;
  const isLocked = phase.kind === 'sending';
  return html`
    <form id="order" class="card" novalidate aria-labelledby="order-title" ${ref(app.orderFormRef)} @submit=${(
      event: Event,
    ) => submit(event, app, page, state)}>
      <div class="scroll">
          <h2 id="order-title" tabindex="-1">Your booking</h2>
          ${phaseNote(app, page, phase)}
          ${seats.length === 0
            ? html`<p class="muted">No seats chosen yet.</p>`
            : html`<ul class="chosen" aria-label="Chosen seats">${
              seats.map((seat) => chosenSeat(app, page, seat))
            }</ul>`}
          ${priceNote(page)}
          ${field(app, page, 'userName', 'Name', 'text', 'name', 100)}
          ${field(app, page, 'userEmail', 'E-mail', 'email', 'email', 254)}
        </div>
      <div class="foot">
        <p class="selection-error" role="alert">${page.selection.errorMessage.value}</p>
        <output class="total">${seats.length > 0
          ? html`Total: ${count(seats.length, 'seat')} ·
            <strong>${money(page.selection.total.value)}</strong>`
          : nothing}</output>
        <button class="action" ?disabled=${isLocked || !canBook(page, state)}>${bookLabel(page, state)}</button>
        <p class="small muted">Seats are yours only once the queue confirms them.</p>
      </div>
    </form>
    ${app.isOrderInView.value ? nothing : bar(page, isLocked)}
  `;
}

/** At the bottom of a small window, while the form is out of view. */
function bar(page: ConcertPage, isLocked: boolean): TemplateResult | typeof nothing {
  const seats = page.selection.seats.value;
  const errorMessage = page.selection.errorMessage.value;
  if (isLocked || (seats.length === 0 && errorMessage === '')) return nothing;
  return html`<div class="bar">
    <p class="selection-error" aria-hidden="true">${errorMessage}</p>
    ${
    seats.length === 0 ? nothing : html`
      <strong>${count(seats.length, 'seat')} · ${money(page.selection.total.value)}</strong>
      <button class="action" type="button" @click=${() => focusField('userName')}>Continue</button>
    `
  }
  </div>`;
}

const canBook = (page: ConcertPage, state: SaleState): boolean =>
  (state === 'open' || state === 'few-left') && page.priceChanges.value.length === 0 &&
  page.booking.pendingIntent === null &&
  !(page.selection.seats.value.length > 0 && Number.isNaN(page.selection.total.value));

function bookLabel(page: ConcertPage, state: SaleState): string {
  if (state === 'not-open') return `Opens in ${countdown(page.opensIn.value)}`;
  if (state === 'closed') return 'The sale has closed';
  if (state === 'sold-out') return 'Sold out';
  const seats = page.selection.seats.value.length;
  if (seats === 0) return 'Book';
  return Number.isNaN(page.selection.total.value)
    ? 'Loading the price…'
    : `Book ${count(seats, 'seat')} for ${money(page.selection.total.value)}`;
}

function chosenSeat(app: App, page: ConcertPage, seat: Seat): TemplateResult {
  const remove = () => {
    page.selection.remove(seat);
    document.getElementById('order-title')?.focus(); // The focused button no longer exists.
  };
  return html`
    <li>
      <span><strong>${seat.number}</strong> <span class="muted small">${app.catalogue.tierName(seat.tierId)}, row ${seat
        .row}</span></span>
      <span class="sum">${money(app.catalogue.priceOf(seat.tierId))}</span>
      <button type="button" aria-label="Remove seat ${seat.number}" ?disabled=${page.booking.isLocked}
        @click=${remove}>×</button>
    </li>
  `;
}

function priceNote(page: ConcertPage): TemplateResult | typeof nothing {
  const changes = page.priceChanges.value;
  if (changes.length === 0) return nothing;
  return html`<div class="note bad" role="alert">
    <p><strong>The price has changed.</strong></p>
    ${
    changes.map(({ name, before, after }) =>
      html`<p>${name}: <s>${money(before)}</s> → <strong>${money(after)}</strong></p>`
    )
  }
    <p>Your total is now <strong>${money(page.selection.total.value)}</strong>.</p>
    <button type="button" class="action quiet" @click=${() => page.acceptPrices()}>Accept the new price</button>
  </div>`;
}

// ---- The form ------------------------------------------------------------------------------------------------------
const LABELS: Record<Field, string> = { userName: 'Your name', userEmail: 'Your e-mail' };

function field(
  app: App,
  page: ConcertPage,
  name: Field,
  label: string,
  type: string,
  autocomplete: string,
  max: number,
): TemplateResult {
  const detail = page.fieldErrors.value.get(name);
  const input = (event: Event) => {
    app.contactDetails.value = { ...app.contactDetails.value, [name]: (event.target as HTMLInputElement).value };
    tabStorage.setContactDetails(app.contactDetails.value);
    page.clearFieldError(name);
  };
  return html`
    <div>
      <label for=${name}>${label}</label>
      <input id=${name} name=${name} type=${type} autocomplete=${autocomplete} maxlength=${max} required
        ?readonly=${page.booking.isLocked}
        .value=${live(app.contactDetails.value[name])}
        aria-invalid=${detail ? 'true' : 'false'} aria-describedby="${name}-error" @input=${input}>
      <p id="${name}-error" class="error">${detail ? `${LABELS[name]} ${detail}.` : nothing}</p>
    </div>
  `;
}

/** What the api would refuse is said without asking it. */
function submit(event: Event, app: App, page: ConcertPage, state: SaleState): void {
  event.preventDefault();
  if (page.booking.isLocked || !canBook(page, state)) return;
  const form = event.target as HTMLFormElement;
  const errors = new Map<string, string>();
  const { userName, userEmail } = app.contactDetails.value;
  if (userName.trim() === '') errors.set('userName', 'is missing');
  if (userEmail.trim() === '') errors.set('userEmail', 'is missing');
  else if (!(form.elements.namedItem('userEmail') as HTMLInputElement).validity.valid) {
    errors.set('userEmail', 'is not complete: it needs the form name@example.com');
  }
  page.fieldErrors.value = errors;
  const [first] = errors.keys();
  if (page.selection.seats.value.length === 0) page.selection.showError('Choose a seat first.');
  else if (first !== undefined) focusField(first);
  else page.book(userName.trim(), userEmail.trim());
}

function focusField(id: string): void {
  const input = document.getElementById(id);
  input?.focus({ preventScroll: true });
  input?.scrollIntoView({ block: 'center' });
}

// ---- What becomes of the booking -----------------------------------------------------------------------------------
function phaseNote(app: App, page: ConcertPage, phase: BookingPhase): TemplateResult | typeof nothing {
  const { booking } = page;
  const again = (intent: Intent) => void booking.send(intent).catch((error: unknown) => app.fail(error));
  switch (phase.kind) {
    case 'idle':
      return nothing;
    case 'unknown':
      return html`
        <div class="note busy" role="alert">
          <p><strong>${unknownTitle(phase)}</strong> It is not known whether that booking was accepted.</p>
          <p class="actions">
            <button type="button" class="action" @click=${() => again(phase.intent)}>${againLabel(
              phase.intent,
            )}</button>
            <button type="button" class="action quiet" @click=${() => booking.forget()}>Forget it</button>
          </p>
          <p class="small muted">This never books twice: if it was accepted already, you see its outcome.</p>
        </div>
      `;
    case 'sending':
      return html`<div class="note busy" role="status">
      <p><strong>${sendingTitle(phase.retry?.problem ?? null)}</strong></p>
      ${
        phase.retry
          ? html`<p>${waitText(phase.retry.problem)}
        <span aria-hidden="true">${retryText(phase.retry.retryAt, app.deviceNow.value)}</span></p>`
          : nothing
      }
      <p class="actions"><button type="button" class="action quiet" @click=${() => booking.stop()}>Stop</button></p>
    </div>`;
    case 'refused':
      return html`
        <div class="note bad" role="alert">
          <p><strong>Nothing was booked.</strong> ${refusal(phase.problem)}</p>
        </div>
      `;
  }
}

function unknownTitle({ because, intent }: BookingPhase & { kind: 'unknown' }): string {
  switch (because) {
    case 'abandoned':
      return `You had begun to book ${seatsOf(intent)}.`;
    case 'stopped':
      return 'We stopped trying.';
    case 'no-response':
      return 'There was no proper response.';
  }
}

function againLabel(intent: Intent): string {
  const total = intent.request.expectedTotal;
  return `Book ${seatsOf(intent)}${total ? ` for ${money(cents(total))}` : ''}`;
}

const seatsOf = ({ seats }: Intent): string =>
  `${seats.length === 1 ? 'seat' : 'seats'} ${list(seats.map(({ seatNumber }) => seatNumber))}`;

function sendingTitle(problem: Problem | null): string {
  switch (problem?.code) {
    case undefined:
      return problem ? 'Your booking has not been accepted yet' : 'Sending your booking…';
    case 'intake-paused':
      return 'The organisers have paused the sale';
    case 'intake-limited':
    case 'queue-full':
    case 'overloaded':
    case 'too-many-requests':
    case 'client-limit-reached':
      return 'Very many people are booking right now';
    default:
      return 'Your booking has not been accepted yet';
  }
}

function waitText(problem: Problem): string {
  switch (problem.code) {
    case 'intake-paused':
      return 'Stay on this page: your booking is sent as soon as the sale goes on.';
    case 'intake-limited':
    case 'queue-full':
      return 'Stay on this page: we send your booking again until it is accepted. It is booked only once.';
    default:
      return `${problem.title}. We try until your booking is accepted. It is booked only once, no matter how often we try.`;
  }
}

function refusal(problem: Problem): string {
  if (problem.errors && problem.errors.length > 0) {
    const others = problem.errors.filter(({ field }) => !(field in LABELS) && !field.startsWith('seatIds'));
    return others.length > 0
      ? others.map(({ field, detail }) => `${field} ${detail}.`).join(' ')
      : 'Correct what is marked below.';
  }
  return problem.code === 'price-changed' && problem.total !== undefined
    ? `These seats cost ${money(cents(problem.total))} now.`
    : reason(problem);
}
