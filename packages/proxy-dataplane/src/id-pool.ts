import { PADDING_BYTES, SpinLocks, type Hal, type LockObserver, type SpinLocksHandle } from "@x/smp";

/*
 * Free ids. Each CPU has a small stack of its own; batches move between it and the shared stack under the lock:
 *
 *   shared    count, ids …                      under the lock
 *   CPU c     count, ids (2 x batch), padding   written by CPU c alone, plain
 *
 * An id that one CPU frees and another takes has gone through the lock, which orders what was written about it.
 */
const MAX_BATCH = 64;
const PADDING_WORDS = PADDING_BYTES / 4;

export interface IdPoolHandle {
  readonly first: number;
  readonly count: number;
  readonly batch: number;
  readonly memory: SharedArrayBuffer;
  readonly lock: SpinLocksHandle;
}

export interface IdPoolOptions {
  readonly name: string;
  readonly first: number;
  readonly count: number;
  readonly hal: Hal;
}

/** Gives out the integers from `first` to `first + count - 1`, each to one owner at a time; 0 when none is in reach. */
export class IdPool {
  readonly handle: IdPoolHandle;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #lock: SpinLocks;
  readonly #batch: number;
  readonly #base: number;
  readonly #stride: number;

  private constructor(handle: IdPoolHandle, hal: Hal, lockObserver: LockObserver | undefined) {
    this.handle = handle;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
    this.#lock = SpinLocks.attach(handle.lock, { hal, observer: lockObserver });
    this.#batch = handle.batch;
    this.#base = sharedWords(handle.count);
    this.#stride = cpuWords(handle.batch);
  }

  static create(options: IdPoolOptions, lockObserver?: LockObserver): IdPool {
    const { first, count, hal } = options;
    // Ids that rest with a CPU are out of the others' reach: all CPUs together keep at most half of them.
    const batch = Math.max(1, Math.min(MAX_BATCH, Math.floor(count / (4 * hal.possibleCpus))));
    const memory = new SharedArrayBuffer((sharedWords(count) + hal.possibleCpus * cpuWords(batch)) * 4);
    const lock = SpinLocks.create({ name: options.name, hal }).handle;
    const pool = new IdPool({ first, count, batch, memory, lock }, hal, lockObserver);
    pool.#words[0] = count;
    for (let i = 0; i < count; i++) pool.#words[1 + i] = first + count - 1 - i;
    return pool;
  }

  static attach(handle: IdPoolHandle, hal: Hal, lockObserver?: LockObserver): IdPool {
    return new IdPool(handle, hal, lockObserver);
  }

  take(): number {
    const at = this.#base + this.#hal.currentCpu() * this.#stride;
    const words = this.#words;
    if (words[at] === 0 && !this.#refill(at)) return 0;
    return words[at + words[at]--];
  }

  give(id: number): void {
    const at = this.#base + this.#hal.currentCpu() * this.#stride;
    const words = this.#words;
    if (words[at] === 2 * this.#batch) this.#spill(at);
    words[at + ++words[at]] = id;
  }

  /** Takes up to `count` ids into `out`; returns how many there were. */
  takeMany(out: Int32Array, count: number): number {
    const at = this.#base + this.#hal.currentCpu() * this.#stride;
    const words = this.#words;
    let taken = 0;
    while (taken < count) {
      let rest = words[at];
      if (rest === 0) {
        if (!this.#refill(at)) break;
        rest = words[at];
      }
      const end = Math.min(count, taken + rest);
      while (taken < end) out[taken++] = words[at + rest--];
      words[at] = rest;
    }
    return taken;
  }

  /** Returns the ids that rest with `cpu`, which has stopped. */
  drain(cpu: number): void {
    const at = this.#base + cpu * this.#stride;
    this.#lock.lock();
    while (this.#words[at] > 0) this.#words[++this.#words[0]] = this.#words[at + this.#words[at]--];
    this.#lock.unlock();
  }

  #refill(at: number): boolean {
    const words = this.#words;
    this.#lock.lock();
    const moved = Math.min(this.#batch, words[0]);
    for (let i = 1; i <= moved; i++) words[at + i] = words[words[0]--];
    words[at] = moved;
    this.#lock.unlock();
    return moved > 0;
  }

  #spill(at: number): void {
    const words = this.#words;
    this.#lock.lock();
    for (let i = 0; i < this.#batch; i++) words[++words[0]] = words[at + words[at]--];
    this.#lock.unlock();
  }
}

function sharedWords(count: number): number {
  return Math.ceil((count + 1) / PADDING_WORDS) * PADDING_WORDS;
}

function cpuWords(batch: number): number {
  return Math.ceil((2 * batch + 1) / PADDING_WORDS) * PADDING_WORDS;
}
