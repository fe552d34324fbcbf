/*
 * The timer of a local APIC (Intel SDM volume 3A, section 10.5.4). Nothing ticks: the current count follows from the time
 * since the start, and the owner of the APIC polls the deadline.
 *
 *   one-shot       start ── initial count × tick ──▶ interrupt, stands still
 *   periodic       start ── initial count × tick ──▶ interrupt ── initial count × tick ──▶ interrupt …
 *   TSC-deadline   interrupt when the time-stamp counter reaches a value; the counts stand still
 */

/** Values of the mode field of the timer's local vector; 3 is reserved. */
export const TimerMode: { readonly OneShot: 0; readonly Periodic: 1; readonly TscDeadline: 2 } = {
  OneShot: 0,
  Periodic: 1,
  TscDeadline: 2,
};

export class ApicTimer {
  /** When the interrupt is due; Infinity while the timer stands still. */
  deadlineNs: number = Infinity;
  /** Value of the time-stamp counter that is waited for, 0 for none: what IA32_TSC_DEADLINE reads as. */
  tscDeadline = 0;
  #mode: number = TimerMode.OneShot;
  #initialCount = 0;
  #divisor = 2;
  readonly #inputTickNs: number;
  readonly #tscTickNs: number;

  /** @param tscHz - frequency of the time-stamp counter, 0 where the timer has no TSC-deadline mode. */
  constructor(frequencyHz: number, tscHz: number) {
    this.#inputTickNs = 1e9 / frequencyHz;
    this.#tscTickNs = tscHz === 0 ? 0 : 1e9 / tscHz;
  }

  reset(): void {
    this.#mode = TimerMode.OneShot;
    this.#initialCount = 0;
    this.#divisor = 2;
    this.#stop();
  }

  /** Between one-shot and periodic the count goes on; into and out of TSC-deadline mode the timer is disarmed. */
  setMode(mode: number): void {
    const crosses = (mode === TimerMode.TscDeadline) !== (this.#mode === TimerMode.TscDeadline);
    this.#mode = mode;
    if (crosses) this.#stop();
  }

  /** Begin to count down from `count`; 0 stops the timer. Ignored in TSC-deadline mode. */
  start(count: number, nowNs: number): void {
    if (this.#mode === TimerMode.TscDeadline) return;
    this.#initialCount = count;
    this.deadlineNs = count === 0 ? Infinity : nowNs + this.#periodNs();
  }

  /** Arm for a value of the time-stamp counter; 0 disarms. Ignored in the other modes. */
  armTsc(deadline: number): void {
    if (this.#mode !== TimerMode.TscDeadline) return;
    this.tscDeadline = deadline;
    this.deadlineNs = deadline === 0 ? Infinity : Math.ceil(deadline * this.#tscTickNs);
  }

  /** Change the divisor; the count goes on from where it is. */
  setDivisor(divisor: number, nowNs: number): void {
    const remaining = this.#mode === TimerMode.TscDeadline ? 0 : this.count(nowNs);
    this.#divisor = divisor;
    if (remaining > 0) this.deadlineNs = nowNs + remaining * this.#tickNs();
  }

  /** The count at `nowNs`: 0 when it stands still or is overdue, but starts again in a periodic timer. */
  count(nowNs: number): number {
    if (this.deadlineNs === Infinity || this.#mode === TimerMode.TscDeadline) return 0;
    const remaining = Math.ceil((this.deadlineNs - nowNs) / this.#tickNs());
    if (remaining > 0 || this.#mode === TimerMode.OneShot) return Math.max(remaining, 0);
    return this.#initialCount - (-remaining % this.#initialCount);
  }

  /** Whether the interrupt is due since the last poll. A periodic timer goes on; periods missed count once. */
  poll(nowNs: number): boolean {
    if (nowNs < this.deadlineNs) return false;
    if (this.#mode === TimerMode.Periodic) {
      const missed = Math.floor((nowNs - this.deadlineNs) / this.#periodNs());
      this.deadlineNs += (missed + 1) * this.#periodNs();
    } else {
      this.#stop();
    }
    return true;
  }

  #stop(): void {
    this.deadlineNs = Infinity;
    this.tscDeadline = 0;
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
