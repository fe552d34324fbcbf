import type { CpuMask } from "./cpu-mask.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { alignUp, PADDING_BYTES } from "./layout.ts";
import { PerCpuCounters, type PerCpuCountersHandle } from "./per-cpu-counters.ts";
import { soloHal } from "./solo-hal.ts";

/*
 * One mailbox per CPU, a bounded ring with many producers and one consumer (after Vyukov's bounded MPMC queue, 2011):
 *
 *   padded line 0   tail      next position to claim            any CPU, compare-exchange
 *                   pending   1: the owner has been kicked       any CPU, Atomics
 *                   dropped   messages refused: ring full        any CPU, Atomics.add
 *   padded line 1   head      next position to take              owner only, plain
 *   slots           sequence | from + type * 2^16 | payload | -   `depth` times
 *
 * A slot's sequence says whose turn it is, at position p of the ring:
 *
 *   p           free: the producer that claims p may fill it
 *   p + 1       filled: the owner may take it (the producer's Atomics.store publishes the two plain words)
 *   p + depth   taken: free for the next round
 *
 * Kick rule: a producer publishes, then sets `pending`; the owner clears `pending`, then drains. Whichever comes second
 * sees the other, so no message waits without a kick.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const TAIL = 0;
const PENDING = 1;
const DROPPED = 2;
const HEAD = LINE_WORDS;
const SLOTS = 2 * LINE_WORDS;
const SLOT_WORDS = 4;
const FROM_MASK = 0xffff;
const TYPE_SHIFT = 16;
const DEFAULT_DEPTH = 256;
const MAX_DEPTH = 65536;

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
const TYPES = 5;

/**
 * What an inter-processor interrupt asks for.
 *
 * @public
 */
export const IpiType = { Generic: 0, Reschedule: 1, TlbFlush: 2, FunctionCall: 3, Halt: 4 } as const;

/**
 * A value of {@link (IpiType:variable)}.
 *
 * @public
 */
export type IpiType = (typeof IpiType)[keyof typeof IpiType];

/**
 * What happens to inter-processor interrupts.
 *
 * @public
 */
export interface IpiObserver {
  /** After a message was put into the mailbox of `to`, before `to` is kicked. */
  onSend?(from: CpuId, to: CpuId, type: IpiType): void;
  /** After `cpu` took a message, before its handler runs. */
  onReceive?(cpu: CpuId, from: CpuId, type: IpiType): void;
  /** A message was refused because the mailbox of `to` is full. */
  onFull?(from: CpuId, to: CpuId, type: IpiType): void;
}

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

/**
 * Inter-processor interrupts: a bounded mailbox per CPU that any CPU sends to and its owner drains. A message is a type, a
 * signed 32-bit payload and the sender. The target is kicked (`hal.kick`) once for each change from empty to not empty.
 *
 * Thread-safety: every method from any CPU; `receive` drains the calling CPU's mailbox and may be called again from a
 * handler. Messages of one sender to one target arrive in order. Cost: one compare-exchange and one store to send, one
 * load and one store to receive; nothing is allocated. A thread that is killed inside `send` may block the target's
 * mailbox: kill threads only where they do not send.
 *
 * @public
 */
export class IpiMailbox {
  readonly handle: IpiMailboxHandle;
  /** Messages a mailbox holds. */
  readonly depth: number;
  readonly #hal: Hal;
  readonly #observer: IpiObserver | undefined;
  readonly #words: Int32Array;
  readonly #counters: PerCpuCounters;
  readonly #possibleCpus: number;
  readonly #stride: number;

  private constructor(handle: IpiMailboxHandle, hal: Hal, observer: IpiObserver | undefined) {
    this.handle = handle;
    this.depth = handle.depth;
    this.#hal = hal;
    this.#observer = observer;
    this.#words = new Int32Array(handle.memory);
    this.#counters = PerCpuCounters.attach(handle.counters, { hal });
    this.#possibleCpus = handle.possibleCpus;
    this.#stride = this.#words.length / handle.possibleCpus;
  }

  /** @param options - `depth`: messages a mailbox holds, a power of two from 2 to 65536, default 256. */
  static create(
    options: { readonly hal?: Hal; readonly depth?: number; readonly observer?: IpiObserver | undefined } = {},
  ): IpiMailbox {
    const { hal = soloHal(), depth = DEFAULT_DEPTH, observer } = options;
    if (!Number.isInteger(depth) || depth < 2 || depth > MAX_DEPTH || (depth & (depth - 1)) !== 0) {
      throw new SmpError(
        "SMP_INVALID_ARGUMENT",
        `a mailbox of ${depth} messages is not possible: 2 to 65536, power of 2`,
      );
    }
    const strideBytes = alignUp((SLOTS + depth * SLOT_WORDS) * 4, PADDING_BYTES);
    const memory = new SharedArrayBuffer(hal.possibleCpus * strideBytes);
    const words = new Int32Array(memory);
    for (let box = 0; box < words.length; box += strideBytes / 4) {
      for (let slot = 0; slot < depth; slot++) words[box + SLOTS + slot * SLOT_WORDS] = slot;
    }
    const counters = PerCpuCounters.create({ names: COUNTER_NAMES, hal }).handle;
    return new IpiMailbox({ possibleCpus: hal.possibleCpus, depth, memory, counters }, hal, observer);
  }

  static attach(
    handle: IpiMailboxHandle,
    options: { readonly hal: Hal; readonly observer?: IpiObserver | undefined },
  ): IpiMailbox {
    return new IpiMailbox(handle, options.hal, options.observer);
  }

