import type { CpuMask } from "../cpu-mask.ts";
import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { PerCpuCounters, type PerCpuCountersHandle } from "../per-cpu-counters.ts";
import { soloHal } from "../solo-hal.ts";
import { MailboxPump } from "./pump.ts";
import { HALT_FLAG, IpiQueues, RESCHEDULE_FLAG, Sent } from "./queues.ts";
import * as slots from "./slots.ts";
import { LOOKS, SpinBudget } from "./spin-budget.ts";
import { IPI_TYPES, IpiType, type IpiHandler, type IpiObserver, type IpiTarget } from "./types.ts";

// An import is loaded anew wherever it is used, a constant of this module is not.
const { Status } = slots;

const DEFAULT_DEPTH = 256;
/** Handlers that run inside each other at most: a handler that waits lets others run. */
const MAX_NESTING = 32;

/** Counters: `sent` by the sender's CPU, `received` by the receiver's, in the order of {@link IpiType}. */
const COUNTER_NAMES = [
  "sent-generic",
  "sent-reschedule",
  "sent-tlb-flush",
  "sent-function-call",
  "sent-halt",
  "received-generic",
  "received-reschedule",
  "received-tlb-flush",
  "received-function-call",
  "received-halt",
] as const;

/**
 * What joins an {@link IpiMailbox} from another thread.
 *
 * @public
 */
export interface IpiMailboxHandle {
  readonly possibleCpus: number;
  readonly depth: number;
  readonly memory: SharedArrayBuffer;
  readonly counters: PerCpuCountersHandle;
}

/** Runs a call that arrived in a slot, and ends it. */
type CallRunner = (slot: number) => void;

/**
 * Inter-processor interrupts: a mailbox per CPU that any CPU sends to and its owner empties. What is sent is a type, a signed
 * 32-bit payload and the sender; see {@link (IpiType:variable)} for what each type means. A CPU whose mailbox was empty is kicked
 * (`hal.kick`), so a bulk costs one kick, and a notification only where the CPU sleeps.
 *
 * A CPU looks at its mailbox where it calls `receive`, `wait` or `listen`, while it waits for a call or a shootdown, and, after
 * `serveWhileWaiting`, in every wait for a lock.
 *
 * Thread-safety: every method from any CPU; those without a CPU among their arguments act for the calling one. What one CPU
 * sends to another with a payload arrives in order. A thread may be killed anywhere: see {@link IpiMailbox.reportDead}.
 * Cost: one compare-exchange and two atomic loads and stores to send; one exchange to take all there is. Nothing is allocated.
 *
 * @public
 */
export class IpiMailbox {
  readonly handle: IpiMailboxHandle;
  /** What a CPU may have sent, to all others together, that is not handled yet. */
  readonly depth: number;
  /** @internal */
  readonly hal: Hal;
  /** @internal */
  readonly queues: IpiQueues;
  /** @internal */
  readonly pump: MailboxPump;
  readonly #observer: IpiObserver | undefined;
  readonly #counters: PerCpuCounters;
  readonly #handlers: (IpiHandler | undefined)[] = Array.from({ length: IPI_TYPES }, () => undefined);
  readonly #runners: (CallRunner | undefined)[] = Array.from({ length: IPI_TYPES }, () => undefined);
  readonly #spins: SpinBudget;
  #nesting = 0;
  #disabled = 0;

  private constructor(handle: IpiMailboxHandle, hal: Hal, observer: IpiObserver | undefined) {
    this.handle = handle;
    this.depth = handle.depth;
    this.queues = new IpiQueues(handle.memory, hal, handle.possibleCpus, handle.depth);
    this.pump = new MailboxPump(hal, () => this.receive());
    this.#spins = new SpinBudget(hal);
    this.hal = hal;
    this.#observer = observer;
    this.#counters = PerCpuCounters.attach(handle.counters, { hal });
  }

  /**
   * @param options - `depth`: what a CPU may have sent that is not handled yet, a power of two from 2 to 65536, default 256.
   * `startOffline`: no CPU is online before it says so; by default all are, so that what is sent to one that has not joined yet
   * waits for it.
   */
  static create(
    options: {
      readonly hal?: Hal;
      readonly depth?: number;
      readonly startOffline?: boolean;
      readonly observer?: IpiObserver | undefined;
    } = {},
  ): IpiMailbox {
    const { hal = soloHal(), depth = DEFAULT_DEPTH, startOffline = false, observer } = options;
    const { possibleCpus } = hal;
    const memory = IpiQueues.memory(possibleCpus, depth);
    const counters = PerCpuCounters.create({ names: COUNTER_NAMES, hal }).handle;
    const mailbox = new IpiMailbox({ possibleCpus, depth, memory, counters }, hal, observer);
    if (startOffline) mailbox.queues.closeAll();
    return mailbox;
  }

