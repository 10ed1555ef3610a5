// What is shown where nothing is.

import { html, type TemplateResult } from 'lit-html';

import type { App } from '../state/app.ts';
import { paths } from '../state/router.ts';
import { link } from './link.ts';

export function missingView(
  app: App,
  title = 'There is nothing here',
  text = 'The address may be incomplete.',
): TemplateResult {
  return html`
    <section class="card outcome bad">
      <h1 tabindex="-1">${title}</h1>
      <p>${text}</p>
      <p>${link(app, paths.list, 'See all concerts', 'action')}</p>
    </section>
  `;
}
