// What has just happened is brought into view, and gets the focus if that would be lost.

import type { App } from '../state/app.ts';

/** The outcome of a booking replaces the waiting view, perhaps while the visitor has scrolled. */
export function bringOutcomeIntoView(app: App, root: Element): void {
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
export function bringNoteIntoView(app: App, root: Element): void {
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
    // A new price comes by itself, and moves no focus.
    const isPressed = !isFirst && (phase.kind !== 'idle' || !isPriceChanged);
    if (isPressed && isFocusLost()) form.querySelector<HTMLElement>('#order-title')?.focus({ preventScroll: true });
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
