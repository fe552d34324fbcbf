import { SlabError } from "./errors.ts";
import type { SlabGeometry } from "./geometry.ts";

// The patterns of Linux (include/linux/poison.h), as words.
const POISON_FREE = 0x6b6b6b6b | 0;
const POISON_FRESH = 0x5a5a5a5a | 0;
const RED_FREE = 0xbbbbbbbb | 0;
const RED_IN_USE = 0xcccccccc | 0;

/**
 * The checks of debug mode. A free object is filled with one pattern, a fresh one with another; the red zone behind it
 * tells free from in use, so that double frees, overruns and writes after free are found at the next alloc or free.
 */
export class ObjectChecks {
  readonly #words: Int32Array;
  readonly #objectWords: number;
  readonly #name: string;
  readonly #poison: boolean;

  /** `poison` is off for type-stable caches, whose readers may look at free objects. */
  constructor(words: Int32Array, geometry: SlabGeometry, name: string, poison: boolean) {
    this.#words = words;
    this.#objectWords = geometry.objectBytes / 4;
    this.#name = name;
    this.#poison = poison;
  }

  /** A slab was made: mark its objects free. */
  onFresh(object: number): void {
    const at = object >> 2;
    if (this.#poison) this.#words.fill(POISON_FREE, at, at + this.#objectWords);
    this.#words[at + this.#objectWords] = RED_FREE;
  }

  /** Before an object is given out. */
  onAlloc(object: number, cpu: number): void {
    const at = object >> 2;
    const words = this.#words;
    const zone = words[at + this.#objectWords];
    if (zone !== RED_FREE) this.#corrupted(object, `its red zone was ${hex(zone)} while it was free`);
    if (this.#poison) {
      for (let i = 0; i < this.#objectWords; i++) {
        if (words[at + i] !== POISON_FREE) this.#corrupted(object, `word ${i} was written after the free`);
      }
      words.fill(POISON_FRESH, at, at + this.#objectWords);
    }
    words[at + this.#objectWords] = RED_IN_USE;
    words[at + this.#objectWords + 1] = cpu;
  }

  /** Before an object is taken back. */
  onFree(object: number, cpu: number): void {
    const at = object >> 2;
    const words = this.#words;
    const zone = words[at + this.#objectWords];
    if (zone === RED_FREE) {
      const by = words[at + this.#objectWords + 1];
      throw new SlabError("SLAB_DOUBLE_FREE", `${this.#name}: CPU ${by} freed the object at ${object} already`);
    }
    if (zone !== RED_IN_USE) this.#corrupted(object, `its red zone was overwritten with ${hex(zone)}`);
    if (this.#poison) words.fill(POISON_FREE, at, at + this.#objectWords);
    words[at + this.#objectWords] = RED_FREE;
    words[at + this.#objectWords + 1] = cpu;
  }

  #corrupted(object: number, what: string): never {
    const by = this.#words[(object >> 2) + this.#objectWords + 1];
    throw new SlabError("SLAB_CORRUPTED", `${this.#name}: object at ${object}, last used by CPU ${by}: ${what}`);
  }
}

const hex = (word: number): string => `0x${(word >>> 0).toString(16)}`;
