// The document: its elements, screen reader messages, the banner, and the address.

export const $ = (id) => document.getElementById(id);

/** Creates an element. Text becomes text nodes, never HTML. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Announces a text to screen readers. */
export const say = (text) => { $('spoken').textContent = text; };

/** Shows the status of the booking. Screen readers announce a new title, but not a countdown under the same title. */
export function showBanner(kind, title, content = [], action = null, act = null) {
  const isNews = $('banner').hidden || $('banner-title').textContent !== title;
  const hadFocus = $('banner').contains(document.activeElement);
  $('banner').className = `card ${kind}`;
  $('banner').hidden = false;
  $('banner-title').textContent = title;
  $('banner-body').replaceChildren(...content);
  $('banner-action').hidden = !action;
  $('banner-action').textContent = action;
  $('banner-action').onclick = act;
  if (isNews && hadFocus) $('banner-title').focus();
  if (isNews) say(`${title}. ${$('banner-body').innerText}`);
}

export function hideBanner() {
  $('banner').hidden = true;
  say('');
}

/** The current `{concert, ticket}`, from #concert=…&ticket=… */
export const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Changes the address without navigating, so that a reload continues here. */
export function remember(concert, ticket) {
  history.replaceState(null, '', `#${new URLSearchParams(ticket ? { concert, ticket } : { concert })}`);
}
