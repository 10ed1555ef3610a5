// The frame of all views: the header, the messages, and the view of the current page.

import { html, nothing, type TemplateResult } from 'lit-html';

import type { App } from '../state/app.ts';
import { paths } from '../state/router.ts';
import { concertView } from './concert.ts';
import { link } from './link.ts';
import { listView } from './list.ts';
import { missingView } from './missing.ts';
import type { SeatList } from './seat_list.ts';
import { ticketTitle, ticketView } from './ticket.ts';
import { ticketsView } from './tickets.ts';

export function shell(app: App, seatList: SeatList | null): TemplateResult {
  const waiting = app.tickets.all.value.filter((ticket) => ticket.status === undefined).length;
  const saved = app.tickets.all.value.length;
  return html`
    <header class="site">
      ${link(app, paths.list, 'Hamro Concert', 'brand')}
      ${saved > 0
        ? html`<nav aria-label="Your tickets">
        ${link(app, paths.tickets, waiting > 0 ? `My tickets (${waiting} waiting)` : 'My tickets')}
      </nav>`
        : nothing}
    </header>
    <main id="main">
      <p class="visually-hidden" role="status">${app.announcement.value}</p>
      ${app.failure.value
        ? html`
          <div class="card bad" role="alert">
            <p><strong>Something went wrong on this page.</strong> ${app.failure.value}</p>
            <p>Reload the page. A booking that was sent is not lost, and is not made twice.</p>
          </div>
        `
        : nothing}
      ${view(app, seatList)}
    </main>
    <footer class="site muted small">
      <p><span lang="ne">हाम्रो कन्सर्ट</span> · Seats for concerts in Nepal. Who books first, sits first.</p>
    </footer>
  `;
}

function view(app: App, seatList: SeatList | null): TemplateResult {
  const page = app.page.value;
  switch (page.view) {
    case 'list':
      return listView(app, page);
    case 'concert':
      return concertView(app, page, seatList);
    case 'ticket':
      return ticketView(app, page);
    case 'tickets':
      return ticketsView(app);
    default:
      return missingView(app);
  }
}

/** The title of the window. */
export function windowTitle(app: App): string {
  const page = app.page.value;
  const site = 'Hamro Concert';
  switch (page.view) {
    case 'list':
      return `${site} – seats for concerts`;
    case 'concert': {
      if (page.failure.value) return `Not found – ${site}`;
      const title = page.concert.value?.title;
      return title ? `${title} – ${site}` : site;
    }
    case 'ticket':
      return `${ticketTitle(app, page)} – ${site}`;
    case 'tickets':
      return `My tickets – ${site}`;
    default:
      return `Not found – ${site}`;
  }
}
