import { setBit, type BitRows, type BitRowsBuilder } from "./bit-rows.ts";
import { writeHostName } from "./host-name.ts";
import { MAX_NAME_BYTES } from "./limits.ts";

const DOT = 0x2e;
const FNV_PRIME = 0x01000193;
const FNV_OFFSET = 0x811c9dc5 | 0;
/** Words of a place in the table. */
const PLACE_WORDS = 5;
const HASH = 0;
const TEXT = 1;
const LENGTH = 2;
const EXACT = 3;
const BELOW = 4;

/**
 * Row of a host name: which rules name it, or a domain above it. The name is hashed from its end to its beginning, so that one
 * walk gives the hash of every domain above it; each is looked up in one table. No allocation.
 */
export class HostIndex {
  /** Hash, place of the text, its length, row of rules that name it, row of rules that name all below it; rows + 1, 0: none. */
  readonly #table: Int32Array;
  readonly #mask: number;
  readonly #texts: Uint8Array;
  readonly #known: number;
  readonly #unknown: number;
  readonly #scratch: number;

  /** `rules`: the patterns of each rule's condition, `undefined` without one. */
  constructor(rules: readonly (readonly string[] | undefined)[], rows: BitRowsBuilder) {
    const domains = new Map<string, { exact?: Int32Array; below?: Int32Array }>();
    const without = rows.blank();
    const known = rows.blank();
    rules.forEach((patterns, rule) => {
      if (patterns === undefined) setBit(without, rule);
      for (const pattern of patterns ?? []) {
        if (pattern === "*") {
          setBit(known, rule);
          continue;
        }
        const isBelow = pattern.startsWith("*.");
        const name = (isBelow ? pattern.slice(2) : pattern).toLowerCase();
        const domain = domains.get(name) ?? {};
        domains.set(name, domain);
        setBit((domain[isBelow ? "below" : "exact"] ??= rows.blank()), rule);
      }
    });
    for (let i = 0; i < known.length; i++) known[i] |= without[i];
    this.#unknown = rows.intern(without);
    this.#known = rows.intern(known);
    this.#scratch = rows.reserve();
    const places = 2 ** Math.ceil(Math.log2(domains.size * 2 + 1));
    this.#mask = places - 1;
    this.#table = new Int32Array(places * PLACE_WORDS);
    this.#texts = this.#fill(domains, rows);
  }

  /** Row of a name in the form of `writeHostName`; a length of 0 is a name that is not known. */
  find(name: Uint8Array, length: number, rows: BitRows): number {
    if (length === 0) return this.#unknown;
    const scratch = this.#scratch;
    rows.copy(scratch, this.#known);
    let hash = FNV_OFFSET;
    for (let i = length - 1; i >= 0; i--) {
      if (name[i] === DOT) this.#merge(name, i + 1, length, hash, BELOW, rows);
      hash = Math.imul(hash ^ name[i], FNV_PRIME);
    }
    this.#merge(name, 0, length, hash, EXACT, rows);
    return scratch;
  }

  #merge(name: Uint8Array, from: number, end: number, hash: number, kind: number, rows: BitRows): void {
    const place = this.#place(name, from, end, hash);
    const row = this.#table[place + kind];
    if (row !== 0) rows.merge(this.#scratch, row - 1);
  }

  /** Where the domain `name[from, end)` is, or the free place where it would be. */
  #place(name: Uint8Array, from: number, end: number, hash: number): number {
    const table = this.#table;
    for (let i = mix(hash) & this.#mask; ; i = (i + 1) & this.#mask) {
      const place = i * PLACE_WORDS;
      if (table[place + LENGTH] === 0) return place;
      if (table[place + HASH] === hash && table[place + LENGTH] === end - from && this.#isText(place, name, from)) {
        return place;
      }
    }
  }

  #isText(place: number, name: Uint8Array, from: number): boolean {
    const text = this.#table[place + TEXT];
    const length = this.#table[place + LENGTH];
    for (let i = 0; i < length; i++) if (this.#texts[text + i] !== name[from + i]) return false;
    return true;
  }

  #fill(domains: ReadonlyMap<string, { exact?: Int32Array; below?: Int32Array }>, rows: BitRowsBuilder): Uint8Array {
    const table = this.#table;
    const texts: number[] = [];
    const name = new Uint8Array(MAX_NAME_BYTES);
    for (const [domain, { exact, below }] of domains) {
      const length = writeHostName(domain, name);
      let hash = FNV_OFFSET;
      for (let i = length - 1; i >= 0; i--) hash = Math.imul(hash ^ name[i], FNV_PRIME);
      let place = (mix(hash) & this.#mask) * PLACE_WORDS;
      while (table[place + LENGTH] !== 0) place = (place + PLACE_WORDS) % table.length;
      table[place + HASH] = hash;
      table[place + TEXT] = texts.length;
      table[place + LENGTH] = length;
      table[place + EXACT] = exact === undefined ? 0 : rows.intern(exact) + 1;
      table[place + BELOW] = below === undefined ? 0 : rows.intern(below) + 1;
      texts.push(...name.subarray(0, length));
    }
    return Uint8Array.from(texts);
  }
}

/** FNV's low bits depend on the low bits of the text alone. */
function mix(hash: number): number {
  return hash ^ (hash >>> 15);
}
