import type { CpuId, Hal } from "../hal.ts";
import * as lines from "./lines.ts";
import * as slots from "./slots.ts";
import type { Status as SlotStatus } from "./slots.ts";

// An import is loaded anew wherever it is used, a constant of this module is not.
const { CPU_WORDS, EXPRESS, EXPRESS_TARGET, FAVOURITE, INBOX, LAST_CALL, LIFE, RUNNING, RUNNING_STATE, SPARE } = lines;
const { ARGUMENTS, BEHIND, CODE, KIND_SHIFT, LINK, RESULT, SENDER_LIFE, SENT, SIBLING, STATE, Status, TYPE } = slots;
const { SERIAL_SHIFT, STATUS_MASK, TARGET_MASK, TARGET_SHIFT } = slots;

/*
 * Express calls: there and back in one line of the cache, instead of by the head, the list and the slot.
 *
 * Besides its head a CPU looks at one slot, its favourite: the one in which its last caller called twice in a row. Where a
 * caller's next slot is just that, it gives it the status Express and touches no head: function and arguments travel in the line
 * of the word that the target looks at, and the result in that of the word that the caller looks at, which is the same.
 *
 *   caller: state = Express, then look at the favourite       target: favourite = another, then look at the old one's state
 *
 * Whichever comes second sees the other: the target claims the call, which then is one like any other in its inbox, or the caller
 * takes it back and sends it by the head. Both do that by compare-exchange, so one of them does. While the favourite stays, no
 * caller takes anything back, and the target runs what it finds without a claim.
 *
 * Kick rule: an express call kicks as a head does that was empty, so a CPU looks at both before it sleeps.
 *
 * Order: what was sent before an express call is seen by a look at the head after a look at the call, and handled first. What its
 * caller sends to the same CPU while the call is under way is marked as behind it. A CPU makes one such call at a time.
 */
/** The slots of all CPUs, and express calls in them. Methods named after the calling CPU act for it alone. */
export class IpiExpress extends slots.IpiSlots {
  constructor(memory: SharedArrayBuffer, hal: Hal, possibleCpus: number, depth: number) {
    super(memory, hal, possibleCpus, depth, possibleCpus * CPU_WORDS);
  }

  // The CPU that calls ————————————————————————————————————————————————————————————————————————————————————————————————

  /** Put a call where `target` looks; 0: it looks at no slot that the calling CPU could use now. */
  sendExpress(cpu: CpuId, target: CpuId, type: number, code: number, a: number, b: number, c: number): number {
    const { words, doubles } = this;
    const line = cpu * CPU_WORDS;
    const slot = words[line + SPARE];
    if (slot === 0 || words[line + EXPRESS] !== 0) return 0;
    if (words[line + EXPRESS_TARGET] !== target + 1) {
      if (Atomics.load(words, target * CPU_WORDS + FAVOURITE) !== slot) return 0;
      words[line + EXPRESS_TARGET] = target + 1;
    }
    words[line + SPARE] = 0;
    words[line + EXPRESS] = slot;
    const at = this.at(slot);
    const serial = ((words[at + STATE] >>> SERIAL_SHIFT) + 1) << SERIAL_SHIFT;
    const sent = serial | (target << TARGET_SHIFT) | Status.Express;
    words[at + TYPE] = type | (Status.Call << KIND_SHIFT);
    words[at + CODE] = code;
    const first = (at + ARGUMENTS) >> 1;
    doubles[first] = a;
    doubles[first + 1] = b;
    doubles[first + 2] = c;
    words[at + LINK] = 0;
    words[at + SIBLING] = 0;
    words[at + SENDER_LIFE] = words[line + LIFE];
    words[at + SENT] = sent;
    Atomics.store(words, at + STATE, sent);
    return slot;
  }

  /** Whether an express call was put where its target looks still; if not, it has been taken back, and is a call to be sent. */
  expressArrives(slot: number, target: CpuId): boolean {
    const { words } = this;
    if (Atomics.load(words, target * CPU_WORDS + FAVOURITE) === slot) return true;
    const at = this.at(slot);
    const sent = words[at + SENT];
    const call = sent + (Status.Call - Status.Express);
    if (Atomics.compareExchange(words, at + STATE, sent, call) !== sent) return true;
    words[at + SENT] = call;
    const line = this.sender(slot) * CPU_WORDS;
    words[line + EXPRESS] = words[line + EXPRESS_TARGET] = 0;
    return false;
  }

