import { PADDING_BYTES, type CpuId, type ExclusiveLocks } from "@x/smp";
import { PreemptError } from "./errors.ts";
import type { ThreadAttributes } from "./thread-attributes.ts";

/**
 * A thread of a {@link Scheduler}: 1 to `maxThreads`; 0 is the idle task. Used again, as late as possible, after the
 * thread has ended.
 *
 * @public
 */
export type ThreadId = number;

/**
 * States of a thread.
 *
 * @public
 */
export const ThreadState: {
  readonly New: 1;
  readonly Ready: 2;
  readonly Running: 3;
  readonly Blocked: 4;
  readonly Exited: 5;
} = { New: 1, Ready: 2, Running: 3, Blocked: 4, Exited: 5 };

/**
 * A value of the table {@link (ThreadState:variable)}.
 *
 * @public
 */
export type ThreadState = 1 | 2 | 3 | 4 | 5;

/** No thread has this id. */
export const FREE = 0;
/** Runnable, taken out of one queue and on its way to another; told as Ready. */
export const MOVING = 6;

/*
 * Regions:
 *   header   FREE_HEAD, FREE_TAIL (ids, 0 = none), THREADS           written under the table lock
 *   records  one padded line per thread: 16 words, then 8 doubles     written under the lock of the run queue of the
 *                                                                     thread's CPU; RUNTIME and SLICE_LEFT of a running
 *                                                                     thread by its CPU without the lock
 *   names    32 bytes per thread                                      written by `add` only
 *   masks    allowed CPUs, one bit each                               as records
 *
 * All of it is accessed plainly: the locks order it. A look without the lock (which CPU a thread names, where it might go)
 * is a guess that is tested again under the lock. The CPU of a thread changes only with its old and its new run queue
 * locked, so whoever holds the lock of the CPU that a record names reads the truth.
 */
const HEADER_WORDS = PADDING_BYTES / 4;
const FREE_HEAD = 0;
const FREE_TAIL = 1;
const THREADS = 2;

const RECORD_WORDS = PADDING_BYTES / 4;
const STATE = 0;
const PRIORITY = 1;
const CPU = 2;
const NEXT = 3;
const PREVIOUS = 4;
const MIGRATIONS = 5;
const NAME_LENGTH = 6;

const RECORD_DOUBLES = PADDING_BYTES / 8;
const QUEUED_AT = 8;
const READY_SINCE = 9;
const SLICE_LEFT = 10;
const RUNTIME = 11;
const WAIT = 12;
const SWITCHES = 13;
const VOLUNTARY = 14;
const INVOLUNTARY = 15;

const NAME_BYTES = 32;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The shared thread table. It knows records, not rules; callers hold the locks named above. */
export class ThreadTable {
  readonly #cpus: number;
  readonly #maxThreads: number;
  readonly #maskWords: number;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #names: Uint8Array;
  readonly #masks: Int32Array;

  constructor(memory: SharedArrayBuffer, cpus: number, maxThreads: number) {
    this.#cpus = cpus;
    this.#maxThreads = maxThreads;
    this.#maskWords = Math.ceil(cpus / 32);
    const slots = maxThreads + 1;
    this.#words = new Int32Array(memory);
    this.#doubles = new Float64Array(memory);
    const namesAt = (HEADER_WORDS + slots * RECORD_WORDS) * 4;
    this.#names = new Uint8Array(memory, namesAt, slots * NAME_BYTES);
    this.#masks = new Int32Array(memory, namesAt + slots * NAME_BYTES, slots * this.#maskWords);
  }

  static bytes(cpus: number, maxThreads: number): number {
    const slots = maxThreads + 1;
    const bytes = (HEADER_WORDS + slots * RECORD_WORDS) * 4 + slots * (NAME_BYTES + Math.ceil(cpus / 32) * 4);
    return Math.ceil(bytes / PADDING_BYTES) * PADDING_BYTES;
  }