  /**
   * Send to one CPU, the calling one included. Throws `SMP_INVALID_CPU` or, for the type, `SMP_INVALID_ARGUMENT`.
   *
   * @param payload - a signed 32-bit integer; other numbers are converted as by `| 0`.
   * @returns false: the mailbox is full, nothing was sent; counted as dropped.
   */
  send(target: CpuId, type: IpiType, payload: number): boolean {
    this.#checkCpu(target);
    checkType(type);
    const from = this.#hal.currentCpu();
    const box = target * this.#stride;
    const position = this.#claim(box);
    if (position === undefined) {
      Atomics.add(this.#words, box + DROPPED, 1);
      this.#observer?.onFull?.(from, target, type);
      return false;
    }
    const slot = this.#slot(box, position);
    this.#words[slot + 1] = from | (type << TYPE_SHIFT);
    this.#words[slot + 2] = payload;
    Atomics.store(this.#words, slot, (position + 1) | 0);
    this.#counters.addOn(from, type, 1);
    this.#observer?.onSend?.(from, target, type);
    this.#raise(target, box);
    return true;
  }

  /** Send to every CPU of `mask`; returns to how many it was delivered. */
  sendMask(mask: CpuMask, type: IpiType, payload: number): number {
    let delivered = 0;
    for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu)) if (this.send(cpu, type, payload)) delivered++;
    return delivered;
  }

  /**
   * Send to all possible CPUs, online or not; where some are offline use `sendMask` with `CpuManager.onlineMask`.
   *
   * @param includeSelf - the calling CPU too. Default false.
   * @returns to how many it was delivered.
   */
  broadcast(type: IpiType, payload: number, includeSelf = false): number {
    const self = this.#hal.currentCpu();
    let delivered = 0;
    for (let cpu = 0; cpu < this.#possibleCpus; cpu++) {
      if ((cpu !== self || includeSelf) && this.send(cpu, type, payload)) delivered++;
    }
    return delivered;
  }

  /**
   * Hand the calling CPU's messages to `handler`, at most `depth` of them. Where more are left, or `handler` throws, the
   * CPU is kicked again, so that none is forgotten.
   *
   * @returns how many were taken.
   */
  receive(handler: (type: IpiType, payload: number, from: CpuId) => void): number {
    const cpu = this.#hal.currentCpu();
    const box = cpu * this.#stride;
    Atomics.store(this.#words, box + PENDING, 0);
    let taken = 0;
    try {
      while (taken < this.depth && this.#filled(box)) {
        taken++;
        this.#take(cpu, box, handler);
      }
    } finally {
      if (this.#filled(box)) this.#raise(cpu, box);
    }
    return taken;
  }

  /** Whether `cpu` (default: the calling one) has been sent something since it last began to receive. */
  pending(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return Atomics.load(this.#words, cpu * this.#stride + PENDING) !== 0;
  }

  /** Messages of this type that `cpu` has sent. */
  sent(cpu: CpuId, type: IpiType): number {
    this.#checkCpu(cpu);
    checkType(type);
    return this.#counters.read(cpu, type);
  }

  /** Messages of this type that `cpu` has received. */
  received(cpu: CpuId, type: IpiType): number {
    this.#checkCpu(cpu);
    checkType(type);
    return this.#counters.read(cpu, TYPES + type);
  }

  /** Messages for `cpu` that were refused because its mailbox was full; modulo 2^32. */
  dropped(cpu: CpuId): number {
    this.#checkCpu(cpu);
    return Atomics.load(this.#words, cpu * this.#stride + DROPPED) >>> 0;
  }

  /** The position that now belongs to this producer; undefined: full. */
  #claim(box: number): number | undefined {
    for (;;) {
      const position = Atomics.load(this.#words, box + TAIL);
      const lead = (Atomics.load(this.#words, this.#slot(box, position)) - position) | 0;
      // Behind: the slot still holds the message of the round before. Ahead: another producer was faster.
      if (lead < 0) return undefined;
      if (lead > 0) continue;
      if (Atomics.compareExchange(this.#words, box + TAIL, position, (position + 1) | 0) === position) return position;
    }
  }

  #filled(box: number): boolean {
    const head = this.#words[box + HEAD];
    return Atomics.load(this.#words, this.#slot(box, head)) === ((head + 1) | 0);
  }

  /** Takes the message at the head, which is filled. The slot is free before the handler runs: it may send and receive. */
  #take(cpu: CpuId, box: number, handler: (type: IpiType, payload: number, from: CpuId) => void): void {
    const head = this.#words[box + HEAD];
    const slot = this.#slot(box, head);
    const from = this.#words[slot + 1] & FROM_MASK;
    const type = (this.#words[slot + 1] >>> TYPE_SHIFT) as IpiType;
    const payload = this.#words[slot + 2];
    this.#words[box + HEAD] = head + 1;
    Atomics.store(this.#words, slot, (head + this.depth) | 0);
    this.#counters.addOn(cpu, TYPES + type, 1);
    this.#observer?.onReceive?.(cpu, from, type);
    handler(type, payload, from);
  }

  #raise(cpu: CpuId, box: number): void {
    if (Atomics.load(this.#words, box + PENDING) !== 0) return;
    if (Atomics.exchange(this.#words, box + PENDING, 1) === 0) this.#hal.kick(cpu);
  }

  #slot(box: number, position: number): number {
    return box + SLOTS + (position & (this.depth - 1)) * SLOT_WORDS;
  }

  #checkCpu(cpu: CpuId): void {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.#possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${this.#possibleCpus} possible CPUs`);
    }
  }
}

function checkType(type: number): void {
  if (!Number.isInteger(type) || type < 0 || type >= TYPES) {
    throw new SmpError("SMP_INVALID_ARGUMENT", `${type} is no type of inter-processor interrupt`);
  }
}
