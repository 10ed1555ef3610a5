// Changes of the controls, as texts and requests: of the whole intake, or of one concert. Pure functions, tested in
// control_changes.test.js.

import { perSecond, time } from './format.js';

const NO_CONTROLS = { paused: false, acceptPerSecond: null };

/** The whole intake, as the subject of a change. `read` takes its state from the controls, and `write` makes it a body. */
export const INTAKE = {
  noun: 'intake',
  name: 'The intake',
  path: '/ops/controls',
  read: ({ intakePaused, acceptPerSecond = null }) => ({ paused: intakePaused, acceptPerSecond }),
  write: ({ paused, acceptPerSecond }) => ({ intakePaused: paused, acceptPerSecond }),
};

/** One concert, as the subject of a change. */
export const concert = (id) => ({
  noun: 'concert',
  name: `Concert ${id}`,
  path: `/ops/controls/concerts/${encodeURIComponent(id)}`,
  read: ({ concerts = [] }) => concerts.find(({ concertId }) => concertId === id) ?? NO_CONTROLS,
  write: ({ paused, acceptPerSecond }) => ({ paused, acceptPerSecond }),
});

/** What each button changes, from the state of the subject as it is stored. */
export const CHANGES = {
  pause: {
    title: ({ noun }) => `Pause the ${noun}?`,
    confirm: ({ noun }) => `Pause ${noun}`,
    effect: 'Within a second, every instance refuses new bookings (503 intake-paused). Queued bookings are still ' +
      'settled, and buyers can still read their tickets.',
    apply: (state) => ({ ...state, paused: true }),
  },
  resume: {
    title: ({ noun }) => `Resume the ${noun}?`,
    confirm: ({ noun }) => `Resume ${noun}`,
    effect: 'Within a second, every instance accepts bookings again. All buyers who have waited may return at once: ' +
      'a limit of the rate spreads them.',
    apply: (state) => ({ ...state, paused: false }),
  },
  limit: {
    title: ({ noun }) => `Limit the rate of the ${noun}?`,
    confirm: () => 'Set limit',
    effect: 'The instances share the limit. What is above it is refused (503 intake-limited), and buyers retry.',
    apply: (state, rate) => ({ ...state, acceptPerSecond: rate }),
  },
  unlimit: {
    title: ({ noun }) => `Remove the limit of the ${noun}?`,
    confirm: () => 'Remove limit',
    effect: 'Every instance accepts as many bookings as it can.',
    apply: (state) => ({ ...state, acceptPerSecond: null }),
  },
  remove: {
    title: ({ noun }) => `Remove the controls of the ${noun}?`,
    confirm: () => 'Remove controls',
    effect: 'Every instance accepts bookings of the concert as of any other.',
    apply: () => NO_CONTROLS,
  },
};

/** The body of the request that makes the change. */
export function changeRequest(subject, change, controls, { rate, reason }) {
  return { ...subject.write(change.apply(subject.read(controls), rate)), reason, revision: controls.revision };
}

/** "running, without a limit" */
export function describeState(state) {
  const limit = hasLimit(state) ? `limited to ${perSecond(state.acceptPerSecond)}` : 'without a limit';
  return `${state.paused ? 'paused' : 'running'}, ${limit}`;
}

export const hasLimit = ({ acceptPerSecond = null }) => acceptPerSecond !== null;

/** What somebody else has done in the meantime. */
export function describeConflict(subject, stored) {
  const by = stored.changedBy ?? 'Somebody';
  const why = stored.reason ? ` Reason: ${stored.reason}` : '';
  return `${by} has changed the controls meanwhile, at ${time(stored.changedAt)}. ${subject.name} is now ${
    describeState(subject.read(stored))
  }.${why}`;
}

/** "12:03:04 alice: paused, without a limit. Reason: wrong price" */
export function describeChange(change) {
  return `${time(change.at)} ${change.by ?? 'unknown'}: ${describeChanged(change)}. Reason: ${change.reason ?? 'none'}`;
}

/** The state after the change: of the concert that was changed, or of the intake. */
function describeChanged({ before = {}, ...after }) {
  const ids = [...(before.concerts ?? []), ...(after.concerts ?? [])].map(({ concertId }) => concertId);
  const states = [...new Set(ids)].map(concert).map(({ name, read }) => [name, read(before), read(after)]);
  const changed = states.filter(([, before, after]) => describeState(before) !== describeState(after));
  if (changed.length === 0) return describeState(INTAKE.read(after));
  return changed.map(([name, , after]) => `${name} ${describeState(after)}`).join('; ');
}
