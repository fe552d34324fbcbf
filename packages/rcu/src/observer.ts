import type { CpuId } from "@x/smp";

/**
 * What happens inside an {@link Rcu}. Every callback runs on the CPU that caused the event, with no lock of
 * the {@link Rcu} held.
 *
 * @public
 */
export interface RcuObserver {
  /** Grace period `sequence` (1, 2, 3 …) began. */
  onGracePeriodStart?(sequence: number): void;
  /** Grace period `sequence` ended; every callback that waited for it may run. */
  onGracePeriodEnd?(sequence: number, durationNs: number): void;
  /** `cpu` told a grace period that it has passed a quiescent state. Repeats within one grace period are not told. */
  onQuiescentState?(cpu: CpuId): void;
  /** A callback is about to run on `cpu`. */
  onCallback?(cpu: CpuId): void;
  /** The running grace period has waited `durationNs` and `cpu` is one it waits for. Told once per `stallTimeoutNs`. */
  onStall?(cpu: CpuId, durationNs: number): void;
}
