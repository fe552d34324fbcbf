import { SmpError } from "../errors.ts";
import type { Hal } from "../hal.ts";

/** Turns without a pause after which the event loop gets one. */
const TURNS_BEFORE_YIELD = 64;
/** Longest delay of a timer; one is kept because waiting for shared memory does not keep an event loop alive. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;

interface Waiter {
  /** Whether what is waited for is there. Arranges for a kick if not. */
  readonly poll: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Looks at a mailbox from the event loop of the thread, as long as somebody listens or awaits. One thread's. */
export class MailboxPump {
  readonly #hal: Hal;
  readonly #serve: () => void;
  readonly #waiters = new Set<Waiter>();
  #listeners = 0;
  #running = false;

  constructor(hal: Hal, serve: () => void) {
    this.#hal = hal;
    this.#serve = serve;
  }

  listen(): Disposable {
    this.#check();
    this.#listeners++;
    this.#start();
    let ended = false;
    return {
      [Symbol.dispose]: () => {
        if (ended) return;
        ended = true;
        this.#listeners--;
        this.#hal.kick(this.#hal.currentCpu());
      },
    };
  }

  /** Resolved when `poll` is true; the mailbox is served meanwhile. */
  async until(poll: () => boolean): Promise<void> {
    if (poll()) return;
    this.#check();
    await new Promise<void>((resolve, reject) => {
      this.#waiters.add({ poll, resolve, reject });
      this.#start();
    });
  }

  #check(): void {
    if (this.#hal.kicks === undefined || this.#hal.waitForKickAsync === undefined) {
      throw new SmpError("SMP_CANNOT_BLOCK", "this machine has no sleep beside an event loop");
    }
  }

  #start(): void {
    if (this.#running) {
      // The pump sleeps with what it saw before this waiter came.
      this.#hal.kick(this.#hal.currentCpu());
      return;
    }
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const timer = setInterval(() => undefined, KEEP_ALIVE_MS);
    try {
      for (let turn = 1; ; turn++) {
        const seen = this.#hal.kicks?.() ?? 0;
        this.#turn();
        if (this.#listeners === 0 && this.#waiters.size === 0) return;
        await this.#hal.waitForKickAsync?.(seen, Infinity);
        if (turn % TURNS_BEFORE_YIELD === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = false;
      clearInterval(timer);
    }
  }

  /** The engine has no sleep beside an event loop: all who count on one are told. */
  #fail(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
    if (this.#listeners > 0) throwLater(error);
  }

  #turn(): void {
    try {
      this.#serve();
    } catch (error) {
      throwLater(error);
    }
    for (const waiter of this.#waiters) {
      if (!waiter.poll()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}

/** Nobody awaits the pump: an error belongs to the event loop. */
function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
