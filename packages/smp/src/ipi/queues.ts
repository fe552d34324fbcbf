import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { alignUp, PADDING_BYTES } from "../layout.ts";
import {
  IpiSlots,
  LINK,
  SERIAL_SHIFT,
  SLOT_WORDS,
  STATE,
  Status,
  STATUS_MASK,
  TARGET_MASK,
  TARGET_SHIFT,
} from "./slots.ts";

/*
 * What every CPU has been sent, and the slots it travels in.
 *
 *   padded line 0 of a CPU   head      the newest slot sent to the CPU, and its flags          any CPU, Atomics
 *                            refused   what could not be sent to it                            any CPU, Atomics.add
 *   padded line 1 of a CPU   cursor    where to look for a free slot                           its owner, plain, all of line 1
 *                            inbox     oldest slot taken and not handled
 *                            kept, keptLast   slots taken that nobody here handles, oldest and newest
 *                            flags     flags taken and not handled
 *                            life      how often the CPU has come online
 *                            halted    1: it was told to halt
 *                            spare     a slot whose call is over and done with, to be used next; others see a call that is over
 *
 *   head:   closed | halt | reschedule | slot (24 bits, 0: none)  ──▶ slot ──link──▶ slot ──link──▶ 0     newest first
 *
 * Sending is one compare-exchange of `head`; taking is one exchange, which gets all of the list at once, and turning it
 * round (Linux: lib/llist.c). Nothing is half sent: whoever is killed before the compare-exchange has sent nothing, after it
 * everything, and at most one of its own slots is lost. A closed head takes nothing more, so an offline CPU's list is
 * taken for the last time by who closes it.
 *
 * Kick rule: who makes a head not 0 kicks its CPU; a CPU reads its kicks, looks at its head, and sleeps only until a newer
 * kick. So nothing waits without a kick, and a bulk of sends costs one.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const CPU_WORDS = 2 * LINE_WORDS;
const HEAD = 0;
const REFUSED = 1;
const CURSOR = LINE_WORDS;
const INBOX = LINE_WORDS + 1;
const KEPT = LINE_WORDS + 2;
const KEPT_LAST = LINE_WORDS + 3;
const FLAGS = LINE_WORDS + 4;
const LIFE = LINE_WORDS + 5;
const HALTED = LINE_WORDS + 6;
const SPARE = LINE_WORDS + 7;

const SLOT_MASK = 0xffffff;
const FLAG_MASK = 0x3000000;
const CLOSED = 0x40000000;
export const RESCHEDULE_FLAG = 0x1000000;
export const HALT_FLAG = 0x2000000;

/** What {@link IpiQueues.push} and {@link IpiQueues.raise} found. */
export const Sent = { Offline: -1, Behind: 0, First: 1, Coalesced: 2 } as const;
export type Sent = (typeof Sent)[keyof typeof Sent];

const MAX_DEPTH = 65536;

/** What CPUs have been sent. Methods named after the calling CPU act for it alone. */
export class IpiQueues extends IpiSlots {
  constructor(memory: SharedArrayBuffer, hal: Hal, possibleCpus: number, depth: number) {
    super(memory, hal, possibleCpus, depth, possibleCpus * CPU_WORDS);
  }

  /** Memory for `possibleCpus` CPUs that send in `depth` slots each. Throws `SMP_INVALID_ARGUMENT`. */
  static memory(possibleCpus: number, depth: number): SharedArrayBuffer {
    const power = Number.isInteger(depth) && depth >= 2 && depth <= MAX_DEPTH && (depth & (depth - 1)) === 0;
    if (!power || possibleCpus * depth > SLOT_MASK) {
      const message = `${depth} slots for each of ${possibleCpus} CPUs are not possible: 2 to 65536, a power of 2, 2^24 in all`;
      throw new SmpError("SMP_INVALID_ARGUMENT", message);
    }
    return new SharedArrayBuffer(alignUp((CPU_WORDS + depth * SLOT_WORDS) * 4 * possibleCpus, PADDING_BYTES));
  }

  /** Every CPU is offline. While nobody uses the memory. */
  closeAll(): void {
    for (let cpu = 0; cpu < this.possibleCpus; cpu++) Atomics.store(this.words, cpu * CPU_WORDS + HEAD, CLOSED);
  }

  /** Fill a free slot of the calling CPU; 0: all are in use. */
  fill(cpu: CpuId, status: Status, target: CpuId, type: number, code: number): number {
    const line = cpu * CPU_WORDS;
    const { words } = this;
    const spare = words[line + SPARE];
    if (spare !== 0) {
      words[line + SPARE] = 0;
      this.fillSlot(spare, words[line + LIFE], words[this.at(spare) + STATE], status, target, type, code);
      return spare;
    }
    const slot = this.fillFrom(cpu, words[line + CURSOR], words[line + LIFE], status, target, type, code);
    if (slot !== 0) words[line + CURSOR] = slot;
    return slot;
  }

