import { SmpError } from "../errors.ts";
import type { CpuId } from "../hal.ts";
import { alignUp, PADDING_BYTES } from "../layout.ts";
import { IpiExpress } from "./express.ts";
import * as lines from "./lines.ts";
import * as slots from "./slots.ts";
import type { Status as SlotStatus } from "./slots.ts";

// An import is loaded anew wherever it is used, a constant of this module is not.
const { CPU_WORDS, CURSOR, EXPRESS, FAVOURITE, FLAGS, HALTED, HEAD, INBOX, KEPT, KEPT_LAST, LIFE, REFUSED } = lines;
const { RUNNING, SPARE } = lines;
const { BEHIND, LINK, SERIAL_SHIFT, STATE, Status, STATUS_MASK, TARGET_MASK, TARGET_SHIFT, TYPE } = slots;

/*
 * What every CPU has been sent, and the slots it travels in.
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
const SLOT_MASK = 0xffffff;
const FLAG_MASK = 0x3000000;
const CLOSED = 0x40000000;
export const RESCHEDULE_FLAG = 0x1000000;
export const HALT_FLAG = 0x2000000;

/** What {@link IpiQueues.push} and {@link IpiQueues.raise} found. */
export const Sent = { Offline: -1, Behind: 0, First: 1, Coalesced: 2 } as const;
export type Sent = (typeof Sent)[keyof typeof Sent];

const MAX_DEPTH = 65536;
/** What the constructor takes since ES2024; engines before ignore it. */
const GrowableBuffer = SharedArrayBuffer as new (
  bytes: number,
  options: { readonly maxByteLength: number },
) => SharedArrayBuffer;

/** What CPUs have been sent. Methods named after the calling CPU act for it alone. */
export class IpiQueues extends IpiExpress {
  /** Memory for `possibleCpus` CPUs that send in `depth` slots each. Throws `SMP_INVALID_ARGUMENT`. */
  static memory(possibleCpus: number, depth: number): SharedArrayBuffer {
    const power = Number.isInteger(depth) && depth >= 2 && depth <= MAX_DEPTH && (depth & (depth - 1)) === 0;
    if (!power || possibleCpus * depth > SLOT_MASK) {
      const message = `${depth} slots for each of ${possibleCpus} CPUs are not possible: 2 to 65536, a power of 2, 2^24 in all`;
      throw new SmpError("SMP_INVALID_ARGUMENT", message);
    }
    const bytes = alignUp((CPU_WORDS + depth * slots.SLOT_WORDS) * 4 * possibleCpus, PADDING_BYTES);
    // V8 puts memory that could grow at the beginning of a page, so that a slot is one line of the cache; other memory anywhere.
    return new GrowableBuffer(bytes, { maxByteLength: bytes });
  }

  /** Every CPU is offline. While nobody uses the memory. */
  closeAll(): void {
    for (let cpu = 0; cpu < this.possibleCpus; cpu++) Atomics.store(this.words, cpu * CPU_WORDS + HEAD, CLOSED);
  }

  /** Fill a free slot of the calling CPU; 0: all are in use. The spare one is for a call, as long as there are others. */
  fill(cpu: CpuId, status: SlotStatus, target: CpuId, type: number, code: number): number {
    const line = cpu * CPU_WORDS;
    const { words } = this;
    const spare = words[line + SPARE];
    if (spare === 0 || status !== Status.Call) {
      const slot = this.fillFrom(cpu, words[line + CURSOR], words[line + LIFE], status, target, type, code);
      if (slot !== 0) words[line + CURSOR] = slot;
      if (slot !== 0 || spare === 0) return slot;
    }
    words[line + SPARE] = 0;
    this.fillSlot(spare, words[line + LIFE], words[this.at(spare) + STATE], status, target, type, code);
    return spare;
  }

