import { SmpError } from "../errors.ts";
import { Tlb } from "./tlb.ts";

/** As many address spaces as Linux keeps in a CPU's TLB (TLB_NR_DYN_ASIDS). */
const DEFAULT_SLOTS = 6;
const NOBODY = -1;

/**
 * Which address spaces a CPU's {@link Tlb} holds under which tag: more spaces than tags take turns, the one that came in
 * first leaves first, and a tag that changes hands is flushed (Linux's `choose_new_asid`). Knows nothing of other CPUs: pass
 * {@link TlbContexts.flush} to a {@link TlbShootdown}, and enter and leave spaces there too.
 *
 * Thread-safety: none; it belongs to one CPU.
 *
 * @public
 */
export class TlbContexts {
  readonly tlb: Tlb;
  /** Spaces switched to that had lost their tag, or never had one. */
  reloads = 0;
  /** By tag - 1: the space that has it. Tag 0 is for what runs before any space is switched to. */
  readonly #owners: Int32Array;
  #next = 0;
  #current = NOBODY;
  #tag = 0;

  /** @param slots - tags, 1 to 4095. Throws `SMP_INVALID_ARGUMENT`. */
  constructor(tlb: Tlb, slots: number = DEFAULT_SLOTS) {
    if (!Number.isInteger(slots) || slots < 1 || slots > 4095) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `${slots} tags are not possible; 1 to 4095 are`);
    }
    this.tlb = tlb;
    this.#owners = new Int32Array(slots).fill(NOBODY);
  }

  /** The space that was switched to last; -1: none. */
  get current(): number {
    return this.#current;
  }

  /** The tag of that space. */
  get tag(): number {
    return this.#tag;
  }

  /** The CPU uses this space from now on. */
  switchTo(space: number): void {
    if (space === this.#current) return;
    let slot = this.#owners.indexOf(space);
    if (slot < 0) {
      slot = this.#next;
      this.#next = (slot + 1) % this.#owners.length;
      if (this.#owners[slot] !== NOBODY) this.tlb.invalidateSpace(slot + 1);
      this.#owners[slot] = space;
      this.reloads++;
    }
    this.#current = space;
    this.#tag = slot + 1;
  }

  /** A {@link TlbFlush}: forget pages of a space, or all of it; of space -1 in every space, with what is global. */
  flush(space: number, first: number, count: number, stride: number): void {
    if (space === NOBODY) {
      if (count === Infinity) this.tlb.invalidateAll();
      else this.tlb.invalidateRange(0, first, count, stride);
      return;
    }
    const slot = this.#owners.indexOf(space);
    if (slot < 0) return;
    if (count === Infinity) this.tlb.invalidateSpace(slot + 1);
    else this.tlb.invalidateRange(slot + 1, first, count, stride);
  }

  /** A space is no more: nothing of it is left, and its tag is free. */
  forget(space: number): void {
    const slot = this.#owners.indexOf(space);
    if (slot < 0) return;
    this.tlb.invalidateSpace(slot + 1);
    this.#owners[slot] = NOBODY;
    if (this.#current === space) {
      this.#current = NOBODY;
      this.#tag = 0;
    }
  }
}
