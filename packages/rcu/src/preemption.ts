import type { CpuId } from "@x/smp";
import type { Preempt, SchedObserver } from "@x/preempt";
import type { Rcu } from "./rcu.ts";

/**
 * A scheduler observer for which every switch is a quiescent state of its CPU: a thread that is switched out holds nothing
 * it has read. A switch inside a read section is a bug, and throws `RCU_IN_SECTION`.
 *
 * @public
 */
export function quiescentOnSwitch(rcu: Rcu): SchedObserver {
  return { onSwitch: () => rcu.quiescent() };
}

/**
 * How to hurry CPUs by asking them to reschedule, for {@link Rcu.synchronizeExpedited} and its like. They pay with a switch.
 *
 * @public
 */
export function askToReschedule(preempt: Preempt): (cpu: CpuId) => void {
  return (cpu) => void preempt.setNeedResched(cpu);
}

/**
 * Ask every CPU that the running grace period waits for to reschedule, and so to pass a quiescent state soon. Returns how
 * many were asked. The calling CPU is asked as well.
 *
 * @public
 */
export function expediteGracePeriod(rcu: Rcu, preempt: Preempt): number {
  return rcu.holdouts((cpu) => void preempt.setNeedResched(cpu));
}
