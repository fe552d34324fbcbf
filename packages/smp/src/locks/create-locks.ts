import type { ExclusiveLocks } from "./exclusive-locks.ts";
import type { LockHandle, LockJoin, LockOptions } from "./lock.ts";
import { McsLocks } from "./mcs-locks.ts";
import { SpinLocks } from "./spin-locks.ts";
import { TicketLocks } from "./ticket-locks.ts";

/**
 * Kinds that may stand for each other where a spin lock is wanted.
 *
 * @public
 */
export type SpinningKind = "spin" | "ticket" | "mcs";

/** Spinning locks of the kind that somebody chose. Throws `SMP_INVALID_ARGUMENT` as the kind's `create` does. @public */
export function createSpinningLocks(kind: SpinningKind, options: LockOptions = {}): ExclusiveLocks<SpinningKind> {
  if (kind === "spin") return SpinLocks.create(options);
  return kind === "ticket" ? TicketLocks.create(options) : McsLocks.create(options);
}

/** Join what {@link createSpinningLocks} made, from another thread. @public */
export function attachSpinningLocks(handle: LockHandle<SpinningKind>, options: LockJoin): ExclusiveLocks<SpinningKind> {
  if (handle.kind === "spin") return SpinLocks.attach({ ...handle, kind: handle.kind }, options);
  if (handle.kind === "ticket") return TicketLocks.attach({ ...handle, kind: handle.kind }, options);
  return McsLocks.attach({ ...handle, kind: handle.kind }, options);
}
