import { soloHal } from "../solo-hal.ts";
import type { LockHandle, LockJoin, LockOptions } from "./lock.ts";
import { QueueLocks } from "./queue-locks.ts";

/**
 * What joins {@link TicketLocks} from another thread.
 *
 * @public
 */
export type TicketLocksHandle = LockHandle<"ticket">;

/**
 * An array of ticket locks (Reed and Kanodia 1979): first come, first served; all who wait look at the one word that
 * says whose turn it is, so a hand-over costs every waiting CPU a cache miss. For few CPUs, or short queues.
 *
 * A CPU whose time limit is over leaves its place in the queue, keeps it if it comes back before its turn, and is passed over
 * otherwise. Dead CPUs are passed over after `releaseDeadOwner`.
 *
 * Memory: a padded line for each lock and each of its CPUs.
 *
 * @public
 */
export class TicketLocks extends QueueLocks<"ticket"> {
  static create(options: LockOptions = {}): TicketLocks {
    const { hal = soloHal(), observer } = options;
    return new TicketLocks(QueueLocks.newQueues("ticket", options), { hal, observer });
  }

  static attach(handle: TicketLocksHandle, options: LockJoin): TicketLocks {
    return new TicketLocks(handle, options);
  }
}