  /** The calling CPU is about to send `slot`: behind its express call to the same CPU, if that is under way. */
  protected markBehind(line: number, slot: number, target: CpuId): void {
    const { words } = this;
    const express = words[line + EXPRESS];
    const state = Atomics.load(words, this.at(express) + STATE);
    if ((state & STATUS_MASK) >= Status.Done) words[line + EXPRESS] = 0;
    else if (((state >>> TARGET_SHIFT) & TARGET_MASK) === target) {
      const at = this.at(slot);
      words[at + TYPE] |= BEHIND;
      words[at + RESULT] = express;
      words[at + RESULT + 1] = state >>> SERIAL_SHIFT;
    }
  }

  // The CPU that is called ————————————————————————————————————————————————————————————————————————————————————————————

  /** State of the express call that waits in a CPU's favourite; 0: none. */
  protected expressState(line: number, cpu: CpuId, favourite: number): number {
    const state = Atomics.load(this.words, this.at(favourite) + STATE);
    return isExpress(state, cpu) && this.words[line + RUNNING] !== favourite ? state : 0;
  }

  /** Run the express call that was found with `state`. */
  protected beginExpress(line: number, favourite: number, state: number): number {
    this.words[line + RUNNING] = favourite;
    this.words[line + RUNNING_STATE] = state;
    return favourite;
  }

  override end(slot: number, status: SlotStatus): void {
    const line = this.hal.currentCpu() * CPU_WORDS;
    if (this.words[line + RUNNING] !== slot) {
      super.end(slot, status);
      return;
    }
    this.words[line + RUNNING] = 0;
    this.endIf(slot, this.words[line + RUNNING_STATE], status);
  }

  /** A call came by the head. Where it comes so twice in a row in the same slot, the next may come express. */
  protected favour(line: number, cpu: CpuId, slot: number): void {
    const { words } = this;
    if (words[line + LAST_CALL] !== slot) words[line + LAST_CALL] = slot;
    else if (words[line + FAVOURITE] !== slot && words[line + RUNNING] === 0) this.setFavourite(line, cpu, slot);
  }

  /** Look at another slot from now on. What has come in the one before goes to the inbox. */
  protected setFavourite(line: number, cpu: CpuId, slot: number): void {
    const { words } = this;
    const before = words[line + FAVOURITE];
    const runs = before !== 0 && before === words[line + RUNNING];
    // It runs, so the caller shall not take it back.
    if (runs) this.claimExpress(before, cpu);
    Atomics.store(words, line + FAVOURITE, slot);
    if (before !== 0 && !runs && this.claimExpress(before, cpu)) this.append(line, before);
  }

  /** Make an express call that waits one that has come by the head; false: there is none. */
  protected claimExpress(slot: number, cpu: CpuId): boolean {
    const at = this.at(slot) + STATE;
    for (let state = Atomics.load(this.words, at); isExpress(state, cpu);) {
      const found = Atomics.compareExchange(this.words, at, state, state + (Status.Call - Status.Express));
      if (found === state) return true;
      state = found;
    }
    return false;
  }

  /** The express call that `slot` of the inbox is marked to be behind, if it has not begun; else 0. It counts as handled. */
  protected expressBefore(line: number, cpu: CpuId, slot: number): number {
    const { words } = this;
    const at = this.at(slot);
    words[at + TYPE] &= ~BEHIND;
    const express = words[at + RESULT];
    const state = Atomics.load(words, this.at(express) + STATE);
    if (state >>> SERIAL_SHIFT !== words[at + RESULT + 1]) return 0;
    if (words[line + FAVOURITE] === express && this.expressState(line, cpu, express) !== 0) {
      return this.beginExpress(line, express, state);
    }
    return this.#remove(line, express) ? express : 0;
  }

  /** Put a slot behind all others of the inbox. */
  protected append(line: number, slot: number): void {
    const { words } = this;
    words[this.at(slot) + LINK] = 0;
    let at = line + INBOX;
    while (words[at] !== 0) at = this.at(words[at]) + LINK;
    words[at] = slot;
  }

  /** Take a slot out of the inbox, if it is there. */
  #remove(line: number, slot: number): boolean {
    const { words } = this;
    let at = line + INBOX;
    while (words[at] !== 0 && words[at] !== slot) at = this.at(words[at]) + LINK;
    if (words[at] === 0) return false;
    words[at] = words[this.at(slot) + LINK];
    return true;
  }
}

/** Whether a call waits for `cpu` in a slot of this state; its caller may sleep. */
function isExpress(state: number, cpu: CpuId): boolean {
  const status = state & STATUS_MASK;
  if (status !== Status.Express && status !== Status.ExpressWatched) return false;
  return ((state >>> TARGET_SHIFT) & TARGET_MASK) === cpu;
}
