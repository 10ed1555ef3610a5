// The document: elements, texts, and tables whose rows stay where they are while their values change.

export const $ = (id) => document.getElementById(id);

/** Creates an element. Text becomes text nodes, never HTML. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Sets a text only if it differs, so that a selection survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Announces a text to screen readers, once. */
export const say = (text) => setText($('spoken'), text);

/**
 * Shows `rows` in a table. Each row is {key, level, cells: {column: text}}; a row with a key that is already shown is
 * changed in place. `level` is "good" or "bad".
 */
export function showRows(table, columns, rows) {
  if (!table.tBodies[0]) {
    const heads = columns.map((column) => el('th', { scope: 'col' }, column));
    table.append(el('thead', {}, el('tr', {}, ...heads)), el('tbody'));
  }
  const body = table.tBodies[0];
  const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
  rows.forEach(({ key, level, cells }, i) => {
    const row = known.get(key) ?? newRow(key, columns);
    known.delete(key);
    row.dataset.level = level;
    columns.forEach((column, cell) => setText(row.children[cell], cells[column]));
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
  });
  known.forEach((row) => row.remove());
  table.hidden = rows.length === 0;
}

function newRow(key, columns) {
  const row = el('tr', {}, ...columns.map(() => el('td')));
  row.dataset.key = key;
  columns.forEach((column, i) => {
    row.children[i].dataset.column = column;
  });
  return row;
}

/** Shows pairs of a term and a description. Each is {key, term, text, note, level}. */
export function showPairs(list, pairs) {
  for (const { key, term, text, note = '', level = '' } of pairs) {
    let pair = list.querySelector(`[data-key="${key}"]`);
    if (!pair) {
      pair = el('div', {}, el('dt', {}, term), el('dd', { className: 'value' }), el('dd', { className: 'muted' }));
      pair.dataset.key = key;
      list.append(pair);
    }
    pair.dataset.level = level;
    setText(pair.children[1], text);
    setText(pair.children[2], note);
  }
}
