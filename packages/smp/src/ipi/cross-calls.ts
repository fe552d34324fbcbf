import { CpuMask } from "../cpu-mask.ts";
import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { CallError, FailureTexts } from "./call-error.ts";
import type { IpiMailbox } from "./mailbox.ts";
import { CpuRequests } from "./requests.ts";
import * as slots from "./slots.ts";
import { IpiType } from "./types.ts";

// An import is loaded anew wherever it is used, a constant of this module is not.
const { Status } = slots;

/** Calls of a bulk that are sent at a time, so that the target begins while the rest is being made. */
const BULK_PART = 16;

/**
 * A function that other CPUs may call. It runs on the CPU that is called, where that looks at its mailbox.
 *
 * @param from - the CPU that calls.
 * @returns what the caller gets; NaN where it returns nothing.
 *
 * @public
 */
export type CrossFunction = (from: CpuId, a: number, b: number, c: number) => number | void;

/**
 * A call under way, for {@link CrossCalls.poll} and its like: a number, of the CPU that made it.
 *
 * @public
 */
export type CallTicket = number;

/**
 * What joins {@link CrossCalls} from another thread, along with the handle of its mailbox.
 *
 * @public
 */
export interface CrossCallsHandle {
  readonly functions: number;
  readonly failures: SharedArrayBuffer;
}

/**
 * What a thread brings along to {@link CrossCalls}.
 *
 * @public
 */
export interface CrossCallsOptions {
  /** Default: the mailbox's. */
  readonly hal?: Hal | undefined;
  /** Carries the calls, as `FunctionCall`. One object of a thread can have that type. */
  readonly mailbox: IpiMailbox;
  /** Called by their index: every thread gives the same list, because functions do not travel between threads. */
  readonly functions: readonly CrossFunction[];
}

/**
 * Runs functions on other CPUs and knows when they have run (as Linux's `smp_call_function_single`, `_many`, `_any` and
 * `on_each_cpu_cond`). A CPU that waits for a call serves its own mailbox, so CPUs may call each other; it spins for some
 * microseconds and then sleeps. A call to the calling CPU itself runs at once.
 *
 * What a function throws reaches the caller as {@link CallError}; so does the end of a CPU that is called.
 *
 * Thread-safety: every method acts for the calling CPU, from any CPU; a ticket belongs to the CPU that got it. Cost: a slot of
 * the mailbox for each target, two compare-exchanges, nothing allocated (the promises of the asynchronous forms are). From the
 * third of a row of calls to one CPU on, if nobody else calls that, one line of the cache travels to it and back.
 *
 * @public
 */
export class CrossCalls {
  readonly handle: CrossCallsHandle;
  readonly #hal: Hal;
  readonly #mailbox: IpiMailbox;
  readonly #functions: readonly CrossFunction[];
  readonly #requests: CpuRequests;
  readonly #failures: FailureTexts;
  /** Targets of a call being made, and whether one is: a handler that runs meanwhile may make another. */
  readonly #targets: CpuMask;
  #making = false;
  /** The last slot of the bulk just sent. */
  #bulkNewest = 0;
  readonly #runSlot = (slot: number): void => this.#run(slot);

