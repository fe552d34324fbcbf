/**
 * A token bucket for each CPU: so many answers a second on average, so many at once.
 *
 * Thread-safety: private to its thread, which may play several CPUs.
 */
export class AnswerLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #tokens: Float64Array;
  readonly #lastMs: Int32Array;

  constructor(cpus: number, perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = new Float64Array(cpus).fill(burst);
    this.#lastMs = new Int32Array(cpus);
  }

  /** Whether `cpu` may give another answer at `nowMs`, which wraps at 2^32. */
  take(cpu: number, nowMs: number): boolean {
    const elapsedMs = Math.max(0, (nowMs - this.#lastMs[cpu]) | 0);
    this.#lastMs[cpu] = nowMs;
    this.#tokens[cpu] = Math.min(this.#burst, this.#tokens[cpu] + (elapsedMs * this.#perSecond) / 1000);
    if (this.#tokens[cpu] < 1) return false;
    this.#tokens[cpu]--;
    return true;
  }
}
