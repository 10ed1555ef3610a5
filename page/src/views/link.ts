// Links within the page.

import { html, type TemplateResult } from 'lit-html';

import type { App } from '../state/app.ts';
import { href } from '../state/router.ts';

/** A link that changes the view without loading the document. Clicks that open a tab or a window do what they always do. */
export function link(app: App, path: string, content: unknown, className = ''): TemplateResult {
  const click = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    app.go(path);
  };
  return html`<a href=${href(path)} class=${className} @click=${click}>${content}</a>`;
}
