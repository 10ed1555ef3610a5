// The page: what is shown, and what all views share.

import { computed, signal } from '@preact/signals-core';

import { serverClock } from '../api/server_clock.ts';
import { Catalogue, type CatalogueData } from './catalogue.ts';
import { ConcertVisit } from './concert_visit.ts';
import { noteInView } from './in_view.ts';
import { ListVisit } from './list_visit.ts';
import { href, pathOfHash, paths, type Route, routeOf } from './router.ts';
import { SavedTickets, tabStorage } from './storage.ts';
import { TicketVisit } from './ticket_visit.ts';
import { TicketsVisit } from './tickets_visit.ts';

/** What the document carries for the script. */
export interface DocumentData extends CatalogueData {
  settings?: { maxSeats?: number };
  /** The version of the catalogue that it was made of. */
  catalogueVersion?: string;
}

export type Visit = ListVisit | ConcertVisit | TicketVisit | TicketsVisit | MissingVisit;

/** Nothing is at the address. */
interface MissingVisit {
  view: 'missing';
}

const TICK = 500; // milliseconds

export class App {
  readonly catalogue: Catalogue;
  readonly tickets = new SavedTickets();
  readonly settings: { maxSeats: number };
  readonly visit = signal<Visit>({ view: 'missing' });
  /** The time by the server's clock, in milliseconds. Advances while the page is visible. */
  readonly now = signal(serverClock.now());
  /** The same, but changes rarely, for lists of many concerts. */
  readonly roughlyNow = computed(() => Math.floor(this.now.value / 5000) * 5000);
  /** An error in the page itself. */
  readonly failure = signal('');
  /** What screen readers announce. */
  readonly spoken = signal('');
  /** What the visitor has typed, on whichever concert. */
  readonly contactDetails = signal(tabStorage.contactDetails());
  /** Whether the order form is in view. */
  readonly isOrderInView = signal(false);
  /** For lit's `ref`. One function, because lit takes another one for another element. */
  readonly noteOrder = (element?: Element): void => noteInView(element, this.isOrderInView);
  /** Whether what is shown was loaded with the document. */
  isFirstVisit = true;
  private documentVersion: string | null;
  private current = new AbortController();

  /** The time by this device's clock, which waits are measured by. */
  readonly deviceNow = computed(() => (this.now.value, Date.now()));

  constructor(data: DocumentData) {
    this.catalogue = new Catalogue(data);
    this.settings = { maxSeats: data.settings?.maxSeats ?? 10 };
    this.documentVersion = data.catalogueVersion ?? null;
  }

  start(): void {
    const earlier = pathOfHash(location.hash);
    if (earlier !== null) history.replaceState(null, '', href(earlier));
    const [navigation] = performance.getEntriesByType('navigation');
    const isReload = (navigation as PerformanceNavigationTiming | undefined)?.type === 'reload';
    setInterval(() => {
      if (!document.hidden) this.now.value = serverClock.now();
    }, TICK);
    addEventListener('popstate', () => this.show(false));
    // Ends timers and streams of a page that the browser keeps for the back button.
    addEventListener('pageshow', (event) => {
      if (event.persisted) this.show(false);
    });
    this.show(isReload);
    this.isFirstVisit = false;
  }

  /** Shows what a path of the page stands for, as a click on a link does. */
  go(path: string): void {
    history.pushState(null, '', href(path));
    this.show(false);
    scrollTo(0, 0);
  }

  showTicket(ticketId: string): void {
    this.go(paths.ticket(ticketId));
  }

  fail(error: unknown): void {
    console.error(error);
    this.failure.value = error instanceof Error ? error.message : String(error);
  }

  say(text: string): void {
    this.spoken.value = text;
  }

  /** The version of what the document has brought along. Only once: what is loaded later is newer. */
  takeDocumentVersion(): string | null {
    const version = this.documentVersion;
    this.documentVersion = null;
    return version;
  }

  private show(isReload: boolean): void {
    this.current.abort();
    this.current = new AbortController();
    const { signal } = this.current;
    this.failure.value = '';
    this.spoken.value = '';
    const visit = this.visitOf(routeOf(location.pathname));
    this.visit.value = visit;
    if ('run' in visit) {
      visit.run(signal, isReload).catch((error: unknown) => {
        if (!signal.aborted) this.fail(error);
      });
    }
  }

  private visitOf(route: Route): Visit {
    switch (route.view) {
      case 'list':
        return new ListVisit(this.catalogue);
      case 'concert':
        return new ConcertVisit(route.id, this);
      case 'ticket':
        return new TicketVisit(route.id, this);
      case 'tickets':
        return new TicketsVisit(this.tickets);
      default:
        return { view: route.view };
    }
  }
}
