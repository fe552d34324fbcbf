import { PADDING_BYTES, type CpuId } from "@x/smp";
import type { ThreadId, ThreadTable } from "./thread-table.ts";

/*
 * One padded block per CPU, written under the lock of that CPU's run queue. Others look at CURRENT, COUNT and ACTIVE
 * without it to compare loads: a guess, tested again under the lock where it matters.
 *
 *   CURRENT   running thread, 0 = idle        BITMAP   bit l: level l has threads
 *   LEVEL     its level, aging included       COUNT    threads that wait
 *   ACTIVE    threads may be placed here      HEAD l, TAIL l   ends of the list of level l, linked through the table
 *
 *   level 3  head -> oldest <-> … <-> newest <- tail        in each list, queuedAt grows from head to tail
 *   level 0  …
 */
const STRIDE_WORDS = PADDING_BYTES / 4;
const CURRENT = 0;
const LEVEL = 1;
const ACTIVE = 2;
const BITMAP = 3;
const COUNT = 4;
const HEAD = 8;
const TAIL = 12;
const LEVELS = 4;
const TOP_LEVEL = LEVELS - 1;

/** The shared run queues. They know lists, not rules; callers hold the lock of the CPU's queue. */
export class RunQueues {
  readonly #words: Int32Array;
  readonly #threads: ThreadTable;
  readonly #agingNs: number;
  /** Level of the thread that {@link RunQueues.takeBest} returned last. */
  takenLevel = 0;

  constructor(memory: SharedArrayBuffer, threads: ThreadTable, agingNs: number) {
    this.#words = new Int32Array(memory);
    this.#threads = threads;
    this.#agingNs = agingNs;
  }

  static bytes(cpus: number): number {
    return cpus * PADDING_BYTES;
  }

  current(cpu: CpuId): ThreadId {
    return this.#words[cpu * STRIDE_WORDS + CURRENT];
  }

  currentLevel(cpu: CpuId): number {
    return this.#words[cpu * STRIDE_WORDS + LEVEL];
  }

  setCurrent(cpu: CpuId, id: ThreadId, level: number): void {
    this.#words[cpu * STRIDE_WORDS + LEVEL] = level;
    this.#words[cpu * STRIDE_WORDS + CURRENT] = id;
  }

  isActive(cpu: CpuId): boolean {
    return this.#words[cpu * STRIDE_WORDS + ACTIVE] === 1;
  }

  setActive(cpu: CpuId, active: boolean): void {
    this.#words[cpu * STRIDE_WORDS + ACTIVE] = active ? 1 : 0;
  }

  /** Threads that wait on `cpu`. */
  queued(cpu: CpuId): number {
    return this.#words[cpu * STRIDE_WORDS + COUNT];
  }

  /** {@link RunQueues.current}, never out of date: for whoever polls it in a loop. */
  pollCurrent(cpu: CpuId): ThreadId {
    return Atomics.load(this.#words, cpu * STRIDE_WORDS + CURRENT);
  }

  /** {@link RunQueues.queued}, never out of date. */
  pollQueued(cpu: CpuId): number {
    return Atomics.load(this.#words, cpu * STRIDE_WORDS + COUNT);
  }

  /** Threads that wait or run on `cpu`. */
  load(cpu: CpuId): number {
    return this.queued(cpu) + (this.current(cpu) === 0 ? 0 : 1);
  }

  /** The oldest thread of a level, 0 = none. */
  head(cpu: CpuId, level: number): ThreadId {
    return this.#words[cpu * STRIDE_WORDS + HEAD + level];
  }

  enqueue(cpu: CpuId, id: ThreadId, timeNs: number): void {
    const base = cpu * STRIDE_WORDS;
    const level = this.#threads.priority(id);
    const tail = this.#words[base + TAIL + level];
    this.#threads.setQueuedAt(id, timeNs);
    this.#threads.setNext(id, 0);
    this.#threads.setPrevious(id, tail);
    if (tail === 0) this.#words[base + HEAD + level] = id;
    else this.#threads.setNext(tail, id);
    this.#words[base + TAIL + level] = id;
    this.#words[base + BITMAP] |= 1 << level;
    this.#words[base + COUNT]++;
  }

  dequeue(cpu: CpuId, id: ThreadId): void {
    const base = cpu * STRIDE_WORDS;
    const level = this.#threads.priority(id);
    const next = this.#threads.next(id);
    const previous = this.#threads.previous(id);
    if (previous === 0) this.#words[base + HEAD + level] = next;
    else this.#threads.setNext(previous, next);
    if (next === 0) this.#words[base + TAIL + level] = previous;
    else this.#threads.setPrevious(next, previous);
    if (this.#words[base + HEAD + level] === 0) this.#words[base + BITMAP] &= ~(1 << level);
    this.#words[base + COUNT]--;
  }

  /**
   * Remove and return the thread that goes next, 0 when none waits; its level goes to `takenLevel`.
   *
   * A thread gains one level per `agingNs` it waits, up to the top; equal levels go by who waits longer. The oldest of a
   * list has gained most of its list, so looking at four heads is enough. Nobody starves: a thread that has reached the top
   * can be overtaken only by threads queued before it.
   */
  takeBest(cpu: CpuId, timeNs: number): ThreadId {
    let best = 0;
    let bestLevel = -1;
    let bits = this.#words[cpu * STRIDE_WORDS + BITMAP];
    while (bits !== 0) {
      const level = 31 - Math.clz32(bits);
      bits &= ~(1 << level);
      const id = this.head(cpu, level);
      const queuedAt = this.#threads.queuedAt(id);
      const aged = Math.min(TOP_LEVEL, level + Math.floor(Math.max(0, timeNs - queuedAt) / this.#agingNs));
      if (aged < bestLevel || (aged === bestLevel && queuedAt >= this.#threads.queuedAt(best))) continue;
      best = id;
      bestLevel = aged;
    }
    if (best !== 0) this.dequeue(cpu, best);
    this.takenLevel = Math.max(0, bestLevel);
    return best;
  }
}
