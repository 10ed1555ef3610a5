// The booking page. It uses the API like any other client: it sends a booking, gets a ticket, and follows the ticket.
//
//   api/    requests, event streams and the documents of the API      model/  rules without a document: money, sale, format
//   state/  what is shown and what happens, in signals                views/  templates

import { effect, untracked } from '@preact/signals-core';
import { render } from 'lit-html';

import { App, type DocumentData, type Page } from './state/app.ts';
import { bringNoteIntoView, bringOutcomeIntoView } from './views/into_view.ts';
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

main();
