import * as layout from "./batch-layout.ts";
import type { BucketIndex } from "./bucket-index.ts";
import { END, ENTRY, STAT, STATS_STRIDE, statsBase } from "./flow-table-layout.ts";
import type { FlowTableObserver } from "./flow-table-layout.ts";
import { FLOW_KEY_IPV6, FLOW_KEY_WORDS } from "./flow-key.ts";
import type { FlowHasher } from "./flow-hasher.ts";
import type { TableLookups } from "./lookup-wasm.ts";
import type { Publications } from "./publications.ts";
import { sameKey } from "./entry-key.ts";

// The engine makes a module's own constants part of the code; an imported one is a cell that is loaded and checked at each use.
const { next: NEXT, hash: HASH, generation: GENERATION, key: KEY } = ENTRY;
const { lookups: LOOKUPS, misses: MISSES, extraProbes: EXTRA_PROBES, collisions: COLLISIONS } = STAT;
const FIRST_STATS = statsBase(0);
const STRIDE = STATS_STRIDE;
const NONE = END;
const isSame = sameKey;
const IPV6 = FLOW_KEY_IPV6;
const KEY_WORDS = FLOW_KEY_WORDS;
const BATCH_WORDS = layout.BATCH_BYTES >> 2;
const HASHES = layout.HASHES >> 2;
const RESULTS = layout.RESULTS >> 2;

/** Look-ups whose heads and first entries are fetched together: more than memory works on at once, little enough for the first cache. */
const BULK = layout.BATCH;

/** What a {@link FlowReader} works on; the same views as its table. */
export interface FlowReaderParts {
  readonly words: Int32Array;
  readonly stats: Float64Array;
  readonly index: BucketIndex;
  readonly publications: Publications;
  readonly keyWords: number;
  readonly compared: number;
  readonly stripeMask: number;
  readonly hasher: FlowHasher;
  /** Undefined where look-ups are JavaScript's. */
  readonly wasm: TableLookups | undefined;
  /** The word of the batch of CPU 0. */
  readonly batchesAt: number;
  readonly observer: FlowTableObserver | undefined;
}

/**
 * One thread's look-ups, by WebAssembly where the table has it (lookup-wasm.ts), else in JavaScript. There a hit is found by plain loads only: heads and links may be a moment old, which an RCU reader must bear
 * anyway, and what an entry holds is read when publications.ts says that it is there to be seen. Whatever is not a hit in
 * this way is looked for again with Atomics: an empty bucket, the end of a chain, a bucket that is being divided, an entry just
 * deleted.
 */
export class FlowReader {
  readonly #words: Int32Array;
  readonly #stats: Float64Array;
  readonly #index: BucketIndex;
  readonly #publications: Publications;
  readonly #keyWords: number;
  readonly #compared: number;
  /** {@link Publications.known}. */
  readonly #known: Int32Array;
  readonly #stripeMask: number;
  readonly #hasher: FlowHasher;
  readonly #wasm: TableLookups | undefined;
  readonly #batchesAt: number;
  readonly #observer: FlowTableObserver | undefined;
  /** Of the look-ups of a chunk that is under way: the entries they begin with. In the last place what was read for the cache alone, so that it is read. */
  readonly #links: Int32Array = new Int32Array(BULK + 1);

  constructor(parts: FlowReaderParts) {
    this.#words = parts.words;
    this.#stats = parts.stats;
    this.#index = parts.index;
    this.#publications = parts.publications;
    this.#keyWords = parts.keyWords;
    this.#compared = parts.compared;
    this.#known = parts.publications.known;
    this.#stripeMask = parts.stripeMask;
    this.#hasher = parts.hasher;
    this.#wasm = parts.wasm;
    this.#batchesAt = parts.batchesAt;
    this.#observer = parts.observer;
  }

