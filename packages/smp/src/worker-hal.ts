import { blockOn } from "./block-on.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal, WaitResult } from "./hal.ts";
import { MAX_CPUS, PADDING_BYTES } from "./layout.ts";

const STRIDE_WORDS = PADDING_BYTES / 4;
/** Turns a spinning CPU makes before it gives its host core away for a moment. */
const SPINS_BEFORE_YIELD = 128;
const YIELD_MS = 0.05;
const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => undefined);
/** A private word nobody notifies: waiting on it is a short sleep. */
const nobody = new Int32Array(new SharedArrayBuffer(4));

/**
 * What `postMessage` carries to join a {@link WorkerHal} from another thread.
 *
 * @public
 */
export interface WorkerHalHandle {
  readonly possibleCpus: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The machine whose CPUs are JavaScript threads (worker threads, web workers). One instance per thread.
 *
 * Memory: one padded word per CPU, a count of kicks. Any thread adds, the owner waits on it.
 *
 * @public
 */
export class WorkerHal implements Hal {
  readonly possibleCpus: number;
  readonly handle: WorkerHalHandle;
  readonly #cpu: CpuId;
  readonly #kicks: Int32Array;

  private constructor(handle: WorkerHalHandle, cpu: CpuId) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= handle.possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${handle.possibleCpus} possible CPUs`);
    }
    this.handle = handle;
    this.possibleCpus = handle.possibleCpus;
    this.#cpu = cpu;
    this.#kicks = new Int32Array(handle.memory);
  }

  /** Make the shared part; the caller becomes `cpu` (0 unless told otherwise). */
  static create(options: { readonly possibleCpus: number; readonly cpu?: CpuId }): WorkerHal {
    const { possibleCpus, cpu = 0 } = options;
    if (!Number.isInteger(possibleCpus) || possibleCpus < 1 || possibleCpus > MAX_CPUS) {
      throw new SmpError("SMP_TOO_MANY_CPUS", `possibleCpus is ${possibleCpus}; 1 to ${MAX_CPUS} are possible`);
    }
    return new WorkerHal({ possibleCpus, memory: new SharedArrayBuffer(possibleCpus * PADDING_BYTES) }, cpu);
  }

  /** Join from another thread as `cpu`. A CPU must be attached by one thread at a time. */
  static attach(handle: WorkerHalHandle, options: { readonly cpu: CpuId }): WorkerHal {
    return new WorkerHal(handle, options.cpu);
  }

  currentCpu(): CpuId {
    return this.#cpu;
  }

  now(): number {
    return (performance.timeOrigin + performance.now()) * 1e6;
  }

  relax(spins: number): void {
    if (spins < SPINS_BEFORE_YIELD) pause();
    else if (spins % SPINS_BEFORE_YIELD === 0) Atomics.wait(nobody, 0, 0, YIELD_MS);
  }

  kick(cpu: CpuId): void {
    Atomics.add(this.#kicks, cpu * STRIDE_WORDS, 1);
    Atomics.notify(this.#kicks, cpu * STRIDE_WORDS, 1);
  }

  /** Kicks this CPU has received so far; read it before looking for work, then pass it to {@link WorkerHal.waitForKick}. */
  kicks(): number {
    return Atomics.load(this.#kicks, this.#cpu * STRIDE_WORDS);
  }

  /** Sleep until a kick newer than `seen` arrives, at most `timeoutNs`. */
  waitForKick(seen: number, timeoutNs: number): WaitResult {
    return blockOn(this.#kicks, this.#cpu * STRIDE_WORDS, seen, timeoutNs);
  }

  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
    return blockOn(words, index, expected, timeoutNs);
  }

  wake(words: Int32Array, index: number, count: number): number {
    return Atomics.notify(words, index, count);
  }
}
