import { waitAsyncOn } from "../block-on.ts";
import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { alignUp, PADDING_BYTES } from "../layout.ts";
import { soloHal } from "../solo-hal.ts";
import { deadlineOf, newLocks, type LockHandle } from "./lock.ts";

/*
 *   word 0      the current phase, 1 to PHASES, then 1 again; moved by compare-exchange, slept on
 *   word 32+cpu the last phase this CPU has arrived in; OUTSIDE for those that do not take part
 *
 * A CPU stores its arrival and then looks at all; of those that arrive at the same time at least one sees all of them. There
 * is no count that could go wrong when a CPU dies: recovery puts it OUTSIDE and looks as if it had arrived.
 */
const ARRIVED = PADDING_BYTES / 4;
const OUTSIDE = -1;
const PHASES = 0x3fffffff;
const SPIN_LIMIT = 64;

/**
 * What joins {@link Barriers} from another thread.
 *
 * @public
 */
export type BarriersHandle = LockHandle<"barrier">;

/**
 * An array of barriers: a CPU that arrives goes on when all members have arrived; then the next phase begins. A member that dies is
 * one no longer. `arrive` and `isOver` are the polled form beneath `wait`.
 *
 * Cost: a store and a look at every CPU's word to arrive.
 *
 * @public
 */
export class Barriers {
  readonly handle: BarriersHandle;
  readonly kind = "barrier";
  readonly name: string;
  readonly count: number;
  readonly #hal: Hal;
  readonly #words: Int32Array;
  readonly #stride: number;

  private constructor(handle: BarriersHandle, hal: Hal) {
    this.handle = handle;
    this.name = handle.name;
    this.count = handle.count;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
    this.#stride = bytesFor(handle.possibleCpus) / 4;
  }

  /** `cpus`: the members; default all possible CPUs. Throws `SMP_INVALID_CPU` for one that is not possible. */
  static create(
    options: {
      readonly name?: string;
      readonly count?: number;
      readonly hal?: Hal;
      readonly cpus?: Iterable<CpuId>;
    } = {},
  ): Barriers {
    const hal = options.hal ?? soloHal();
    const barriers = new Barriers(newLocks("barrier", bytesFor(hal.possibleCpus), options), hal);
    if (options.cpus !== undefined) barriers.#limitTo(new Set(options.cpus));
    for (let barrier = 0; barrier < barriers.count; barrier++) barriers.#words[barrier * barriers.#stride] = 1;
    return barriers;
  }

  static attach(handle: BarriersHandle, options: { readonly hal: Hal }): Barriers {
    return new Barriers(handle, options.hal);
  }

  /**
   * Arrive, and sleep until all have. Returns true on exactly one of the CPUs of each phase, unless the one that would be it
   * has died.
   */
  wait(barrier = 0): boolean {
    const phase = this.arrive(barrier);
    if (phase < 0) return true;
    this.#sleep(barrier, phase, Infinity);
    return false;
  }

  /** {@link Barriers.wait} for at most `timeoutNs`: returns whether the phase is over. The arrival stands; wait on with `isOver`. */
  waitFor(timeoutNs: number, barrier = 0): boolean {
    const phase = this.arrive(barrier);
    return phase < 0 || this.#sleep(barrier, phase, timeoutNs);
  }

  /** {@link Barriers.wait} without blocking the thread. */
  waitAsync(barrier = 0): Promise<boolean> {
    return new Promise((resolve) => this.waitThen((_over, last) => resolve(last), barrier));
  }

  /** {@link Barriers.waitFor} without blocking the thread. */
  waitForAsync(timeoutNs: number, barrier = 0): Promise<boolean> {
    return new Promise((resolve) => this.waitThen(resolve, barrier, timeoutNs));
  }

  /**
   * What lies beneath the promises: `then` is called when all have arrived (`over`; `last` as `wait` returns it), or when the time is.
   */
  waitThen(then: (over: boolean, last: boolean) => void, barrier = 0, timeoutNs: number = Infinity): void {
    const phase = this.arrive(barrier);
    if (phase < 0) then(true, true);
    else this.#overThen((over) => then(over, false), barrier, phase, deadlineOf(this.#hal, timeoutNs));
  }

