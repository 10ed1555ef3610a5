// The results of the auditor and the canary, and the state of RabbitMQ and Postgres as this instance sees them.

import { $, showPairs } from './dom.js';
import { age, count, duration, number, time } from './format.js';

export function showChecks({ audit, canary, broker, database }, now) {
  showPairs($('checks'), [
    { key: 'audit', term: 'Oversell auditor', ...auditText(audit, now) },
    { key: 'canary', term: 'Canary', ...canaryText(canary, now) },
    { key: 'broker', term: 'RabbitMQ', ...brokerText(broker) },
    { key: 'database', term: 'Postgres', ...databaseText(database) },
  ]);
}

const secondsSince = (moment, now) => now - Date.parse(moment) / 1000;

export function auditText(audit, now) {
  if (!audit) return { text: 'No result', note: 'A worker checks that no seat is sold twice.' };
  const mismatches = Object.entries(audit.mismatches ?? {}).filter(([, n]) => n > 0);
  const isClean = audit.doubleSoldSeats === 0 && mismatches.length === 0;
  const text = audit.doubleSoldSeats > 0
    ? `✖ ${count(audit.doubleSoldSeats, 'seat')} sold twice`
    : isClean
    ? audit.completedAt ? '✔ No seat is sold twice' : 'No seat sold twice so far'
    : `▲ ${mismatches.map(([kind, n]) => `${number(n)} ${kind}`).join(', ')}`;
  const note = [
    audit.completedAt ? `completed ${age(secondsSince(audit.completedAt, now))} ago` : 'the first pass is not complete',
    typeof audit.coverage === 'number' ? `${Math.floor(audit.coverage * 100)} % of the seats checked` : null,
    audit.isPaused ? 'waiting for the end of a rush' : null,
  ];
  return { text, note: sentence(note), level: isClean ? (audit.completedAt ? 'good' : '') : 'bad' };
}

/** ["a", null, "b"] → "A, b." */
function sentence(parts) {
  const text = parts.filter(Boolean).join(', ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

export function canaryText(canary, now) {
  if (!canary) return { text: 'No result', note: 'It is off unless CANARY_EVERY is set.' };
  const took = typeof canary.durationSeconds === 'number' ? ` in ${duration(canary.durationSeconds)}` : '';
  if (canary.failure) {
    return { text: `▲ ${canary.failure}`, note: `Last success: ${time(canary.lastSuccessAt)}.`, level: 'bad' };
  }
  if (canary.refusedWith) {
    const last = canary.lastSuccessAt ? `Last success: ${time(canary.lastSuccessAt)}.` : '';
    return { text: `Refused on purpose: ${canary.refusedWith}`, note: last };
  }
  if (!canary.lastSuccessAt) return { text: 'No result yet' };
  const ago = age(secondsSince(canary.lastSuccessAt, now));
  return { text: `✔ Booked and released a seat${took}`, note: `${ago} ago.`, level: 'good' };
}

function brokerText(broker) {
  if (!broker) return { text: 'Unknown' };
  const note = (broker.failures ?? []).join('; ');
  if (!broker.accepts) return { text: '✖ Accepts no bookings', note, level: 'bad' };
  if (note) return { text: '▲ Accepts bookings, but a connection fails', note, level: 'bad' };
  return { text: '✔ Accepts bookings', level: 'good' };
}

function databaseText(database) {
  if (!database) return { text: 'Unknown' };
  if (!database.reachable) return { text: '✖ Cannot be reached', note: 'From this instance.', level: 'bad' };
  const { connectionsInUse, connectionsMax, clockOffsetMs } = database;
  const clock = typeof clockOffsetMs === 'number' ? ` Its clock differs by ${number(Math.abs(clockOffsetMs))} ms.` : '';
  const pool = typeof connectionsInUse === 'number'
    ? `${number(connectionsInUse)} of ${number(connectionsMax)} connections of this instance in use.`
    : '';
  return { text: '✔ Reachable', note: `${pool}${clock}`, level: 'good' };
}
