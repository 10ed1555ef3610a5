import assert from 'node:assert/strict';
import test from 'node:test';

import { changeRequest, CHANGES, describeConflict, describeControls } from './control_changes.js';

const RUNNING = { intakePaused: false, acceptPerSecond: null, revision: 12 };
const LIMITED = { intakePaused: true, acceptPerSecond: 50, revision: 13 };

test('a change keeps what it does not concern, and names the revision that it was decided on', () => {
  const values = { rate: 80, reason: 'r' };
  const bodies = Object.values(CHANGES).map((change) => changeRequest(change, LIMITED, values));
  assert.deepEqual(bodies, [
    { intakePaused: true, acceptPerSecond: 50, reason: 'r', revision: 13 },
    { intakePaused: false, acceptPerSecond: 50, reason: 'r', revision: 13 },
    { intakePaused: true, acceptPerSecond: 80, reason: 'r', revision: 13 },
    { intakePaused: true, acceptPerSecond: null, reason: 'r', revision: 13 },
  ]);
});

test('controls are described in words', () => {
  assert.equal(describeControls(RUNNING), 'running, without a limit');
  assert.equal(describeControls(LIMITED), 'paused, limited to 50/s');
});

test('a conflict names who has changed what and why', () => {
  const stored = { ...LIMITED, changedBy: 'bob', reason: 'slow database', changedAt: new Date().toISOString() };
  const text = describeConflict(stored);
  assert.match(text, /^bob has changed the controls meanwhile, at \d\d:\d\d:\d\d\. /);
  assert.ok(text.endsWith('The intake is now paused, limited to 50/s. Reason: slow database'), text);
});
