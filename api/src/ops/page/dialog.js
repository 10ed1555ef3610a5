// The dialog in which an administrator confirms a change and gives the reason.

import { $, el } from './dom.js';

/**
 * Asks for a confirmation.
 *   title, confirm     the title, and the text of the button that confirms. Without it, there is nothing to confirm
 *   body               paragraphs or elements
 *   rate               null, or the number with which the field for a rate begins
 *   submit(values)     is called with {rate, reason}. Returns null when all is done. Otherwise it returns what to ask next:
 *                      an object with changed `body` and `confirm`. What it throws is shown, and the dialog stays open
 */
export function ask({ title, confirm = null, body, rate = null, submit }) {
  const dialog = $('ask');
  if (dialog.open) return;
  $('ask-title').textContent = title;
  $('ask-limit').hidden = rate === null;
  $('ask-rate').value = rate ?? '';
  $('ask-why').hidden = false;
  $('ask-reason').value = '';
  show({ body, confirm });
  $('ask-cancel').onclick = () => dialog.close();
  dialog.oncancel = (event) => isBusy() && event.preventDefault(); // The Escape key.
  $('ask-form').onsubmit = async (event) => {
    event.preventDefault();
    if ($('ask-confirm').hidden) return dialog.close();
    const values = read(rate !== null);
    if (!values) return;
    setBusy(true);
    try {
      const next = await submit(values);
      if (next) show(next);
      else dialog.close();
    } catch (error) {
      $('ask-error').textContent = error.message;
    } finally {
      setBusy(false);
    }
  };
  dialog.showModal();
  const first = rate !== null ? $('ask-rate') : confirm !== null ? $('ask-reason') : $('ask-cancel');
  first.focus();
}

/** While a change is under way, the dialog stays open to say what has become of it. */
function setBusy(isBusy) {
  $('ask-confirm').disabled = $('ask-cancel').disabled = isBusy;
}

const isBusy = () => $('ask-confirm').disabled;

export const closeDialog = () => $('ask').close();

function show({ body, confirm }) {
  $('ask-body').replaceChildren(...body.map((part) => (typeof part === 'string' ? el('p', {}, part) : part)));
  $('ask-confirm').textContent = confirm ?? '';
  $('ask-error').textContent = '';
  $('ask-confirm').hidden = !confirm;
  $('ask-cancel').textContent = confirm ? 'Cancel' : 'Close';
  if (!confirm) $('ask-limit').hidden = $('ask-why').hidden = true;
}

/** The fields, or null if one is wrong, which is then said and focused. */
function read(hasRate) {
  const rate = Number($('ask-rate').value);
  const reason = $('ask-reason').value.trim();
  const isRate = Number.isInteger(rate) && rate >= 1;
  const wrong = hasRate && !isRate
    ? [$('ask-rate'), 'Enter a whole number of at least 1.']
    : reason === ''
    ? [$('ask-reason'), 'Enter a reason.']
    : null;
  $('ask-error').textContent = wrong?.[1] ?? '';
  for (const field of [$('ask-rate'), $('ask-reason')]) field.ariaInvalid = wrong?.[0] === field ? 'true' : 'false';
  wrong?.[0].focus();
  return wrong ? null : { rate, reason };
}