  /** Once, by the creator: every slot is free, in ascending order. */
  initialise(): void {
    for (let id = 1; id < this.#maxThreads; id++) this.#words[this.#at(id) + NEXT] = id + 1;
    this.#words[FREE_HEAD] = 1;
    this.#words[FREE_TAIL] = this.#maxThreads;
  }

  get count(): number {
    return Atomics.load(this.#words, THREADS);
  }

  /** Take a free slot and fill it in; the state is New. Throws `PREEMPT_TOO_MANY_THREADS`. */
  add(locks: ExclusiveLocks, tableLock: number, name: string, attributes: ThreadAttributes, cpu: CpuId): ThreadId {
    locks.lock(tableLock);
    const id = this.#words[FREE_HEAD];
    if (id !== 0) {
      this.#words[FREE_HEAD] = this.#words[this.#at(id) + NEXT];
      if (this.#words[FREE_HEAD] === 0) this.#words[FREE_TAIL] = 0;
      Atomics.add(this.#words, THREADS, 1);
    }
    locks.unlock(tableLock);
    if (id === 0) throw new PreemptError("PREEMPT_TOO_MANY_THREADS", `all ${this.#maxThreads} threads are in use`);
    const at = this.#at(id);
    this.#words.fill(0, at, at + RECORD_WORDS);
    this.#words[at + PRIORITY] = attributes.priority;
    this.#writeName(id, name);
    this.setAffinity(id, attributes);
    this.setCpu(id, cpu);
    this.setState(id, ThreadState.New);
    return id;
  }

  /** Give a slot back, to the end of the free list, so that a stale id stays invalid for long. */
  remove(locks: ExclusiveLocks, tableLock: number, id: ThreadId): void {
    locks.lock(tableLock);
    this.setState(id, FREE);
    this.#words[this.#at(id) + NEXT] = 0;
    const tail = this.#words[FREE_TAIL];
    if (tail === 0) this.#words[FREE_HEAD] = id;
    else this.#words[this.#at(tail) + NEXT] = id;
    this.#words[FREE_TAIL] = id;
    Atomics.sub(this.#words, THREADS, 1);
    locks.unlock(tableLock);
  }

  /** Throws `PREEMPT_NO_SUCH_THREAD` for an id out of range, or of no living thread. */
  assertThread(id: ThreadId): void {
    this.assertId(id);
    if (this.rawState(id) === FREE) throw new PreemptError("PREEMPT_NO_SUCH_THREAD", `no thread has the id ${id}`);
  }

  assertId(id: ThreadId): void {
    if (Number.isInteger(id) && id >= 1 && id <= this.#maxThreads) return;
    throw new PreemptError("PREEMPT_NO_SUCH_THREAD", `${id} is no thread id; they are 1 to ${this.#maxThreads}`);
  }

  rawState(id: ThreadId): number {
    return this.#words[this.#at(id) + STATE];
  }

  setState(id: ThreadId, state: number): void {
    this.#words[this.#at(id) + STATE] = state;
  }

  /** The CPU whose run queue lock guards the record: where the thread runs, waits, or ran last. */
  cpu(id: ThreadId): CpuId {
    return this.#words[this.#at(id) + CPU];
  }

  setCpu(id: ThreadId, cpu: CpuId): void {
    this.#words[this.#at(id) + CPU] = cpu;
  }

  /** With both run queues locked. Counts a migration. */
  moveTo(id: ThreadId, cpu: CpuId): void {
    this.#words[this.#at(id) + MIGRATIONS]++;
    this.setCpu(id, cpu);
  }

  priority(id: ThreadId): number {
    return this.#words[this.#at(id) + PRIORITY];
  }

  setPriority(id: ThreadId, priority: number): void {
    this.#words[this.#at(id) + PRIORITY] = priority;
  }

  allowed(id: ThreadId, cpu: CpuId): boolean {
    return (this.#masks[id * this.#maskWords + (cpu >>> 5)] & (1 << (cpu & 31))) !== 0;
  }

  setAffinity(id: ThreadId, attributes: ThreadAttributes): void {
    for (let word = 0; word < this.#maskWords; word++) {
      let bits = 0;
      for (let cpu = word * 32; cpu < Math.min(word * 32 + 32, this.#cpus); cpu++) {
        if (attributes.canRunOnCpu(cpu)) bits |= 1 << (cpu & 31);
      }
      this.#masks[id * this.#maskWords + word] = bits;
    }
  }

  next(id: ThreadId): ThreadId {
    return this.#words[this.#at(id) + NEXT];
  }

  previous(id: ThreadId): ThreadId {
    return this.#words[this.#at(id) + PREVIOUS];
  }

  setNext(id: ThreadId, next: ThreadId): void {
    this.#words[this.#at(id) + NEXT] = next;
  }

  setPrevious(id: ThreadId, previous: ThreadId): void {
    this.#words[this.#at(id) + PREVIOUS] = previous;
  }

  /** When it entered the queue it is in. */
  queuedAt(id: ThreadId): number {
    return this.#doubles[this.#doubleAt(id) + QUEUED_AT];
  }

  setQueuedAt(id: ThreadId, timeNs: number): void {
    this.#doubles[this.#doubleAt(id) + QUEUED_AT] = timeNs;
  }

  /** It became runnable and does not run: waiting counts from here, across migrations. */
  startWaiting(id: ThreadId, timeNs: number): void {
    this.#doubles[this.#doubleAt(id) + READY_SINCE] = timeNs;
  }

  /** It is given a CPU, with a whole slice. */
  startRunning(id: ThreadId, timeNs: number, sliceNs: number): void {
    const at = this.#doubleAt(id);
    this.#doubles[at + WAIT] += Math.max(0, timeNs - this.#doubles[at + READY_SINCE]);
    this.#doubles[at + SLICE_LEFT] = sliceNs;
  }

  countSwitchIn(id: ThreadId): void {
    this.#doubles[this.#doubleAt(id) + SWITCHES]++;
  }

  countSwitchOut(id: ThreadId, voluntary: boolean): void {
    this.#doubles[this.#doubleAt(id) + (voluntary ? VOLUNTARY : INVOLUNTARY)]++;
  }

  charge(id: ThreadId, elapsedNs: number): void {
    const at = this.#doubleAt(id);
    this.#doubles[at + RUNTIME] += elapsedNs;
    this.#doubles[at + SLICE_LEFT] -= elapsedNs;
  }

  sliceLeft(id: ThreadId): number {
    return this.#doubles[this.#doubleAt(id) + SLICE_LEFT];
  }

  setSliceLeft(id: ThreadId, sliceNs: number): void {
    this.#doubles[this.#doubleAt(id) + SLICE_LEFT] = sliceNs;
  }

  name(id: ThreadId): string {
    const from = id * NAME_BYTES;
    return decoder.decode(this.#names.slice(from, from + this.#words[this.#at(id) + NAME_LENGTH]));
  }

  stats(id: ThreadId): ThreadStats {
    const at = this.#doubleAt(id);
    return {
      runtimeNs: this.#doubles[at + RUNTIME],
      waitNs: this.#doubles[at + WAIT],
      switches: this.#doubles[at + SWITCHES],
      voluntary: this.#doubles[at + VOLUNTARY],
      involuntary: this.#doubles[at + INVOLUNTARY],
      migrations: this.#words[this.#at(id) + MIGRATIONS],
      lastCpu: this.cpu(id),
    };
  }

  /** At most 32 bytes of UTF-8, cut between characters. */
  #writeName(id: ThreadId, name: string): void {
    let bytes = encoder.encode(name);
    if (bytes.length > NAME_BYTES) {
      let end = NAME_BYTES;
      while ((bytes[end] & 0xc0) === 0x80) end--;
      bytes = bytes.subarray(0, end);
    }
    this.#names.set(bytes, id * NAME_BYTES);
    this.#words[this.#at(id) + NAME_LENGTH] = bytes.length;
  }

  #at(id: ThreadId): number {
    return HEADER_WORDS + id * RECORD_WORDS;
  }

  #doubleAt(id: ThreadId): number {
    return HEADER_WORDS / 2 + id * RECORD_DOUBLES;
  }
}

/**
 * Numbers of one thread.
 *
 * @public
 */
export interface ThreadStats {
  /** Time charged by `tick` and `account`. */
  readonly runtimeNs: number;
  /** Time it was ready and did not run. */
  readonly waitNs: number;
  /** Times it was given a CPU. */
  readonly switches: number;
  /** Times it left a CPU because it blocked, yielded or ended. */
  readonly voluntary: number;
  /** Times it was preempted. */
  readonly involuntary: number;
  /** Times it was moved to another CPU. */
  readonly migrations: number;
  /** Where it runs or waits, or ran last. */
  readonly lastCpu: CpuId;
}
