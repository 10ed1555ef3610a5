// The verdict: does the sale go well? Pure functions of the state that the api reports, tested in verdict.test.js.
//
// A finding is {id, level, title, help}. The worst one is the verdict, the others are listed below it. Those of the level
// "info" are never the verdict.

import { hasLimit } from './control_changes.js';
import { age, count, duration, number, perSecond, time } from './format.js';
import { currentNumbers, refusalRates } from './numbers.js';

const LEVELS = ['info', 'good', 'notice', 'warning', 'critical'];

export const LIMITS = {
  /** Processes send a heartbeat every second, and count as silent after 4 s (SILENT_AFTER in heartbeat.rs). */
  silentAfter: 4,
  /** A batch is settled within seconds. A worker reports itself as not ready after the same time (SLOW_AFTER). */
  stuckAfter: 10,
  /** Age of the oldest booking in the queue. The buyer waits as long. */
  oldNotice: 10,
  oldWarning: 60,
  /** The p99 of accepting a booking: a few milliseconds in normal operation. */
  slowAccept: 1,
  /** Refused requests per second. Fewer are single clients. */
  refused: 0.5,
  /** Offset of the clocks of this instance and Postgres. Deadlines and sale windows depend on them. */
  clockOffsetMs: 500,
  /** In seconds. A canary that has not run for so long is off, or every instance has failed. */
  canaryAge: 900,
};

/** Refusals that say that the installation cannot keep up, or that something is broken. */
const FAILURES = new Set([
  'queue-full',
  'broker-unavailable',
  'overloaded',
  'too-many-streams',
  'not-ready',
  'upgrade-in-progress',
  'database-unavailable',
  'database-fault',
  'timed-out',
  'internal',
  'outcome-unknown',
  'expired-in-queue',
]);
/** Refusals of single clients that ask too much. */
const CLIENT_LIMITS = new Set(['too-many-requests', 'client-limit-reached']);

/** All findings, the worst first. There is always one that is no "info". */
export function findings(state, history, progress, now) {
  const numbers = currentNumbers(history);
  const found = [
    ...auditFindings(state.audit),
    ...serverFindings(state),
    ...(hearsHeartbeats(state) ? workerFindings(state.workers ?? [], numbers, progress, now) : []),
    ...refusalFindings(refusalRates(history), numbers),
    ...queueFindings(numbers),
    ...controlFindings(state.controls),
    ...otherFindings(state, now),
  ];
  if (found.every(({ level }) => level === 'info')) found.push(good(numbers));
  // Array.sort is stable: among equals, the order above decides.
  return found.sort((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level));
}

const finding = (level) => (id, title, help = '') => ({ id, level, title, help });
const critical = finding('critical');
const warning = finding('warning');
const notice = finding('notice');
const info = finding('info');

function good({ accepted, acceptedLastMinute, settleP50 }) {
  if (acceptedLastMinute === null) {
    return notice('unknown', 'Unknown: this instance has no numbers yet', 'It has just started.');
  }
  if (acceptedLastMinute === 0) return finding('good')('idle', 'Ready: no bookings at the moment');
  const settled = settleP50 === null ? '' : `, settled in ${duration(settleP50)}`;
  return finding('good')('good', `Sale is going well: ${number(accepted)} bookings/s${settled}`);
}

function* auditFindings(audit) {
  if (!audit) return;
  if (audit.doubleSoldSeats > 0) {
    yield critical(
      'double-sold',
      `${count(audit.doubleSoldSeats, 'seat')} sold twice`,
      'Pause the intake. The log of the worker names the seats.',
    );
  }
  const kinds = Object.entries(audit.mismatches ?? {}).filter(([, n]) => n > 0);
  if (kinds.length > 0) {
    const list = kinds.map(([kind, n]) => `${number(n)} ${kind}`).join(', ');
    yield warning('mismatches', `Stored data disagrees: ${list}`, 'The log of the worker names the rows.');
  }
}

