import type { CpuId, Hal } from "../hal.ts";
import { MAX_CPUS } from "../layout.ts";

/*
 * A slot carries a message or a call from one CPU to another: 64 bytes, one line of the cache, `depth` of them that each CPU sends
 * in. It is named by its number + 1, so that 0 is none.
 *
 *     0     link       next older slot of the list; of the inbox: next newer       who has the list, plain
 *     1     state      serial (16 bits) | target (12) | status (4)                 Atomics
 *     2     type       of interrupt, the status it is sent with, behind a call    sender, plain, and all that follow
 *     3     code       payload of a message, or which function
 *     4-9   arguments  three doubles
 *     10-11 result     a double                                                    target, until the status says it is done
 *                      before: the express call that this slot is behind, if it is, and its serial        sender
 *     12    sibling    next slot of the same request                               sender
 *     13    life       of the sender when it sent
 *     14    failure    serial of the text of what was thrown                       target, until the status says it is done
 *     15    sent       the state it was sent with                                  sender
 *
 * Status, and who changes it:
 *
 *   Free ──sender──▶ Message, Post ──target, when it has read it or run it──▶ Free
 *   Free ──sender──▶ Call ──target──▶ Done, Threw ──sender, when it has read the result──▶ Free, or Call again
 *                    Call ──sender, before it sleeps──▶ Watched ──target, which then kicks the sender──▶ Done, Threw
 *                    Call ──sender, who finds the target closed──▶ Offline
 *        ──sender──▶ Express ──target──▶ Done, Threw, or Call, which goes on as above                    see express.ts
 *                    Express ──sender, before it sleeps──▶ ExpressWatched ──target──▶ Done, Threw, or Watched
 *                    Express ──sender, whose target looks elsewhere──▶ Call, which it sends by the head
 *   of a dead target, by who reports the death: Message, Post ──▶ Free;   all others that are not over ──▶ Died
 *
 * Whoever ends a call does so by compare-exchange with the serial in it, so that a late end does not touch a slot used again.
 */
export const SLOT_WORDS = 16;
export const LINK = 0;
export const STATE = 1;
export const TYPE = 2;
const TYPE_MASK = 0xff;
export const KIND_SHIFT = 8;
const KIND_MASK = 0xff;
export const BEHIND = 0x10000;
export const CODE = 3;
export const ARGUMENTS = 4;
export const RESULT = 10;
export const SIBLING = 12;
export const SENDER_LIFE = 13;
const FAILURE = 14;
export const SENT = 15;

