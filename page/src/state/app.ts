// The application: which page is shown, and what all views share.

import { computed, signal } from '@preact/signals-core';

import { serverClock } from '../api/server_clock.ts';
import { Catalogue, type CatalogueData } from './catalogue.ts';
import { ConcertPage } from './concert_page.ts';
import { observeInView } from './in_view.ts';
import { ListPage } from './list_page.ts';
import { href, pathOfHash, paths, type Route, routeOf } from './router.ts';
import { SavedTickets, tabStorage } from './storage.ts';
import { TicketPage } from './ticket_page.ts';
import { TicketsPage } from './tickets_page.ts';

/** What the document carries for the script. */
export interface DocumentData extends CatalogueData {
  settings?: { maxSeats?: number };
  /** The version of the catalogue that it was made of. */
  catalogueVersion?: string;
}

export type Page = ListPage | ConcertPage | TicketPage | TicketsPage | MissingPage;

/** Nothing is at the address. */
interface MissingPage {
  view: 'missing';
}

const TICK = 500; // milliseconds

export class App {
  readonly catalogue: Catalogue;
  readonly tickets = new SavedTickets();
  readonly settings: { maxSeats: number };
  readonly page = signal<Page>({ view: 'missing' });
  /** The time by the server's clock, in milliseconds. Advances while the page is visible. */
  readonly now = signal(serverClock.now());
  /** The same, but changes rarely, for lists of many concerts. */
  readonly roughlyNow = computed(() => Math.floor(this.now.value / 5000) * 5000);
  /** An error in the script itself. */
  readonly failure = signal('');
  /** What screen readers announce. */
  readonly announcement = signal('');
  /** What the visitor has typed, on whichever concert. */
  readonly contactDetails = signal(tabStorage.contactDetails());
  /** Whether the order form is in view. */
  readonly isOrderInView = signal(false);
  /** For lit's `ref`. One function, because lit takes another one for another element. */
  readonly orderFormRef = (element?: Element): void => observeInView(element, this.isOrderInView);
  /** Whether the page that is shown was loaded with the document. */
  isFirstPage = true;
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
    this.isFirstPage = false;
  }

  /** Shows the page at this path, as a click on a link does. */
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

  /** Screen readers read it out. */
  announce(text: string): void {
    this.announcement.value = text;
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
    this.announcement.value = '';
    const page = this.pageOf(routeOf(location.pathname));
    this.page.value = page;
    if ('run' in page) {
      page.run(signal, isReload).catch((error: unknown) => {
        if (!signal.aborted) this.fail(error);
      });
    }
  }

  private pageOf(route: Route): Page {
    switch (route.view) {
      case 'list':
        return new ListPage(this.catalogue);
      case 'concert':
        return new ConcertPage(route.id, this);
      case 'ticket':
        return new TicketPage(route.id, this);
      case 'tickets':
        return new TicketsPage(this.tickets);
      default:
        return { view: route.view };
    }
  }
}
