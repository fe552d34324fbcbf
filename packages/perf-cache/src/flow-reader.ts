import type { BucketIndex } from "./bucket-index.ts";
import { sameKey } from "./bucket-index.ts";
import { END, ENTRY, STAT, statsBase } from "./flow-table-layout.ts";
import type { FlowTableObserver } from "./flow-table-layout.ts";
import type { Publications } from "./publications.ts";

/** Look-ups whose heads and first entries are fetched together: more than memory works on at once, little enough for the first cache. */
const BULK = 32;

/** What a {@link FlowReader} works on; the same views as its table. */
export interface FlowReaderParts {
  readonly words: Int32Array;
  readonly stats: Float64Array;
  readonly index: BucketIndex;
  readonly publications: Publications;
  readonly keyWords: number;
  readonly stripeMask: number;
  readonly observer: FlowTableObserver | undefined;
}

/**
 * One thread's look-ups. A hit is found by plain loads only: heads and links may be a moment old, which an RCU reader must bear
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
  readonly #stripeMask: number;
  readonly #observer: FlowTableObserver | undefined;
  readonly #observed: boolean;
  /** Of the look-ups of a chunk that is under way: the first link, and the generation of the entry it leads to. */
  readonly #links: Int32Array = new Int32Array(BULK);
  readonly #generations: Int32Array = new Int32Array(BULK);

  constructor(parts: FlowReaderParts) {
    this.#words = parts.words;
    this.#stats = parts.stats;
    this.#index = parts.index;
    this.#publications = parts.publications;
    this.#keyWords = parts.keyWords;
    this.#stripeMask = parts.stripeMask;
    this.#observer = parts.observer;
    this.#observed = parts.observer !== undefined;
  }

  lookup(cpu: number, key: Int32Array, keyOffset: number, hash: number): number {
    const base = statsBase(cpu);
    this.#stats[base + STAT.lookups]++;
    return this.#observed ? this.#walk(base, key, keyOffset, hash) : this.#search(base, key, keyOffset, hash | 0);
  }

  /** Look up those from `from` to `to - 1` whose `out` is 0. Returns how many were found. */
  lookupMissing(cpu: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    let found = 0;
    for (let at = from; at < to; at += BULK) {
      const end = Math.min(to, at + BULK);
      found += this.#observed
        ? this.#walkChunk(statsBase(cpu), keys, hashes, at, end, out)
        : this.#lookupChunk(statsBase(cpu), keys, hashes, at, end, out);
    }
    return found;
  }

  #walkChunk(base: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    let found = 0;
    for (let i = from; i < to; i++) {
      if (out[i] !== 0) continue;
      this.#stats[base + STAT.lookups]++;
      out[i] = this.#walk(base, keys, i * this.#keyWords, hashes[i]);
      if (out[i] !== 0) found++;
    }
    return found;
  }

  #lookupChunk(base: number, keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    const words = this.#words;
    const { mask, bases, firstShift } = this.#index;
    const { known } = this.#publications;
    const links = this.#links;
    const generations = this.#generations;
    const stripeMask = this.#stripeMask;
    const keyWords = this.#keyWords;
    // Loads that do not wait for one another, so that the memory works on all of them at once.
    for (let i = from; i < to; i++) {
      const bucket = hashes[i] & mask;
      links[i - from] = words[bases[32 - Math.clz32(bucket >>> firstShift)] + bucket];
    }
    for (let i = from; i < to; i++) generations[i - from] = words[(links[i - from] >> 2) + ENTRY.generation];
    let looked = 0;
    let found = 0;
    for (let i = from; i < to; i++) {
      if (out[i] !== 0) continue;
      looked++;
      const hash = hashes[i];
      const newest = known[hash & stripeMask];
      let link = links[i - from];
      let generation = generations[i - from];
      let entry = 0;
      let length = 1;
      while (link > 0 && (link & 1) === 0 && (generation & 1) !== 0 && ((generation - newest) | 0) <= 0) {
        const at = link >> 2;
        if (words[at + ENTRY.hash] === hash && sameKey(words, at + ENTRY.key, keys, i * keyWords, keyWords)) {
          entry = link;
          break;
        }
        link = words[at + ENTRY.next];
        generation = words[(link >> 2) + ENTRY.generation];
        length++;
      }
      if (entry === 0) entry = this.#search(base, keys, i * keyWords, hash);
      else if (length !== 1) this.#countChain(base, length);
      out[i] = entry;
      if (entry !== 0) found++;
    }
    this.#stats[base + STAT.lookups] += looked;
    return found;
  }

  #search(base: number, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    const stripe = hash & this.#stripeMask;
    let link = words[this.#index.headOf(hash & this.#index.mask)];
    for (let length = 1; link > 0 && (link & 1) === 0; length++) {
      const at = link >> 2;
      if (!this.#publications.isKnown(stripe, words[at + ENTRY.generation])) break;
      if (words[at + ENTRY.hash] === hash && sameKey(words, at + ENTRY.key, key, keyOffset, this.#keyWords)) {
        if (length !== 1) this.#countChain(base, length);
        return link;
      }
      link = words[at + ENTRY.next];
    }
    return this.#walk(base, key, keyOffset, hash);
  }

  /** Search with Atomics: what it does not find is not there. */
  #walk(base: number, key: Int32Array, at: number, unsigned: number): number {
    const hash = unsigned | 0;
    const words = this.#words;
    const index = this.#index;
    const observer = this.#observer;
    let entered = index.mask;
    if (observer !== undefined) observer.onBucket?.(index.headOf(hash & entered) << 2);
    let length = 0;
    let link = index.start(hash);
    while (link !== END) {
      if ((link & 1) !== 0) {
        link = index.resume(hash, link, entered);
        entered = index.mask;
        continue;
      }
      length++;
      if (observer !== undefined) observer.onProbe?.(link);
      const entry = link >> 2;
      if (words[entry + ENTRY.hash] === hash && sameKey(words, entry + ENTRY.key, key, at, this.#keyWords)) break;
      link = Atomics.load(words, entry + ENTRY.next);
    }
    if (length !== 1) this.#countChain(base, length);
    if (link !== END) return link;
    this.#stats[base + STAT.misses]++;
    return 0;
  }

  /** A look-up that did not read exactly one entry. */
  #countChain(base: number, length: number): void {
    this.#stats[base + STAT.extraProbes] += length - 1;
    if (length > 1) this.#stats[base + STAT.collisions]++;
  }
}
