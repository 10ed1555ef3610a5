// The workers and api instances, as their heartbeats describe them.

import { $, setText, showRows } from './dom.js';
import { age, count, perSecond, shortId, UNKNOWN } from './format.js';
import { isSilent, LIMITS, stuckSeconds } from './verdict.js';

const WORKER_COLUMNS = ['Worker', 'State', 'Rate', 'Holds', 'Heard', 'Version'];
const INSTANCE_COLUMNS = ['Instance', 'Published', 'Heard', 'Version'];

export function showWorkers(workers, progress, now) {
  const rows = workers.toSorted((a, b) => compare(a.process, b.process)).map((worker) => {
    const problem = workerProblem(worker, progress, now);
    return {
      key: worker.process,
      level: problem ? 'bad' : 'good',
      cells: {
        Worker: shortId(worker.process),
        State: problem ? `▲ ${problem}` : worker.bookings > 0 ? 'settling' : 'idle',
        Rate: perSecond(worker.rate ?? null),
        Holds: count(worker.bookings ?? null, 'booking'),
        Heard: heard(worker),
        Version: worker.version ?? UNKNOWN,
      },
    };
  });
  showRows($('workers'), WORKER_COLUMNS, rows);
  setText($('workers-note'), rows.length === 0 ? 'This instance hears no worker.' : '');
}

/** Why a worker needs attention, or null. */
function workerProblem(worker, progress, now) {
  if (isSilent(worker)) return `silent for ${age(worker.heardSecondsAgo)}: stopped, frozen, or without a connection`;
  const stuck = stuckSeconds(worker, progress, now);
  const reasons = worker.notReady?.length > 0 ? `not ready: ${worker.notReady.join('; ')}` : null;
  if (stuck >= LIMITS.stuckAfter) return [`settled nothing for ${age(stuck)}`, reasons].filter(Boolean).join('; ');
  return reasons ?? (worker.consuming === false ? 'does not consume the queue' : null);
}

export function showInstances(instances) {
  const rows = instances.toSorted((a, b) => compare(a.process, b.process)).map((instance) => ({
    key: instance.process,
    level: isSilent(instance) ? 'bad' : 'good',
    cells: {
      Instance: `${shortId(instance.process)}${instance.isThis ? ' (this page)' : ''}`,
      Published: count(instance.bookings ?? null, 'booking'),
      Heard: isSilent(instance) ? `▲ ${heard(instance)}` : heard(instance),
      Version: instance.version ?? UNKNOWN,
    },
  }));
  showRows($('instances'), INSTANCE_COLUMNS, rows);
}

/** Whole seconds, so that the text changes only when something is wrong. */
function heard({ heardSecondsAgo }) {
  if (typeof heardSecondsAgo !== 'number') return UNKNOWN;
  return heardSecondsAgo < 2 ? 'now' : `${age(heardSecondsAgo)} ago`;
}

const compare = (a, b) => (a < b ? -1 : Number(a > b));
