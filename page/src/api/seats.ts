// The seats of a concert, from the two documents that the API has for a page: the layout, which a sale does not change, and
// the status, which has a bit per seat.

import { ProblemError } from './request.ts';
import type { Layout, SeatStatus } from './types.ts';

export interface Seat {
  readonly id: number;
  readonly tierId: number;
  readonly section: string;
  readonly row: number;
  /** Unique in the concert, such as `A-12`. */
  readonly number: string;
}

/** The seats in the order of the layout. */
export function seatsOf(layout: Layout): Seat[] {
  return layout.runs.flatMap((run) =>
    Array.from({ length: run.count }, (_, k) => ({
      id: run.firstId + k,
      tierId: at(layout.tiers, run.tier),
      section: at(layout.sections, run.section),
      row: run.row,
      number: run.firstNumber === undefined ? run.prefix : `${run.prefix}${run.firstNumber + k}`,
    }))
  );
}

function at<T>(list: T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new ProblemError(0, { title: 'Hamro Concert sent an invalid seat layout' });
  return item;
}

/** The ids of the booked seats of a layout, whose first seat is the least significant bit of the first byte. */
export function bookedIds(seats: readonly Seat[], status: SeatStatus): number[] {
  const bytes = Uint8Array.from(atob(status.booked), (character) => character.charCodeAt(0));
  return seats.filter((_, index) => ((bytes[index >> 3] ?? 0) >> (index & 7)) & 1).map((seat) => seat.id);
}
