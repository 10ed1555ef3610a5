// The seats as a list of sections and rows. The elements are made once and changed one by one, because a map may have
// twenty thousand seats, and a sale changes some of them ten times a second.

import { effect, untracked } from '@preact/signals-core';

import type { Seat } from '../api/seats.ts';
import { money } from '../model/money.ts';
import type { App } from '../state/app.ts';
import type { ConcertPage } from '../state/concert_page.ts';
import type { Section } from '../state/seat_map.ts';

const MANY_SEATS = 1000; // With more seats than this, sections start collapsed.
const SLICE = 12; // milliseconds: how long making elements may keep the page from responding

export class SeatList {
  readonly element = document.createElement('div');
  private readonly app: App;
  private readonly page: ConcertPage;
  private readonly dispose: () => void;
  private buttons = new Map<number, { seat: Seat; button: HTMLButtonElement; state: string }>();
  private sectionHeaders: {
    section: Section;
    details: HTMLDetailsElement;
    title: HTMLElement;
    free: HTMLElement;
    left: number;
  }[] = [];
  /** The seat to focus once it is made: it had the focus when the map was made anew. */
  private refocused: number | null = null;
  private shownBooked: ReadonlySet<number> = new Set();
  private shownChosen: ReadonlySet<number> = new Set();

  constructor(app: App, page: ConcertPage) {
    this.app = app;
    this.page = page;
    this.element.className = 'map';
    this.element.setAttribute('role', 'group');
    this.element.setAttribute('aria-labelledby', 'map-title');
    this.element.setAttribute('aria-describedby', 'map-help');
    this.element.addEventListener('click', (event) => this.onClick(event));
    this.element.addEventListener('keydown', (event) => this.onKey(event));
    this.element.addEventListener('focusin', (event) => this.onFocus(event));
    const disposers = [
      effect(() => {
        const sections = page.map.sections.value ?? [];
        untracked(() => this.build(sections));
      }),
      effect(() => this.showPrices()),
      effect(() => this.showChanges(page.map.booked.value, new Set(page.selection.seats.value.map(({ id }) => id)))),
    ];
    this.dispose = () => disposers.forEach((dispose) => dispose());
  }

  /** Stops following the map. */
  close(): void {
    this.dispose();
  }

  /** What the visitor has opened stays open, and a seat that has the focus keeps it. */
  private build(sections: readonly Section[]): void {
    const wasOpen = new Map(this.sectionHeaders.map(({ section, details }) => [keyOf(section), details.open]));
    const focused = this.element.querySelector<HTMLElement>('.seat:focus');
    this.refocused = focused ? Number(focused.dataset['id']) : null;
    this.buttons = new Map();
    this.shownBooked = this.page.map.booked.peek();
    this.shownChosen = new Set(this.page.selection.seats.peek().map(({ id }) => id));
    const isCollapsed = this.page.map.size > MANY_SEATS && sections.length > 1;
    this.sectionHeaders = sections.map((section) => {
      const title = element('h3', '');
      const free = element('span', 'muted small');
      const summary = document.createElement('summary');
      summary.append(title, ' ', free);
      const details = document.createElement('details');
      details.className = 'card';
      const rows = element('div', 'rows');
      rows.tabIndex = -1;
      details.append(summary, rows);
      // The seats of a section are made when it is opened.
      details.addEventListener('toggle', () => void this.fill(section, rows), { once: true });
      details.open = wasOpen.get(keyOf(section)) ?? !isCollapsed;
      const left = section.seats.filter((seat) => !this.shownBooked.has(seat.id)).length;
      return { section, details, title, free, left };
    });
    this.element.replaceChildren(...this.sectionHeaders.map(({ details }) => details));
    this.showPrices();
  }

  /** Prices and names of tiers may change. */
  private showPrices(): void {
    const { catalogue } = this.app;
    catalogue.tiers.value;
    for (const header of this.sectionHeaders) {
      header.title.textContent = catalogue.tierName(header.section.tierId);
      this.showFree(header);
    }
    for (const shown of this.buttons.values()) this.label(shown);
  }

  private showFree({ section, free, left }: SeatList['sectionHeaders'][number]): void {
    const name = this.app.catalogue.tierName(section.tierId);
    const where = section.name.toLowerCase() === name.toLowerCase() ? '' : `section ${section.name} · `;
    const offer = left > 0
      ? `${left.toLocaleString('en-GB')} of ${section.seats.length.toLocaleString('en-GB')} free`
      : 'sold out';
    free.textContent = `${money(this.app.catalogue.priceOf(section.tierId))} · ${where}${offer}`;
  }

  /** Changes only what differs from what is shown. */
  private showChanges(booked: ReadonlySet<number>, chosen: ReadonlySet<number>): void {
    const changed = new Set<number>();
    for (const [now, before] of [[booked, this.shownBooked], [chosen, this.shownChosen]] as const) {
      for (const id of now) if (!before.has(id)) changed.add(id);
      for (const id of before) if (!now.has(id)) changed.add(id);
    }
    const isBookedChanged = booked !== this.shownBooked;
    [this.shownBooked, this.shownChosen] = [booked, chosen];
    for (const id of changed) {
      const shown = this.buttons.get(id);
      if (shown) this.updateButton(shown);
    }
    if (!isBookedChanged || changed.size === 0) return;
    for (const header of this.sectionHeaders) {
      const left = header.section.seats.reduce((left, seat) => left + (booked.has(seat.id) ? 0 : 1), 0);
      if (left === header.left) continue;
      header.left = left;
      this.showFree(header);
    }
  }

