import { threadId, type Worker } from "node:worker_threads";
import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import { WorkerHal, type WorkerHalHandle } from "../worker-hal.ts";
import { recoverFrom, threadError, type DeadThreadOptions } from "./dead-thread.ts";

/*
 * One word for each CPU that may be taken, by its place in `cpus`: the id of the thread that has it + 1, 0 for nobody. Taken by
 * compare-exchange; given back by that thread, or by who sees it end.
 */

/**
 * What lets a thread take a CPU: see {@link attachAsCpu}. Structured-cloneable.
 *
 * @public
 */
export interface CpuSeatsHandle {
  readonly hal: WorkerHalHandle;
  readonly cpus: readonly CpuId[];
  readonly memory: SharedArrayBuffer;
}

/**
 * CPUs for threads that someone else has created, such as the workers of a pool: each becomes one of them by
 * {@link attachAsCpu}. Watched threads give their CPU back when they end, however they do, and what they held is recovered.
 *
 * Thread-safety: it belongs to the thread that made it.
 *
 * @public
 */
export class CpuSeats {
  readonly hal: WorkerHal;
  readonly handle: CpuSeatsHandle;
  readonly #options: DeadThreadOptions;
  readonly #words: Int32Array;
  readonly #watched = new WeakSet<Worker>();

  /** @param options - `cpus`: which may be taken; default all possible ones but the caller's own. */
  constructor(options: DeadThreadOptions & { readonly hal: WorkerHal; readonly cpus?: readonly CpuId[] | undefined }) {
    const { hal } = options;
    const all = Array.from({ length: hal.possibleCpus }, (_, cpu) => cpu);
    const { cpus = all.filter((cpu) => cpu !== hal.currentCpu()) } = options;
    if (cpus.length === 0 || cpus.some((cpu) => !all.includes(cpu)) || new Set(cpus).size !== cpus.length) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `CPUs ${cpus.join()} are not distinct ones of ${hal.possibleCpus}`);
    }
    this.hal = hal;
    this.handle = { hal: hal.handle, cpus: [...cpus], memory: new SharedArrayBuffer(cpus.length * 4) };
    this.#options = options;
    this.#words = new Int32Array(this.handle.memory);
  }

  /** The CPU that a thread has taken, or -1. */
  cpuOf(worker: Worker): CpuId {
    return this.#cpuOf(worker.threadId);
  }

  /** CPUs that nobody has taken. */
  get free(): CpuId[] {
    return this.handle.cpus.filter((_, seat) => Atomics.load(this.#words, seat) === 0);
  }

  /** When `worker` ends, the CPU it has by then is recovered and free again. A second call for it does nothing. */
  watch(worker: Worker): void {
    if (this.#watched.has(worker)) return;
    this.#watched.add(worker);
    const { threadId: id } = worker;
    let fault: { readonly error: unknown } | undefined;
    worker.once("error", (error) => (fault = { error }));
    worker.once("exit", (code) => {
      const cpu = this.#cpuOf(id);
      if (cpu < 0) return;
      recoverFrom(cpu, this.#options);
      Atomics.store(this.#words, this.handle.cpus.indexOf(cpu), 0);
      this.#options.onExit?.(cpu, fault === undefined ? undefined : threadError(cpu, code, fault));
    });
  }

  #cpuOf(id: number): CpuId {
    return this.handle.cpus.find((_, seat) => Atomics.load(this.#words, seat) === id + 1) ?? -1;
  }
}

/**
 * What {@link attachAsCpu} gives.
 *
 * @public
 */
export interface AttachedCpu extends Disposable {
  readonly hal: WorkerHal;
  readonly cpu: CpuId;
}

/**
 * Become the first CPU that nobody has, until the result is disposed of or the thread ends. A thread that has one gets it again, so
 * that a pool's task can call this each time. Where the CPU's mailbox is closed (after a death, say) call `online` on it. Throws
 * `SMP_TOO_MANY_CPUS` where all are taken.
 *
 * @public
 */
export function attachAsCpu(handle: CpuSeatsHandle): AttachedCpu {
  const words = new Int32Array(handle.memory);
  const own = threadId + 1;
  let seat = handle.cpus.findIndex((_, at) => Atomics.load(words, at) === own);
  if (seat < 0) seat = handle.cpus.findIndex((_, at) => Atomics.compareExchange(words, at, 0, own) === 0);
  if (seat < 0) throw new SmpError("SMP_TOO_MANY_CPUS", `all of the CPUs ${handle.cpus.join()} are taken`);
  const cpu = handle.cpus[seat];
  const hal = WorkerHal.attach(handle.hal, { cpu });
  return { hal, cpu, [Symbol.dispose]: () => void Atomics.compareExchange(words, seat, own, 0) };
}
