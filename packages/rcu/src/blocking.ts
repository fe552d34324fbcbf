import type { CpuId, Hal, WaitResult } from "@x/smp";
import { RcuError } from "./errors.ts";
import type { Rcu } from "./rcu.ts";

/**
 * The machine of `rcu`, with every wait a quiescent state: give it to what this thread blocks on (mailboxes, sleeping locks),
 * where the thread holds nothing it has read. The CPU is offline while it blocks, so that grace periods do not wait for it, and
 * a reader that blocks inside a marked section is found: `RCU_IN_SECTION`, in debug mode with the place where the section began
 * (flavour `sleepable` may block inside). For waits whose caller keeps what it has read use the plain `hal`.
 *
 * @public
 */
export function quiescentWhileBlocked(rcu: Rcu): Hal {
  return new QuiescentWhileBlocked(rcu);
}

class QuiescentWhileBlocked implements Hal {
  readonly possibleCpus: number;
  readonly #rcu: Rcu;
  readonly #hal: Hal;
  readonly waitForKick?: (seen: number, timeoutNs: number) => WaitResult;
  readonly waitForKickAsync?: (seen: number, timeoutNs: number) => Promise<WaitResult>;
  readonly kicks?: () => number;
  readonly serveWhileWaiting?: (serve: (() => void) | undefined) => void;

  constructor(rcu: Rcu) {
    const { hal } = rcu;
    this.possibleCpus = hal.possibleCpus;
    this.#rcu = rcu;
    this.#hal = hal;
    const waitForKick = hal.waitForKick?.bind(hal);
    if (waitForKick !== undefined) this.waitForKick = (...wait) => this.#away(() => waitForKick(...wait));
    // While the event loop goes on, the thread may read: that is what announceAtTurns is for.
    const waitForKickAsync = hal.waitForKickAsync?.bind(hal);
    if (waitForKickAsync !== undefined) this.waitForKickAsync = waitForKickAsync;
    const kicks = hal.kicks?.bind(hal);
    if (kicks !== undefined) this.kicks = kicks;
    const serveWhileWaiting = hal.serveWhileWaiting?.bind(hal);
    if (serveWhileWaiting !== undefined) this.serveWhileWaiting = serveWhileWaiting;
  }

  currentCpu(): CpuId {
    return this.#hal.currentCpu();
  }
  now(): number {
    return this.#hal.now();
  }
  relax(spins: number): void {
    this.#hal.relax(spins);
  }
  kick(cpu: CpuId): void {
    this.#hal.kick(cpu);
  }
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
    return this.#away(() => this.#hal.wait(words, index, expected, timeoutNs));
  }
  wake(words: Int32Array, index: number, count: number): number {
    return this.#hal.wake(words, index, count);
  }

  #away(block: () => WaitResult): WaitResult {
    const rcu = this.#rcu;
    if (rcu.handle.flavour === "sleepable") return block();
    if (rcu.inSection()) throw new RcuError("RCU_IN_SECTION", rcu.describeSection("it must not block"));
    if (!rcu.isOnline()) return block();
    rcu.offline();
    try {
      return block();
    } finally {
      rcu.online();
    }
  }
}