  static attach(
    handle: IpiMailboxHandle,
    options: { readonly hal: Hal; readonly observer?: IpiObserver | undefined },
  ): IpiMailbox {
    return new IpiMailbox(handle, options.hal, options.observer);
  }

  /**
   * Send. Throws `SMP_INVALID_CPU` or, for the type, `SMP_INVALID_ARGUMENT`.
   *
   * @param payload - a signed 32-bit integer; other numbers are converted as by `| 0`. Not carried by `Reschedule` and `Halt`.
   * @returns to how many CPUs it was delivered. A CPU that is offline, and one for which the sender has no slot left, is told
   * nothing; that is counted as {@link IpiMailbox.refused}.
   */
  send(target: IpiTarget, type: IpiType, payload = 0): number {
    checkType(type);
    if (typeof target === "number") {
      this.#checkCpu(target);
      return this.#sendOne(target, type, payload);
    }
    if (typeof target === "object") return this.#sendMask(target, type, payload);
    const self = target === "all" ? -1 : this.hal.currentCpu();
    let delivered = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (cpu !== self && this.queues.isOnline(cpu)) delivered += this.#sendOne(cpu, type, payload);
    }
    return delivered;
  }

  /** Have `handler` take what arrives with this type, wherever this thread looks at its mailbox; `undefined` ends it. */
  on(type: IpiType, handler: IpiHandler | undefined): this {
    checkType(type);
    this.#handlers[type] = handler;
    this.queues.unkeep(this.hal.currentCpu());
    return this;
  }

  /**
   * Handle what the calling CPU was sent, at most `depth` of it: first flags (`Reschedule`, `Halt`), then the rest in order.
   * Where more is left, or a handler throws, the CPU is kicked again, so that none is forgotten. May be called again from a
   * handler, up to 32 deep. Does nothing between `disable` and `enable`.
   *
   * @param rest - takes what has no handler of its own. Without it, that waits for the next call with one.
   * @returns how much was handled.
   */
  receive(rest?: IpiHandler): number {
    return this.#receive(rest, 1);
  }

  /** {@link IpiMailbox.receive}, after at most so many looks. */
  #receive(rest: IpiHandler | undefined, looks: number): number {
    const cpu = this.hal.currentCpu();
    const { queues } = this;
    if (rest !== undefined) queues.unkeep(cpu);
    if (this.#disabled > 0 || this.#nesting >= MAX_NESTING) return 0;
    const single = queues.takeSingle(cpu, looks);
    return single === 0 ? 0 : this.#receiveAll(cpu, single, rest);
  }

  /** {@link IpiMailbox.receive}, where there is something: `single`, or what was taken if that is -1. */
  #receiveAll(cpu: CpuId, single: number, rest: IpiHandler | undefined): number {
    const { queues } = this;
    let handled = 0;
    let all = false;
    this.#nesting++;
    try {
      if (single > 0) handled += this.#handle(cpu, single, rest);
      while (!all && handled < this.depth) {
        const flag = queues.nextFlag(cpu);
        const slot = flag === 0 ? queues.nextSlot(cpu) : 0;
        if (slot !== 0) handled += this.#handle(cpu, slot, rest);
        else if (flag === 0) all = !queues.take(cpu);
        else {
          handled++;
          this.#dispatch(cpu, flag === HALT_FLAG ? IpiType.Halt : IpiType.Reschedule, 0, -1, rest);
        }
      }
    } finally {
      this.#nesting--;
      if (!all && (queues.hasTaken(cpu) || queues.hasMail(cpu))) this.hal.kick(cpu);
    }
    return handled;
  }

  /**
   * Sleep until something arrives, at most `timeoutNs`, and handle it; returns how much, 0 if nothing came. Throws
   * `SMP_CANNOT_BLOCK` on a thread that must not block and on machines that have no such sleep.
   */
  wait(timeoutNs: number = Infinity, rest?: IpiHandler): number {
    const hal = this.hal;
    if (hal.kicks === undefined || hal.waitForKick === undefined) {
      throw new SmpError("SMP_CANNOT_BLOCK", "this machine has no sleep that a kick ends");
    }
    for (let turn = 0; turn < this.#spins.turns; turn += LOOKS) {
      const handled = this.#receive(rest, LOOKS);
      if (handled > 0) {
        this.#spins.found(turn);
        return handled;
      }
      this.#spins.relax(turn);
    }
    const seen = hal.kicks();
    const handled = this.receive(rest);
    if (handled > 0) return handled;
    const beganNs = hal.now();
    hal.waitForKick(seen, timeoutNs);
    this.#spins.slept(hal.now() - beganNs);
    return this.receive(rest);
  }

  /**
   * From now on handle what arrives whenever the event loop is idle, until the result is disposed of. Keeps the event loop
   * alive. An error of a handler is thrown from the event loop. Throws `SMP_CANNOT_BLOCK` where the engine has no
   * `Atomics.waitAsync`.
   */
  listen(): Disposable {
    return this.pump.listen();
  }

  /**
   * Also handle what arrives while this thread spins or blocks for a lock, as a processor with interrupts enabled does, until
   * the result is disposed of. Then a handler must not take a lock that the code it interrupts may hold, unless that code
   * calls `disable` first. Without effect on machines that cannot.
   */
  serveWhileWaiting(): Disposable {
    this.hal.serveWhileWaiting?.(() => void this.receive());
    return { [Symbol.dispose]: () => this.hal.serveWhileWaiting?.(undefined) };
  }

  /** Handle nothing on this thread until `enable` has been called as often. */
  disable(): void {
    this.#disabled++;
  }

  /** Ends {@link IpiMailbox.disable}. Throws `SMP_CPU_STATE` where that was not called. */
  enable(): void {
    if (this.#disabled === 0) throw new SmpError("SMP_CPU_STATE", "interrupts are enabled more often than disabled");
    this.#disabled--;
  }

  /** Whether a handler, or a function that was called from another CPU, runs on this thread. */
  inInterrupt(): boolean {
    return this.#nesting > 0;
  }

  /** Whether this thread handles what arrives: not between `disable` and `enable`. */
  interruptsEnabled(): boolean {
    return this.#disabled === 0;
  }

  /** Whether `cpu` (default: the calling one) has been sent something that it has not handled. */
  pending(cpu: CpuId = this.hal.currentCpu()): boolean {
    return this.queues.hasMail(cpu) || this.queues.hasTaken(cpu) || this.queues.hasKept(cpu);
  }

  /** Whether the calling CPU was told to halt since it last came online. */
  get halted(): boolean {
    return this.queues.isHalted(this.hal.currentCpu());
  }

  /** The calling CPU (or one that is about to be started) comes online: it can be sent to. */
  online(cpu: CpuId = this.hal.currentCpu()): void {
    this.#checkCpu(cpu);
    this.queues.open(cpu);
  }

  /** The calling CPU goes offline: it can be sent nothing more, and handles what it has been sent. */
  offline(rest?: IpiHandler): void {
    const cpu = this.hal.currentCpu();
    this.queues.close(cpu);
    while (this.receive(rest) > 0);
  }

  /** Whether `cpu` can be sent to. */
  isOnline(cpu: CpuId): boolean {
    this.#checkCpu(cpu);
    return this.queues.isOnline(cpu);
  }

  /**
   * The thread of `cpu` has ended, or never came. The CPU is offline from now on; calls that wait for it end with
   * `SMP_CPU_DIED`, messages that it has not handled are gone and counted as {@link IpiMailbox.refused}, slots in which it
   * waited for answers are free again, and every CPU with mail is kicked, because the dead one may not have come to that. Call
   * it only once the thread has ended: a thread that goes on writes into slots that others use. Cost: a look at every slot.
   */
  reportDead(cpu: CpuId): void {
    this.#checkCpu(cpu);
    this.queues.bury(cpu);
  }

  /** How much of this type `cpu` has sent; what became one with an earlier one is not counted. */
  sent(cpu: CpuId, type: IpiType): number {
    this.#checkCpu(cpu);
    checkType(type);
    return this.#counters.read(cpu, type);
  }

  /** How much of this type `cpu` has handled. */
  received(cpu: CpuId, type: IpiType): number {
    this.#checkCpu(cpu);
    checkType(type);
    return this.#counters.read(cpu, IPI_TYPES + type);
  }

  /** What did not reach `cpu`: the sender had no slot left, or `cpu` was offline, or died. Modulo 2^32. */
  refused(cpu: CpuId): number {
    this.#checkCpu(cpu);
    return this.queues.refused(cpu);
  }

  /** @internal Have calls of this type run by `runner` on this thread. */
  runCalls(type: IpiType, runner: CallRunner): void {
    if (this.#runners[type] !== undefined) {
      throw new SmpError("SMP_CPU_STATE", "this mailbox carries calls of that kind for another object of this thread");
    }
    this.#runners[type] = runner;
    this.queues.unkeep(this.hal.currentCpu());
  }

  /** @internal Send linked slots; false: the target is offline. */
  deliver(from: CpuId, target: CpuId, type: IpiType, newest: number, oldest: number, count: number): boolean {
    return this.#sent(this.queues.push(target, newest, oldest), from, target, type, count) > 0;
  }

  /** @internal Make an express call; 0: it has to be sent as others are. See the head of `express.ts`. */
  express(from: CpuId, target: CpuId, type: IpiType, code: number, a: number, b: number, c: number): number {
    const { queues } = this;
    const slot = queues.sendExpress(from, target, type, code, a, b, c);
    if (slot === 0) return 0;
    if (queues.expressArrives(slot, target)) this.#sent(Sent.First, from, target, type, 1);
    else if (!this.deliver(from, target, type, slot, slot, 1)) queues.notSent(slot);
    return slot;
  }

  #sendMask(mask: CpuMask, type: IpiType, payload: number): number {
    let delivered = 0;
    for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu)) {
      this.#checkCpu(cpu);
      delivered += this.#sendOne(cpu, type, payload);
    }
    return delivered;
  }

  #sendOne(target: CpuId, type: IpiType, payload: number): number {
    const from = this.hal.currentCpu();
    const { queues } = this;
    if (type === IpiType.Reschedule) return this.#sent(queues.raise(target, RESCHEDULE_FLAG), from, target, type, 1);
    if (type === IpiType.Halt) return this.#sent(queues.raise(target, HALT_FLAG), from, target, type, 1);
    const slot = queues.fill(from, Status.Message, target, type, payload);
    if (slot === 0) return this.#sent(Sent.Offline, from, target, type, 1);
    const sent = queues.push(target, slot, slot);
    if (sent === Sent.Offline) queues.free(slot);
    return this.#sent(sent, from, target, type, 1);
  }

  #sent(sent: Sent, from: CpuId, target: CpuId, type: IpiType, count: number): number {
    if (sent === Sent.Offline) {
      this.queues.countRefused(target);
      this.#observer?.onRefused?.(from, target, type);
      return 0;
    }
    if (sent === Sent.Coalesced) {
      this.#observer?.onCoalesced?.(from, target, type);
      return 1;
    }
    this.#counters.addOn(from, type, count);
    this.#observer?.onSend?.(from, target, type);
    if (sent === Sent.First) this.hal.kick(target);
    return count;
  }

  /** Handle what came in a slot, or keep it where nobody here can yet; returns how much was handled. */
  #handle(cpu: CpuId, slot: number, rest: IpiHandler | undefined): number {
    const { queues } = this;
    const type = queues.type(slot) as IpiType;
    const isMessage = queues.kind(slot) === Status.Message;
    const runner = isMessage ? undefined : this.#runners[type];
    if (runner === undefined && (!isMessage || (rest ?? this.#handlers[type]) === undefined)) {
      queues.keep(cpu, slot);
      return 0;
    }
    const from = queues.sender(slot);
    if (runner !== undefined) {
      this.#counters.addOn(cpu, IPI_TYPES + type, 1);
      this.#observer?.onReceive?.(cpu, from, type);
      runner(slot);
      return 1;
    }
    const payload = queues.code(slot);
    // The slot is free before the handler runs: that may send and receive.
    queues.free(slot);
    this.#dispatch(cpu, type, payload, from, rest);
    return 1;
  }

  #dispatch(cpu: CpuId, type: IpiType, payload: number, from: CpuId, rest: IpiHandler | undefined): void {
    this.#counters.addOn(cpu, IPI_TYPES + type, 1);
    this.#observer?.onReceive?.(cpu, from, type);
    (this.#handlers[type] ?? rest)?.(type, payload, from);
  }

  #checkCpu(cpu: CpuId): void {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.handle.possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${this.handle.possibleCpus} possible CPUs`);
    }
  }
}

function checkType(type: number): void {
  if (!Number.isInteger(type) || type < 0 || type >= IPI_TYPES) {
    throw new SmpError("SMP_INVALID_ARGUMENT", `${type} is no type of inter-processor interrupt`);
  }
}
