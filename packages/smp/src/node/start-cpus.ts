import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from "node:worker_threads";
import type { CpuMask } from "../cpu-mask.ts";
import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import { WorkerHal } from "../worker-hal.ts";
import { recoverFrom, threadError, type DeadThreadOptions } from "./dead-thread.ts";
import { CPU_DATA, type CpuWorkerData } from "./join-as-cpu.ts";

/**
 * What to start.
 *
 * @public
 */
export interface StartCpusOptions extends DeadThreadOptions {
  /** Which CPUs become worker threads, or how many: then the lowest ids beside the caller's own. */
  readonly cpus: readonly CpuId[] | number;
  /** Module that each thread runs; it calls {@link joinAsCpu}. */
  readonly entry: URL;
  /** Given to every thread: structured-cloneable, as the handles of this project's packages are. */
  readonly data?: unknown;
  /** The machine; default a new one that is just large enough, with the caller as CPU 0. */
  readonly hal?: WorkerHal | undefined;
  /**
   * Host CPUs to pin the threads to, one each in turn and from the first again ({@link pinThread}). Where the host cannot, they are
   * not pinned, and {@link CpuContext.hostCpu} is -1.
   */
  readonly hostCpus?: CpuMask | undefined;
}

/**
 * Worker threads as CPUs: see {@link startCpus}.
 *
 * @public
 */
export class CpuThreads {
  readonly hal: WorkerHal;
  /** The CPUs started, in the order of starting. */
  readonly cpus: readonly CpuId[];
  /**
   * Resolved when every thread has ended, by itself with exit code 0 or by {@link CpuThreads.terminate}; rejected as soon as
   * one ends otherwise, with `SMP_THREAD_FAILED`, which names the CPU and has the thread's error as its cause. If nobody
   * handles it, that is an unhandled rejection: a CPU does not die in silence.
   */
  readonly exited: Promise<void>;
  readonly #threads: readonly CpuThread[];

  /** @internal */
  constructor(hal: WorkerHal, threads: readonly CpuThread[]) {
    this.hal = hal;
    this.cpus = threads.map((thread) => thread.cpu);
    this.#threads = threads;
    this.exited = Promise.all(threads.map((thread) => thread.exited)).then(() => undefined);
  }