  /** Makes the seats row by row, and yields now and then, so that thousands of seats do not freeze the page. */
  private async fill(section: Section, rows: HTMLElement): Promise<void> {
    const { buttons: made } = this;
    let began = performance.now();
    for (const [index, { number, seats }] of section.rows.entries()) {
      const buttons = element('div', 'seats');
      buttons.setAttribute('role', 'group');
      buttons.setAttribute('aria-label', `Row ${number}`);
      buttons.append(...seats.map((seat) => this.seatButton(seat)));
      // Each section is one Tab stop. The arrow keys move on from there.
      if (index === 0) (buttons.firstElementChild as HTMLElement).tabIndex = 0;
      const row = element('div', 'row');
      const label = element('span', 'label', `Row ${number}`);
      row.append(label, buttons);
      rows.append(row);
      this.refocus(seats);
      if (performance.now() - began > SLICE) {
        await new Promise((resolve) => {
          setTimeout(resolve);
        });
        if (made !== this.buttons) return; // The map was made anew meanwhile.
        began = performance.now();
      }
    }
  }

  private refocus(made: readonly Seat[]): void {
    const id = this.refocused;
    if (id === null || !made.some((seat) => seat.id === id)) return;
    this.refocused = null;
    if (document.activeElement === document.body) this.buttons.get(id)?.button.focus({ preventScroll: true });
  }

  private seatButton(seat: Seat): HTMLButtonElement {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'seat';
    button.tabIndex = -1;
    button.textContent = seat.number.split('-').at(-1) ?? seat.number;
    button.dataset['id'] = String(seat.id);
    const shown = { seat, button, state: '' };
    this.buttons.set(seat.id, shown);
    this.updateButton(shown);
    return button;
  }

  private updateButton(shown: { seat: Seat; button: HTMLButtonElement; state: string }): void {
    const { seat, button } = shown;
    const state = this.shownChosen.has(seat.id) ? 'chosen' : this.shownBooked.has(seat.id) ? 'taken' : 'free';
    if (state === shown.state) return;
    shown.state = state;
    button.dataset['is'] = state;
    button.setAttribute('aria-pressed', String(state === 'chosen'));
    button.setAttribute('aria-disabled', String(state === 'taken'));
    this.label(shown);
  }

  private label({ seat, button, state }: { seat: Seat; button: HTMLButtonElement; state: string }): void {
    const { catalogue } = this.app;
    button.setAttribute(
      'aria-label',
      `Seat ${seat.number}, ${seat.section}, row ${seat.row}, ${catalogue.tierName(seat.tierId)}, ` +
        `${money(catalogue.priceOf(seat.tierId))}, ${state}`,
    );
  }

  // ---- Choosing ----------------------------------------------------------------------------------------------------
  private onClick({ target }: Event): void {
    const button = (target as HTMLElement).closest<HTMLElement>('.seat');
    const seat = button ? this.page.map.seat(Number(button.dataset['id'])) : undefined;
    if (!seat) return;
    if (this.page.booking.isLocked) this.app.announce('Your booking is being sent. Wait for its outcome first.');
    else if (this.page.sale.value === 'closed') this.page.selection.showError('The sale has closed.');
    else this.page.selection.toggle(seat);
  }

  private onKey(event: KeyboardEvent): void {
    const seat = (event.target as HTMLElement).closest<HTMLElement>('.seat');
    if (!seat || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = this.destination(seat, event.key);
    if (to === undefined) return;
    event.preventDefault();
    to?.focus();
  }

  /** Where a key leads: across rows, and across sections that are open. `undefined` for other keys. */
  private destination(seat: HTMLElement, key: string): HTMLElement | null | undefined {
    const rows = [...this.element.querySelectorAll('details[open] .row')];
    const at = rows.findIndex((row) => row.contains(seat));
    const seatsOf = (index: number) => [...(rows[index]?.querySelectorAll<HTMLElement>('.seat') ?? [])];
    const own = seatsOf(at);
    const column = own.indexOf(seat);
    const near = (index: number) => {
      const seats = seatsOf(index);
      return seats[Math.min(column, seats.length - 1)] ?? null;
    };
    switch (key) {
      case 'ArrowLeft':
        return own[column - 1] ?? seatsOf(at - 1).at(-1) ?? null;
      case 'ArrowRight':
        return own[column + 1] ?? seatsOf(at + 1)[0] ?? null;
      case 'ArrowUp':
        return near(at - 1);
      case 'ArrowDown':
        return near(at + 1);
      case 'Home':
        return own[0] ?? null;
      case 'End':
        return own.at(-1) ?? null;
      case 'PageUp':
        return near(Math.max(0, at - 5));
      case 'PageDown':
        return near(Math.min(rows.length - 1, at + 5));
      default:
        return undefined;
    }
  }

  private onFocus({ target }: Event): void {
    const seat = target as HTMLElement;
    if (!seat.matches('.seat')) return;
    const section = seat.closest('details');
    for (const other of section?.querySelectorAll<HTMLElement>('.seat[tabindex="0"]') ?? []) other.tabIndex = -1;
    seat.tabIndex = 0;
  }
}

const keyOf = ({ tierId, name }: Section): string => `${tierId} ${name}`;

function element(tag: string, className: string, text = ''): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