  private constructor(handle: CrossCallsHandle, options: CrossCallsOptions) {
    if (options.functions.length !== handle.functions) {
      const message = `this thread brings ${options.functions.length} functions, the one that made the calls ${handle.functions}`;
      throw new SmpError("SMP_INVALID_ARGUMENT", message);
    }
    this.handle = handle;
    const { hal = options.mailbox.hal } = options;
    this.#hal = hal;
    this.#mailbox = options.mailbox;
    this.#functions = options.functions;
    this.#requests = new CpuRequests(hal, options.mailbox, IpiType.FunctionCall);
    this.#failures = new FailureTexts(handle.failures, hal);
    this.#targets = new CpuMask(hal.possibleCpus);
    options.mailbox.runCalls(IpiType.FunctionCall, this.#runSlot);
  }

  static create(options: CrossCallsOptions): CrossCalls {
    const failures = FailureTexts.memory(options.mailbox.handle.possibleCpus);
    return new CrossCalls({ functions: options.functions.length, failures }, options);
  }

  static attach(handle: CrossCallsHandle, options: CrossCallsOptions): CrossCalls {
    return new CrossCalls(handle, options);
  }

  /**
   * Call a function on one CPU and wait for what it returns. Throws {@link CallError}; `SMP_INVALID_CPU` and
   * `SMP_INVALID_ARGUMENT` for a CPU or function that is not there; `SMP_CANNOT_BLOCK` on a thread that must not block.
   */
  call(cpu: CpuId, index: number, a = 0, b = 0, c = 0): number {
    const ticket = this.start(cpu, index, a, b, c);
    return this.#collect(ticket);
  }

  /** As {@link CrossCalls.call}, while the event loop goes on. */
  async callAsync(cpu: CpuId, index: number, a = 0, b = 0, c = 0): Promise<number> {
    return this.finishAsync(this.start(cpu, index, a, b, c));
  }

  /**
   * Call a function on one CPU of `cpus`, the calling one if it is among them, else the first that is online. Throws as
   * {@link CrossCalls.call}, and {@link CallError} `SMP_CPU_OFFLINE` where none is online.
   */
  callAny(cpus: CpuMask, index: number, a = 0, b = 0, c = 0): number {
    const self = this.#hal.currentCpu();
    if (cpus.has(self)) return this.call(self, index, a, b, c);
    let cpu = cpus.first();
    for (; cpu >= 0; cpu = cpus.next(cpu)) if (this.#mailbox.isOnline(cpu)) return this.call(cpu, index, a, b, c);
    throw new CallError("SMP_CPU_OFFLINE", `none of the CPUs ${cpus.toList()} is online`, cpus.first(), index);
  }

  /**
   * Call a function on many CPUs and wait until it has run on all. Throws what failed on the first; the rest is in its `others`.
   *
   * @param cpus - "all" and "all-except-self" are those online; one of a mask that is offline is a failure.
   * @returns on how many CPUs.
   */
  callMany(cpus: CpuMask | "all" | "all-except-self", index: number, a = 0, b = 0, c = 0): number {
    const ticket = this.startMany(cpus, index, a, b, c);
    this.#requests.wait(ticket, Infinity);
    return this.#finishMany(ticket);
  }

  /** As {@link CrossCalls.callMany}, while the event loop goes on. */
  async callManyAsync(cpus: CpuMask | "all" | "all-except-self", index: number, a = 0, b = 0, c = 0): Promise<number> {
    const ticket = this.startMany(cpus, index, a, b, c);
    await this.#mailbox.pump.until(() => this.#requests.isOverOrWatched(ticket));
    return this.#finishMany(ticket);
  }

  /** As {@link CrossCalls.callMany}, on those CPUs of `cpus` that are online and for which `condition` holds. */
  callIf(cpus: CpuMask, condition: (cpu: CpuId) => boolean, index: number, a = 0, b = 0, c = 0): number {
    this.#check(0, index);
    const nested = this.#making;
    const targets = this.#begin();
    try {
      for (let cpu = cpus.first(); cpu >= 0; cpu = cpus.next(cpu)) {
        if (this.#mailbox.isOnline(cpu) && condition(cpu)) targets.add(cpu);
      }
      const ticket = this.#startOn(targets, index, a, b, c);
      this.#requests.wait(ticket, Infinity);
      return this.#finishMany(ticket);
    } finally {
      this.#making = nested;
    }
  }

  /**
   * Call a function on one CPU for each of `arguments_`, and wait for all. What it returned for `arguments_[i]` goes to
   * `results[i]`; NaN where it failed, and the first failure is thrown. They are sent in parts, and a CPU that has not begun
   * with one is not kicked for the next. Of more than `mailbox.depth` the rest follows when slots are free.
   */
  callBulk(cpu: CpuId, index: number, arguments_: ArrayLike<number>, results: { [at: number]: number }): void {
    this.#check(cpu, index);
    let failure: CallError | undefined;
    const { queues } = this.#mailbox;
    for (let at = 0; at < arguments_.length;) {
      let slot = this.#startBulk(cpu, index, arguments_, at);
      // They run in order, so the last one is worth waiting for.
      this.#requests.wait(this.#bulkNewest, Infinity);
      while (slot !== 0) {
        const next = queues.sibling(slot);
        results[at] = Number.NaN;
        try {
          results[at] = this.#collect(slot);
        } catch (error) {
          failure ??= error as CallError;
        }
        at++;
        slot = next;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /**
   * Have a function run on one CPU, whenever, without a word back; what it throws is thrown where that CPU looks at its
   * mailbox. Returns false if the CPU is offline or no slot is free.
   */
  post(cpu: CpuId, index: number, a = 0, b = 0, c = 0): boolean {
    this.#check(cpu, index);
    const slot = this.#requests.tryPrepare(Status.Post, cpu, index, a, b, c);
    if (slot === 0) return false;
    const sent = this.#requests.send(slot, cpu, this.#runSlot);
    if (!sent) this.#mailbox.queues.free(slot);
    return sent;
  }

  /**
   * Begin to call a function on one CPU. Poll or wait, then finish: a call that is over keeps its slot until then. Where all
   * slots are in use, serves the mailbox until one is free; throws `SMP_CPU_STATE` if all hold calls that nobody finishes.
   */
  start(cpu: CpuId, index: number, a = 0, b = 0, c = 0): CallTicket {
    this.#check(cpu, index);
    return this.#requests.start(cpu, index, a, b, c, this.#runSlot);
  }

  /** As {@link CrossCalls.start}; 0 where all slots are in use. */
  tryStart(cpu: CpuId, index: number, a = 0, b = 0, c = 0): CallTicket {
    this.#check(cpu, index);
    return this.#requests.tryStart(cpu, index, a, b, c, this.#runSlot);
  }

  /** Begin to call a function on many CPUs; see {@link CrossCalls.callMany}. 0: there is nobody to call, which is over. */
  startMany(cpus: CpuMask | "all" | "all-except-self", index: number, a = 0, b = 0, c = 0): CallTicket {
    this.#check(0, index);
    const nested = this.#making;
    const targets = this.#begin();
    try {
      if (typeof cpus === "string") this.#online(targets, cpus);
      else targets.copy(cpus);
      return this.#startOn(targets, index, a, b, c);
    } finally {
      this.#making = nested;
    }
  }

  /** Whether a call is over on every CPU. */
  poll(ticket: CallTicket): boolean {
    return this.#requests.isOver(ticket);
  }

  /** Serve the mailbox until a call is over; false: it is not after `timeoutNs`, and goes on. */
  wait(ticket: CallTicket, timeoutNs: number = Infinity): boolean {
    return this.#requests.wait(ticket, timeoutNs);
  }

  /**
   * What the function returned, on the last of several CPUs; throws {@link CallError} for what failed. The ticket is void
   * afterwards. Throws `SMP_CPU_STATE` if the call is not over.
   */
  finish(ticket: CallTicket): number {
    if (!this.#requests.isOver(ticket)) throw new SmpError("SMP_CPU_STATE", "the call is not over");
    let failure: CallError | undefined;
    let others: CallError[] | undefined;
    let result = Number.NaN;
    for (let slot = ticket; slot !== 0; slot = this.#mailbox.queues.sibling(slot)) {
      const error = this.#failureOf(slot);
      if (error === undefined) result = this.#mailbox.queues.result(slot);
      else if (failure === undefined) failure = error;
      else (others ??= []).push(error);
    }
    this.#requests.free(ticket);
    if (failure === undefined) return result;
    if (others !== undefined) failure.others = others;
    throw failure;
  }

  /** {@link CrossCalls.finish} when the call is over. */
  async finishAsync(ticket: CallTicket): Promise<number> {
    await this.#mailbox.pump.until(() => this.#requests.isOverOrWatched(ticket));
    return this.finish(ticket);
  }

  /** Wait for one slot, and give it back. */
  #collect(slot: number): number {
    const { queues } = this.#mailbox;
    if (!queues.isOver(slot)) this.#requests.waitSlot(slot, Infinity);
    const failure = queues.isDone(slot) ? undefined : this.#failureOf(slot);
    const result = queues.result(slot);
    queues.recycle(slot);
    if (failure !== undefined) throw failure;
    return result;
  }

  #startBulk(cpu: CpuId, index: number, arguments_: ArrayLike<number>, first: number): CallTicket {
    const { queues } = this.#mailbox;
    const ticket = this.#requests.prepare(Status.Call, cpu, index, arguments_[first], 0, 0);
    let newest = ticket;
    let oldest = ticket;
    let count = 1;
    for (let at = first + 1; at < arguments_.length; at++) {
      const slot = this.#requests.tryPrepare(Status.Call, cpu, index, arguments_[at], 0, 0);
      if (slot === 0) break;
      queues.setSibling(newest, slot);
      if (count < BULK_PART) queues.link(slot, newest);
      else {
        this.#sendPart(cpu, newest, oldest, count);
        oldest = slot;
        count = 0;
      }
      newest = slot;
      count++;
    }
    this.#sendPart(cpu, newest, oldest, count);
    this.#bulkNewest = newest;
    return ticket;
  }

  #sendPart(cpu: CpuId, newest: number, oldest: number, count: number): void {
    const { queues } = this.#mailbox;
    const self = this.#hal.currentCpu();
    const sent = cpu !== self && this.#mailbox.deliver(self, cpu, IpiType.FunctionCall, newest, oldest, count);
    if (sent) return;
    for (let slot = oldest, left = count; left > 0; left--, slot = queues.sibling(slot)) {
      if (cpu === self) this.#run(slot);
      else queues.notSent(slot);
    }
  }

  #finishMany(ticket: CallTicket): number {
    let count = 0;
    for (let slot = ticket; slot !== 0; slot = this.#mailbox.queues.sibling(slot)) count++;
    this.finish(ticket);
    return count;
  }

  /** An empty mask that nobody else uses until `#making` is set back. */
  #begin(): CpuMask {
    if (this.#making) return new CpuMask(this.#targets.size);
    this.#making = true;
    return this.#targets.clear();
  }

  /** The calling CPU's own turn comes last, when the others are at it. */
  #startOn(targets: CpuMask, index: number, a: number, b: number, c: number): CallTicket {
    const self = this.#hal.currentCpu();
    const own = targets.has(self) ? this.#requests.prepare(Status.Call, self, index, a, b, c) : 0;
    let ticket = own;
    for (let cpu = targets.first(); cpu >= 0; cpu = targets.next(cpu)) {
      if (cpu === self) continue;
      const slot = this.#requests.start(cpu, index, a, b, c, this.#runSlot);
      this.#mailbox.queues.setSibling(slot, ticket);
      ticket = slot;
    }
    if (own !== 0) this.#requests.send(own, self, this.#runSlot);
    return ticket;
  }

  #online(targets: CpuMask, cpus: "all" | "all-except-self"): void {
    for (let cpu = 0; cpu < targets.size; cpu++) if (this.#mailbox.isOnline(cpu)) targets.add(cpu);
    if (cpus === "all-except-self") targets.delete(this.#hal.currentCpu());
  }

  #failureOf(slot: number): CallError | undefined {
    const { queues } = this.#mailbox;
    const status = queues.status(slot);
    if (status === Status.Done) return undefined;
    const cpu = queues.target(slot);
    const index = queues.code(slot);
    const name = this.#functions[index].name;
    const what = `function ${index}${name === "" ? "" : ` (${name})`}`;
    queues.setResult(slot, Number.NaN);
    if (status === Status.Offline) {
      return new CallError("SMP_CPU_OFFLINE", `CPU ${cpu} is offline; ${what} was not called`, cpu, index);
    }
    if (status === Status.Died) {
      return new CallError("SMP_CPU_DIED", `CPU ${cpu} died before ${what} returned`, cpu, index);
    }
    const stack = this.#failures.read(cpu, queues.failure(slot));
    return new CallError("SMP_CALL_FAILED", `${what} threw on CPU ${cpu}: ${whoAndWhere(stack)}`, cpu, index, stack);
  }

  /** Run what another CPU, or this one, has asked for in a slot. */
  #run(slot: number): void {
    const { queues } = this.#mailbox;
    if (queues.kind(slot) === Status.Post) {
      try {
        queues.invoke(slot, this.#functions);
      } finally {
        queues.end(slot, Status.Done);
      }
      return;
    }
    try {
      queues.setResult(slot, queues.invoke(slot, this.#functions));
    } catch (error) {
      queues.setFailure(slot, this.#failures.write(error));
      queues.end(slot, Status.Threw);
      return;
    }
    queues.end(slot, Status.Done);
  }

  #check(cpu: CpuId, index: number): void {
    if (this.#functions[index] === undefined) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `there is no function ${index} among ${this.#functions.length}`);
    }
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.#hal.possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${this.#hal.possibleCpus} possible CPUs`);
    }
  }
}

/** First line of a stack, and the place of its first frame. */
function whoAndWhere(stack: string): string {
  const [what, where] = stack.split("\n");
  return where === undefined ? what : `${what} (${where.trim()})`;
}
