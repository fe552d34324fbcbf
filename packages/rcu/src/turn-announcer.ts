import type { Callbacks } from "./callbacks.ts";
import type { GracePeriods } from "./grace-periods.ts";
import type { Rcu } from "./rcu.ts";
import { KeepAlive, nextTurn, throwUncaught } from "./wait-async.ts";

/** A listener looks by itself this often, in case who begins a grace period dies before it has told. */
const LOOK_MS = 1000;

/**
 * Options of {@link Rcu.announceAtTurns}.
 *
 * @public
 */
export interface TurnAnnouncerOptions {
  /** Whether the event loop goes on for its sake. Default false: a thread with nothing else to do ends. */
  readonly keepAlive?: boolean;
  /**
   * A read section was open between turns (`RCU_IN_SECTION`, in debug mode with the place where it began), or a callback threw.
   * Default: thrown where nothing catches it, which ends a Node.js process or worker.
   */
  readonly onError?: (error: unknown) => void;
}

/**
 * Quiescent states of an event loop, made by {@link Rcu.announceAtTurns}: sleeps until a grace period begins or ends, then
 * announces between two turns. A CPU so announced may hold what it has read to the end of its turn, and no longer: not beyond
 * an `await`, a timer or an event. One for each thread; the thread must not run so long between two turns that others stall.
 *
 * @public
 */
export class TurnAnnouncer implements Disposable {
  readonly #rcu: Rcu;
  readonly #periods: GracePeriods;
  readonly #callbacks: Callbacks;
  readonly #onError: (error: unknown) => void;
  readonly #keepAlive = new KeepAlive();
  #ended = false;

  /** @internal */
  constructor(rcu: Rcu, periods: GracePeriods, callbacks: Callbacks, options: TurnAnnouncerOptions) {
    this.#rcu = rcu;
    this.#periods = periods;
    this.#callbacks = callbacks;
    this.#onError = options.onError ?? throwUncaught;
    if (options.keepAlive === true) this.#keepAlive.hold();
    void this.#run();
  }

  /** The event loop goes on for its sake. */
  ref(): this {
    if (!this.#ended) this.#keepAlive.hold();
    return this;
  }

  /** The event loop may end in spite of it. */
  unref(): this {
    this.#keepAlive.release();
    return this;
  }

  /** No further announcements. The CPU stays online: announce yourself, or go offline. */
  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#keepAlive.release();
    this.#periods.wakeListeners();
  }

  async #run(): Promise<void> {
    await nextTurn();
    while (!this.#ended) {
      const seen = this.#periods.events();
      this.#announce();
      const runsCallbacks = this.#rcu.handle.callbackLimit > 0;
      if (runsCallbacks && this.#callbacks.due(this.#rcu.hal.currentCpu())) await nextTurn();
      else await this.#periods.nextEvent(seen, LOOK_MS);
    }
  }

  #announce(): void {
    try {
      this.#rcu.quiescent();
    } catch (error) {
      this.#onError(error);
    }
  }
}
