import type { CpuId } from "@x/smp";
import type { ThreadId } from "./thread-table.ts";

/**
 * What happens in the scheduler. Called on the CPU that acts, with no run queue locked.
 *
 * @public
 */
export interface SchedObserver {
  /** `cpu` goes from thread `previous` to `next`; 0 is idle. `previous` may have ended. */
  onSwitch?(cpu: CpuId, previous: ThreadId, next: ThreadId, voluntary: boolean): void;
  /** Thread `tid` became ready on `cpu`, by an act of CPU `from`. */
  onWake?(tid: ThreadId, cpu: CpuId, from: CpuId): void;
  /** A ready thread was moved. */
  onMigrate?(tid: ThreadId, from: CpuId, to: CpuId): void;
}
