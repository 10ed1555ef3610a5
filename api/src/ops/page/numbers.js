// The numbers of this moment, from the history. Pure functions, tested in numbers.test.js.

import { latest, MOMENT, recentMax, recentMean, secondsWhile, total } from './history.js';

export function currentNumbers(history) {
  const { series } = history;
  const settled = total(history, 'settled');
  return {
    accepted: recentMean(series.accepted, MOMENT),
    settled: recentMean(settled, MOMENT),
    refused: recentMean(total(history, 'refused'), MOMENT),
    acceptedLastMinute: recentMean(series.accepted, 60),
    drainRate: latest(series.drainRate, MOMENT),
    waiting: latest(series.depth, MOMENT),
    oldest: latest(series.oldestAgeSeconds, MOMENT),
    acceptP50: recentMean(series.acceptP50, MOMENT),
    acceptP99: recentMax(series.acceptP99, MOMENT),
    settleP50: recentMean(series.settleP50, MOMENT),
    settleP99: recentMax(series.settleP99, MOMENT),
    /** For how many seconds bookings have waited without any being settled. */
    stuckFor: Math.min(
      secondsWhile(settled, (rate) => rate === 0),
      secondsWhile(series.depth, (depth) => depth > 0),
    ),
  };
}

/** The mean rate of each refusal code over the last 10 seconds. */
export function refusalRates(history) {
  const rates = {};
  for (const [name, points] of Object.entries(history.series)) {
    if (!name.startsWith('refused ')) continue;
    const rate = recentMean(points, 10);
    if (rate > 0) rates[name.slice('refused '.length)] = rate;
  }
  return rates;
}

/**
 * Since when each worker has settled nothing. `known` is the previous result: a map of process ids to
 * {settledTotal, since}.
 */
export function workerProgress(known, workers, now) {
  const progress = new Map();
  for (const { process, settledTotal = null } of workers) {
    const before = known.get(process);
    const isSame = before && before.settledTotal === settledTotal;
    progress.set(process, isSame ? before : { settledTotal, since: now });
  }
  return progress;
}
