import { soloHal, type CpuId, type Hal } from "@x/smp";
import { CallbackRing, type RcuCallback } from "./callback-ring.ts";
import { RcuError } from "./errors.ts";
import { gracePeriodBytes, GracePeriods } from "./grace-periods.ts";
import type { RcuObserver } from "./observer.ts";
import { ended, ordinal, reached } from "./sequence.ts";

const DEFAULT_CALLBACK_CAPACITY = 4096;
const MAX_CALLBACK_CAPACITY = 1 << 20;
/** Linux: RCU_CPU_STALL_TIMEOUT, 21 s. */
const DEFAULT_STALL_TIMEOUT_NS = 21e9;
/** A sleeping waiter looks again this often even if nobody wakes it, because its own CPU may be what is waited for. */
const WAIT_SLICE_NS = 1e6;

/**
 * How readers are seen.
 *
 * - `qsbr`: a CPU that is online is a reader all the time, except at the moments it calls `quiescent`. Reading costs
 *   nothing. The CPU must announce often: at turn ends, at preemption points, before it blocks (or go offline).
 * - `mb`: a CPU is a reader only from `readLock` to `readUnlock`, each one `Atomics.store`. Nothing need be announced.
 *
 * @public
 */
export type RcuFlavour = "qsbr" | "mb";

/**
 * Options of {@link Rcu.create}.
 *
 * @public
 */
export interface RcuOptions {
  /** The machine; the lone CPU when left out, which is then online from the start. */
  readonly hal?: Hal;
  /** Default `qsbr`. */
  readonly flavour?: RcuFlavour;
  readonly observer?: RcuObserver | undefined;
  /** Age of a grace period at which `onStall` is told, then again after each further such time. Default 21e9; `Infinity`: never. */
  readonly stallTimeoutNs?: number;
  /** Callbacks one CPU can have queued; a power of two from 2 to 2^20. Default 4096. */
  readonly callbackCapacity?: number;
  /**
   * Callbacks that one `quiescent` runs at most. Default Infinity; 0 leaves them to {@link Rcu.invokeCallbacks}, where a
   * long run of them does no harm.
   */
  readonly callbackLimit?: number;
}

/**
 * What joins an {@link Rcu} from another thread.
 *
 * @public
 */
export interface RcuHandle {
  readonly possibleCpus: number;
  readonly flavour: RcuFlavour;
  readonly stallTimeoutNs: number;
  readonly callbackCapacity: number;
  readonly callbackLimit: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * Numbers of {@link Rcu.stats}. Callback counts are those of all CPUs, on all threads.
 *
 * @public
 */
export interface RcuStats {
  /** Grace periods that have ended. */
  readonly gracePeriods: number;
  readonly callbacksQueued: number;
  /** Callbacks run, or given up with their dead CPU. */
  readonly callbacksInvoked: number;
  readonly callbacksPending: number;
  readonly longestGracePeriodNs: number;
  /** Stall reports, see {@link RcuObserver.onStall}. */
  readonly stalls: number;
}

/**
 * Read-copy-update (McKenney and Slingwine 1998): readers take no lock and write nothing shared; who removes something
 * waits for a *grace period*, after which no reader can hold it, and then frees it.
 *
 * One object per thread, attached to shared words. It may serve several CPUs when one thread plays them in turn.
 * Readers must fetch published offsets with `Atomics.load` (see {@link rcuDereference}); what they point to may be read plainly.
 *
 * Invariant: a grace period ends only when every CPU that was online at its start has passed a quiescent state or gone
 * offline since. Callbacks run on the CPU, and the thread, that queued them.
 *
 * @public
 */
export class Rcu {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: RcuHandle;
  /** The machine this thread attached with. */
  readonly hal: Hal;
  readonly #observer: RcuObserver | undefined;
  readonly #periods: GracePeriods;
  readonly #readersAnnounce: boolean;
  /** Read section depth by CPU, of this thread. For finding misuse; it protects nothing in flavour `qsbr`. */
  readonly #nesting: Int32Array;
  readonly #rings: (CallbackRing | undefined)[];
  readonly #reader: Disposable = { [Symbol.dispose]: () => this.readUnlock() };

