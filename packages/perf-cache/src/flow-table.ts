import { soloHal, SpinLocks } from "@x/smp";
import type { Hal } from "@x/smp";
import { KmemCache, SharedPages } from "@x/slab";
import type { PageSource } from "@x/slab";
import { createTable } from "./create-table.ts";
import { EntryReclaimer } from "./entry-reclaimer.ts";
import { PerfCacheError } from "./errors.ts";
import { FLOW_KEY_WORDS } from "./flow-key.ts";
import { ENTRY, resetStats, SIZE_WORD, STAT, STATS_STRIDE, sumStat } from "./flow-table-layout.ts";
import type {
  FlowTableAttachOptions,
  FlowTableHandle,
  FlowTableObserver,
  FlowTableOptions,
  HashStats,
} from "./flow-table-layout.ts";

/*
 * A chained hash table that many threads read and write:
 *
 *   bucket array     entry            entry
 *   [ head ] ----->  [ next ] ----->  [ next ] --> 0
 *   [ head ] --> 0   [ hash ]         [ hash ]
 *   [ ...  ]         [ generation ]   [ generation ]
 *                    [ value ]        [ value ]
 *                    [ limbo ]        [ limbo ]
 *                    [ key words ]    [ key words ]
 *
 * Heads and `next`: stored with Atomics under the stripe lock of the bucket, loaded with Atomics without any lock.
 * Hash and key: written before the entry is published by a store to a head, then constant until it is freed.
 * Generation: written under the stripe lock; odd while the entry is linked, even while it is not. It never goes back, and
 *   entries come from a type-stable cache, so whoever remembers (entry, generation) can tell whether it is still that flow.
 *   Readers load it plainly: a reader that has not seen the change yet is one that the grace period still waits for.
 * Value: one word, stored with Atomics; what a reader sees may be a moment old.
 * Limbo: of the CPU that unlinked the entry, while no grace period could be asked for yet.
 *
 * A reader stands on an entry while it is unlinked: `next` stays as it was until the grace period has ended.
 * Lock rule: one stripe at a time, and nothing is allocated, freed or waited for under it.
 */

/** Look-ups whose first entries are fetched together: more than memory works on at once, little enough for the first cache. */
const BULK = 32;

/**
 * A flow table in shared memory: look-ups take no lock, insertions and deletions lock one stripe of buckets.
 *
 * Entries are byte offsets into {@link FlowTable.buffer}; 0 means «none». An entry that a look-up returned stays readable
 * until the calling CPU's next RCU quiescent state (flavour `qsbr`) or the end of its read section (`mb`).
 *
 * Thread-safety: one instance per thread, attached with that thread's `hal` and `rcu`; any CPU may do anything.
 *
 * @public
 */
export class FlowTable {
  readonly handle: FlowTableHandle;
  readonly buffer: SharedArrayBuffer;
  readonly keyWords: number;
  /** Flows the table may hold. */
  readonly capacity: number;
  /** Buckets, a power of two. */
  readonly buckets: number;
  readonly #hal: Hal;
  readonly #pages: PageSource;
  readonly #entries: KmemCache;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #stats: Float64Array;
  readonly #locks: SpinLocks;
  readonly #stripeMask: number;
  readonly #heads: number;
  readonly #mask: number;
  readonly #observer: FlowTableObserver | undefined;
  readonly #reclaimer: EntryReclaimer;
  #inserted = false;
  /** Of `lookupBulk`: the hashes of the first entries of its chunk. */
  readonly #firstHashes: Int32Array = new Int32Array(BULK);

  private constructor(handle: FlowTableHandle, pages: PageSource, entries: KmemCache, options: FlowTableAttachOptions) {
    const hal = options.hal ?? soloHal();
    if (hal.possibleCpus > 1 && options.rcu === undefined) {
      throw new PerfCacheError(
        "PERF_CACHE_NEEDS_RCU",
        `a table of ${hal.possibleCpus} CPUs needs an rcu to reclaim entries`,
      );
    }
    this.handle = handle;
    this.buffer = pages.buffer;
    this.keyWords = handle.keyWords;
    this.capacity = handle.capacity;
    this.buckets = handle.buckets;
    this.#hal = hal;
    this.#pages = pages;
    this.#entries = entries;
    this.#words = new Int32Array(pages.buffer, 0, pages.buffer.byteLength >> 2);
    this.#control = new Int32Array(handle.control);
    this.#stats = new Float64Array(handle.control);
    this.#locks = SpinLocks.attach(handle.locks, { hal, observer: options.lockObserver });
    this.#stripeMask = handle.locks.count - 1;
    this.#heads = handle.bucketOffset >> 2;
    this.#mask = handle.buckets - 1;
    this.#observer = options.observer;
    this.#reclaimer = new EntryReclaimer(entries, this.#words, this.#stats, hal, options.rcu);
  }

