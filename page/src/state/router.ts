// Which view an address shows, and addresses for views. Addresses are below the page's base, wherever a proxy serves it.

import { urlOf } from '../api/request.ts';

export type Route =
  | { view: 'list' }
  | { view: 'concert'; id: string }
  | { view: 'ticket'; id: string }
  | { view: 'tickets' }
  | { view: 'missing' };

export const paths = {
  list: '/',
  tickets: '/tickets',
  concert: (id: string) => `/c/${encodeURIComponent(id)}`,
  ticket: (id: string) => `/t/${encodeURIComponent(id)}`,
};

/** The `href` of a path. */
export const href = (path: string): string => urlOf(path).pathname;

export function routeOf(pathname: string): Route {
  const base = urlOf('/').pathname;
  const path = pathname.startsWith(base) ? pathname.slice(base.length) : '';
  const [kind, id = '', ...rest] = path.split('/');
  if (rest.length > 0) return { view: 'missing' };
  if (kind === '' && id === '') return { view: 'list' };
  if (kind === 'tickets' && id === '') return { view: 'tickets' };
  if (kind === 'c' && id !== '') return { view: 'concert', id: decode(id) };
  if (kind === 't' && id !== '') return { view: 'ticket', id: decode(id) };
  return { view: 'missing' };
}

/** The path that an address of earlier versions stands for, `#concert=…&ticket=…`. */
export function pathOfHash(hash: string): string | null {
  const parts = new URLSearchParams(hash.slice(1));
  const [ticket, concert] = [parts.get('ticket'), parts.get('concert')];
  if (ticket) return paths.ticket(ticket);
  return concert ? paths.concert(concert) : null;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
