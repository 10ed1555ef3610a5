// The tickets that this device remembers.

import { html, nothing, type TemplateResult } from 'lit-html';

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
};

export function ticketsView(app: App): TemplateResult {
  const tickets = app.tickets.all.value;
  return html`
    <h1 tabindex="-1">My tickets</h1>
    <p class="muted">Only this device remembers them. Keep the address of a ticket to find it on another one.</p>
    ${tickets.length === 0
      ? html`<p class="card">No tickets yet.</p>`
      : html`<ul class="tickets">${tickets.map((ticket) => html`<li class="card">${line(app, ticket)}</li>`)}</ul>`}
  `;
}

function line(app: App, ticket: SavedTicket): TemplateResult {
  const state = ticket.status === undefined ? 'Waiting' : WORDS[ticket.status] ?? ticket.status;
  return html`
    <h2>${link(app, paths.ticket(ticket.ticketId), ticket.title)}</h2>
    <p><span class="badge ${ticket.status ?? 'queued'}">${state}</span>
      ${list(ticket.seats.map(({ seatNumber }) => seatNumber))}
      ${ticket.total === undefined ? nothing : html`· ${money(cents(ticket.total))}`}</p>
    <button type="button" class="action quiet" @click=${() => app.tickets.forget(ticket.ticketId)}>Remove from
      this list<span class="visually-hidden">: ${ticket.title}</span></button>
  `;
}