  /** Make a table. Throws `PERF_CACHE_INVALID_ARGUMENT`, `PERF_CACHE_NO_MEMORY`, `PERF_CACHE_NEEDS_RCU`. */
  static create(options: FlowTableOptions): FlowTable {
    const { handle, pages, entries } = createTable(options);
    return new FlowTable(handle, pages, entries, options);
  }

  /** Join from another thread. `pages` is needed unless the table made its own. */
  static attach(handle: FlowTableHandle, options: FlowTableAttachOptions): FlowTable {
    const hal = options.hal ?? soloHal();
    const pages = options.pages ?? (handle.pages === undefined ? undefined : SharedPages.attach(handle.pages, { hal }));
    if (pages === undefined) {
      throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "the table needs its page source to attach");
    }
    const entries = KmemCache.attach(handle.entries, { hal, pages, lockObserver: options.lockObserver });
    return new FlowTable(handle, pages, entries, options);
  }

  /** Flows in the table. */
  get size(): number {
    return Atomics.load(this.#control, SIZE_WORD);
  }

  /** Whether this instance's last {@link FlowTable.insert} made a new entry. */
  get inserted(): boolean {
    return this.#inserted;
  }

  /** The entry of the key at `key[keyOffset ..]`, whose hash is `hash`; 0 when there is none. Takes no lock. */
  lookup(key: Int32Array, keyOffset: number, hash: number): number {
    const head = this.#heads + (hash & this.#mask);
    const first = Atomics.load(this.#words, head);
    const base = (this.#hal.currentCpu() + 1) * STATS_STRIDE;
    this.#stats[base + STAT.lookups]++;
    return this.#walk(base, head << 2, first, this.#words[(first >> 2) + ENTRY.hash], key, keyOffset, hash | 0);
  }

  /**
   * {@link FlowTable.lookup} of `count` keys that lie one behind the other in `keys`, with their `hashes`; the entries go
   * to `out`. Heads and first entries are fetched ahead, so that the memory works on many look-ups at once: faster than
   * single look-ups where the table is larger than the host's cache, not below.
   *
   * @returns how many were found.
   */
  lookupBulk(keys: Int32Array, hashes: Int32Array, count: number, out: Int32Array): number {
    let found = 0;
    for (let from = 0; from < count; from += BULK) {
      found += this.#lookupChunk(keys, hashes, from, Math.min(count, from + BULK), out);
    }
    return found;
  }

  /**
   * Add a flow. Returns its entry; the one that is there already when the key is in the table ({@link FlowTable.inserted}
   * tells which), its value unchanged; 0 when the table is full, which is counted.
   */
  insert(key: Int32Array, keyOffset: number, hash: number, value: number): number {
    this.#inserted = false;
    const fresh = this.#newEntry(key, keyOffset, hash, value);
    const head = this.#heads + (hash & this.#mask);
    const stripe = hash & this.#stripeMask;
    this.#locks.lock(stripe);
    const present = this.#find(head, key, keyOffset, hash | 0);
    if (fresh !== 0 && present === 0) {
      const at = fresh >> 2;
      this.#words[at + ENTRY.generation] = (this.#words[at + ENTRY.generation] + 1) | 1;
      this.#words[at + ENTRY.next] = this.#words[head];
      Atomics.store(this.#words, head, fresh);
    }
    this.#locks.unlock(stripe);
    if (present !== 0) {
      if (fresh !== 0) this.#dropEntry(fresh);
      return present;
    }
    if (fresh === 0) {
      this.#count(STAT.full);
      return 0;
    }
    this.#inserted = true;
    this.#count(STAT.inserts);
    this.#observer?.onInsert?.(fresh);
    return fresh;
  }

  /**
   * Take `entry` out of the table; its memory is reused after a grace period. With `generation`, only if the entry is
   * still of that generation. Returns whether this call took it out.
   */
  delete(entry: number, generation?: number): boolean {
    const words = this.#words;
    const at = entry >> 2;
    const hash = words[at + ENTRY.hash];
    const stripe = hash & this.#stripeMask;
    this.#locks.lock(stripe);
    const wanted = generation === undefined || words[at + ENTRY.generation] === generation;
    const removed = wanted && words[at + ENTRY.hash] === hash && this.#unlink(entry, this.#heads + (hash & this.#mask));
    this.#locks.unlock(stripe);
    if (!removed) return false;
    Atomics.sub(this.#control, SIZE_WORD, 1);
    this.#count(STAT.deletes);
    this.#observer?.onDelete?.(entry);
    this.#reclaimer.retire(entry);
    return true;
  }

  value(entry: number): number {
    return this.#words[(entry >> 2) + ENTRY.value];
  }

  /** Replace the value of an entry that the caller may touch. */
  setValue(entry: number, value: number): void {
    Atomics.store(this.#words, (entry >> 2) + ENTRY.value, value);
  }

  /** A number that changes whenever the entry leaves or enters the table: odd while it is in. */
  generation(entry: number): number {
    return this.#words[(entry >> 2) + ENTRY.generation];
  }

  hashOf(entry: number): number {
    return this.#words[(entry >> 2) + ENTRY.hash];
  }

  /** Whether the key of `entry` is the one at `key[keyOffset ..]`. */
  matches(entry: number, key: Int32Array, keyOffset: number): boolean {
    return this.#equal((entry >> 2) + ENTRY.key, key, keyOffset);
  }

  /** Copy the key of `entry` to `into[offset ..]`. */
  readKey(entry: number, into: Int32Array, offset = 0): void {
    const from = (entry >> 2) + ENTRY.key;
    for (let i = 0; i < this.keyWords; i++) into[offset + i] = this.#words[from + i];
  }

  /** Call `visit` with every entry; it may delete the one it is given. Flows that come or go meanwhile may be missed. */
  forEach(visit: (entry: number) => void): void {
    const words = this.#words;
    for (let bucket = 0; bucket < this.buckets; bucket++) {
      let entry = Atomics.load(words, this.#heads + bucket);
      while (entry !== 0) {
        const next = Atomics.load(words, (entry >> 2) + ENTRY.next);
        visit(entry);
        entry = next;
      }
    }
  }

  /** Counts since the last reset, and the chains as they are now. Cost: a walk over the table. */
  stats(): HashStats {
    let used = 0;
    let longest = 0;
    for (let bucket = 0; bucket < this.buckets; bucket++) {
      const length = this.#chainLength(bucket);
      if (length > 0) used++;
      if (length > longest) longest = length;
    }
    const lookups = sumStat(this.#stats, STAT.lookups);
    const misses = sumStat(this.#stats, STAT.misses);
    const size = this.size;
    return {
      size,
      capacity: this.capacity,
      buckets: this.buckets,
      bucketUsage: used,
      maxChainLength: longest,
      averageChainLength: used === 0 ? 0 : size / used,
      lookups,
      hits: lookups - misses,
      misses,
      collisions: sumStat(this.#stats, STAT.collisions),
      averageProbes: lookups === 0 ? 0 : 1 + sumStat(this.#stats, STAT.extraProbes) / lookups,
      inserts: sumStat(this.#stats, STAT.inserts),
      deletes: sumStat(this.#stats, STAT.deletes),
      full: sumStat(this.#stats, STAT.full),
    };
  }

  /** Set the counts to 0. Only while no CPU counts. The chains stay as they are. */
  resetStats(): void {
    resetStats(this.#stats);
  }

  /**
   * End of the table: everything goes back to the page source. No CPU may use the table any more, and `rcu.barrier()` must
   * have run what was deleted. Returns the entries that were still waiting for a grace period: their pages stay.
   */
  destroy(): number {
    this.forEach((entry) => this.#entries.free(entry));
    this.#reclaimer.freeAll();
    const left = this.#entries.destroy();
    this.#pages.freePages(this.handle.bucketOffset, this.handle.bucketOrder);
    return left;
  }

  #equal(at: number, key: Int32Array, offset: number): boolean {
    const words = this.#words;
    if (this.keyWords !== FLOW_KEY_WORDS) return this.#equalWords(at, key, offset);
    return (
      ((words[at] ^ key[offset]) |
        (words[at + 1] ^ key[offset + 1]) |
        (words[at + 2] ^ key[offset + 2]) |
        (words[at + 3] ^ key[offset + 3]) |
        (words[at + 4] ^ key[offset + 4]) |
        (words[at + 5] ^ key[offset + 5]) |
        (words[at + 6] ^ key[offset + 6]) |
        (words[at + 7] ^ key[offset + 7]) |
        (words[at + 8] ^ key[offset + 8]) |
        (words[at + 9] ^ key[offset + 9])) ===
      0
    );
  }

  #equalWords(at: number, key: Int32Array, offset: number): boolean {
    for (let i = 0; i < this.keyWords; i++) if (this.#words[at + i] !== key[offset + i]) return false;
    return true;
  }

  #lookupChunk(keys: Int32Array, hashes: Int32Array, from: number, to: number, out: Int32Array): number {
    const words = this.#words;
    for (let i = from; i < to; i++) out[i] = Atomics.load(words, this.#heads + (hashes[i] & this.#mask));
    for (let i = from; i < to; i++) this.#firstHashes[i - from] = words[(out[i] >> 2) + ENTRY.hash];
    const base = (this.#hal.currentCpu() + 1) * STATS_STRIDE;
    let found = 0;
    for (let i = from; i < to; i++) {
      const bucket = (this.#heads + (hashes[i] & this.#mask)) << 2;
      const entry = this.#walk(base, bucket, out[i], this.#firstHashes[i - from], keys, i * this.keyWords, hashes[i]);
      out[i] = entry;
      if (entry !== 0) found++;
    }
    this.#stats[base + STAT.lookups] += to - from;
    return found;
  }

  /** Search a chain whose first entry and its hash are known already. */
  #walk(
    base: number,
    bucket: number,
    first: number,
    firstHash: number,
    key: Int32Array,
    at: number,
    hash: number,
  ): number {
    const words = this.#words;
    const observer = this.#observer;
    if (observer !== undefined) observer.onBucket?.(bucket);
    let length = 0;
    let entry = first;
    let entryHash = firstHash;
    while (entry !== 0) {
      length++;
      if (observer !== undefined) observer.onProbe?.(entry);
      if (entryHash === hash && this.#equal((entry >> 2) + ENTRY.key, key, at)) break;
      entry = Atomics.load(words, (entry >> 2) + ENTRY.next);
      entryHash = words[(entry >> 2) + ENTRY.hash];
    }
    if (entry === 0) this.#stats[base + STAT.misses]++;
    if (length !== 1) this.#countChain(base, length);
    return entry;
  }

  /** The search of writers, under the stripe lock; not counted as a look-up. */
  #find(head: number, key: Int32Array, keyOffset: number, hash: number): number {
    const words = this.#words;
    let entry = words[head];
    while (entry !== 0) {
      const at = entry >> 2;
      if (words[at + ENTRY.hash] === hash && this.#equal(at + ENTRY.key, key, keyOffset)) return entry;
      entry = words[at + ENTRY.next];
    }
    return 0;
  }

  #newEntry(key: Int32Array, keyOffset: number, hash: number, value: number): number {
    if (Atomics.add(this.#control, SIZE_WORD, 1) >= this.capacity) {
      Atomics.sub(this.#control, SIZE_WORD, 1);
      return 0;
    }
    const entry = this.#entries.alloc();
    if (entry === 0) {
      Atomics.sub(this.#control, SIZE_WORD, 1);
      return 0;
    }
    const at = entry >> 2;
    this.#words[at + ENTRY.hash] = hash;
    this.#words[at + ENTRY.value] = value;
    for (let i = 0; i < this.keyWords; i++) this.#words[at + ENTRY.key + i] = key[keyOffset + i];
    return entry;
  }

  /** An entry that was never published needs no grace period. */
  #dropEntry(entry: number): void {
    this.#entries.free(entry);
    Atomics.sub(this.#control, SIZE_WORD, 1);
  }

  #unlink(entry: number, head: number): boolean {
    const words = this.#words;
    let link = head;
    for (let at = words[link]; at !== 0; at = words[link]) {
      if (at === entry) {
        Atomics.add(words, (entry >> 2) + ENTRY.generation, 1);
        Atomics.store(words, link, words[(entry >> 2) + ENTRY.next]);
        return true;
      }
      link = (at >> 2) + ENTRY.next;
    }
    return false;
  }

  #chainLength(bucket: number): number {
    let length = 0;
    let entry = Atomics.load(this.#words, this.#heads + bucket);
    for (; entry !== 0; entry = Atomics.load(this.#words, (entry >> 2) + ENTRY.next)) length++;
    return length;
  }

  #statWord(cpu: number, stat: number): number {
    return (cpu + 1) * STATS_STRIDE + stat;
  }

  /** A look-up that did not read exactly one entry. */
  #countChain(base: number, length: number): void {
    this.#stats[base + STAT.extraProbes] += length - 1;
    if (length > 1) this.#stats[base + STAT.collisions]++;
  }

  #count(stat: number): void {
    this.#stats[this.#statWord(this.#hal.currentCpu(), stat)]++;
  }
}
