// The tickets that this device remembers.

import { html, nothing, type TemplateResult } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';

import { list } from '../model/format.ts';
import { cents, money } from '../model/money.ts';
import type { App } from '../state/app.ts';
import { paths } from '../state/router.ts';
import type { SavedTicket } from '../state/storage.ts';
import { link } from './link.ts';

const WORDS: Record<string, string> = {
  confirmed: 'Booked',
  rejected: 'Not booked',
  expired: 'Expired',
  failed: 'Failed',
  released: 'Taken back',
  unknown: 'No longer known',
};

export function ticketsView(app: App): TemplateResult {
  const tickets = app.tickets.all.value;
  return html`
    <h1 tabindex="-1">My tickets</h1>
    <p class="muted">Only this device remembers them. Keep the address of a ticket to find it on another one.</p>
    ${tickets.length === 0
      ? html`<p class="card">No tickets yet.</p>`
      : html`<ul class="tickets">${
        repeat(tickets, ({ ticketId }) => ticketId, (ticket) => html`<li class="card">${line(app, ticket)}</li>`)
      }</ul>`}
  `;
}

function line(app: App, ticket: SavedTicket): TemplateResult {
  // The second press of a double click would meet the ticket below, which has moved up.
  const remove = ({ detail }: MouseEvent) => {
    if (detail <= 1) app.tickets.forget(ticket.ticketId);
  };
  const state = ticket.status === undefined ? 'Waiting' : WORDS[ticket.status] ?? ticket.status;
  return html`
    <h2>${link(app, paths.ticket(ticket.ticketId), ticket.title)}</h2>
    <p><span class="badge ${ticket.status ?? 'queued'}">${state}</span>
      ${list(ticket.seats.map(({ seatNumber }) => seatNumber))}
      ${ticket.total === undefined ? nothing : html`· ${money(cents(ticket.total))}`}</p>
    <button type="button" class="action quiet" @click=${remove}>Remove from
      this list<span class="visually-hidden">: ${ticket.title}</span></button>
  `;
}
