import type { CpuId, CrossCalls, CrossFunction } from "@x/smp";
import type { Rcu } from "./rcu.ts";

/**
 * The function that {@link askByCall} has other CPUs run: give it to their `CrossCalls`, at the same index everywhere. It
 * announces a quiescent state unless the CPU is in a marked section, whose end then announces.
 *
 * @param sectionsAreMarked - that this thread reads inside of `readLock` and `readUnlock` only, so that any other moment is a
 * quiescent state, even when a mailbox is looked at in the middle of something. Without that, in flavour `qsbr`, the call
 * announces nothing; it wakes the CPU, whose loop does (see {@link Rcu.announceAtTurns}).
 *
 * @public
 */
export function quiescentCall(rcu: Rcu, sectionsAreMarked: boolean): CrossFunction {
  return () => {
    if (sectionsAreMarked && !rcu.inSection()) rcu.quiescent();
    else if (sectionsAreMarked) rcu.announceAfterSection();
  };
}

/**
 * How to hurry CPUs by an inter-processor interrupt, for {@link Rcu.synchronizeExpedited} and its like: posts function `index`,
 * a {@link quiescentCall}, to each.
 *
 * @public
 */
export function askByCall(calls: Pick<CrossCalls, "post">, index: number): (cpu: CpuId) => void {
  return (cpu) => void calls.post(cpu, index);
}
