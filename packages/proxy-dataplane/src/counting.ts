import type { SlabObserver } from "@x/slab";
import { combineObservers, type Hal, type LockObserver, type PerCpuCounters } from "@x/smp";
import { SLOT_OF } from "./statistics.ts";

/** Counts locks of the data path on the CPU that takes them, and passes on to `next`. */
export function countLocks(counters: PerCpuCounters, hal: Hal, next: LockObserver | undefined): LockObserver {
  const count: LockObserver = {
    onAcquired(_locks, _lock, spins): void {
      const cpu = hal.currentCpu();
      counters.addOn(cpu, SLOT_OF.lockAcquisitions, 1);
      if (spins > 0) counters.addOn(cpu, SLOT_OF.lockContentions, 1);
    },
  };
  return next === undefined ? count : combineObservers(count, next);
}

/** Counts allocations of connections on the CPU that makes them. */
export function countAllocations(counters: PerCpuCounters, hal: Hal): SlabObserver {
  return {
    onAlloc: (_cache, _offset, fast) =>
      counters.addOn(hal.currentCpu(), fast ? SLOT_OF.allocFast : SLOT_OF.allocSlow, 1),
  };
}
