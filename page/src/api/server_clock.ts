// The time by the server's clock. A visitor's clock may be wrong by hours, and sales open by the server's.

/** After so many responses in a row that are earlier, this device's clock was set forward. */
const EARLIER_MAX = 3;

/**
 * Learns how far the server's clock is ahead of this device's. `Date` headers have whole seconds, so each response gives a
 * range; several responses narrow it down.
 */
export class ServerClock {
  private earliest = -Infinity;
  private latest = Infinity;
  /** How many responses in a row were earlier than what is known. */
  private earlier = 0;

  /** `began` and `ended` are when the request was sent and answered, by this device, in milliseconds. */
  observe(date: string | null, began: number, ended: number): void {
    const second = Date.parse(date ?? '');
    if (Number.isNaN(second)) return;
    const [earliest, latest] = [second - ended, second + 1000 - began];
    const [from, to] = [Math.max(this.earliest, earliest), Math.min(this.latest, latest)];
    this.earlier = latest < this.earliest ? this.earlier + 1 : 0;
    // If they contradict each other, one of the clocks was set since. A single earlier one may be that of a cache.
    if (from <= to) [this.earliest, this.latest] = [from, to];
    else if (earliest > this.latest || this.earlier >= EARLIER_MAX) [this.earliest, this.latest] = [earliest, latest];
  }

  /**
   * The earliest that the server's clock may show, up to a second ago: a booking that is sent before the sale opens is
   * rejected. Milliseconds since the Unix epoch. By this device's clock before the first response.
   */
  now(): number {
    return Date.now() + (Number.isFinite(this.earliest) ? this.earliest : 0);
  }
}

export const serverClock = new ServerClock();
