import type { CpuId } from "@x/smp";
import type { RcuError } from "./errors.ts";

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
  /**
   * A callback threw (`RCU_CALLBACK_THREW`). With this, those behind it run on; without, the error leaves the method that ran
   * them (`quiescent`, `invokeCallbacks` …) and they run at the next.
   */
  onCallbackError?(error: RcuError, cpu: CpuId): void;
  /**
   * The running grace period has waited `durationNs` and `cpu` is one it waits for. Told once per `stallTimeoutNs`.
   * `where` its read section began: in debug mode, while it is in a marked one.
   */
  onStall?(cpu: CpuId, durationNs: number, where?: string): void;
}
