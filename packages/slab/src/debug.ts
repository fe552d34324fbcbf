import { SlabError } from "./errors.ts";
import type { SlabGeometry } from "./geometry.ts";
import { SiteTable } from "./sites.ts";

// The patterns of Linux (include/linux/poison.h), as words.
const POISON_FREE = 0x6b6b6b6b | 0;
const POISON_FRESH = 0x5a5a5a5a | 0;
const RED_FREE = 0xbbbbbbbb | 0;
const RED_IN_USE = 0xcccccccc | 0;

/*
 * Around an object in debug mode, in words:
 *
 *   | red, red | object … | state | state | used bytes | - | last CPU + 1 | alloc site | free site | - |
 *     redZones              always          redZones         owner
 *
 * The state tells free from in use, so that double frees are found, and is the red zone behind the object. What of an object in
 * use is not its user's (Kmalloc's classes are larger than what was asked for) is red zone as well, byte by byte.
 */
const LEFT_WORDS = 2;
const STATE_WORDS = 4;
const USED = 2;
const RED_BYTE = RED_IN_USE & 0xff;
const OWNER_WORDS = 4;
const OWNER_CPU = 0;
const ALLOC_SITE = 1;
const FREE_SITE = 2;

/**
 * What debug mode looks for. Double and foreign frees are always found, at the free.
 *
 * @public
 */
export interface DebugModes {
  /** Fill free objects with a pattern and check it at the next allocation: finds uses after free. Fresh ones get another. */
  readonly poison: boolean;
  /** Guard words before and behind each object, checked at the free: finds overruns and underruns. */
  readonly redZones: boolean;
  /** Remember the CPU that last allocated or freed each object. */
  readonly owner: boolean;
  /** Remember also where in the program; costs a stack trace each time. */
  readonly sites: boolean;
}

/** Modes that `debug: true` or a choice means. */
export function debugModes(debug: boolean | Partial<DebugModes> | undefined): DebugModes | undefined {
  if (debug === undefined || debug === false) return undefined;
  if (debug === true) return { poison: true, redZones: true, owner: true, sites: false };
  const { poison = false, redZones = false, sites = false, owner = sites } = debug;
  return { poison, redZones, owner: owner || sites, sites };
}

/** Bytes that debug modes need before and behind each object. */
export function debugBytes(modes: DebugModes | undefined): { beforeBytes: number; behindBytes: number } {
  if (modes === undefined) return { beforeBytes: 0, behindBytes: 0 };
  return {
    beforeBytes: modes.redZones ? LEFT_WORDS * 4 : 0,
    behindBytes: (STATE_WORDS + (modes.owner ? OWNER_WORDS : 0)) * 4,
  };
}

/** Who had an object, as far as debug mode knows. */
export interface ObjectOwner {
  readonly cpu: number;
  readonly allocSite: string;
  readonly freeSite: string;
}

/** The checks of debug mode, see {@link DebugModes}. The caller owns the object that is checked. */
export class ObjectChecks {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #objectWords: number;
  readonly #name: string;
  readonly #modes: DebugModes;
  readonly #poison: boolean;
  readonly #sites: SiteTable | undefined;

  /** `keepsBytes`: the bytes of free objects mean something (type-stable, constructed), so that none are poisoned. */
  constructor(
    words: Int32Array,
    geometry: SlabGeometry,
    name: string,
    modes: DebugModes,
    keepsBytes: boolean,
    sites: SharedArrayBuffer | undefined,
  ) {
    this.#words = words;
    // Without a length the view grows with a growable buffer.
    this.#bytes = new Uint8Array(words.buffer);
    this.#objectWords = geometry.objectBytes / 4;
    this.#name = name;
    this.#modes = modes;
    this.#poison = modes.poison && !keepsBytes;
    this.#sites = sites === undefined ? undefined : new SiteTable(sites);
  }

