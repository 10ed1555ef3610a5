// The controls of the intake and of single concerts: their state, the buttons, and the log of changes.

import {
  changeRequest,
  CHANGES,
  concert,
  describeChange,
  describeConflict,
  describeState,
  hasLimit,
  INTAKE,
} from './control_changes.js';
import { initConcertControls, showConcertControls } from './concert_controls.js';
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
  for (const button of [$('pause'), $('limit'), $('pause-concert'), $('limit-concert')]) button.disabled = false;
  const set = `Last changed by ${controls.changedBy} at ${time(controls.changedAt)}: ${controls.reason ?? ''}`;
  const state = describeState(INTAKE.read(controls));
  setText($('controls-state'), `The intake is ${state}. ${controls.changedBy ? set : ''}`);
  setText($('pause'), controls.intakePaused ? 'Resume intake…' : 'Pause intake…');
  setText($('limit'), hasLimit(controls) ? 'Change limit…' : 'Limit rate…');
  $('unlimit').hidden = !hasLimit(controls);
  showConcertControls(controls.concerts ?? []);
  if ($('changes').open && changesRevision !== controls.revision) showChanges();
}

export function initControls() {
  $('pause').addEventListener('click', () => change(INTAKE, current?.intakePaused ? 'resume' : 'pause'));
  $('limit').addEventListener('click', () => change(INTAKE, 'limit'));
  $('unlimit').addEventListener('click', () => change(INTAKE, 'unlimit'));
  $('changes').addEventListener('toggle', () => {
    if ($('changes').open) showChanges();
  });
  initConcertControls((id, name) => change(concert(id), name));
}

/** A limit to start from: what is accepted at this moment. */
const likelyLimit = () => Math.max(1, Math.round(accepted || 100));

/** Asks for a change of CHANGES by its name, and makes it. */
function change(subject, name) {
  if (!current) return;
  let basis = current;
  const what = CHANGES[name];
  const state = subject.read(basis);
  ask({
    title: what.title(subject),
    confirm: what.confirm(subject),
    body: [what.effect, `${subject === INTAKE ? 'Now' : subject.name}: ${describeState(state)}.`],
    rate: name === 'limit' ? state.acceptPerSecond ?? likelyLimit() : null,
    submit: async (values) => {
      try {
        const body = changeRequest(subject, what, basis, values);
        const stored = await request(subject.path, { method: 'PUT', body });
        showControls(stored.controls ?? stored, accepted);
        return null;
      } catch (error) {
        const stored = error.body?.controls;
        if (error.status !== 412 || !stored) throw error;
        basis = stored;
        showControls(stored, accepted);
        const after = describeState(what.apply(subject.read(stored), values.rate));
        return {
          body: [
            el('p', { className: 'error', role: 'alert' }, describeConflict(subject, stored)),
            `If you confirm, ${subject === INTAKE ? 'the intake' : subject.name} is ${after}.`,
          ],
          confirm: `${what.confirm(subject)} anyway`,
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