  /** The calling CPU gives back the slot of a call that is over: {@link IpiSlots.free}, or for its next one. */
  recycle(slot: number): void {
    const at = this.sender(slot) * CPU_WORDS + SPARE;
    if (this.words[at] === 0) this.words[at] = slot;
    else this.free(slot);
  }

  /** Whether every slot of the calling CPU holds a call that is over, so that none will become free by itself. */
  allOver(cpu: CpuId): boolean {
    for (let index = 0; index < this.depth; index++) if (!this.isOver(cpu * this.depth + index + 1)) return false;
    return true;
  }

  /** The newer of two slots of one bulk comes before the older in the list. */
  link(newer: number, older: number): void {
    this.words[this.at(newer) + LINK] = older;
  }

  /** Send the slots from `newest`, linked, to `oldest`, which may be the same. */
  push(target: CpuId, newest: number, oldest: number): Sent {
    const words = this.words;
    const at = target * CPU_WORDS + HEAD;
    // Most mailboxes are empty: the first guess. An unsent slot's link is 0.
    let head = Atomics.compareExchange(words, at, 0, newest);
    if (head === 0) return Sent.First;
    const link = this.at(oldest) + LINK;
    for (;;) {
      if ((head & CLOSED) !== 0) return Sent.Offline;
      words[link] = head & SLOT_MASK;
      const found = Atomics.compareExchange(words, at, head, (head & FLAG_MASK) | newest);
      if (found === head) return head === 0 ? Sent.First : Sent.Behind;
      head = found;
    }
  }

  /** Set a flag of `target`. */
  raise(target: CpuId, flag: number): Sent {
    const at = target * CPU_WORDS + HEAD;
    const seen = Atomics.load(this.words, at);
    if ((seen & CLOSED) !== 0) return Sent.Offline;
    if ((seen & flag) !== 0) return Sent.Coalesced;
    const before = Atomics.or(this.words, at, flag);
    if ((before & CLOSED) !== 0) return Sent.Offline;
    if ((before & flag) !== 0) return Sent.Coalesced;
    return before === 0 ? Sent.First : Sent.Behind;
  }

  /** Whether `cpu` has something that it has not taken. */
  hasMail(cpu: CpuId): boolean {
    return (Atomics.load(this.words, cpu * CPU_WORDS + HEAD) & ~CLOSED) !== 0;
  }

  /** Whether the calling CPU has something that it has taken and not handled. */
  hasTaken(cpu: CpuId): boolean {
    const line = cpu * CPU_WORDS;
    return this.words[line + INBOX] !== 0 || this.words[line + FLAGS] !== 0;
  }

  hasKept(cpu: CpuId): boolean {
    return this.words[cpu * CPU_WORDS + KEPT] !== 0;
  }

  /** The calling CPU takes all it was sent, if it has handled all it took before; false: there is nothing to handle. */
  take(cpu: CpuId): boolean {
    if (this.hasTaken(cpu)) return true;
    const line = cpu * CPU_WORDS;
    if ((Atomics.load(this.words, line + HEAD) & ~CLOSED) === 0) return false;
    // A CPU that is closed from outside, though it lives, stays closed.
    this.#store(line, Atomics.and(this.words, line + HEAD, CLOSED));
    return true;
  }

  /**
   * As {@link IpiQueues.take}, but a slot that is alone, with no flag, is given at once and counts as handled: that saves most of the
   * bookkeeping where messages come one by one. 0: there is nothing to handle; -1: it was taken.
   */
  takeSingle(cpu: CpuId): number {
    const { words } = this;
    const line = cpu * CPU_WORDS;
    if (this.hasTaken(cpu)) return -1;
    const head = Atomics.load(words, line + HEAD);
    if ((head & ~CLOSED) === 0) return 0;
    if (head <= SLOT_MASK && words[this.at(head) + LINK] === 0) {
      if (Atomics.compareExchange(words, line + HEAD, head, 0) === head) return head;
    }
    return this.take(cpu) ? -1 : 0;
  }

  /** A flag that was taken; 0: none. It counts as handled. */
  nextFlag(cpu: CpuId): number {
    const line = cpu * CPU_WORDS;
    const flags = this.words[line + FLAGS];
    const flag = flags & -flags;
    this.words[line + FLAGS] = flags & ~flag;
    if (flag === HALT_FLAG) this.words[line + HALTED] = 1;
    return flag;
  }

  /** The oldest slot that was taken, or 0. It counts as handled. */
  nextSlot(cpu: CpuId): number {
    const at = cpu * CPU_WORDS + INBOX;
    const slot = this.words[at];
    if (slot !== 0) this.words[at] = this.words[this.at(slot) + LINK];
    return slot;
  }

