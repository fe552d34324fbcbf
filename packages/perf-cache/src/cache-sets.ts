import type { CpuId } from "@x/smp";
import {
  cacheWords,
  COUNT,
  cpuSetsWords,
  EPOCH_OF_ALL,
  LINE_WORDS,
  SET_EPOCH,
  SET_MASK,
  SET_STATE,
  SET_TAGS,
  setWords,
  TAG,
  tagWords,
} from "./connection-cache-layout.ts";
import type { ConnectionCacheHandle } from "./connection-cache-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import { pseudoLru } from "./pseudo-lru.ts";

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const { hits: HITS, misses: MISSES, stale: STALE, insertions: INSERTIONS, evictions: EVICTIONS } = COUNT;
const ALL = EPOCH_OF_ALL;
const EPOCH = SET_EPOCH;
const MASK = SET_MASK;
const STATE = SET_STATE;
const TAGS = SET_TAGS;
const LINE = LINE_WORDS;
const { spread: SPREAD, shift: TAG_SHIFT, occupied: OCCUPIED, bytes: BYTES, lowBits: LOW_BITS } = TAG;

/** The tag of a hash in every byte of a word. */
const tagOf = (hash: number): number => Math.imul((Math.imul(hash, SPREAD) >>> TAG_SHIFT) | OCCUPIED, BYTES);

/** The top bit of each byte in which two words are the same, without a branch: which one it is cannot be predicted. */
function sameBytes(a: number, b: number): number {
  const difference = a ^ b;
  return ~(((difference & LOW_BITS) + LOW_BITS) | difference | LOW_BITS);
}

/** The number of the first byte of which a bit is set, at least one being. */
const firstByte = (bits: number): number => (31 - Math.clz32(bits & -bits)) >>> 3;

/** One thread's view of the sets of every CPU; see connection-cache-layout.ts for who writes what. */
export class CacheSets {
  readonly words: Int32Array;
  readonly counts: Float64Array;
  readonly ways: number;
  /** From a set to its entries, and to their generations. */
  readonly entriesAt: number;
  readonly generationsAt: number;
  readonly keep: Int32Array;
  readonly used: Int32Array;
  readonly #victim: Uint8Array;
  readonly #tagsEnd: number;
  /** The bits of a word of tags that are 0 in ways that are empty. */
  readonly #empty: number;
  readonly #setWords: number;
  readonly #cpuSetsWords: number;
  readonly #setsBase: number;

  constructor(handle: ConnectionCacheHandle) {
    const lru = pseudoLru(handle.ways);
    const words = cacheWords(handle);
    this.words = new Int32Array(handle.memory, handle.at, words);
    this.counts = new Float64Array(handle.memory, handle.at, words / 2);
    this.ways = handle.ways;
    this.entriesAt = TAGS + tagWords(handle.ways);
    this.generationsAt = this.entriesAt + handle.ways;
    this.#tagsEnd = this.entriesAt;
    this.#empty = handle.ways < 4 ? 0x80808080 & (2 ** (8 * handle.ways) - 1) : 0x80808080 | 0;
    this.keep = lru.keep;
    this.used = lru.set;
    this.#victim = lru.victim;
    this.#setWords = setWords(handle.ways);
    this.#cpuSetsWords = cpuSetsWords(handle);
    this.#setsBase = LINE * (1 + handle.possibleCpus);
  }

  /** The word where the set of `hash` begins. */
  setOf(cpu: CpuId, hash: number): number {
    // The table's bucket comes from the low bits; the set takes the high ones too, so that neighbours in a bucket part.
    const index = (hash ^ (hash >>> 16)) & this.words[MASK];
    return this.#setsBase + cpu * this.#cpuSetsWords + index * this.#setWords;
  }

  /** The epoch of the sets that are not empty. */
  epoch(cpu: CpuId): number {
    return (this.words[ALL] + this.words[(cpu + 1) * LINE]) | 0;
  }

  count(cpu: CpuId, slot: number, by: number): void {
    this.counts[(cpu + 1) * (LINE / 2) + slot] += by;
  }

  /** The first way of a set that has the tag of `hash`; -1 when none has. */
  candidate(set: number, hash: number): number {
    for (let tags = TAGS; tags < this.#tagsEnd; tags++) {
      const matches = sameBytes(this.words[set + tags], tagOf(hash));
      if (matches !== 0) return (tags - TAGS) * 4 + firstByte(matches);
    }
    return -1;
  }

  /** The entry of a set that the table confirms, else 0. Counts one hit or one miss. */
  look(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const entry = this.find(cpu, set, table, key, keyOffset, hash);
    this.count(cpu, entry === 0 ? MISSES : HITS, 1);
    return entry;
  }

  /** {@link CacheSets.look} without counting. */
  find(cpu: CpuId, set: number, table: FlowTable, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.words;
    if (words[set + EPOCH] !== this.epoch(cpu)) return 0;
    const tag = tagOf(hash);
    for (let tags = TAGS; tags < this.#tagsEnd; tags++) {
      for (let matches = sameBytes(words[set + tags], tag); matches !== 0; matches &= matches - 1) {
        const byte = firstByte(matches);
        const way = (tags - TAGS) * 4 + byte;
        const entry = words[set + this.entriesAt + way];
        if (table.generation(entry) !== words[set + this.generationsAt + way]) {
          words[set + tags] &= ~(0xff << (byte * 8));
          this.count(cpu, STALE, 1);
        } else if (table.matches(entry, key, keyOffset)) {
          words[set + STATE] = (words[set + STATE] & this.keep[way]) | this.used[way];
          return entry;
        }
      }
    }
    return 0;
  }

  /** Remember `entry` in its set, unless it has left the table. */
  place(cpu: CpuId, set: number, hash: number, entry: number, generation: number): void {
    if ((generation & 1) === 0) return;
    const words = this.words;
    const epoch = this.epoch(cpu);
    if (words[set + EPOCH] !== epoch) this.#clear(set, epoch);
    const tag = tagOf(hash);
    let way = this.#wayOf(set, tag, entry);
    if (way < 0) {
      way = this.#victim[words[set + STATE]];
      this.count(cpu, EVICTIONS, 1);
    }
    const shift = (way & 3) * 8;
    const tags = set + TAGS + (way >> 2);
    words[tags] = (words[tags] & ~(0xff << shift)) | (tag & (0xff << shift));
    words[set + this.entriesAt + way] = entry;
    words[set + this.generationsAt + way] = generation;
    words[set + STATE] = (words[set + STATE] & this.keep[way]) | this.used[way];
    this.count(cpu, INSERTIONS, 1);
  }

  #clear(set: number, epoch: number): void {
    this.words.fill(0, set + TAGS, set + this.#tagsEnd);
    this.words[set + STATE] = 0;
    this.words[set + EPOCH] = epoch;
  }

  /** The way that holds `entry` already, else an empty one, else -1. */
  #wayOf(set: number, tag: number, entry: number): number {
    const words = this.words;
    let free = -1;
    for (let tags = TAGS; tags < this.#tagsEnd; tags++) {
      const first = (tags - TAGS) * 4;
      for (let matches = sameBytes(words[set + tags], tag); matches !== 0; matches &= matches - 1) {
        const way = first + firstByte(matches);
        if (words[set + this.entriesAt + way] === entry) return way;
      }
      const empty = ~words[set + tags] & this.#empty;
      if (empty !== 0 && free < 0) free = first + firstByte(empty);
    }
    return free;
  }
}
