import type { CpuId } from "@x/smp";
import {
  COUNT,
  EPOCH_OF_ALL,
  LINE_WORDS,
  SET_EPOCH,
  SET_MASK,
  SET_STATE,
  SET_WAYS,
  setWords,
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
const WAYS = SET_WAYS;
const LINE = LINE_WORDS;

/** 0 when two words are the same, else 1, without a branch: the top bit of x | -x is 0 only where x is 0. */
const differ = (a: number, b: number): number => ((a ^ b) | (0 - (a ^ b))) >>> 31;

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
  readonly #setWords: number;
  readonly #cpuSetsWords: number;
  readonly #setsBase: number;

  constructor(handle: ConnectionCacheHandle) {
    const lru = pseudoLru(handle.ways);
    this.words = new Int32Array(handle.memory);
    this.counts = new Float64Array(handle.memory);
    this.ways = handle.ways;
    this.entriesAt = WAYS + handle.ways;
    this.generationsAt = WAYS + 2 * handle.ways;
    this.keep = lru.keep;
    this.used = lru.set;
    this.#victim = lru.victim;
    this.#setWords = setWords(handle.ways);
    this.#cpuSetsWords = (handle.maxEntries / handle.ways) * this.#setWords;
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

  /** A bit for each way whose word at `at ..` is `value`. Which one matches cannot be predicted: all are compared, without branches. */
  matches(at: number, value: number): number {
    const words = this.words;
    if (this.ways === 4) {
      const a = differ(words[at], value);
      const b = differ(words[at + 1], value);
      const c = differ(words[at + 2], value);
      const d = differ(words[at + 3], value);
      return (a | (b << 1) | (c << 2) | (d << 3)) ^ 15;
    }
    let matches = 0;
    for (let way = 0; way < this.ways; way++) matches |= (differ(words[at + way], value) ^ 1) << way;
    return matches;
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
    for (let matches = this.matches(set + WAYS, hash); matches !== 0; matches &= matches - 1) {
      const way = 31 - Math.clz32(matches & -matches);
      const at = set + this.entriesAt + way;
      const entry = words[at];
      if (entry === 0) continue;
      if (table.generation(entry) !== words[set + this.generationsAt + way]) {
        words[at] = 0;
        this.count(cpu, STALE, 1);
      } else if (table.matches(entry, key, keyOffset)) {
        words[set + STATE] = (words[set + STATE] & this.keep[way]) | this.used[way];
        return entry;
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
    const way = this.#wayFor(set, entry);
    const replaced = words[set + this.entriesAt + way];
    if (replaced !== 0 && replaced !== entry) this.count(cpu, EVICTIONS, 1);
    words[set + WAYS + way] = hash;
    words[set + this.entriesAt + way] = entry;
    words[set + this.generationsAt + way] = generation;
    words[set + STATE] = (words[set + STATE] & this.keep[way]) | this.used[way];
    this.count(cpu, INSERTIONS, 1);
  }

  #clear(set: number, epoch: number): void {
    this.words.fill(0, set + this.entriesAt, set + this.generationsAt);
    this.words[set + STATE] = 0;
    this.words[set + EPOCH] = epoch;
  }

  /** The way that holds `entry` already, else an empty one, else the least recently used. */
  #wayFor(set: number, entry: number): number {
    const first = set + this.entriesAt;
    const candidates = this.matches(first, entry) || this.matches(first, 0);
    return candidates === 0 ? this.#victim[this.words[set + STATE]] : 31 - Math.clz32(candidates & -candidates);
  }
}
