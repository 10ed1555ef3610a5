// The time by the server's clock. A visitor's clock may be wrong by hours, and sales open by the server's.

/**
 * Learns how far the server's clock is ahead of this device's. `Date` headers have whole seconds, so each response gives a
 * range; several responses narrow it down.
 */
export class ServerClock {
  private earliest = -Infinity;
  private latest = Infinity;

  /** `began` and `ended` are when the request was sent and answered, by this device, in milliseconds. */
  observe(date: string | null, began: number, ended: number): void {
    const second = Date.parse(date ?? '');
    if (Number.isNaN(second)) return;
    const [earliest, latest] = [second - ended, second + 1000 - began];
    const [from, to] = [Math.max(this.earliest, earliest), Math.min(this.latest, latest)];
    // If they contradict each other, one of the clocks was set since. An earlier one may be that of a cache.
    if (from <= to) [this.earliest, this.latest] = [from, to];
    else if (earliest > this.latest) [this.earliest, this.latest] = [earliest, latest];
  }

  /** Milliseconds since the Unix epoch. By this device's clock before the first response. */
  now(): number {
    const offset = Number.isFinite(this.earliest) ? (this.earliest + this.latest) / 2 : 0;
    return Date.now() + offset;
  }
}

export const serverClock = new ServerClock();