  /** A slab was made: mark its objects free. */
  onFresh(object: number): void {
    const at = object >> 2;
    const end = at + this.#objectWords;
    if (this.#poison) this.#words.fill(POISON_FREE, at, end);
    if (this.#modes.owner) this.#words.fill(0, end + STATE_WORDS, end + STATE_WORDS + OWNER_WORDS);
    this.#mark(at, RED_FREE);
  }

  /** Before an object is given out. */
  onAlloc(object: number, cpu: number): void {
    this.assertFree(object);
    const at = object >> 2;
    if (this.#poison) this.#words.fill(POISON_FRESH, at, at + this.#objectWords);
    this.#mark(at, RED_IN_USE);
    this.narrow(object, this.#objectWords * 4);
    this.#remember(at, cpu, ALLOC_SITE);
  }

  /** Only the first `bytes` bytes of the object, which is in use, are its user's. */
  narrow(object: number, bytes: number): void {
    if (!this.#modes.redZones) return;
    this.#words[(object >> 2) + this.#objectWords + USED] = bytes;
    this.#bytes.fill(RED_BYTE, object + bytes, object + this.#objectWords * 4);
  }

  /** Bytes of the object in use that are its user's. */
  usedBytes(object: number): number {
    return this.#modes.redZones ? this.#words[(object >> 2) + this.#objectWords + USED] : this.#objectWords * 4;
  }

  /** Before an object is taken back. */
  onFree(object: number, cpu: number): void {
    const at = object >> 2;
    const end = at + this.#objectWords;
    if (this.#words[end] === RED_FREE) {
      throw new SlabError(
        "SLAB_DOUBLE_FREE",
        `${this.#name}: ${this.#who(object)} freed the object at ${object} already`,
      );
    }
    this.assertInUse(object);
    if (this.#poison) this.#words.fill(POISON_FREE, at, end);
    this.#mark(at, RED_FREE);
    this.#remember(at, cpu, FREE_SITE);
  }

  /** Throws `SLAB_CORRUPTED` unless the object is as its last owner left it at the free. */
  assertFree(object: number): void {
    const at = object >> 2;
    this.#assertZones(object, RED_FREE);
    if (!this.#poison) return;
    for (let i = 0; i < this.#objectWords; i++) {
      if (this.#words[at + i] !== POISON_FREE) this.#corrupted(object, `word ${i} was written after the free`);
    }
  }

  /** Throws `SLAB_CORRUPTED` unless the zones around an object in use are whole. */
  assertInUse(object: number): void {
    this.#assertZones(object, RED_IN_USE);
    const used = this.usedBytes(object);
    const size = this.#objectWords * 4;
    if (!(used > 0 && used <= size)) this.#corrupted(object, "the red zone behind it was overwritten");
    for (let byte = used; byte < size; byte++) {
      if (this.#bytes[object + byte] === RED_BYTE) continue;
      this.#corrupted(object, `byte ${byte} was overwritten; ${used} bytes are its user's`);
    }
  }

  /** Whether the object is marked as free. */
  isFree(object: number): boolean {
    return this.#words[(object >> 2) + this.#objectWords] === RED_FREE;
  }

  owner(object: number): ObjectOwner | undefined {
    if (!this.#modes.owner) return undefined;
    const at = (object >> 2) + this.#objectWords + STATE_WORDS;
    const site = (word: number): string => this.#sites?.text(this.#words[at + word]) ?? "";
    return { cpu: this.#words[at + OWNER_CPU] - 1, allocSite: site(ALLOC_SITE), freeSite: site(FREE_SITE) };
  }

  #mark(at: number, state: number): void {
    const end = at + this.#objectWords;
    this.#words[end] = this.#words[end + 1] = state;
    if (this.#modes.redZones) this.#words[at - 1] = this.#words[at - 2] = state;
  }

  #remember(at: number, cpu: number, siteWord: number): void {
    if (!this.#modes.owner) return;
    const owner = at + this.#objectWords + STATE_WORDS;
    this.#words[owner + OWNER_CPU] = cpu + 1;
    if (this.#sites !== undefined) this.#words[owner + siteWord] = this.#sites.here();
  }

  #assertZones(object: number, state: number): void {
    const at = object >> 2;
    const end = at + this.#objectWords;
    const words = this.#words;
    if (words[end] !== state || (this.#modes.redZones && words[end + 1] !== state)) {
      this.#corrupted(object, `the red zone behind it was overwritten with ${hex(words[end])}`);
    }
    if (this.#modes.redZones && (words[at - 1] !== state || words[at - 2] !== state)) {
      this.#corrupted(object, `the red zone before it was overwritten with ${hex(words[at - 1])}`);
    }
  }

  #corrupted(object: number, what: string): never {
    throw new SlabError(
      "SLAB_CORRUPTED",
      `${this.#name}: object at ${object}, last used by ${this.#who(object)}: ${what}`,
    );
  }

  #who(object: number): string {
    const owner = this.owner(object);
    if (owner === undefined) return "somebody";
    const sites = [
      owner.allocSite && `allocated at ${owner.allocSite}`,
      owner.freeSite && `freed at ${owner.freeSite}`,
    ];
    const text = sites.filter(Boolean).join(", ");
    return `CPU ${owner.cpu}${text && ` (${text})`}`;
  }
}

const hex = (word: number): string => `0x${(word >>> 0).toString(16)}`;
