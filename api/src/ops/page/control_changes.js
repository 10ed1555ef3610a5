// Changes of the intake's controls, as texts and requests. Pure functions, tested in control_changes.test.js.

import { perSecond, time } from './format.js';

/** What each button changes, from the controls as they are stored. */
export const CHANGES = {
  pause: {
    title: 'Pause the intake?',
    confirm: 'Pause intake',
    effect: 'Within a second, every instance refuses new bookings (503 intake-paused). Queued bookings are still ' +
      'settled, and buyers can still read their tickets.',
    apply: (controls) => ({ ...controls, intakePaused: true }),
  },
  resume: {
    title: 'Resume the intake?',
    confirm: 'Resume intake',
    effect: 'Within a second, every instance accepts bookings again. All buyers who have waited may return at once: ' +
      'a limit of the rate spreads them.',
    apply: (controls) => ({ ...controls, intakePaused: false }),
  },
  limit: {
    title: 'Limit the rate of the intake?',
    confirm: 'Set limit',
    effect: 'The instances share the limit. What is above it is refused (503 intake-limited), and buyers retry.',
    apply: (controls, rate) => ({ ...controls, acceptPerSecond: rate }),
  },
  unlimit: {
    title: 'Remove the limit of the intake?',
    confirm: 'Remove limit',
    effect: 'Every instance accepts as many bookings as it can.',
    apply: (controls) => ({ ...controls, acceptPerSecond: null }),
  },
};

/** The body of PUT /ops/controls. */
export function changeRequest(change, controls, { rate, reason }) {
  const { intakePaused, acceptPerSecond } = change.apply(controls, rate);
  return { intakePaused, acceptPerSecond, reason, revision: controls.revision };
}

/** "running, without a limit" */
export function describeControls(controls) {
  const limit = hasLimit(controls) ? `limited to ${perSecond(controls.acceptPerSecond)}` : 'without a limit';
  return `${controls.intakePaused ? 'paused' : 'running'}, ${limit}`;
}

export const hasLimit = ({ acceptPerSecond = null }) => acceptPerSecond !== null;

/** What somebody else has done in the meantime. */
export function describeConflict(stored) {
  const by = stored.changedBy ?? 'Somebody';
  const why = stored.reason ? ` Reason: ${stored.reason}` : '';
  return `${by} has changed the controls meanwhile, at ${time(stored.changedAt)}. The intake is now ${
    describeControls(stored)
  }.${why}`;
}

/** "12:03:04 alice: paused, without a limit. Reason: wrong price" */
export function describeChange(change) {
  return `${time(change.at)} ${change.by ?? 'unknown'}: ${describeControls(change)}. Reason: ${
    change.reason ?? 'none'
  }`;
}