export const STATUS_MASK = 0xf;
export const TARGET_SHIFT = 4;
export const TARGET_MASK = 0xfff;
export const SERIAL_SHIFT = 16;
export const Status = {
  Free: 0,
  Message: 1,
  Post: 2,
  Call: 3,
  Watched: 4,
  Express: 5,
  ExpressWatched: 6,
  Done: 7,
  Threw: 8,
  Offline: 9,
  Died: 10,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

if (MAX_CPUS - 1 > TARGET_MASK) throw new RangeError("a slot's state has too few bits for its target");

type SlotFunction = (from: CpuId, a: number, b: number, c: number) => number | void;

/** The slots of all CPUs. Which CPU may call what is said above. */
export class IpiSlots {
  readonly possibleCpus: number;
  readonly depth: number;
  protected readonly words: Int32Array;
  protected readonly hal: Hal;
  protected readonly doubles: Float64Array;
  /** Where slot 0, which does not exist, would lie; and the shift from a slot to its sender. */
  readonly #slots: number;
  readonly #depthShift: number;

  /** @param firstWord - where slots begin, a multiple of 16. */
  constructor(memory: SharedArrayBuffer, hal: Hal, possibleCpus: number, depth: number, firstWord: number) {
    this.possibleCpus = possibleCpus;
    this.depth = depth;
    // With a length: a view that grows with its memory is slow.
    this.words = new Int32Array(memory, 0, memory.byteLength >> 2);
    this.hal = hal;
    this.doubles = new Float64Array(memory, 0, memory.byteLength >> 3);
    this.#slots = firstWord - SLOT_WORDS;
    this.#depthShift = Math.log2(depth);
  }

  /**
   * Fill a free slot of `cpu`, which calls; 0: all are in use. It is sent by `push`.
   *
   * @param cursor - slot of the CPU's to look at first.
   * @param life - how often the CPU has come online: calls of earlier lives that are over count as free.
   */
  protected fillFrom(
    cpu: CpuId,
    cursor: number,
    life: number,
    status: Status,
    target: CpuId,
    type: number,
    code: number,
  ): number {
    const { words } = this;
    const first = (cpu << this.#depthShift) + 1;
    for (let turn = 0; turn < this.depth; turn++) {
      const slot = first + ((cursor + turn) & (this.depth - 1));
      const at = this.at(slot);
      const state = Atomics.load(words, at + STATE);
      const before = state & STATUS_MASK;
      if (before !== Status.Free && (before < Status.Done || words[at + SENDER_LIFE] === life)) continue;
      this.fillSlot(slot, life, state, status, target, type, code);
      return slot;
    }
    return 0;
  }

  /** Fill a slot that is the calling CPU's to use, and whose state is `state`. */
  protected fillSlot(
    slot: number,
    life: number,
    state: number,
    status: Status,
    target: CpuId,
    type: number,
    code: number,
  ): void {
    const { words } = this;
    const at = this.at(slot);
    const sent = (((state >>> SERIAL_SHIFT) + 1) << SERIAL_SHIFT) | (target << TARGET_SHIFT) | status;
    words[at + SENDER_LIFE] = life;
    words[at + SIBLING] = 0;
    words[at + TYPE] = type | (status << KIND_SHIFT);
    words[at + CODE] = code;
    words[at + LINK] = 0;
    words[at + SENT] = sent;
    Atomics.store(words, at + STATE, sent);
  }

  setArguments(slot: number, a: number, b: number, c: number): void {
    const at = (this.at(slot) + ARGUMENTS) >> 1;
    this.doubles[at] = a;
    this.doubles[at + 1] = b;
    this.doubles[at + 2] = c;
  }

  argument(slot: number, index: number): number {
    return this.doubles[((this.at(slot) + ARGUMENTS) >> 1) + index];
  }

  /** Call the function that a slot asks for. */
  invoke(slot: number, functions: readonly SlotFunction[]): number {
    const { doubles } = this;
    const at = this.at(slot);
    const first = (at + ARGUMENTS) >> 1;
    const run = functions[this.words[at + CODE]];
    return run(this.sender(slot), doubles[first], doubles[first + 1], doubles[first + 2]) ?? Number.NaN;
  }

  status(slot: number): Status {
    return (Atomics.load(this.words, this.at(slot) + STATE) & STATUS_MASK) as Status;
  }

  /** The status the slot was sent with: Message, Post or Call. */
  kind(slot: number): Status {
    return ((this.words[this.at(slot) + TYPE] >>> KIND_SHIFT) & KIND_MASK) as Status;
  }

  /** Whether the call in a slot has ended, one way or the other. */
  isOver(slot: number): boolean {
    return (Atomics.load(this.words, this.at(slot) + STATE) & STATUS_MASK) >= Status.Done;
  }

  /** {@link IpiSlots.isOver}, after at most so many looks. */
  isOverWithin(slot: number, looks: number): boolean {
    const at = this.at(slot) + STATE;
    for (let left = looks; left > 0; left--)
      if ((Atomics.load(this.words, at) & STATUS_MASK) >= Status.Done) return true;
    return false;
  }

  target(slot: number): CpuId {
    return (Atomics.load(this.words, this.at(slot) + STATE) >>> TARGET_SHIFT) & TARGET_MASK;
  }

  sender(slot: number): CpuId {
    return (slot - 1) >>> this.#depthShift;
  }

  type(slot: number): number {
    return this.words[this.at(slot) + TYPE] & TYPE_MASK;
  }

  code(slot: number): number {
    return this.words[this.at(slot) + CODE];
  }

  result(slot: number): number {
    return this.doubles[(this.at(slot) + RESULT) >> 1];
  }

  failure(slot: number): number {
    return this.words[this.at(slot) + FAILURE];
  }

  sibling(slot: number): number {
    return this.words[this.at(slot) + SIBLING];
  }

  setSibling(slot: number, sibling: number): void {
    this.words[this.at(slot) + SIBLING] = sibling;
  }

  setResult(slot: number, result: number): void {
    this.doubles[(this.at(slot) + RESULT) >> 1] = result;
  }

  setFailure(slot: number, serial: number): void {
    this.words[this.at(slot) + FAILURE] = serial;
  }

  /** Give a slot back: a message's when it was taken, a call's by its sender. */
  free(slot: number): void {
    const at = this.at(slot) + STATE;
    Atomics.store(this.words, at, Atomics.load(this.words, at) & (-1 << SERIAL_SHIFT));
  }

  /** The sender's call in a slot is over: whether it is done, and was no failure. */
  isDone(slot: number): boolean {
    // Plainly: nobody else changes the state of a call that its sender has seen to be over.
    return (this.words[this.at(slot) + STATE] & STATUS_MASK) === Status.Done;
  }

  /** The sender ends a call that it could not send, unless whoever reports its target's death has ended it. */
  notSent(slot: number): void {
    this.endIf(slot, this.words[this.at(slot) + SENT], Status.Offline);
  }

  /** The sender of a call is about to sleep; false: the call is over. */
  watch(slot: number): boolean {
    const at = this.at(slot) + STATE;
    const state = Atomics.load(this.words, at);
    const status = state & STATUS_MASK;
    if (status !== Status.Call && status !== Status.Express) return status < Status.Done;
    return Atomics.compareExchange(this.words, at, state, state + (Status.Watched - Status.Call)) === state;
  }

  /** The call in a slot is over: publishes its result, and kicks its sender if that watches. Frees what was posted. */
  end(slot: number, status: Status): void {
    if (this.kind(slot) === Status.Post) this.free(slot);
    else this.endIf(slot, this.words[this.at(slot) + SENT], status);
  }

  /** {@link IpiSlots.end}, if the state is still of the use that was `seen`. */
  protected endIf(slot: number, seen: number, status: Status): void {
    const at = this.at(slot) + STATE;
    for (let state = seen; ;) {
      const before = state & STATUS_MASK;
      if (before < Status.Call || before >= Status.Done) return;
      const found = Atomics.compareExchange(this.words, at, state, (state & ~STATUS_MASK) | status);
      if (found === state) {
        if (before === Status.Watched || before === Status.ExpressWatched) this.hal.kick(this.sender(slot));
        return;
      }
      if (found >>> SERIAL_SHIFT !== state >>> SERIAL_SHIFT) return;
      state = found;
    }
  }

  protected at(slot: number): number {
    return this.#slots + slot * SLOT_WORDS;
  }
}