  lookup(cpu: number, key: Int32Array, keyOffset: number, hash: number): number {
    const base = FIRST_STATS + cpu * STRIDE;
    const wasm = this.#wasm;
    if (wasm !== undefined) {
      const batch = this.#batchOf(cpu) << 2;
      const last = key[keyOffset + 9];
      const found =
        (last & IPV6) === 0
          ? wasm.look4(key[keyOffset], key[keyOffset + 4], key[keyOffset + 8], last, hash, this.#index.mask, batch)
          : this.#lookIpv6(wasm, key, keyOffset, hash, batch);
      if (found !== 0) return found;
      return this.#walk(base, key, keyOffset, hash | 0);
    }
    this.#stats[base + LOOKUPS]++;
    if (this.#observer === undefined) return this.#search(base, key, keyOffset, hash | 0);
    return this.#walk(base, key, keyOffset, hash | 0);
  }

  /** {@link FlowReader.lookup}, hash computed. */
  find(cpu: number, key: Int32Array, keyOffset: number): number {
    const wasm = this.#wasm;
    const last = key[keyOffset + 9];
    if (wasm === undefined || (last & IPV6) !== 0) {
      return this.lookup(cpu, key, keyOffset, this.#hasher.hash(key, keyOffset));
    }
    const base = FIRST_STATS + cpu * STRIDE;
    const batch = this.#batchOf(cpu) << 2;
    const found = wasm.find4(key[keyOffset], key[keyOffset + 4], key[keyOffset + 8], last, this.#index.mask, batch);
    return found === 0 ? this.#walk(base, key, keyOffset, this.#hasher.hash(key, keyOffset)) : found;
  }

  /** A function of its own, so that the engine makes {@link FlowReader.lookup} of an IPv4 key part of the code around it. */
  #lookIpv6(wasm: TableLookups, key: Int32Array, at: number, hash: number, batch: number): number {
    return wasm.look10(
      key[at],
      key[at + 1],
      key[at + 2],
      key[at + 3],
      key[at + 4],
      key[at + 5],
      key[at + 6],
      key[at + 7],
      key[at + 8],
      key[at + 9],
      hash,
      this.#index.mask,
      batch,
    );
  }

  /** What is left of a look-up that WebAssembly counted and did not find: a search with Atomics. */
  walk(cpu: number, key: Int32Array, keyOffset: number, hash: number): number {
    return this.#walk(FIRST_STATS + cpu * STRIDE, key, keyOffset, hash | 0);
  }

  hash(key: Int32Array, keyOffset: number): number {
    return this.#hasher.hash(key, keyOffset);
  }

  generation(entry: number): number {
    return this.#words[(entry >> 2) + GENERATION];
  }

  /** Look up those from `from` to `to - 1` whose `out` is 0. Returns how many were found. */
  lookupMissing(cpu: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    const base = FIRST_STATS + cpu * STRIDE;
    let found = 0;
    for (let at = from; at < to; at += BULK) {
      const end = Math.min(to, at + BULK);
      if (this.#observer !== undefined) found += this.#walkChunk(base, keys, hashes, at, end, out);
      else found += this.#lookupChunk(base, keys, hashes, at, end, out);
    }
    return found;
  }

  /** Look up the first `count` keys, whose hashes are given. Returns how many were found. */
  lookupBulk(cpu: number, keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    return this.#bulk(cpu, keys, hashes, true, count, out);
  }

  /** {@link FlowReader.lookupBulk}, hashes computed. */
  findBulk(cpu: number, keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    return this.#bulk(cpu, keys, hashes, false, count, out);
  }

  #bulk(cpu: number, keys: Int32Array, hashes: Int32Array, areGiven: boolean, count: number, out: Int32Array): number {
    let found = 0;
    for (let from = 0; from < count; from += BULK) {
      const to = Math.min(count, from + BULK);
      const byWasm = this.#bulkByWasm(cpu, keys, hashes, areGiven, from, to, out);
      found += byWasm >= 0 ? byWasm : this.#bulkByJavaScript(cpu, keys, hashes, areGiven, from, to, out);
    }
    return found;
  }

  #bulkByJavaScript(
    cpu: number,
    keys: Int32Array,
    hashes: Int32Array,
    areGiven: boolean,
    from: number,
    to: number,
    out: Int32Array,
  ): number {
    if (!areGiven) for (let i = from; i < to; i++) hashes[i] = this.#hasher.hash(keys, i * this.#keyWords);
    out.fill(0, from, to);
    return this.lookupMissing(cpu, keys, hashes, from, to, out);
  }

  /** Returns how many were found; -1 when it cannot be done. */
  #bulkByWasm(
    cpu: number,
    keys: Int32Array,
    hashes: Int32Array,
    areGiven: boolean,
    from: number,
    to: number,
    out: Int32Array,
  ): number {
    const wasm = this.#wasm;
    const batch = this.#batchOf(cpu);
    if (wasm === undefined || !this.#stage(batch, keys, from, to)) return -1;
    const words = this.#words;
    const batchHashes = batch + HASHES - from;
    const results = batch + RESULTS - from;
    let missing = 0;
    if (areGiven) {
      for (let i = from; i < to; i++) words[batchHashes + i] = hashes[i];
      missing = wasm.lookBatch(batch << 2, to - from, this.#index.mask);
      for (let i = from; i < to; i++) out[i] = words[results + i];
    } else {
      missing = wasm.findBatch(batch << 2, to - from, this.#index.mask);
      for (let i = from; i < to; i++) {
        hashes[i] = words[batchHashes + i];
        out[i] = words[results + i];
      }
    }
    const found = to - from - missing;
    return missing === 0 ? found : found + this.#walkChunk(FIRST_STATS + cpu * STRIDE, keys, hashes, from, to, out);
  }

  /** The word where the batch of `cpu` begins. */
  #batchOf(cpu: number): number {
    return this.#batchesAt + cpu * BATCH_WORDS;
  }

  /** Copy the keys from `from` to `to - 1` to the batch at the word `batch`. False if there is an IPv6 key, for which it has no room. */
  #stage(batch: number, keys: Int32Array, from: number, to: number): boolean {
    const words = this.#words;
    let kinds = 0;
    let into = batch;
    for (let at = from * KEY_WORDS; at < to * KEY_WORDS; at += KEY_WORDS) {
      const last = keys[at + 9];
      kinds |= last;
      words[into] = keys[at];
      words[into + 1] = keys[at + 4];
      words[into + 2] = keys[at + 8];
      words[into + 3] = last;
      into += 4;
    }
    return (kinds & IPV6) === 0;
  }

  /** Search with Atomics for those from `from` to `to - 1` whose `out` is 0. Returns how many were found. */
  #walkChunk(base: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    let found = 0;
    for (let i = from; i < to; i++) {
      if (out[i] !== 0) continue;
      this.#stats[base + LOOKUPS]++;
      out[i] = this.#walk(base, keys, i * this.#keyWords, hashes[i]);
      if (out[i] !== 0) found++;
    }
    return found;
  }

  #lookupChunk(base: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    const skipped = this.#fetch(hashes, from, to);
    const words = this.#words;
    const known = this.#known;
    const links = this.#links;
    const stripeMask = this.#stripeMask;
    const keyWords = this.#keyWords;
    const compared = this.#compared;
    let looked = 0;
    let found = 0;
    let collisions = 0;
    for (let i = from; i < to; i++) {
      if (out[i] !== 0) continue;
      looked++;
      const hash = hashes[i];
      const link = links[i - from];
      const at = link >> 2;
      let entry = 0;
      if (link > 0 && (link & 1) === 0) {
        const generation = words[at + GENERATION];
        const isKnown = (generation & 1) !== 0 && ((generation - known[hash & stripeMask]) | 0) <= 0;
        if (isKnown && isSame(words, at + KEY, keys, i * keyWords, compared)) entry = link;
      }
      if (entry !== 0) collisions += (skipped >>> (i - from)) & 1;
      else entry = this.#search(base, keys, i * keyWords, hash);
      out[i] = entry;
      if (entry !== 0) found++;
    }
    const stats = this.#stats;
    stats[base + LOOKUPS] += looked;
    stats[base + EXTRA_PROBES] += collisions;
    stats[base + COLLISIONS] += collisions;
    return found;
  }