function* serverFindings({ broker, database, instances }) {
  if (broker?.accepts === false) {
    yield critical(
      'broker',
      `RabbitMQ accepts no bookings${listed(broker.failures)}`,
      'Buyers get 503 and retry. Nothing accepted is lost.',
    );
  } else if (broker?.failures?.length > 0) {
    yield warning('broker-failures', `A connection to RabbitMQ fails${listed(broker.failures)}`);
  }
  if (broker?.accepts !== false && !hearsHeartbeats({ instances })) {
    yield warning(
      'no-heartbeats',
      'Unknown: this instance receives no heartbeats',
      'Not even its own. It has just started, or its connection to RabbitMQ is lost.',
    );
  }
  if (database?.reachable === false) {
    yield critical(
      'database',
      'This instance cannot reach Postgres',
      'Bookings are accepted and wait in the queue. They are settled once Postgres is back.',
    );
  }
}

const listed = (failures) => (failures?.length > 0 ? `: ${failures.join('; ')}` : '');

function* workerFindings(workers, { waiting, oldest, stuckFor }, progress, now) {
  const silent = workers.filter(isSilent);
  const alive = workers.length - silent.length;
  const left = waiting > 0 ? `, ${number(waiting)} waiting` : '';
  if (alive === 0) {
    yield critical('no-worker', `No worker is running${left}`, 'Accepted bookings wait until a worker starts.');
  } else if (waiting > 0 && stuckFor >= LIMITS.stuckAfter && (oldest === null || oldest >= LIMITS.stuckAfter)) {
    yield critical(
      'stuck',
      `Workers stuck: nothing settled for ${age(stuckFor)}${left}`,
      'See the workers below, and "Bookings are not settled" in docs/RUNBOOK.md.',
    );
  }
  if (silent.length > 0 && alive > 0) {
    const longest = Math.max(...silent.map(({ heardSecondsAgo }) => heardSecondsAgo ?? 0));
    yield warning(
      'silent-worker',
      `${silent.length} of ${count(workers.length, 'worker')} silent for ${age(longest)}`,
      'Its bookings return to the queue once RabbitMQ closes its connection.',
    );
  }
  const talking = workers.filter((worker) => !isSilent(worker));
  const stuck = talking.filter((worker) => stuckSeconds(worker, progress, now) >= LIMITS.stuckAfter);
  if (stuck.length > 0) {
    const longest = Math.max(...stuck.map((worker) => stuckSeconds(worker, progress, now)));
    yield warning(
      'stuck-worker',
      `${stuck.length} of ${count(workers.length, 'worker')} settled nothing for ${
        age(longest)
      } while holding bookings`,
    );
  }
  const unready = talking.filter(({ notReady }) => notReady?.length > 0);
  if (unready.length > 0) {
    yield warning(
      'unready-worker',
      `${unready.length} of ${count(workers.length, 'worker')} not ready: ${unready[0].notReady.join('; ')}`,
    );
  }
  const idle = talking.filter(({ consuming, notReady }) => consuming === false && !(notReady?.length > 0));
  if (idle.length > 0) {
    yield warning('no-consumer', `${idle.length} of ${count(workers.length, 'worker')} not consuming`);
  }
}

/** Without heartbeats, nothing is known of any worker. An instance also hears itself. */
const hearsHeartbeats = ({ instances }) => (instances ?? []).some((one) => one.isThis && !isSilent(one));

export const isSilent = ({ heardSecondsAgo }) => heardSecondsAgo > LIMITS.silentAfter;

/** For how long a worker has settled nothing although it holds bookings. */
export function stuckSeconds({ process, bookings }, progress, now) {
  const last = progress.get(process);
  if (!(bookings > 0) || !last || last.settledTotal === null) return 0;
  return now - last.since;
}

function* refusalFindings(rates, { accepted }) {
  const select = (codes) => Object.entries(rates).filter(([code]) => codes.has(code));
  const rate = (chosen) => chosen.reduce((sum, [, n]) => sum + n, 0);
  const names = (chosen) => chosen.toSorted((a, b) => b[1] - a[1]).map(([code]) => code).join(', ');
  const failures = select(FAILURES);
  if (rate(failures) >= LIMITS.refused) {
    const isMost = rate(failures) > (accepted ?? 0);
    yield (isMost ? critical : warning)('refusing', `Refusing ${perSecond(rate(failures))}: ${names(failures)}`);
  }
  const limits = select(CLIENT_LIMITS);
  if (rate(limits) >= LIMITS.refused) {
    yield info('client-limits', `Refusing ${perSecond(rate(limits))} of single clients: ${names(limits)}`);
  }
}

