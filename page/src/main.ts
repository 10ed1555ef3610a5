// The booking page. It uses the API like any other client: it sends a booking, gets a ticket, and follows the ticket.
//
//   api/    requests, event streams and the documents of the API      model/  rules without a document: money, sale, format
//   state/  what is shown and what happens, in signals                views/  templates

import { effect, untracked } from '@preact/signals-core';
import { render } from 'lit-html';

import { App, type DocumentData, type Page } from './state/app.ts';
import { SeatList } from './views/seat_list.ts';
import { shell, windowTitle } from './views/shell.ts';

function documentData(): DocumentData {
  const text = document.getElementById('data')?.textContent ?? '';
  try {
    return JSON.parse(text) as DocumentData;
  } catch {
    return {};
  }
}

function main(): void {
  const root = document.getElementById('app');
  if (!root) throw new Error('the document has no element for the page');
  const app = new App(documentData());
  let shownPage: Page | null = null;
  let seatList: SeatList | null = null;
  app.start();
  root.replaceChildren();
  effect(() => {
    const page = app.page.value;
    if (page !== shownPage) {
      seatList?.close();
      seatList = page.view === 'concert' ? untracked(() => new SeatList(app, page)) : null;
      // The link that was clicked no longer exists. Screen readers read the title of what is shown now.
      if (shownPage !== null) queueMicrotask(() => focusTitle(root));
      shownPage = page;
    }
    render(shell(app, seatList), root);
  });
  effect(() => {
    document.title = windowTitle(app);
  });
  effect(() => bringOutcomeIntoView(app, root));
  effect(() => bringNoteIntoView(app, root));
}

function focusTitle(root: Element): void {
  root.querySelector<HTMLElement>('main h1')?.focus();
}

/** The outcome of a booking replaces the waiting view, perhaps while the visitor has scrolled. */
function bringOutcomeIntoView(app: App, root: Element): void {
  const page = app.page.value;
  if (page.view !== 'ticket' || page.follower.status.value === null) return;
  const { status } = page.follower.status.value;
  queueMicrotask(() => {
    const outcome = root.querySelector<HTMLElement>('.outcome');
    if (!outcome || outcome.dataset['shown'] === status) return;
    outcome.dataset['shown'] = status;
    const heading = outcome.querySelector<HTMLElement>('h1');
    heading?.focus({ preventScroll: true });
    // Not the outcome: one that is larger than the window, and overlaps it, would stay where it is.
    heading?.scrollIntoView({ block: 'nearest' });
  });
}

/**
 * What becomes of a booking, and a price that has changed, are told in the order form, which scrolls by itself. The button
 * that was pressed may be gone or disabled by then.
 */
function bringNoteIntoView(app: App, root: Element): void {
  const page = app.page.value;
  if (page.view !== 'concert') return;
  const phase = page.booking.phase.value;
  const isPriceChanged = page.priceChanges.value.length > 0;
  const isTold = phase.kind === 'sending' ? phase.retry !== null : phase.kind !== 'idle';
  queueMicrotask(() => {
    const form = root.querySelector<HTMLElement>('#order');
    const told = `${phase.kind} ${isTold} ${isPriceChanged}`;
    if (!form || form.dataset['told'] === told) return;
    const isFirst = form.dataset['told'] === undefined;
    form.dataset['told'] = told;
    const refused = form.querySelector<HTMLElement>('input[aria-invalid="true"]');
    if (phase.kind === 'refused' && refused) return refused.focus();
    if (!isFirst && isFocusLost()) form.querySelector<HTMLElement>('#order-title')?.focus({ preventScroll: true });
    if (isTold) form.querySelector('.note')?.scrollIntoView({ block: 'nearest' });
    else if (isPriceChanged) scrollWithin(form.querySelector('.scroll'), form.querySelector('.note'));
  });
}

/** Whether the keyboard would start again at the top of the page. */
const isFocusLost = (): boolean => document.activeElement?.matches('body, :disabled') ?? true;

/** Leaves the window where it is: the visitor may be looking at the map. */
function scrollWithin(container: Element | null, element: Element | null): void {
  if (!container || !element) return;
  const [outer, inner] = [container.getBoundingClientRect(), element.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) container.scrollTop += inner.top - outer.top;
}

main();
