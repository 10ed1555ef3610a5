// The document: its elements, what is read out, the banner, and the address.

export const $ = (id) => document.getElementById(id);

/** An element. Text goes in as text nodes, never as HTML. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** For those who hear the page. */
export const say = (text) => { $('spoken').textContent = text; };

/** Says where the booking stands. A new title is read out; a countdown under the same title is not. */
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

/** Where we are: `{concert, ticket}` of #concert=…&ticket=… */
export const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Changes the address and stays, so that a reload goes on from here. */
export function remember(concert, ticket) {
  history.replaceState(null, '', `#${new URLSearchParams(ticket ? { concert, ticket } : { concert })}`);
}
