import { PADDING_BYTES } from "@x/smp";

/*
 * The records of MovablePages, one SharedArrayBuffer of 32-bit words:
 *
 *   head line | clock hand of node row 0, 1, … (a padded line each) | ring of CPU 0, 1, … | page 0 | page 1 | …
 *
 *   head line     word 0  first free id (0: none)                     under the id lock
 *   clock hand    word 0  id the reclaimer looks at next              any CPU, Atomics
 *   ring          word 0  pushed, word 1 popped, then RING_ENTRIES    written by its CPU only, plain
 *                         ids of pages that look misplaced
 *   page          word 0  state                                       any CPU, Atomics
 *                 word 1  page number of the frame in the arena       by who set MOVING, Atomics
 *                 word 2  accessing node + 1, streak << 16            any CPU, Atomics; a lost update costs one sample
 *                 word 3  next free id                                under the id lock
 *
 *   state         bit 30 the id is in use, bit 29 it has a frame, bit 28 the frame is about to change,
 *                 bit 27 accessed since the clock hand passed, bits 0 to 15 how many hold it pinned
 *
 * Only who turned MOVING on may change the frame, and it can be turned on only while nobody has the page pinned.
 */
export const USED: number = 1 << 30;
export const RESIDENT: number = 1 << 29;
export const MOVING: number = 1 << 28;
export const REFERENCED: number = 1 << 27;
export const PINS = 0xffff;

export const PAGE_WORDS = 4;
export const STATE = 0;
export const FRAME = 1;
export const ACCESS = 2;
export const NEXT_FREE = 3;

export const LINE_WORDS: number = PADDING_BYTES / 4;
export const RING_ENTRIES = 62;
const RING_WORDS = LINE_WORDS * 2;

/** Word offsets of the parts. */
export class MovableLayout {
  readonly rings: number;
  readonly pages: number;
  readonly words: number;

  constructor(rows: number, cpus: number, capacity: number) {
    this.rings = LINE_WORDS * (1 + rows);
    this.pages = this.rings + cpus * RING_WORDS;
    this.words = this.pages + (capacity + 1) * PAGE_WORDS;
  }

  hand(row: number): number {
    return LINE_WORDS * (1 + row);
  }

  ring(cpu: number): number {
    return this.rings + cpu * RING_WORDS;
  }

  page(id: number): number {
    return this.pages + id * PAGE_WORDS;
  }
}
