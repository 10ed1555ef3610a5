// A concert's picture. The title's first letter is drawn where there is none, or where it does not load.

import { html, type TemplateResult } from 'lit-html';

import type { Concert } from '../api/types.ts';
import { initial } from '../model/format.ts';

export function poster(concert: Concert, size: 'card' | 'hero'): TemplateResult {
  const hide = (event: Event) => (event.target as HTMLElement).classList.add('broken');
  return html`
    <div class="poster ${size}">
      <span aria-hidden="true">${initial(concert.title)}</span>
      <img alt="" loading="lazy" decoding="async" referrerpolicy="no-referrer" src=${concert.image} @error=${hide}>
    </div>
  `;
}
