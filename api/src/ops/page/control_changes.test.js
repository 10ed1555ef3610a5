import assert from 'node:assert/strict';
import test from 'node:test';

import {
  changeRequest,
  CHANGES,
  concert,
  describeChange,
  describeConflict,
  describeState,
  INTAKE,
} from './control_changes.js';

const RUNNING = { intakePaused: false, acceptPerSecond: null, concerts: [], revision: 12 };
const LIMITED = {
  intakePaused: true,
  acceptPerSecond: 50,
  concerts: [{ concertId: 'a', paused: true, acceptPerSecond: 5 }],
  revision: 13,
};

test('a change keeps what it does not concern, and names the revision that it was decided on', () => {
  const values = { rate: 80, reason: 'r' };
  const { pause, resume, limit, unlimit } = CHANGES;
  const bodies = [pause, resume, limit, unlimit].map((change) => changeRequest(INTAKE, change, LIMITED, values));
  assert.deepEqual(bodies, [
    { intakePaused: true, acceptPerSecond: 50, reason: 'r', revision: 13 },
    { intakePaused: false, acceptPerSecond: 50, reason: 'r', revision: 13 },
    { intakePaused: true, acceptPerSecond: 80, reason: 'r', revision: 13 },
    { intakePaused: true, acceptPerSecond: null, reason: 'r', revision: 13 },
  ]);
});

test('a change of a concert starts from its own controls, or from none', () => {
  const values = { rate: 80, reason: 'r' };
  const bodies = (id) => Object.values(CHANGES).map((change) => changeRequest(concert(id), change, LIMITED, values));
  const states = (id) => bodies(id).map(({ paused, acceptPerSecond }) => [paused, acceptPerSecond]);
  assert.deepEqual(states('a'), [[true, 5], [false, 5], [true, 80], [true, null], [false, null]]);
  assert.deepEqual(states('b'), [[true, null], [false, null], [false, 80], [false, null], [false, null]]);
  assert.deepEqual(bodies('a')[0], { paused: true, acceptPerSecond: 5, reason: 'r', revision: 13 });
});

test('controls are described in words', () => {
  assert.equal(describeState(INTAKE.read(RUNNING)), 'running, without a limit');
  assert.equal(describeState(INTAKE.read(LIMITED)), 'paused, limited to 50/s');
  assert.equal(describeState(concert('a').read(LIMITED)), 'paused, limited to 5/s');
  // An instance of an earlier version does not know controls of concerts.
  assert.equal(describeState(concert('a').read({ intakePaused: true })), 'running, without a limit');
});

test('a conflict names who has changed what and why', () => {
  const stored = { ...LIMITED, changedBy: 'bob', reason: 'slow database', changedAt: new Date().toISOString() };
  const text = describeConflict(INTAKE, stored);
  assert.match(text, /^bob has changed the controls meanwhile, at \d\d:\d\d:\d\d\. /);
  assert.ok(text.endsWith('The intake is now paused, limited to 50/s. Reason: slow database'), text);
  const ofConcert = describeConflict(concert('b'), stored);
  assert.ok(ofConcert.endsWith('Concert b is now running, without a limit. Reason: slow database'), ofConcert);
});

test('an entry of the log says what became of the intake, or of the concert that was changed', () => {
  const text = (before, after) => describeChange({ at: null, by: 'bob', reason: 'r', ...after, before });
  assert.equal(text(RUNNING, { ...LIMITED, concerts: [] }), '– bob: paused, limited to 50/s. Reason: r');
  const both = { ...LIMITED, concerts: [...LIMITED.concerts, { concertId: 'b', paused: false, acceptPerSecond: 9 }] };
  assert.equal(text(LIMITED, both), '– bob: Concert b running, limited to 9/s. Reason: r');
  assert.equal(text(both, LIMITED), '– bob: Concert b running, without a limit. Reason: r');
  assert.equal(text(LIMITED, { ...LIMITED, intakePaused: false }), '– bob: running, limited to 50/s. Reason: r');
});
