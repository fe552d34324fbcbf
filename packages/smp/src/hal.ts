/**
 * A CPU: an integer from 0 to `possibleCpus - 1`.
 *
 * @public
 */
export type CpuId = number;

/**
 * How a {@link Hal.wait} ended; the values of `Atomics.wait`.
 *
 * @public
 */
export type WaitResult = "ok" | "not-equal" | "timed-out";

/**
 * The one thing a package may ask of its machine. Three implementations: {@link soloHal} (one CPU, the default
 * everywhere), {@link WorkerHal} (worker threads), and the emulator's virtual one.
 *
 * @public
 */
export interface Hal {
  /** CPUs that can ever exist, so that per-CPU memory is sized once. 1 to {@link MAX_CPUS}. */
  readonly possibleCpus: number;
  /** The CPU that is executing. */
  currentCpu(): CpuId;
  /** Monotonic nanoseconds; the origin is arbitrary, differences are exact below 2^53. */
  now(): number;
  /** Spin hint. `spins` counts the turns of this wait so far; long waits may yield the host core. */
  relax(spins: number): void;
  /** Make `cpu` look at its IPI mailbox soon. */
  kick(cpu: CpuId): void;
  /**
   * Block while `words[index] === expected`, at most `timeoutNs` (Infinity: for ever).
   * Throws `SMP_CANNOT_BLOCK` on a thread that must not block.
   */
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult;
  /** Wake up to `count` CPUs blocked on `words[index]`; returns how many were woken. */
  wake(words: Int32Array, index: number, count: number): number;

  /*
   * What a machine may have besides: sleep that a kick ends. Where these are missing, a CPU that waits for others spins.
   */

  /** Kicks the executing CPU has received so far; read before looking for work, for {@link Hal.waitForKick}. */
  kicks?(): number;
  /** Block until a kick newer than `seen` arrives, at most `timeoutNs`. Throws `SMP_CANNOT_BLOCK` where that cannot be. */
  waitForKick?(seen: number, timeoutNs: number): WaitResult;
  /** As {@link Hal.waitForKick}, while the event loop goes on. */
  waitForKickAsync?(seen: number, timeoutNs: number): Promise<WaitResult>;
  /**
   * Have `serve` called now and then while this CPU spins in {@link Hal.relax} or blocks in {@link Hal.wait}, as a processor
   * with interrupts enabled takes them there. `undefined` ends it.
   */
  serveWhileWaiting?(serve: (() => void) | undefined): void;
}