  /**
   * Arrive without waiting. Returns the phase to give to `isOver`, or -1 if this ended it. Throws `SMP_INVALID_CPU` on a CPU that
   * is no member, and `SMP_WOULD_DEADLOCK` on one that has arrived in this phase already.
   */
  arrive(barrier = 0): number {
    const base = barrier * this.#stride;
    const cpu = this.#hal.currentCpu();
    const phase = Atomics.load(this.#words, base);
    const before = Atomics.load(this.#words, base + ARRIVED + cpu);
    if (before === OUTSIDE)
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is no member of ${this.name}[${barrier}]`);
    if (before === phase)
      throw new SmpError("SMP_WOULD_DEADLOCK", `CPU ${cpu} has arrived at ${this.name}[${barrier}] already`);
    Atomics.store(this.#words, base + ARRIVED + cpu, phase);
    return this.#endIfAllArrived(base, phase) ? -1 : phase;
  }

  /** Whether the phase that {@link Barriers.arrive} gave has ended. */
  isOver(phase: number, barrier = 0): boolean {
    return Atomics.load(this.#words, barrier * this.#stride) !== phase;
  }

  /** The calling CPU becomes a member: a new thread in the place of a dead one. It takes part from the current phase on. */
  join(barrier = 0): void {
    const at = barrier * this.#stride + ARRIVED + this.#hal.currentCpu();
    Atomics.compareExchange(this.#words, at, OUTSIDE, 0);
  }

  /** Members, dead ones not counted. */
  members(barrier = 0): number {
    const first = barrier * this.#stride + ARRIVED;
    let members = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (Atomics.load(this.#words, first + cpu) !== OUTSIDE) members++;
    }
    return members;
  }

  /** `cpu` has died: nobody waits for it any more. Returns at how many barriers it was a member. */
  releaseDeadOwner(cpu: CpuId): number {
    let left = 0;
    for (let barrier = 0; barrier < this.count; barrier++) {
      const base = barrier * this.#stride;
      if (Atomics.exchange(this.#words, base + ARRIVED + cpu, OUTSIDE) !== OUTSIDE) left++;
      this.#endIfAllArrived(base, Atomics.load(this.#words, base));
      // It may have died between moving the phase and waking the others.
      this.#hal.wake(this.#words, base, Infinity);
    }
    return left;
  }

  #limitTo(members: ReadonlySet<CpuId>): void {
    for (const cpu of members) {
      if (cpu >= 0 && cpu < this.handle.possibleCpus) continue;
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${this.handle.possibleCpus} possible CPUs`);
    }
    for (let barrier = 0; barrier < this.count; barrier++) {
      const first = barrier * this.#stride + ARRIVED;
      for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++)
        if (!members.has(cpu)) this.#words[first + cpu] = OUTSIDE;
    }
  }

  /** Whether the caller ended `phase`. */
  #endIfAllArrived(base: number, phase: number): boolean {
    let members = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const arrived = Atomics.load(this.#words, base + ARRIVED + cpu);
      if (arrived === OUTSIDE) continue;
      if (arrived !== phase) return false;
      members++;
    }
    if (members === 0) return false;
    if (Atomics.compareExchange(this.#words, base, phase, (phase % PHASES) + 1) !== phase) return false;
    this.#hal.wake(this.#words, base, Infinity);
    return true;
  }

  #sleep(barrier: number, phase: number, timeoutNs: number): boolean {
    const base = barrier * this.#stride;
    const deadlineNs = deadlineOf(this.#hal, timeoutNs);
    for (let spins = 1; ; spins++) {
      if (this.isOver(phase, barrier)) return true;
      const leftNs = deadlineNs === Infinity ? Infinity : deadlineNs - this.#hal.now();
      if (leftNs <= 0) return false;
      if (spins <= SPIN_LIMIT) this.#hal.relax(spins);
      else this.#hal.wait(this.#words, base, phase, leftNs);
    }
  }

  #overThen(then: (over: boolean) => void, barrier: number, phase: number, deadlineNs: number): void {
    const leftNs = deadlineNs === Infinity ? Infinity : Math.max(0, deadlineNs - this.#hal.now());
    const sleeping = waitAsyncOn(this.#words, barrier * this.#stride, phase, leftNs);
    if (sleeping === undefined) {
      then(this.isOver(phase, barrier));
      return;
    }
    void sleeping.then((woken) => {
      if (this.isOver(phase, barrier)) then(true);
      else if (woken === "timed-out") then(false);
      else this.#overThen(then, barrier, phase, deadlineNs);
    });
  }
}

function bytesFor(cpus: number): number {
  return PADDING_BYTES + alignUp(cpus * 4, PADDING_BYTES);
}