  /** The calling CPU gives back the slot of a call that is over: {@link IpiSlots.free}, or for its next one. */
  recycle(slot: number): void {
    const { words } = this;
    const line = this.sender(slot) * CPU_WORDS;
    if (words[line + EXPRESS] === slot) words[line + EXPRESS] = 0;
    if (words[line + SPARE] === 0) words[line + SPARE] = slot;
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
    const line = this.sender(oldest) * CPU_WORDS;
    if (words[line + EXPRESS] !== 0) this.markBehind(line, oldest, target);
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
    const line = cpu * CPU_WORDS;
    const favourite = Atomics.load(this.words, line + FAVOURITE);
    if (favourite !== 0 && this.expressState(line, cpu, favourite) !== 0) return true;
    return (Atomics.load(this.words, line + HEAD) & ~CLOSED) !== 0;
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
    const favourite = this.words[line + FAVOURITE];
    const express = favourite === 0 ? 0 : this.expressState(line, cpu, favourite);
    // A CPU that is closed from outside, though it lives, stays closed.
    const mail = (Atomics.load(this.words, line + HEAD) & ~CLOSED) !== 0;
    if (mail) this.#store(line, Atomics.and(this.words, line + HEAD, CLOSED));
    if (express === 0) return mail;
    if (this.claimExpress(favourite, cpu)) this.append(line, favourite);
    return true;
  }

  /**
   * As {@link IpiQueues.take}, but a slot that is alone, with no flag, is given at once and counts as handled: that saves most of the
   * bookkeeping where messages come one by one. 0: there is nothing to handle, in so many looks; -1: it was taken.
   */
  takeSingle(cpu: CpuId, looks = 1): number {
    const { words } = this;
    const line = cpu * CPU_WORDS;
    if (words[line + INBOX] !== 0 || words[line + FLAGS] !== 0) return -1;
    const favourite = words[line + FAVOURITE];
    for (let left = looks; ; left--) {
      const express = favourite === 0 ? 0 : this.expressState(line, cpu, favourite);
      // Plainly behind an `Atomics.load`: whoever sent before that was stored, or before the kick that was read, is seen.
      const head = favourite === 0 ? Atomics.load(words, line + HEAD) : words[line + HEAD];
      if ((head & ~CLOSED) !== 0) return express === 0 ? this.#takeAlone(line, cpu) : this.#takeAll(cpu);
      if (express !== 0) return this.beginExpress(line, favourite, express);
      if (left <= 1) return 0;
    }
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
    const { words } = this;
    const line = cpu * CPU_WORDS;
    const slot = words[line + INBOX];
    if (slot === 0) return 0;
    const at = this.at(slot);
    if ((words[at + TYPE] & BEHIND) !== 0) {
      const express = this.expressBefore(line, cpu, slot);
      if (express !== 0) return express;
    }
    words[line + INBOX] = words[at + LINK];
    return slot;
  }

  /** Keep a slot that nobody handles yet. */
  keep(cpu: CpuId, slot: number): void {
    const line = cpu * CPU_WORDS;
    if (this.words[line + RUNNING] === slot) {
      this.words[line + RUNNING] = 0;
      this.claimExpress(slot, cpu);
    }
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
    this.words[line + SPARE] = this.words[line + EXPRESS] = 0;
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
    if (last !== 0) {
      this.words[this.at(last) + LINK] = this.words[line + INBOX];
      this.words[line + INBOX] = before;
    }
    this.setFavourite(line, cpu, 0);
    return true;
  }

  /** The thread of `cpu` has ended: end what waits for it, free what it holds, wake whom it may not have kicked any more. */
  bury(cpu: CpuId): void {
    const words = this.words;
    const line = cpu * CPU_WORDS;
    Atomics.store(words, line + HEAD, CLOSED);
    Atomics.store(words, line + FAVOURITE, 0);
    words[line + INBOX] = words[line + KEPT] = words[line + FLAGS] = words[line + SPARE] = words[line + RUNNING] = 0;
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

  /** The slot in the head, if it is alone there, or all that is there. */
  #takeAlone(line: number, cpu: CpuId): number {
    const { words } = this;
    const head = Atomics.load(words, line + HEAD);
    if (head > SLOT_MASK || head === 0) return this.#takeAll(cpu);
    const at = this.at(head);
    // What it is behind may have come since the favourite was looked at.
    if (words[at + LINK] !== 0 || (words[at + TYPE] & BEHIND) !== 0) return this.#takeAll(cpu);
    if (Atomics.compareExchange(words, line + HEAD, head, 0) !== head) return this.#takeAll(cpu);
    if (this.kind(head) > Status.Post) this.favour(line, cpu, head);
    return head;
  }

  #takeAll(cpu: CpuId): number {
    return this.take(cpu) ? -1 : 0;
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
