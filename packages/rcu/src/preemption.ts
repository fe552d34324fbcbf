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
 * Ask every CPU that the running grace period waits for to reschedule, and so to pass a quiescent state soon. Returns how
 * many were asked. For urgent waits; the CPUs pay with a switch.
 *
 * @public
 */
export function expediteGracePeriod(rcu: Rcu, preempt: Preempt): number {
  return rcu.holdouts((cpu) => void preempt.setNeedResched(cpu));
}
