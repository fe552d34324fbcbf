/*
 * The count-down timer of a local APIC. Nothing ticks: the current count follows from the time since the start, and the
 * owner of the APIC polls the deadline.
 *
 *   start ------- initial count × tick -------> deadline
 */
export class ApicTimer {
  /** When the count reaches 0; Infinity while the timer stands still. */
  deadlineNs: number = Infinity;
  #initialCount = 0;
  #divisor = 2;
  readonly #inputTickNs: number;

  constructor(frequencyHz: number) {
    this.#inputTickNs = 1e9 / frequencyHz;
  }

  /** Begin to count down from `count`; 0 stops the timer. */
  start(count: number, nowNs: number): void {
    this.#initialCount = count;
    this.deadlineNs = count === 0 ? Infinity : nowNs + this.#periodNs();
  }

  /** Change the divisor; the count goes on from where it is. */
  setDivisor(divisor: number, nowNs: number): void {
    const remaining = this.count(nowNs, false);
    this.#divisor = divisor;
    if (this.deadlineNs !== Infinity) this.deadlineNs = nowNs + remaining * this.#tickNs();
  }

  /** The count at `nowNs`: 0 when it stands still or is overdue, but starts again in a periodic timer. */
  count(nowNs: number, periodic: boolean): number {
    if (this.deadlineNs === Infinity) return 0;
    const remaining = Math.ceil((this.deadlineNs - nowNs) / this.#tickNs());
    if (remaining > 0 || !periodic) return Math.max(remaining, 0);
    return this.#initialCount - (-remaining % this.#initialCount);
  }

  /** Whether the count has reached 0 since the last poll. A periodic timer goes on; periods missed count once. */
  poll(nowNs: number, periodic: boolean): boolean {
    if (nowNs < this.deadlineNs) return false;
    const missed = Math.floor((nowNs - this.deadlineNs) / this.#periodNs());
    this.deadlineNs = periodic ? this.deadlineNs + (missed + 1) * this.#periodNs() : Infinity;
    return true;
  }

  #tickNs(): number {
    return this.#inputTickNs * this.#divisor;
  }

  #periodNs(): number {
    return this.#initialCount * this.#tickNs();
  }
}

/** The divisor that the divide configuration register's bits 0, 1 and 3 name: 2, 4 … 128, and 1. */
export function divisorOf(configuration: number): number {
  const code = (configuration & 3) | ((configuration >>> 1) & 4);
  return code === 7 ? 1 : 2 << code;
}
