import assert from 'node:assert/strict';
import { test } from 'node:test';

import { oneAtATime } from '../../src/state/one_at_a_time.ts';

test('all calls during a round share one more round', async () => {
  const rounds: PromiseWithResolvers<void>[] = [];
  const work = oneAtATime(() => {
    rounds.push(Promise.withResolvers());
    return rounds.at(-1)!.promise;
  });
  const first = work();
  await Promise.resolve().then(() => {}).then(() => {});
  assert.equal(rounds.length, 1);
  const [second, third] = [work(), work()];
  rounds[0]!.resolve();
  await first;
  await Promise.resolve().then(() => {}).then(() => {});
  assert.equal(rounds.length, 2);
  rounds[1]!.resolve();
  await Promise.all([second, third]);
  assert.equal(rounds.length, 2);
});

test('a round that fails does not keep the next one from beginning', async () => {
  let rounds = 0;
  const work = oneAtATime(() => {
    rounds += 1;
    return rounds === 1 ? Promise.reject(new Error('the first one fails')) : Promise.resolve();
  });
  await assert.rejects(work(), /the first one fails/);
  await work();
  assert.equal(rounds, 2);
});
