// The seats of a concert and which of them are booked, kept current.

import { signal } from '@preact/signals-core';

import { listen } from '../api/event_stream.ts';
import { delay, ProblemError, request, withRetries } from '../api/request.ts';
import { bookedIds, type Seat, seatsOf } from '../api/seats.ts';
import { pause } from '../api/signals.ts';
import type { Layout, SeatsChange, SeatsSnapshot, SeatStatus } from '../api/types.ts';
import { visible, whileVisible } from './visibility.ts';

const IDLE_TIMEOUT = 120; // seconds until an idle stream, which may be dead, is replaced. A new snapshot may be large.
const POLLING = 30; // seconds, randomly up to twice as long, until the stream is tried again
const POLL_PAUSE = { least: 4, most: 15 }; // seconds

/** A section: seats of one tier, nearest to the stage first. */
export interface Section {
  readonly name: string;
  readonly tierId: number;
  readonly rows: readonly { readonly number: number; readonly seats: readonly Seat[] }[];
  readonly seats: readonly Seat[];
}

export class SeatMap {
  /** `null` before they are loaded. Replaced when seats are added or removed. */
  readonly sections = signal<readonly Section[] | null>(null);
  readonly booked = signal<ReadonlySet<number>>(new Set());
  /** Why the map may be out of date. */
  readonly retryNotice = signal<{ title: string; retryAt: number } | null>(null);
  private byId: ReadonlyMap<number, Seat> = new Map();
  private layoutVersion = '';
  private readonly concert: string;
  private readonly onCatalogue: (version: string) => void;

  /** `onCatalogue` is called when the concert or its tiers have changed, with the version that they have now. */
  constructor(concert: string, onCatalogue: (version: string) => void) {
    this.concert = encodeURIComponent(concert);
    this.onCatalogue = onCatalogue;
  }

  seat(id: number): Seat | undefined {
    return this.byId.get(id);
  }

  get size(): number {
    return this.byId.size;
  }

  isFree(seat: Seat): boolean {
    return !this.booked.value.has(seat.id);
  }

  /** Loads the seats, and follows every change while the page is visible. Ends by the signal only. */
  async watch(signal: AbortSignal): Promise<void> {
    await this.load(signal);
    for (;;) {
      await visible(signal);
      // A hidden page closes its stream, because a browser opens only six connections to a server, for all tabs.
      const untilHidden = whileVisible(signal);
      try {
        await this.follow(untilHidden.signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!untilHidden.signal.aborted) throw error;
      } finally {
        untilHidden.dispose();
      }
    }
  }

  /** Takes over what an outcome says about seats. */
  mark(bookedSeatIds: readonly number[], freedSeatIds: readonly number[]): void {
    const before = this.booked.peek();
    const booked = new Set(before);
    for (const id of bookedSeatIds) if (this.byId.has(id)) booked.add(id);
    for (const id of freedSeatIds) booked.delete(id);
    if (booked.size === before.size && [...booked].every((id) => before.has(id))) return;
    this.booked.value = booked;
  }

  /** Returns how long the attempt that succeeded took, in milliseconds. */
  private async load(signal: AbortSignal): Promise<number> {
    const attempt = async () => {
      const began = performance.now();
      await this.loadOnce(signal);
      return performance.now() - began;
    };
    const took = await withRetries(attempt, signal, ({ problem }, seconds) => {
      this.retryNotice.value = { title: problem.title, retryAt: Date.now() + seconds * 1000 };
    });
    this.retryNotice.value = null;
    return took;
  }

  private async loadOnce(signal: AbortSignal): Promise<void> {
    for (let attempt = 0;; attempt += 1) {
      const { body: status } = await request<SeatStatus>(`/seats/concert/${this.concert}/status`, signal);
      if (status.layoutVersion === this.layoutVersion) {
        this.booked.value = new Set(bookedIds([...this.byId.values()], status));
        return;
      }
      try {
        const { layoutVersion } = status;
        const { body } = await request<Layout>(`/seats/concert/${this.concert}/layouts/${layoutVersion}`, signal);
        this.show(seatsOf(body), layoutVersion, status);
        return;
      } catch (error) {
        // The seats have changed meanwhile.
        const isChanged = error instanceof ProblemError && error.problem.code === 'layout-changed';
        if (!isChanged) throw error;
        await pause(delay(attempt, error.retryAfter, 5), signal);
      }
    }
  }

  private show(seats: Seat[], layoutVersion: string, status: SeatStatus): void {
    this.byId = new Map(seats.map((seat) => [seat.id, seat]));
    this.layoutVersion = layoutVersion;
    this.booked.value = new Set(bookedIds(seats, status));
    this.sections.value = sectionsOf(seats);
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const end = await listen(
      `/seats/concert/${this.concert}/events`,
      {
        snapshot: ({ layoutVersion, bookedSeatIds }: SeatsSnapshot) => {
          this.retryNotice.value = null;
          if (layoutVersion !== this.layoutVersion) return true;
          this.booked.value = new Set(bookedSeatIds);
          return false;
        },
        change: ({ bookedSeatIds, freedSeatIds }: SeatsChange) => this.mark(bookedSeatIds, freedSeatIds),
        catalogue: ({ version }: { version: string }) => this.onCatalogue(version),
      },
      IDLE_TIMEOUT,
      signal,
    );
    if (end === 'failed') await this.poll(signal);
    if (end === 'done') {
      // Seats were added or removed. The random pause keeps clients from reloading all at once.
      await pause(1 + 2 * Math.random(), signal);
      await this.load(signal);
    }
  }

  private async poll(signal: AbortSignal): Promise<void> {
    const end = performance.now() + POLLING * 1000 * (1 + Math.random());
    while (performance.now() < end) {
      const took = await this.load(signal);
      this.onCatalogue(`polled ${Math.floor(performance.now() / 20_000)}`); // Now and then, because nothing tells of changes.
      // On a slow connection, a large map must not use the whole bandwidth. Without a limit, one slow response would keep the
      // page from following the sale for minutes.
      await pause(Math.min(Math.max(POLL_PAUSE.least, took / 50), POLL_PAUSE.most), signal);
    }
  }
}

function sectionsOf(seats: readonly Seat[]): Section[] {
  const ordered = [...seats].sort((a, b) => a.row - b.row || a.id - b.id);
  const bySection = groupBy(ordered, (seat) => JSON.stringify([seat.section, seat.tierId]));
  return [...bySection.values()].map((seats) => {
    const [{ section, tierId }] = seats;
    const rows = [...groupBy(seats, (seat) => seat.row)].map(([number, seats]) => ({ number, seats }));
    return { name: section, tierId, rows, seats };
  });
}

/** `Map.groupBy`, which Safari has only since 17.4. */
function groupBy<K, T>(items: readonly T[], keyOf: (item: T) => K): Map<K, [T, ...T[]]> {
  const groups = new Map<K, [T, ...T[]]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
