import assert from 'node:assert/strict';
import { test } from 'node:test';

import { coalesced } from '../../src/state/coalesced.ts';

test('all calls during a run share one more run', async () => {
  const runs: PromiseWithResolvers<void>[] = [];
  const work = coalesced(() => {
    runs.push(Promise.withResolvers());
    return runs.at(-1)!.promise;
  });
  const first = work();
  await Promise.resolve().then(() => {}).then(() => {});
  assert.equal(runs.length, 1);
  const [second, third] = [work(), work()];
  runs[0]!.resolve();
  await first;
  await Promise.resolve().then(() => {}).then(() => {});
  assert.equal(runs.length, 2);
  runs[1]!.resolve();
  await Promise.all([second, third]);
  assert.equal(runs.length, 2);
});

test('a run that fails does not keep the next one from beginning', async () => {
  let runs = 0;
  const work = coalesced(() => {
    runs += 1;
    return runs === 1 ? Promise.reject(new Error('the first one fails')) : Promise.resolve();
  });
  await assert.rejects(work(), /the first one fails/);
  await work();
  assert.equal(runs, 2);
});
