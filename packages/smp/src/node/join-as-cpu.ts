import { isMainThread, workerData, type MessagePort } from "node:worker_threads";
import { CpuMask } from "../cpu-mask.ts";
import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import { MAX_CPUS } from "../layout.ts";
import { WorkerHal, type WorkerHalHandle } from "../worker-hal.ts";
import { pinThread } from "./host-pinning.ts";

/** Where a CPU's own data lies in its thread's `workerData`. */
export const CPU_DATA = "@x/smp";

/** What {@link startCpus} puts there. */
export interface CpuWorkerData {
  readonly hal: WorkerHalHandle;
  readonly cpu: CpuId;
  /** The host's CPU to run on, -1: any. */
  readonly hostCpu: number;
  readonly data: unknown;
  /** A message on it says that the CPU has joined. */
  readonly joined: MessagePort;
}

/**
 * What a thread started by {@link startCpus} knows of itself.
 *
 * @public
 */
export interface CpuContext<Data = unknown> {
  readonly hal: WorkerHal;
  readonly cpu: CpuId;
  /** The CPU of the host that the thread is pinned to, or -1: see `hostCpus` of {@link StartCpusOptions}. */
  readonly hostCpu: number;
  /** The `data` given to {@link startCpus}. */
  readonly data: Data;
}

/**
 * In the entry of a thread started by {@link startCpus}: become that CPU. Call it once, when the thread is ready: it
 * settles the promise of {@link startCpus}. Throws `SMP_CPU_STATE` on any other thread and when called again.
 *
 * @public
 */
export function joinAsCpu<Data = unknown>(): CpuContext<Data> {
  const own = (workerData as Record<string, CpuWorkerData | undefined> | null)?.[CPU_DATA];
  if (isMainThread || own === undefined) {
    throw new SmpError("SMP_CPU_STATE", "this thread was not started by startCpus");
  }
  if (joined) throw new SmpError("SMP_CPU_STATE", `this thread has joined as CPU ${own.cpu} already`);
  joined = true;
  const hal = WorkerHal.attach(own.hal, { cpu: own.cpu });
  const hostCpu = own.hostCpu >= 0 && pinThread(CpuMask.of(MAX_CPUS, [own.hostCpu])).pinned ? own.hostCpu : -1;
  own.joined.postMessage(own.cpu, []);
  own.joined.close();
  return { hal, cpu: own.cpu, hostCpu, data: own.data as Data };
}

let joined = false;
