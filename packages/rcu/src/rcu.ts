import type { CpuId, Hal } from "@x/smp";
import type { RcuCallback, RcuFreeTarget } from "./callback-ring.ts";
import { Callbacks } from "./callbacks.ts";
import { RcuError } from "./errors.ts";
import { GracePeriods } from "./grace-periods.ts";
import type { RcuObserver } from "./observer.ts";
import { Readers } from "./readers.ts";
import { newHandle, type RcuFlavour, type RcuHandle, type RcuOptions, type RcuStats } from "./rcu-options.ts";
import { SectionSites } from "./section-sites.ts";
import { ended, ordinal, reached } from "./sequence.ts";
import { SleepableSection } from "./sleepable-section.ts";
import { TurnAnnouncer, type TurnAnnouncerOptions } from "./turn-announcer.ts";
import { nextTurn } from "./wait-async.ts";

/** A sleeping waiter looks again this often even if nobody wakes it, because its own CPU may be what is waited for. */
const WAIT_SLICE_NS = 1e6;

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
  declare readonly handle: RcuHandle;
  /** The machine this thread attached with. */
  declare readonly hal: Hal;
  /** Whether it was made with `debug`. */
  readonly debug: boolean;
  /** @internal How long what this thread has fetched may be kept. */
  readonly interval: {
    claim(): number;
    readonly fetched: Int32Array;
    keep(fetched: Int32Array, slot: number, offset: number): void;
  };
  /* Declared and not private names where every section or quiescent state passes, see pointer.ts. */
  declare private readonly flavour: RcuFlavour;
  declare private readonly readers: Readers;
  readonly #periods: GracePeriods;
  declare private readonly callbacks: Callbacks;
  declare private readonly sites: SectionSites | undefined;
  /**
   * Read section depth by CPU, of this thread. For finding misuse; it protects nothing in flavour `qsbr`, and is not used in
   * `sleepable`, whose sections are counted in shared memory.
   */
  declare private readonly nesting: Int32Array;
  /** By CPU of this thread: a hurried grace period has asked for the end of the section under way. */
  declare private readonly announceAfter: Uint8Array;
  readonly #reader: Disposable = { [Symbol.dispose]: () => this.readUnlock() };

  private constructor(handle: RcuHandle, hal: Hal, observer: RcuObserver | undefined) {
    if (hal.possibleCpus > handle.possibleCpus) {
      throw new RcuError(
        "RCU_INVALID_ARGUMENT",
        `the machine has ${hal.possibleCpus} CPUs, this RCU was made for ${handle.possibleCpus}`,
      );
    }
    const { possibleCpus: cpus, flavour, memory, stallTimeoutNs } = handle;
    this.handle = handle;
    this.hal = hal;
    this.flavour = flavour;
    const sites = handle.sites === undefined ? undefined : new SectionSites(handle.sites);
    this.sites = sites;
    this.debug = sites !== undefined;
    const periods = new GracePeriods({ memory, hal, cpus, observer, stallTimeoutNs, flavour, sites });
    this.#periods = periods;
    this.readers = new Readers(handle, periods, observer);
    this.interval = this.readers.interval;
    const capacity = handle.callbackCapacity;
    this.callbacks = new Callbacks({ hal, periods, observer, cpus, capacity, debug: this.debug });
    this.nesting = new Int32Array(cpus);
    this.announceAfter = new Uint8Array(cpus);
  }

  /** Make the shared part. Throws `RCU_INVALID_ARGUMENT` for options out of range. */
  static create(options: RcuOptions = {}): Rcu {
    const { hal, handle } = newHandle(options);
    const rcu = new Rcu(handle, hal, options.observer);
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
   * Does nothing when it is online already; in flavours other than `qsbr` only the ring is made.
   */
  online(): void {
    const cpu = this.hal.currentCpu();
    this.callbacks.ring(cpu);
    if (this.flavour === "qsbr" && !this.readers.selfOnline(cpu)) this.readers.enter(cpu);
  }

  /**
   * Grace periods no longer wait for the calling CPU: before it blocks, idles or ends. It must not read until
   * {@link Rcu.online}. Throws `RCU_IN_SECTION` inside a read section. Its callbacks stay queued.
   */
  offline(): void {
    const cpu = this.hal.currentCpu();
    this.#assertOutside(cpu, "a CPU cannot go offline");
    if (this.flavour === "qsbr") this.readers.leave(cpu);
    this.#periods.advance();
  }

  /** Whether grace periods wait for `cpu` (default: the calling one); in flavours other than `qsbr`: whether it is in a section. */
  isOnline(cpu: CpuId = this.hal.currentCpu()): boolean {
    return this.readers.isOnline(cpu);
  }

  /**
   * Begin a read section; sections nest. Returns what {@link Rcu.readUnlock} needs in flavour `sleepable`, else 0.
   * Throws `RCU_OFFLINE` on an offline CPU of flavour `qsbr`. Cost: a private counter in `qsbr`, an atomic store and a
   * load for the outermost section in `memory-barrier`, one `Atomics.add` in `sleepable`.
   */
  readLock(): number {
    const cpu = this.hal.currentCpu();
    if (this.flavour === "sleepable") return this.#openSection(cpu);
    if (this.nesting[cpu] === 0) this.#beginOutermost(cpu);
    this.nesting[cpu]++;
    return 0;
  }

  /**
   * End a read section: the innermost, in flavour `sleepable` the one that `section` came from, from any CPU of this thread.
   * Throws `RCU_NOT_IN_SECTION` when there is none.
   */
  readUnlock(section = 0): void {
    if (this.flavour === "sleepable") return this.#closeSection(section);
    const cpu = this.hal.currentCpu();
    if (this.nesting[cpu] === 0) throw new RcuError("RCU_NOT_IN_SECTION", `CPU ${cpu} is in no read section`);
    if (--this.nesting[cpu] === 0) this.#endOutermost(cpu);
  }

  /**
   * `using section = rcu.read()`: a read section to the end of the block. Allocates nothing; in flavour `sleepable` one small
   * object, so that sections may overlap.
   */
  read(): Disposable {
    const section = this.readLock();
    return this.flavour === "sleepable" ? new SleepableSection(this, section) : this.#reader;
  }

  /** Whether the calling CPU is in a read section; in flavour `sleepable`: whether any is open that began on it. */
  inSection(): boolean {
    const cpu = this.hal.currentCpu();
    return this.flavour === "sleepable" ? this.readers.sections(cpu) !== 0 : this.nesting[cpu] !== 0;
  }

  /**
   * The calling CPU holds nothing it has read under RCU: announce it, end the grace period if it was the last, and run
   * callbacks that are due. Throws `RCU_IN_SECTION` inside a read section (flavour `sleepable`: announces nothing, throws
   * nothing). Cost when nothing happens: plain loads, and an `Atomics.load` now and then.
   */
  quiescent(): void {
    const cpu = this.hal.currentCpu();
    if (this.nesting[cpu] !== 0) this.#assertOutside(cpu, "this is no quiescent state");
    if (this.readers.owesAnnouncement(cpu)) this.readers.announce(cpu);
    if (this.callbacks.pending(cpu) !== 0) this.callbacks.invoke(this.handle.callbackLimit);
  }

  /** @internal The end of the section that the calling CPU is in announces a quiescent state. */
  announceAfterSection(): void {
    this.announceAfter[this.hal.currentCpu()] = 1;
  }

  /** @internal Who is in a section, and where that began, and what is wrong with it. */
  describeSection(what: string): string {
    const cpu = this.hal.currentCpu();
    const where = this.sites?.where(cpu);
    return `CPU ${cpu} is inside a read section${where === undefined ? "" : ` that began at ${where}`}: ${what}`;
  }

  /**
   * Announce quiescent states of this thread's CPU by itself, between turns of its event loop, whenever a grace period begins,
   * and run callbacks that are due; nothing wakes while there are none. Dispose to end it. See {@link TurnAnnouncer}.
   */
  announceAtTurns(options: TurnAnnouncerOptions = {}): TurnAnnouncer {
    return new TurnAnnouncer(this, this.#periods, this.callbacks, options);
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
    if (!this.tryCall(callback, argument)) throw this.#ringFull();
  }

  /** {@link Rcu.call} that returns false, and keeps nothing, when the ring is full. */
  tryCall(callback: RcuCallback, argument: number): boolean {
    return this.callbacks.push(callback, argument);
  }

  /**
   * Give `offset` back to `target` after a grace period, on this CPU (Linux: `kfree_rcu`). Offsets that follow each other go to
   * the same target in bulk. Allocates nothing; shares the ring, the order and the errors of {@link Rcu.call}.
   */
  free(target: RcuFreeTarget, offset: number): void {
    if (!this.tryFree(target, offset)) throw this.#ringFull();
  }

  /** {@link Rcu.free} that returns false, and keeps nothing, when the ring is full. */
  tryFree(target: RcuFreeTarget, offset: number): boolean {
    return this.callbacks.push(target, offset);
  }

  /** Run at most `limit` callbacks of this CPU whose grace period has ended, oldest first. Returns how many ran. */
  invokeCallbacks(limit: number = Infinity): number {
    return this.callbacks.invoke(limit);
  }

  /** Callbacks of the calling CPU that have not run. */
  pendingCallbacks(): number {
    return this.callbacks.pending(this.hal.currentCpu());
  }

  /**
   * Wait for a grace period. The turns in between are quiescent states of this CPU, so nothing read before may be used after.
   * Keeps the event loop alive. The polled form is {@link Rcu.startPoll} and {@link Rcu.poll}. In flavour `sleepable` it must
   * not be awaited inside a section, which it would wait for.
   */
  async synchronize(): Promise<void> {
    if (this.flavour !== "sleepable") this.#assertOutside(this.hal.currentCpu(), "waiting here would never end");
    const cookie = this.startPoll();
    await this.#turnsUntil(() => this.poll(cookie));
  }

  /**
   * {@link Rcu.synchronize} in a hurry: `ask` is called for every CPU that is waited for, again and again until there is none,
   * to make it pass soon: {@link askByCall}, {@link askToReschedule}, or what you have.
   */
  async synchronizeExpedited(ask: (cpu: CpuId) => void): Promise<void> {
    if (this.flavour !== "sleepable") this.#assertOutside(this.hal.currentCpu(), "waiting here would never end");
    const cookie = this.startPoll();
    await this.#turnsUntil(() => this.poll(cookie) || (this.expedite(ask), this.poll(cookie)));
  }

  /**
   * {@link Rcu.synchronize} that blocks the thread, offline while it waits. Not for threads that must not block. With `ask`
   * in a hurry, as {@link Rcu.synchronizeExpedited}.
   */
  synchronizeBlocking(ask?: (cpu: CpuId) => void): void {
    const cpu = this.hal.currentCpu();
    this.#assertOutside(cpu, "waiting here would never end");
    const wasOnline = this.flavour === "qsbr" && this.readers.selfOnline(cpu);
    if (wasOnline) this.offline();
    try {
      const cookie = this.startPoll();
      for (let completed = this.#periods.completed(); !this.poll(cookie); completed = this.#periods.completed()) {
        if (ask !== undefined) this.expedite(ask);
        this.#periods.wait(completed, WAIT_SLICE_NS);
      }
    } finally {
      if (wasOnline) this.online();
    }
  }

  /** Calls `ask` for every CPU that the running grace period waits for, other than the calling one; returns how many. */
  expedite(ask: (cpu: CpuId) => void): number {
    const self = this.hal.currentCpu();
    let asked = 0;
    this.#periods.holdouts((cpu) => {
      if (cpu === self) return;
      asked++;
      ask(cpu);
    });
    if (asked !== 0) this.#periods.countExpedited(asked);
    return asked;
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
    this.callbacks.invoke(Infinity);
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
      meanGracePeriodNs: this.#periods.meanNs(),
      stalls: this.#periods.stalls(),
      expedited: this.#periods.expedited(),
    };
  }

  #openSection(cpu: CpuId): number {
    if (this.sites !== undefined && this.readers.sections(cpu) === 0) this.sites.begin(cpu);
    return 1 + cpu * 2 + this.readers.openSection(cpu);
  }

  #closeSection(section: number): void {
    const cpu = (section - 1) >> 1;
    const valid = Number.isInteger(section) && section > 0 && cpu < this.handle.possibleCpus;
    if (!valid || !this.readers.closeSection(cpu, (section - 1) & 1)) {
      throw new RcuError(
        "RCU_NOT_IN_SECTION",
        `${section} is no section that is open; pass what readLock returned, once`,
      );
    }
    if (this.sites !== undefined && this.readers.sections(cpu) === 0) this.sites.end(cpu);
  }

  #beginOutermost(cpu: CpuId): void {
    if (this.flavour === "memory-barrier") this.readers.enter(cpu);
    else if (!this.readers.selfOnline(cpu)) {
      throw new RcuError("RCU_OFFLINE", `CPU ${cpu} is offline: grace periods would not wait for its read section`);
    }
    this.sites?.begin(cpu);
  }

  #endOutermost(cpu: CpuId): void {
    this.sites?.end(cpu);
    if (this.flavour === "memory-barrier") this.readers.leaveSection(cpu);
    else if (this.announceAfter[cpu] !== 0) {
      this.announceAfter[cpu] = 0;
      this.readers.announce(cpu);
    }
  }

  #ringFull(): RcuError {
    const { callbackCapacity } = this.handle;
    const message = `CPU ${this.hal.currentCpu()} has ${callbackCapacity} callbacks waiting; let every online CPU pass a quiescent state`;
    return new RcuError("RCU_CALLBACKS_FULL", message);
  }

  #assertOutside(cpu: CpuId, what: string): void {
    const open = this.flavour === "sleepable" ? this.readers.sections(cpu) : this.nesting[cpu];
    if (open !== 0) throw new RcuError("RCU_IN_SECTION", this.describeSection(what));
  }

  /** Turns of the event loop until `done`: the first at once, because often only this CPU is waited for. */
  async #turnsUntil(done: () => boolean): Promise<void> {
    for (let turn = 0; !done(); turn++) {
      const completed = this.#periods.completed();
      if (turn === 0) await nextTurn();
      else await this.#periods.waitAsync(completed, WAIT_SLICE_NS / 1e6);
      this.quiescent();
    }
  }
}
