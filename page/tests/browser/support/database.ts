// The database of the deployment, through psql.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { DATABASE_URL } from './environment.ts';

const OPTIONS = [
  '--no-psqlrc',
  '--quiet',
  '--no-align',
  '--tuples-only',
  '--set=ON_ERROR_STOP=1',
  `--dbname=${DATABASE_URL}`,
];

/** The rows of a query, each an array of texts. `arguments` replace `:'name'` and `:name` in it. */
export async function query(sql: string, values: Record<string, string | number> = {}): Promise<string[][]> {
  const variables = Object.entries(values).map(([name, value]) => `--set=${name}=${value}`);
  // Variables are replaced only in what psql reads from its input.
  const running = promisify(execFile)('psql', [...OPTIONS, ...variables, '--field-separator=\t', '--file=-']);
  running.child.stdin?.end(sql);
  const { stdout } = await running;
  return stdout.split('\n').filter((line) => line !== '').map((line) => line.split('\t'));
}

async function number(sql: string, values: Record<string, string | number>): Promise<number> {
  const [row] = await query(sql, values);
  assert.ok(row?.[0] !== undefined, `no row: ${sql}`);
  return Number(row[0]);
}

/** The number of sales that have a seat of this concert, released ones included: how often customers were charged. */
export async function countSales(concertId: string): Promise<number> {
  return await number(
    `SELECT count(DISTINCT sale_id) FROM sale_seats JOIN seats ON seats.id = seat_id WHERE seats.concert_id = :'concert'`,
    { concert: concertId },
  );
}

/** The number of seats of this concert that are sold. */
export async function countSoldSeats(concertId: string): Promise<number> {
  return await number(`SELECT count(*) FROM seats WHERE concert_id = :'concert' AND booked_at IS NOT NULL`, {
    concert: concertId,
  });
}

/** The number of settled tickets with this e-mail address: all that were accepted, also rejected ones and retries. */
export async function countBookings(userEmail: string): Promise<number> {
  return await number(`SELECT count(*) FROM bookings WHERE lower(user_email) = lower(:'email')`, { email: userEmail });
}

/** The prices of the seats in this booking as they were charged, in the order of the request. */
export async function chargedPrices(ticketId: string): Promise<string[]> {
  const rows = await query(
    `SELECT price FROM bookings JOIN sale_seats USING (sale_id) WHERE bookings.ticket_id = :'ticket' ORDER BY position`,
    { ticket: ticketId },
  );
  return rows.map(([price]) => price ?? '');
}

/** A lock that keeps a worker from settling bookings of a seat. */
export interface Hold {
  release(): Promise<void>;
}

const held = new Set<Hold>();

/** Locks a seat's row in a transaction until the hold is released, or the test ends. */
export async function holdSeat(seatId: number): Promise<Hold> {
  const psql = spawn('psql', OPTIONS, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(psql, 'exit');
  const lines = createInterface(psql.stdout);
  psql.stdin.write(`BEGIN;\nSELECT id FROM seats WHERE id = ${Number(seatId)} FOR UPDATE;\n`);
  const [line] = await Promise.race([once(lines, 'line'), ended.then(() => ['psql ended'])]);
  assert.equal(line, String(seatId), 'the seat was not locked');
  const hold = {
    async release() {
      if (!held.delete(hold)) return;
      psql.stdin.end('ROLLBACK;\n');
      await ended;
    },
  };
  held.add(hold);
  return hold;
}

/** Called at the end of every test. */
export async function releaseAll(): Promise<void> {
  await Promise.all([...held].map((hold) => hold.release()));
}