  /**
   * Get into the cache what look-ups of `hashes[from]` to `hashes[to - 1]` will read, in loops of loads that do not wait for one another, and
   * leave in `#links` where each begins: the first entry of its chain, or the second one when the first one has another hash. Returns a
   * bit for each of those.
   */
  #fetch(hashes: Int32Array, from: number, to: number): number {
    const words = this.#words;
    const { mask, bases } = this.#index;
    const known = this.#known;
    const links = this.#links;
    const stripeMask = this.#stripeMask;
    const count = to - from;
    for (let i = 0; i < count; i++) {
      const bucket = hashes[from + i] & mask;
      links[i] = words[bases[Math.clz32(bucket)] + bucket];
    }
    let skipped = 0;
    for (let i = 0; i < count; i++) {
      const link = links[i];
      const hash = hashes[from + i];
      if (link <= 0 || (link & 1) !== 0) continue;
      const at = link >> 2;
      const generation = words[at + GENERATION];
      if ((generation & 1) === 0 || ((generation - known[hash & stripeMask]) | 0) > 0) continue;
      const difference = words[at + HASH] ^ hash;
      // -1 when they differ, 0 when not: a branch here could not be predicted.
      const differs = (difference | (0 - difference)) >> 31;
      links[i] = link ^ ((link ^ words[at + NEXT]) & differs);
      skipped |= (differs & 1) << i;
    }
    let touched = 0;
    for (let i = 0; i < count; i++) touched ^= words[links[i] >> 2];
    links[BULK] = touched;
    return skipped;
  }

  #search(base: number, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    const compared = this.#compared;
    const known = this.#known;
    const { mask, bases } = this.#index;
    const stripe = hash & this.#stripeMask;
    const bucket = hash & mask;
    let link = words[bases[Math.clz32(bucket)] + bucket];
    for (let length = 1; link > 0 && (link & 1) === 0; length++) {
      const at = link >> 2;
      const generation = words[at + GENERATION];
      if ((generation & 1) === 0) break;
      if (((generation - known[stripe]) | 0) > 0 && ((generation - this.#publications.learn(stripe)) | 0) > 0) break;
      if (words[at + HASH] === hash && isSame(words, at + KEY, key, keyOffset, compared)) {
        if (length !== 1) this.#countChain(base, length);
        return link;
      }
      link = words[at + NEXT];
    }
    return this.#walk(base, key, keyOffset, hash);
  }

  /** Search with Atomics: what it does not find is not there. */
  #walk(base: number, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    const index = this.#index;
    const observer = this.#observer;
    let entered = index.mask;
    if (observer !== undefined) observer.onBucket?.(index.headOf(hash & entered) << 2);
    let length = 0;
    let link = index.start(hash);
    while (link !== NONE) {
      if ((link & 1) !== 0) {
        link = index.resume(hash, link, entered);
        entered = index.mask;
        continue;
      }
      length++;
      if (observer !== undefined) observer.onProbe?.(link);
      const entry = link >> 2;
      if (words[entry + HASH] === hash && isSame(words, entry + KEY, key, keyOffset, this.#compared)) break;
      link = Atomics.load(words, entry + NEXT);
    }
    if (length !== 1) this.#countChain(base, length);
    if (link !== NONE) return link;
    this.#stats[base + MISSES]++;
    return 0;
  }

  /** A look-up that did not read exactly one entry. */
  #countChain(base: number, length: number): void {
    this.#stats[base + EXTRA_PROBES] += length - 1;
    if (length > 1) this.#stats[base + COLLISIONS]++;
  }
}