  private constructor(handle: RcuHandle, hal: Hal, observer: RcuObserver | undefined) {
    if (hal.possibleCpus > handle.possibleCpus) {
      throw new RcuError(
        "RCU_INVALID_ARGUMENT",
        `the machine has ${hal.possibleCpus} CPUs, this RCU was made for ${handle.possibleCpus}`,
      );
    }
    this.handle = handle;
    this.hal = hal;
    this.#observer = observer;
    this.#periods = new GracePeriods(handle.memory, hal, handle.possibleCpus, observer, handle.stallTimeoutNs);
    this.#readersAnnounce = handle.flavour === "mb";
    this.#nesting = new Int32Array(handle.possibleCpus);
    this.#rings = Array.from({ length: handle.possibleCpus }, () => undefined);
  }

  /** Make the shared part. Throws `RCU_INVALID_ARGUMENT` for options out of range. */
  static create(options: RcuOptions = {}): Rcu {
    const { hal = soloHal(), flavour = "qsbr", observer } = options;
    const { stallTimeoutNs = DEFAULT_STALL_TIMEOUT_NS, callbackCapacity = DEFAULT_CALLBACK_CAPACITY } = options;
    if (!(stallTimeoutNs > 0)) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `stallTimeoutNs is ${stallTimeoutNs}; it must be above 0`);
    }
    const { callbackLimit = Infinity } = options;
    if (!(callbackLimit >= 0)) {
      throw new RcuError("RCU_INVALID_ARGUMENT", `callbackLimit is ${callbackLimit}; it must not be below 0`);
    }
    const powerOfTwo = Number.isInteger(callbackCapacity) && (callbackCapacity & (callbackCapacity - 1)) === 0;
    if (!powerOfTwo || callbackCapacity < 2 || callbackCapacity > MAX_CALLBACK_CAPACITY) {
      throw new RcuError(
        "RCU_INVALID_ARGUMENT",
        `callbackCapacity is ${callbackCapacity}; a power of two from 2 to ${MAX_CALLBACK_CAPACITY} is needed`,
      );
    }
    const { possibleCpus } = hal;
    const memory = new SharedArrayBuffer(gracePeriodBytes(possibleCpus));
    const handle = { possibleCpus, flavour, stallTimeoutNs, callbackCapacity, callbackLimit, memory };
    const rcu = new Rcu(handle, hal, observer);
    rcu.#periods.initialise();
    if (options.hal === undefined) rcu.online();
    return rcu;
  }

  /** Join from another thread. The CPU is not online yet: call {@link Rcu.online} before the first read. */
  static attach(handle: RcuHandle, options: { readonly hal: Hal; readonly observer?: RcuObserver | undefined }): Rcu {
    return new Rcu(handle, options.hal, options.observer);
  }

  /**
   * From now on grace periods wait for the calling CPU. Makes its callback ring, so that nothing is allocated later.
   * Does nothing when it is online already; in flavour `mb` only the ring is made.
   */
  online(): void {
    const cpu = this.hal.currentCpu();
    this.#ring(cpu);
    if (!this.#readersAnnounce && !this.#periods.selfOnline(cpu)) this.#periods.enter(cpu);
  }

  /**
   * Grace periods no longer wait for the calling CPU: before it blocks, idles or ends. It must not read until
   * {@link Rcu.online}. Throws `RCU_IN_SECTION` inside a read section. Its callbacks stay queued.
   */
  offline(): void {
    const cpu = this.hal.currentCpu();
    this.#assertOutside(cpu, "a CPU cannot go offline");
    if (!this.#readersAnnounce) this.#periods.leave(cpu);
    this.#periods.advance();
  }

  /** Whether grace periods wait for `cpu` (default: the calling one). */
  isOnline(cpu: CpuId = this.hal.currentCpu()): boolean {
    return this.#periods.isOnline(cpu);
  }

  /** Begin a read section; sections nest. Throws `RCU_OFFLINE` on an offline CPU. Cost in `qsbr`: a private counter. */
  readLock(): void {
    const cpu = this.hal.currentCpu();
    if (this.#readersAnnounce) {
      if (this.#nesting[cpu] === 0) this.#periods.enter(cpu);
    } else if (!this.#periods.selfOnline(cpu)) {
      throw new RcuError("RCU_OFFLINE", `CPU ${cpu} is offline: grace periods would not wait for its read section`);
    }
    this.#nesting[cpu]++;
  }

  /** End a read section. Throws `RCU_NOT_IN_SECTION` when there is none. */
  readUnlock(): void {
    const cpu = this.hal.currentCpu();
    if (this.#nesting[cpu] === 0) throw new RcuError("RCU_NOT_IN_SECTION", `CPU ${cpu} is in no read section`);
    if (--this.#nesting[cpu] === 0 && this.#readersAnnounce) this.#periods.leave(cpu);
  }

  /** `using section = rcu.read()`: a read section to the end of the block. Allocates nothing. */
  read(): Disposable {
    this.readLock();
    return this.#reader;
  }

  /** Whether the calling CPU is in a read section. */
  inSection(): boolean {
    return this.#nesting[this.hal.currentCpu()] !== 0;
  }

  /**
   * The calling CPU holds nothing it has read under RCU: announce it, end the grace period if it was the last, and run
   * callbacks that are due. Throws `RCU_IN_SECTION` inside a read section. Cost when nothing happens: one `Atomics.load`.
   */
  quiescent(): void {
    const cpu = this.hal.currentCpu();
    if (this.#nesting[cpu] !== 0) this.#assertOutside(cpu, "this is no quiescent state");
    if (!this.#periods.nothingToAnnounce(cpu)) this.#periods.announce(cpu);
    const ring = this.#rings[cpu];
    if (ring !== undefined && ring.count !== 0) this.invokeCallbacks(this.handle.callbackLimit);
  }

  /** A cookie for {@link Rcu.poll}: a grace period that begins after this call. Starts it when none runs. */
  startPoll(): number {
    return this.#periods.request();
  }

  /** Whether the grace period of `cookie` has ended; helps to end it. A cookie stays good for ever. */
  poll(cookie: number): boolean {
    if (ended(cookie, this.#periods.completed())) return true;
    this.#periods.advance();
    return ended(cookie, this.#periods.completed());
  }

  /** End the running grace period if every CPU has passed, begin the next if one is wanted. Returns whether one ended. */
  advance(): boolean {
    return this.#periods.advance();
  }

  /**
   * Run `callback(argument)` on this CPU after a grace period. Allocates nothing. When the ring is full it first tries to
   * end the grace period and run what is due; if it is still full it throws `RCU_CALLBACKS_FULL`.
   */
  call(callback: RcuCallback, argument: number): void {
    if (!this.tryCall(callback, argument)) {
      throw new RcuError(
        "RCU_CALLBACKS_FULL",
        `CPU ${this.hal.currentCpu()} has ${this.handle.callbackCapacity} callbacks waiting; let every online CPU pass a quiescent state`,
      );
    }
  }

  /** {@link Rcu.call} that returns false, and keeps nothing, when the ring is full. */
  tryCall(callback: RcuCallback, argument: number): boolean {
    const cpu = this.hal.currentCpu();
    const ring = this.#ring(cpu);
    if (ring.full) {
      this.#periods.advance();
      this.invokeCallbacks();
      if (ring.full) return false;
    }
    ring.push(callback, argument, this.#periods.request());
    this.#periods.countQueued(cpu);
    return true;
  }

  /** Run at most `limit` callbacks of this CPU whose grace period has ended, oldest first. Returns how many ran. */
  invokeCallbacks(limit: number = Infinity): number {
    const cpu = this.hal.currentCpu();
    const ring = this.#rings[cpu];
    if (ring === undefined || ring.count === 0 || ring.running) return 0;
    if (!this.poll(ring.oldest())) return 0;
    const most = Math.min(limit, ring.count);
    let ran = 0;
    ring.running = true;
    try {
      while (ran < most && ended(ring.oldest(), this.#periods.completed())) {
        ran++;
        this.#periods.countInvoked(cpu);
        this.#observer?.onCallback?.(cpu);
        ring.runOldest();
      }
    } finally {
      ring.running = false;
    }
    return ran;
  }

  /** Callbacks of the calling CPU that have not run. */
  pendingCallbacks(): number {
    return this.#rings[this.hal.currentCpu()]?.count ?? 0;
  }

  /**
   * Wait for a grace period. The turns in between are quiescent states of this CPU, so nothing read before may be used after.
   * The polled form is {@link Rcu.startPoll} and {@link Rcu.poll}.
   */
  async synchronize(): Promise<void> {
    this.#assertOutside(this.hal.currentCpu(), "waiting here would never end");
    const cookie = this.startPoll();
    await this.#turnsUntil(() => this.poll(cookie));
  }

  /** {@link Rcu.synchronize} that blocks the thread, offline while it waits. Not for threads that must not block. */
  synchronizeBlocking(): void {
    const cpu = this.hal.currentCpu();
    this.#assertOutside(cpu, "waiting here would never end");
    const wasOnline = !this.#readersAnnounce && this.#periods.selfOnline(cpu);
    if (wasOnline) this.offline();
    try {
      const cookie = this.startPoll();
      for (let completed = this.#periods.completed(); !this.poll(cookie); completed = this.#periods.completed()) {
        this.#periods.wait(completed, WAIT_SLICE_NS);
      }
    } finally {
      if (wasOnline) this.online();
    }
  }

  /** Wait until every callback that any CPU has queued before this call has run. Other threads must keep being quiescent. */
  async barrier(): Promise<void> {
    const marks = this.startBarrier();
    await this.#turnsUntil(() => this.pollBarrier(marks));
  }

  /** The polled form of {@link Rcu.barrier}: what is queued now, by CPU. */
  startBarrier(): Int32Array {
    return Int32Array.from({ length: this.handle.possibleCpus }, (_, cpu) => this.#periods.queued(cpu));
  }

  /** Whether everything marked by {@link Rcu.startBarrier} has run; runs what is due on this CPU. */
  pollBarrier(marks: Int32Array): boolean {
    this.#periods.advance();
    this.invokeCallbacks();
    for (let cpu = 0; cpu < marks.length; cpu++) {
      if (!reached(this.#periods.invoked(cpu), marks[cpu])) return false;
    }
    return true;
  }

  /** Calls `visit` for every CPU the running grace period still waits for; returns how many. For diagnosis and kicking. */
  holdouts(visit: (cpu: CpuId) => void): number {
    return this.#periods.holdouts(visit);
  }

  /**
   * `cpu` has died (its thread ended without {@link Rcu.offline}): grace periods no longer wait for it, and its callbacks
   * count as run. Returns how many were lost. Only when that thread certainly runs no more.
   */
  reportDead(cpu: CpuId): number {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.handle.possibleCpus) {
      throw new RcuError(
        "RCU_INVALID_ARGUMENT",
        `CPU ${cpu} is not one of the ${this.handle.possibleCpus} possible CPUs`,
      );
    }
    return this.#periods.bury(cpu);
  }

  /** Numbers of all CPUs; those of other threads may be a moment old. */
  stats(): RcuStats {
    let callbacksQueued = 0;
    let callbacksPending = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const queued = this.#periods.queued(cpu);
      callbacksQueued += queued >>> 0;
      callbacksPending += (queued - this.#periods.invoked(cpu)) >>> 0;
    }
    return {
      gracePeriods: ordinal(this.#periods.completed()),
      callbacksQueued,
      callbacksInvoked: callbacksQueued - callbacksPending,
      callbacksPending,
      longestGracePeriodNs: this.#periods.longestNs(),
      stalls: this.#periods.stalls(),
    };
  }

  #ring(cpu: CpuId): CallbackRing {
    return (this.#rings[cpu] ??= new CallbackRing(this.handle.callbackCapacity));
  }

  #assertOutside(cpu: CpuId, what: string): void {
    if (this.#nesting[cpu] === 0) return;
    throw new RcuError("RCU_IN_SECTION", `CPU ${cpu} is inside a read section: ${what}`);
  }

  async #turnsUntil(done: () => boolean): Promise<void> {
    for (let completed = this.#periods.completed(); !done(); completed = this.#periods.completed()) {
      await this.#periods.waitAsync(completed, WAIT_SLICE_NS / 1e6);
      this.quiescent();
    }
  }
}
