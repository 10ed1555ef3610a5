// The controls of the intake: their state, the buttons, and the log of changes.

import {
  changeRequest,
  CHANGES,
  describeChange,
  describeConflict,
  describeControls,
  hasLimit,
} from './control_changes.js';
import { ask } from './dialog.js';
import { $, el, setText } from './dom.js';
import { time } from './format.js';
import { request } from './session.js';

let current = null; // The controls that are shown.
let accepted = null; // The rate of this moment, which a new limit starts from.
let changesRevision = null; // The revision up to which the log of changes is shown.

export function showControls(controls, rate) {
  accepted = rate;
  // The response to a change can be newer than a state that was requested before.
  if (!controls || controls.revision < current?.revision) {
    if (!current) setText($('controls-state'), 'Unknown: this instance has not read the controls yet.');
    return;
  }
  current = controls;
  for (const button of [$('pause'), $('limit')]) button.disabled = false;
  const set = `Set by ${controls.changedBy} at ${time(controls.changedAt)}: ${controls.reason ?? ''}`;
  setText($('controls-state'), `The intake is ${describeControls(controls)}. ${controls.changedBy ? set : ''}`);
  setText($('pause'), controls.intakePaused ? 'Resume intake…' : 'Pause intake…');
  setText($('limit'), hasLimit(controls) ? 'Change limit…' : 'Limit rate…');
  $('unlimit').hidden = !hasLimit(controls);
  if ($('changes').open && changesRevision !== controls.revision) showChanges();
}

export function initControls() {
  $('pause').addEventListener('click', () => change(current?.intakePaused ? CHANGES.resume : CHANGES.pause));
  $('limit').addEventListener('click', () => change(CHANGES.limit, current?.acceptPerSecond ?? likelyLimit()));
  $('unlimit').addEventListener('click', () => change(CHANGES.unlimit));
  $('changes').addEventListener('toggle', () => {
    if ($('changes').open) showChanges();
  });
}

/** A limit to start from: what is accepted at this moment. */
const likelyLimit = () => Math.max(1, Math.round(accepted || 100));

function change(what, rate = null) {
  if (!current) return;
  let basis = current;
  const body = () => [what.effect, `Now: ${describeControls(basis)}.`];
  ask({
    title: what.title,
    confirm: what.confirm,
    body: body(),
    rate,
    submit: async (values) => {
      try {
        const stored = await request('/ops/controls', { method: 'PUT', body: changeRequest(what, basis, values) });
        showControls(stored.controls ?? stored, accepted);
        return null;
      } catch (error) {
        const stored = error.body?.controls;
        if (error.status !== 412 || !stored) throw error;
        basis = stored;
        showControls(stored, accepted);
        const after = describeControls(what.apply(stored, values.rate));
        return {
          body: [
            el('p', { className: 'error', role: 'alert' }, describeConflict(stored)),
            `If you confirm, the intake is ${after}.`,
          ],
          confirm: `${what.confirm} anyway`,
        };
      }
    },
  });
}

async function showChanges() {
  changesRevision = current?.revision ?? null;
  try {
    const { changes } = await request('/ops/controls/changes');
    $('change-list').replaceChildren(...changes.map((change) => el('li', {}, describeChange(change))));
    const isNone = changes.length === 0;
    setText($('changes-note'), isNone ? 'The controls have never been changed.' : 'The newest are first.');
  } catch (error) {
    setText($('changes-note'), error.message);
    changesRevision = null;
  }
}
