import type { CpuManager } from "../cpu-manager.ts";
import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import type { IpiMailbox } from "../ipi/mailbox.ts";

/**
 * What must be told which CPU's thread has ended: locks of every kind.
 *
 * @public
 */
export interface DeadOwnerRecovery {
  releaseDeadOwner(cpu: CpuId): number;
}

/**
 * Who hears of threads that have ended.
 *
 * @public
 */
export interface DeadThreadOptions {
  /**
   * The CPU goes offline here when its thread ends, however it does: calls that wait for it end with an error, and what it had
   * sent, or was about to answer, blocks nobody. {@link startCpus} also brings it online.
   */
  readonly mailbox?: IpiMailbox | undefined;
  /** Told by `CpuManager.reportDead`: the CPU is offline, or has failed, from then on. */
  readonly manager?: CpuManager | undefined;
  /** Locks of all kinds, barriers, conditions: what a thread held or waited for when it ended is freed, in this order. */
  readonly recovers?: readonly DeadOwnerRecovery[] | undefined;
  /** A CPU's thread has ended and what is named above knows. `error` is there where it ended by a fault. */
  readonly onExit?: ((cpu: CpuId, error: SmpError | undefined) => void) | undefined;
}

/** Locks first: hotplug steps and handlers of others may want them. */
export function recoverFrom(cpu: CpuId, { recovers = [], mailbox, manager }: DeadThreadOptions): void {
  for (const locks of recovers) locks.releaseDeadOwner(cpu);
  mailbox?.reportDead(cpu);
  if (manager !== undefined && cpu < manager.cpuCount) manager.reportDead(cpu);
}

export function threadError(cpu: CpuId, code: number, fault: { readonly error: unknown } | undefined): SmpError {
  if (fault === undefined)
    return new SmpError("SMP_THREAD_FAILED", `the thread of CPU ${cpu} ended with exit code ${code}`);
  const reason = fault.error instanceof Error ? fault.error.message : String(fault.error);
  return new SmpError("SMP_THREAD_FAILED", `the thread of CPU ${cpu} failed: ${reason}`, {}, { cause: fault.error });
}
