import type { CpuId, Hal } from "@x/smp";
import { ProfilingError } from "./errors.ts";
import { paddedWords } from "./layout.ts";

/*
 * [ inside, - | lost (double) | filtered (double) | padding ]    one padded block per CPU, written by that CPU alone;
 *                                                               «inside» by Atomics, the counts plain
 */
const INSIDE = 0;
const LOST = 1;
const FILTERED = 2;
const STRIDE = paddedWords(6);

/** Longest wait for a CPU to leave, which takes well under a microsecond of its own time. */
const DRAIN_TIMEOUT_NS = 2e9;
const SPINS_PER_LOOK_AT_CLOCK = 64;

/**
 * The CPUs that record: who is at it at this moment, and what each could not keep.
 *
 * A CPU announces itself and then looks at the profiler's state; whoever changes the state waits afterwards until nobody is
 * inside. Each side sees the other, because Atomics are sequentially consistent (Dekker's argument).
 */
export class Recorders {
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #counts: Float64Array;

  constructor(memory: SharedArrayBuffer, hal: Hal) {
    this.#hal = hal;
    this.#words = new Int32Array(memory);
    this.#counts = new Float64Array(memory);
  }

  static allocate(possibleCpus: number): SharedArrayBuffer {
    return new SharedArrayBuffer(possibleCpus * STRIDE * 4);
  }

  enter(cpu: CpuId): void {
    Atomics.store(this.#words, cpu * STRIDE + INSIDE, 1);
  }

  leave(cpu: CpuId): void {
    Atomics.store(this.#words, cpu * STRIDE + INSIDE, 0);
  }

  /** Wait until no CPU is inside. Throws `PROFILING_CPU_STUCK`. */
  drain(): void {
    for (let at = INSIDE; at < this.#words.length; at += STRIDE) {
      if (Atomics.load(this.#words, at) !== 0) this.#waitFor(at);
    }
  }

  addLost(cpu: CpuId, weight: number): void {
    this.#counts[((cpu * STRIDE) >> 1) + LOST] += weight;
  }

  addFiltered(cpu: CpuId, weight: number): void {
    this.#counts[((cpu * STRIDE) >> 1) + FILTERED] += weight;
  }

  lost(cpu?: CpuId): number {
    return this.#sum(LOST, cpu);
  }

  filtered(cpu?: CpuId): number {
    return this.#sum(FILTERED, cpu);
  }

  /** Set all counts to 0. Only while no CPU is inside. */
  clearCounts(): void {
    for (let at = 0; at < this.#counts.length; at += STRIDE >> 1) {
      this.#counts[at + LOST] = 0;
      this.#counts[at + FILTERED] = 0;
    }
  }

  #waitFor(at: number): void {
    const deadline = this.#hal.now() + DRAIN_TIMEOUT_NS;
    for (let spins = 1; Atomics.load(this.#words, at) !== 0; spins++) {
      this.#hal.relax(spins);
      if (spins % SPINS_PER_LOOK_AT_CLOCK !== 0 || this.#hal.now() < deadline) continue;
      const message = `CPU ${(at - INSIDE) / STRIDE} does not come back from record; see releaseCpu`;
      throw new ProfilingError("PROFILING_CPU_STUCK", message);
    }
  }

  #sum(slot: number, cpu: CpuId | undefined): number {
    if (cpu !== undefined) return this.#counts[((cpu * STRIDE) >> 1) + slot];
    let total = 0;
    for (let at = slot; at < this.#counts.length; at += STRIDE >> 1) total += this.#counts[at];
    return total;
  }
}
