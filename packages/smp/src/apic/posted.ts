import { PADDING_BYTES } from "../layout.ts";
import type { ApicDeliveryMode } from "./registers.ts";

/*
 * What each CPU's APIC was sent by other threads and has not taken yet, in the manner of the posted-interrupt descriptor (Intel
 * SDM volume 3C, section "Posted-interrupt processing"), a padded line for each:
 *
 *   word 0       outstanding  bit g: group g may hold something. 0: nothing was posted since it was taken (the descriptor's ON bit)
 *   words 1-8    groups 0-7   edge-triggered vectors requested (the descriptor's PIR)
 *   words 9-16   groups 8-15  level-triggered vectors requested
 *   words 17-24  groups 16-23 level-triggered vectors that have ended, for the I/O APICs of the CPU's thread
 *   word 25      group 24     signals, and in bits 8 to 15 the start-up vector
 *
 * All by Atomics. Post: set bits of a group, then the group's bit in `outstanding`; who finds `outstanding` 0 notifies.
 * Take: exchange `outstanding` for 0, then each of its groups for 0.
 *
 * Invariant: what is in a group has its bit in `outstanding`, or is about to be given it, or is about to be taken. So nothing
 * is lost, and of all that is posted between two takes exactly one notifies.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const OUTSTANDING = 0;
const GROUPS = 1;
export const EDGE_GROUP = 0;
export const LEVEL_GROUP = 8;
export const ENDED_GROUP = 16;
export const SIGNAL_GROUP = 24;

export const SIGNAL_NMI: number = 1 << 0;
export const SIGNAL_SMI: number = 1 << 1;
export const SIGNAL_EXT_INT: number = 1 << 2;
export const SIGNAL_INIT: number = 1 << 3;
export const SIGNAL_STARTUP: number = 1 << 4;
export const STARTUP_VECTOR_SHIFT = 8;
const STARTUP_BITS = SIGNAL_STARTUP | (0xff << STARTUP_VECTOR_SHIFT);

if (GROUPS + SIGNAL_GROUP >= LINE_WORDS) throw new RangeError("the groups of a CPU do not fit into its line");

export class PostedInterrupts {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer, byteOffset: number, cpus: number) {
    this.#words = new Int32Array(memory, byteOffset, cpus * LINE_WORDS);
  }

  static bytes(cpus: number): number {
    return cpus * PADDING_BYTES;
  }

  /** Request or end a vector; whether the CPU is to be notified. `groups`: the first of the eight. */
  postVector(cpu: number, groups: number, vector: number): boolean {
    return this.postBits(cpu, groups + (vector >>> 5), 1 << (vector & 31));
  }

  postBits(cpu: number, group: number, bits: number): boolean {
    Atomics.or(this.#words, cpu * LINE_WORDS + GROUPS + group, bits);
    return this.postGroups(cpu, 1 << group);
  }

  /** The groups hold something. */
  postGroups(cpu: number, groups: number): boolean {
    return Atomics.or(this.#words, cpu * LINE_WORDS + OUTSTANDING, groups) === 0;
  }

  /**
   * Post a signal; whether the CPU is to be notified. An INIT undoes what was posted before it and not taken, as the reset would. Of
   * start-up interrupts the first counts.
   */
  postSignal(cpu: number, mode: ApicDeliveryMode, vector: number): boolean {
    const at = cpu * LINE_WORDS + GROUPS + SIGNAL_GROUP;
    if (mode === "init") Atomics.store(this.#words, at, SIGNAL_INIT);
    else if (mode === "startup") this.#postStartup(at, vector);
    else Atomics.or(this.#words, at, mode === "nmi" ? SIGNAL_NMI : mode === "smi" ? SIGNAL_SMI : SIGNAL_EXT_INT);
    return this.postGroups(cpu, 1 << SIGNAL_GROUP);
  }

  isOutstanding(cpu: number): boolean {
    return Atomics.load(this.#words, cpu * LINE_WORDS + OUTSTANDING) !== 0;
  }

  /** The groups that something was posted to, a bit for each, and take them. By the CPU's own thread. */
  takeOutstanding(cpu: number): number {
    return this.isOutstanding(cpu) ? Atomics.exchange(this.#words, cpu * LINE_WORDS + OUTSTANDING, 0) : 0;
  }

  takeGroup(cpu: number, group: number): number {
    return Atomics.exchange(this.#words, cpu * LINE_WORDS + GROUPS + group, 0);
  }

  /** Forget what was posted to a CPU. */
  clear(cpu: number): void {
    for (let groups = this.takeOutstanding(cpu); groups !== 0; groups &= groups - 1) {
      this.takeGroup(cpu, 31 - Math.clz32(groups & -groups));
    }
  }

  #postStartup(at: number, vector: number): void {
    for (let word = Atomics.load(this.#words, at); (word & SIGNAL_STARTUP) === 0;) {
      const next = (word & ~STARTUP_BITS) | SIGNAL_STARTUP | (vector << STARTUP_VECTOR_SHIFT);
      const seen = Atomics.compareExchange(this.#words, at, word, next);
      if (seen === word) return;
      word = seen;
    }
  }
}
