import { soloHal } from "../solo-hal.ts";
import type { LockHandle, LockJoin, LockOptions } from "./lock.ts";
import { QueueLocks } from "./queue-locks.ts";

/**
 * What joins {@link McsLocks} from another thread.
 *
 * @public
 */
export type McsLocksHandle = LockHandle<"mcs">;

/**
 * An array of queue locks after Mellor-Crummey and Scott (1991): first come, first served; every waiting CPU looks at a line
 * of its own, so a hand-over costs the same however many wait. For many CPUs.
 *
 * Unlike the original the holder never waits for the link of who comes behind (that one may be dead): the turn is also kept
 * in a counter, which the new one reads after it has linked itself. Time limits and dead CPUs as for {@link TicketLocks}.
 *
 * Memory: a padded line for each lock and each of its CPUs.
 *
 * @public
 */
export class McsLocks extends QueueLocks<"mcs"> {
  static create(options: LockOptions = {}): McsLocks {
    const { hal = soloHal(), observer } = options;
    return new McsLocks(QueueLocks.newQueues("mcs", options), { hal, observer });
  }

  static attach(handle: McsLocksHandle, options: LockJoin): McsLocks {
    return new McsLocks(handle, options);
  }
}
