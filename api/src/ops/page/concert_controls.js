// The concerts that have controls of their own, with buttons that change or remove these, and a form for any other concert.

import { describeState, hasLimit } from './control_changes.js';
import { $, el } from './dom.js';

const COLUMNS = ['Concert', 'State', 'Change'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let change = null; // Asks for a change: change(id, name), where the name is one of CHANGES.
let shown = ''; // The controls that the table shows.

export function initConcertControls(changeConcert) {
  change = changeConcert;
  $('concert-form').addEventListener('submit', (event) => {
    event.preventDefault();
    changeNamed('pause');
  });
  $('limit-concert').addEventListener('click', () => changeNamed('limit'));
}

/** The concert whose id is entered in the form. */
function changeNamed(name) {
  const id = $('concert-id').value.trim().toLowerCase();
  const isId = UUID.test(id);
  $('concert-id').ariaInvalid = isId ? 'false' : 'true';
  $('concert-error').textContent = isId
    ? ''
    : 'Enter the id of a concert, such as 755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11.';
  if (isId) change(id, name);
  else $('concert-id').focus();
}

/** Shows the controls of concerts. A table that shows them already stays as it is, with its focus. */
export function showConcertControls(concerts) {
  const now = JSON.stringify(concerts);
  if (now === shown) return;
  const focused = document.activeElement?.ariaLabel;
  shown = now;
  const table = $('concert-controls');
  const heads = COLUMNS.map((column) => el('th', { scope: 'col' }, column));
  table.replaceChildren(el('thead', {}, el('tr', {}, ...heads)), el('tbody', {}, ...concerts.map(row)));
  table.hidden = concerts.length === 0;
  const buttons = [...table.querySelectorAll('button')];
  buttons.find(({ ariaLabel }) => ariaLabel && ariaLabel === focused)?.focus();
}

function row(concert) {
  const { concertId: id, paused } = concert;
  const button = (text, name) => {
    const element = el(
      'button',
      { className: 'action quiet', type: 'button', ariaLabel: `${text} concert ${id}` },
      text,
    );
    element.addEventListener('click', () => change(id, name));
    return element;
  };
  const buttons = [
    paused ? button('Resume…', 'resume') : button('Pause…', 'pause'),
    button(hasLimit(concert) ? 'Change limit…' : 'Limit…', 'limit'),
    button('Remove…', 'remove'),
  ];
  const cells = [id, describeState(concert), el('div', { className: 'buttons' }, ...buttons)];
  const columns = COLUMNS.map((column, i) => {
    const cell = el('td', {}, cells[i]);
    cell.dataset.column = column;
    return cell;
  });
  return el('tr', {}, ...columns);
}