  /** The thread that is `cpu`. Throws `SMP_INVALID_CPU` for one that was not started here. */
  worker(cpu: CpuId): Worker {
    const thread = this.#threads.find((each) => each.cpu === cpu);
    if (thread === undefined) throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} was not started here`);
    return thread.worker;
  }

  /** End all threads that still run, wherever they are; what they held is freed where {@link StartCpusOptions} names it. */
  async terminate(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  /** {@link CpuThreads.terminate}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.terminate();
  }
}

/**
 * Start worker threads as CPUs and wait until each has called {@link joinAsCpu}. If one fails before that, all are
 * terminated and the promise is rejected with `SMP_THREAD_FAILED`, which names the CPU. Throws `SMP_INVALID_CPU` and
 * `SMP_INVALID_ARGUMENT` for CPUs that cannot be started.
 *
 * @public
 */
export async function startCpus(options: StartCpusOptions): Promise<CpuThreads> {
  const hal = options.hal ?? WorkerHal.create({ possibleCpus: neededCpus(options.cpus) });
  const cpus = typeof options.cpus === "number" ? lowestCpus(options.cpus, hal) : checkedCpus(options.cpus, hal);
  const hostCpus = [...(options.hostCpus ?? [])];
  const hostCpuOf = (at: number): number => (hostCpus.length === 0 ? -1 : hostCpus[at % hostCpus.length]);
  const all = cpus.map((cpu, at) => new CpuThread(cpu, hal, options, hostCpuOf(at)));
  const joined = Promise.all(all.map((thread) => thread.joined));
  try {
    // A thread that has joined may die while another has not joined yet: that must not be anybody's unhandled rejection.
    const exited = Promise.all(all.map((thread) => thread.exited));
    await Promise.race([joined, exited.then(() => joined)]);
  } catch (error) {
    await Promise.all(all.map((thread) => thread.terminate()));
    throw error;
  }
  return new CpuThreads(hal, all);
}

/** One CPU's worker and the two promises of its life. */
class CpuThread {
  readonly cpu: CpuId;
  readonly worker: Worker;
  /** Rejected if the thread ends first. */
  readonly joined: Promise<void>;
  /** Rejected if the thread ends by a fault. */
  readonly exited: Promise<void>;
  #terminating = false;

  constructor(cpu: CpuId, hal: WorkerHal, options: StartCpusOptions, hostCpu: number) {
    const { port1, port2 } = new MessageChannel();
    const own: CpuWorkerData = { hal: hal.handle, cpu, hostCpu, data: options.data, joined: port2 };
    this.cpu = cpu;
    options.mailbox?.online(cpu);
    this.worker = new Worker(options.entry, {
      name: `cpu${cpu}`,
      workerData: { [CPU_DATA]: own },
      transferList: [port2],
    });
    this.exited = this.#watch(options);
    this.joined = this.#join(port1).finally(() => port1.close());
    // Both are looked at through startCpus and CpuThreads.exited; these themselves must not count as unhandled.
    this.joined.catch(() => undefined);
    this.exited.catch(() => undefined);
  }

  async terminate(): Promise<void> {
    this.#terminating = true;
    await this.worker.terminate();
  }

  async #watch(options: StartCpusOptions): Promise<void> {
    let fault: { readonly error: unknown } | undefined;
    this.worker.once("error", (error) => (fault = { error }));
    const code = await new Promise<number>((resolve) => this.worker.once("exit", resolve));
    const failed = fault !== undefined || (code !== 0 && !this.#terminating);
    const error = failed ? threadError(this.cpu, code, fault) : undefined;
    recoverFrom(this.cpu, options);
    options.onExit?.(this.cpu, error);
    if (error) throw error;
  }

  async #join(port: MessagePort): Promise<void> {
    const message = new Promise<void>((resolve) => port.once("message", () => resolve()));
    await Promise.race([message, this.#exitedBeforeJoining(port)]);
  }

  /** A thread may join and end before its message has been seen: then the message still lies in the port. */
  async #exitedBeforeJoining(port: MessagePort): Promise<void> {
    await this.exited;
    if (receiveMessageOnPort(port) === undefined) {
      throw new SmpError("SMP_THREAD_FAILED", `the thread of CPU ${this.cpu} ended without joining`);
    }
  }
}

function neededCpus(cpus: readonly CpuId[] | number): number {
  return (typeof cpus === "number" ? cpus : Math.max(0, ...cpus)) + 1;
}

function lowestCpus(count: number, hal: WorkerHal): CpuId[] {
  const others: CpuId[] = [];
  for (let cpu = 0; cpu < hal.possibleCpus; cpu++) if (cpu !== hal.currentCpu()) others.push(cpu);
  if (!Number.isInteger(count) || count < 1 || count > others.length) {
    const message = `${count} CPUs cannot be started; 1 to ${others.length} can, beside the calling one`;
    throw new SmpError("SMP_INVALID_ARGUMENT", message);
  }
  return others.slice(0, count);
}

function checkedCpus(cpus: readonly CpuId[], hal: WorkerHal): readonly CpuId[] {
  if (cpus.length === 0 || new Set(cpus).size !== cpus.length) {
    throw new SmpError("SMP_INVALID_ARGUMENT", "the CPUs to start must be distinct and at least one");
  }
  for (const cpu of cpus) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= hal.possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${hal.possibleCpus} possible CPUs`);
    }
    if (cpu === hal.currentCpu()) throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is the one that calls`);
  }
  return cpus;
}
