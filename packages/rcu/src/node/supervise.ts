import type { Worker } from "node:worker_threads";
import type { CpuId } from "@x/smp";
import type { Rcu, RcuObserver } from "../index.ts";

/**
 * When `worker` has ended, however it did, its CPU is offline: grace periods no longer wait for it and its callbacks count as run.
 * `also` is for what else the CPU may have held, `reportDead` of cells and lists for example.
 *
 * @public
 */
export function reportDeadOnExit(rcu: Rcu, worker: Worker, cpu: CpuId, also?: (cpu: CpuId) => void): void {
  worker.once("exit", () => {
    rcu.reportDead(cpu);
    also?.(cpu);
  });
}

/**
 * An observer that makes stalls and failing callbacks warnings of the process, with code `RCU_STALL` and `RCU_CALLBACK_THREW`.
 *
 * @public
 */
export function warnOfStalls(): Required<Pick<RcuObserver, "onStall" | "onCallbackError">> {
  return {
    onStall: (cpu, durationNs, where) => {
      const section = where === undefined ? "" : `, in a read section that began at ${where}`;
      const message = `a grace period has waited ${(durationNs / 1e6).toFixed(0)} ms for CPU ${cpu}${section}`;
      process.emitWarning(message, { type: "RcuWarning", code: "RCU_STALL" });
    },
    onCallbackError: (error) => process.emitWarning(error.message, { type: "RcuWarning", code: error.code }),
  };
}