  /** Keep a slot that nobody handles yet. */
  keep(cpu: CpuId, slot: number): void {
    const line = cpu * CPU_WORDS;
    const last = this.words[line + KEPT_LAST];
    this.words[this.at(slot) + LINK] = 0;
    if (this.words[line + KEPT] === 0) this.words[line + KEPT] = slot;
    else this.words[this.at(last) + LINK] = slot;
    this.words[line + KEPT_LAST] = slot;
  }

  /** What was kept comes before all else in the inbox again. */
  unkeep(cpu: CpuId): void {
    const line = cpu * CPU_WORDS;
    if (this.words[line + KEPT] === 0) return;
    this.words[this.at(this.words[line + KEPT_LAST]) + LINK] = this.words[line + INBOX];
    this.words[line + INBOX] = this.words[line + KEPT];
    this.words[line + KEPT] = 0;
  }

  isHalted(cpu: CpuId): boolean {
    return this.words[cpu * CPU_WORDS + HALTED] !== 0;
  }

  countRefused(cpu: CpuId): void {
    Atomics.add(this.words, cpu * CPU_WORDS + REFUSED, 1);
  }

  refused(cpu: CpuId): number {
    return Atomics.load(this.words, cpu * CPU_WORDS + REFUSED) >>> 0;
  }

  // CPUs that come and go —————————————————————————————————————————————————————————————————————————————————————————————————

  isOnline(cpu: CpuId): boolean {
    return (Atomics.load(this.words, cpu * CPU_WORDS + HEAD) & CLOSED) === 0;
  }

  /** Take mail again. Nothing happens where the CPU is online. */
  open(cpu: CpuId): void {
    const line = cpu * CPU_WORDS;
    if (this.isOnline(cpu)) return;
    this.words[line + LIFE]++;
    this.words[line + HALTED] = 0;
    // Calls of earlier lives that are over count as free.
    this.words[line + SPARE] = 0;
    Atomics.store(this.words, line + HEAD, 0);
  }

  /** The calling CPU takes no more; it handles what it has. False: it was closed already. */
  close(cpu: CpuId): boolean {
    const line = cpu * CPU_WORDS;
    const head = Atomics.exchange(this.words, line + HEAD, CLOSED);
    if ((head & CLOSED) !== 0) return false;
    // What was taken before comes first.
    const last = this.#lastOf(this.words[line + INBOX]);
    const before = this.words[line + INBOX];
    const flags = this.words[line + FLAGS];
    this.#store(line, head);
    this.words[line + FLAGS] |= flags;
    if (last === 0) return true;
    this.words[this.at(last) + LINK] = this.words[line + INBOX];
    this.words[line + INBOX] = before;
    return true;
  }

  /** The thread of `cpu` has ended: end what waits for it, free what it holds, wake whom it may not have kicked any more. */
  bury(cpu: CpuId): void {
    const words = this.words;
    const line = cpu * CPU_WORDS;
    Atomics.store(words, line + HEAD, CLOSED);
    words[line + INBOX] = words[line + KEPT] = words[line + FLAGS] = words[line + SPARE] = 0;
    for (let slot = 1; slot <= this.possibleCpus * this.depth; slot++) {
      const at = this.at(slot) + STATE;
      const state = Atomics.load(words, at);
      const status = state & STATUS_MASK;
      if (status === Status.Free) continue;
      if (this.sender(slot) === cpu && status >= Status.Done) this.#freeIf(at, state);
      else if (((state >>> TARGET_SHIFT) & TARGET_MASK) !== cpu) continue;
      else if (status > Status.Post) this.endIf(slot, state, Status.Died);
      else if (this.#freeIf(at, state)) this.countRefused(cpu);
    }
    for (let other = 0; other < this.possibleCpus; other++) if (this.hasMail(other)) this.hal.kick(other);
  }

  /** A list that was taken becomes the inbox, oldest first, and flags are taken over. */
  #store(line: number, head: number): void {
    const words = this.words;
    let oldest = 0;
    for (let slot = head & SLOT_MASK; slot !== 0;) {
      const at = this.at(slot) + LINK;
      const older = words[at];
      words[at] = oldest;
      oldest = slot;
      slot = older;
    }
    words[line + INBOX] = oldest;
    words[line + FLAGS] = head & FLAG_MASK;
  }

  #lastOf(slot: number): number {
    let last = slot;
    for (let next = slot; next !== 0; next = this.words[this.at(next) + LINK]) last = next;
    return last;
  }

  #freeIf(at: number, state: number): boolean {
    return Atomics.compareExchange(this.words, at, state, state & (-1 << SERIAL_SHIFT)) === state;
  }
}