function* queueFindings({ waiting, oldest, drainRate, acceptP99, stuckFor }) {
  if (waiting > 0 && oldest >= LIMITS.oldNotice && stuckFor < LIMITS.stuckAfter) {
    const drained = drainRate > 0 ? `, settled in about ${age(waiting / drainRate)}` : '';
    yield (oldest >= LIMITS.oldWarning ? warning : notice)(
      'old',
      `Buyers wait ${age(oldest)}: ${number(waiting)} waiting${drained}`,
      'More workers settle faster, up to the database.',
    );
  }
  if (acceptP99 >= LIMITS.slowAccept) yield warning('slow-accept', `Accepting is slow: p99 ${duration(acceptP99)}`);
}

function* controlFindings(controls) {
  if (!controls) return;
  const by = controls.changedBy ? ` by ${controls.changedBy}` : '';
  const why = controls.reason ? `: ${controls.reason}` : '';
  if (controls.intakePaused) {
    yield notice(
      'paused',
      `Intake paused${by}${why}`,
      `Since ${time(controls.changedAt)}. Queued bookings are settled.`,
    );
  }
  if (hasLimit(controls)) {
    const limit = `Intake limited to ${perSecond(controls.acceptPerSecond)}`;
    yield info('limited', controls.intakePaused ? limit : `${limit}${by}${why}`);
  }
  const concerts = controls.concerts ?? [];
  const pausedConcerts = concerts.filter(({ paused }) => paused).length;
  if (pausedConcerts > 0) yield info('paused-concerts', `Bookings of ${count(pausedConcerts, 'concert')} paused`);
  const limitedConcerts = concerts.filter(hasLimit).length;
  if (limitedConcerts > 0) yield info('limited-concerts', `Bookings of ${count(limitedConcerts, 'concert')} limited`);
  if (controls.isStored === false) {
    yield warning(
      'controls-unknown',
      'The controls are the last known ones, and cannot be changed now',
      'Postgres, which stores them, cannot be reached.',
    );
  }
}

/** The report of a canary that was switched off is kept. It says nothing about now. */
function* canaryFindings(canary, now) {
  if (!canary) return;
  if (now - Date.parse(canary.lastRunAt) / 1000 > LIMITS.canaryAge) {
    yield info('canary-old', `The canary has not run since ${time(canary.lastRunAt)}`);
  } else if (canary.failure) {
    yield warning('canary', `The canary failed: ${canary.failure}`, `Last success: ${time(canary.lastSuccessAt)}.`);
  }
}

function* otherFindings({ deadLetters, canary, audit, database, workers, instances }, now) {
  if (deadLetters?.open > 0) {
    yield warning(
      'dead-letters',
      `${count(deadLetters.open, 'dead letter')} need${deadLetters.open === 1 ? 's' : ''} a decision`,
    );
  }
  yield* canaryFindings(canary, now);
  if (Math.abs(database?.clockOffsetMs ?? 0) >= LIMITS.clockOffsetMs) {
    yield warning(
      'clock',
      `The clocks of this instance and Postgres differ by ${duration(Math.abs(database.clockOffsetMs) / 1000)}`,
      'Synchronise the clocks of the machines.',
    );
  }
  if (database?.connectionsMax > 0 && database.connectionsInUse >= database.connectionsMax) {
    yield info('pool', 'All database connections of this instance are in use');
  }
  const versions = new Set([...(workers ?? []), ...(instances ?? [])].map(({ version }) => version));
  if (versions.size > 1) yield info('versions', `Different versions run: ${[...versions].sort().join(', ')}`);
  if (audit?.isPaused) yield info('audit-paused', 'The auditor waits for the end of a rush');
}
