import type { Hal } from "@x/smp";
import { Rcu, type RcuHandle, type RcuObserver, type TurnAnnouncer, type TurnAnnouncerOptions } from "../index.ts";

/**
 * Options of `joinRcu`.
 *
 * @public
 */
export interface JoinRcuOptions extends TurnAnnouncerOptions {
  readonly hal: Hal;
  readonly observer?: RcuObserver | undefined;
}

/**
 * What `joinRcu` gives.
 *
 * @public
 */
export interface JoinedRcu {
  readonly rcu: Rcu;
  readonly announcer: TurnAnnouncer;
}

/**
 * Make this thread a reader for the rest of its life: attach, go online, announce a quiescent state between turns of the event
 * loop when a grace period asks for one, go offline when the thread ends by itself. Callbacks that are not due by then are given up: await `Rcu.barrier` before if
 * they matter. A thread that is killed can do none of this: see `reportDeadOnExit`.
 *
 * @public
 */
export function joinRcu(handle: RcuHandle, options: JoinRcuOptions): JoinedRcu {
  const { hal, observer, ...announcerOptions } = options;
  const rcu = Rcu.attach(handle, { hal, observer });
  rcu.online();
  const announcer = rcu.announceAtTurns(announcerOptions);
  process.once("exit", () => {
    announcer[Symbol.dispose]();
    if (!rcu.inSection()) rcu.offline();
    rcu.invokeCallbacks();
    rcu.reportDead(hal.currentCpu());
  });
  return { rcu, announcer };
}
