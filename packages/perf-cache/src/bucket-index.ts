import type { Hal, SpinLocks } from "@x/smp";
import type { PageSource } from "@x/slab";
import { comparedWords, sameKey } from "./entry-key.ts";
import { CONTROL, END, ENTRY, markingWord } from "./flow-table-layout.ts";
import type { FlowTableHandle } from "./flow-table-layout.ts";
import type { Publications } from "./publications.ts";

/*
 * The buckets of a table: split-ordered lists (Shalev & Shavit, «Split-ordered lists: lock-free extensible hash tables», JACM
 * 2006), with locks for writers and bucket heads that stand in the lists themselves.
 *
 *   head of 1 -> entry -> entry -> (bucket 3) -> entry -> (end)          the list of all hashes that end in ...1
 *                                       ^
 *   head of 3 --------------------------' same place: the head word of bucket 3 is the link behind it
 *
 * Every first bucket begins a list, sorted by the hash with its bits reversed. So the entries of bucket b of n are one stretch
 * of a list, and when there are 2n buckets, those that belong to bucket b + n are the end of that stretch: growing moves
 * nothing, it only sets a mark where the new bucket begins.
 *
 * A link is an entry's offset (even), a mark of a bucket (bucket << 1 | 1), or END (1, odd too). A head of 0 has no mark yet:
 * its entries are reached from the bucket without the highest bit, which always has one, because the next growth waits for all marks.
 *
 * Links and heads: stored with Atomics under the stripe lock; loaded by readers plainly at first, then with Atomics (flow-reader.ts). The stripe of an entry is its hash
 * modulo the stripes, of which there are no more than first buckets: so a whole list is under one lock, however many buckets
 * there are, and growing needs no lock but that of the list it marks.
 * Mask and segments of heads: stored with Atomics by the CPU that took GROWTH; each thread keeps a copy. An old copy is right
 * for a hit; a reader that misses and a writer that meets a mark it does not know look whether there are more buckets now.
 * Marking, a word a CPU: 1 from before the CPU takes a bucket from CURSOR until that bucket has its mark. So all buckets have theirs
 * when CURSOR is at the last and no CPU is marking.
 *
 * A thread may die at any of these writes. Its stripe goes to the next owner, who repairs: takes out the entry whose deletion had
 * begun (its generation is even), and a head whose mark was not set yet.
 */

/** Marks set by each insertion while a growth is under way. Two are enough to be done before the next one. */
const MARKS_PER_INSERT = 4;
/** As many as a word can have leading zeros. */
const BASES = 33;
/** In GROWTH: CPU + 1 adds buckets, or there is no memory for more. */
const STOPPED = -1;

/** The bits of a word in reverse order, unsigned. */
export function reverseBits(word: number): number {
  let v = ((word >>> 1) & 0x55555555) | ((word & 0x55555555) << 1);
  v = ((v >>> 2) & 0x33333333) | ((v & 0x33333333) << 2);
  v = ((v >>> 4) & 0x0f0f0f0f) | ((v & 0x0f0f0f0f) << 4);
  v = ((v >>> 8) & 0x00ff00ff) | ((v & 0x00ff00ff) << 8);
  return ((v >>> 16) | (v << 16)) >>> 0;
}

/** One thread's view of the buckets. Callers hold the stripe's lock where it says so. */
export class BucketIndex {
  /** Buckets minus 1, as this thread knows it. */
  mask = -1;
  readonly #locks: SpinLocks;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #pages: PageSource;
  readonly #publications: Publications;
  readonly #firstBuckets: number;
  readonly #maxBuckets: number;
  readonly #compared: number;
  readonly #hal: Hal;
  /** By the leading zero bits of a bucket's number: the word of the first head of its segment, minus the number of that bucket. */
  readonly bases: Int32Array;

  constructor(
    handle: FlowTableHandle,
    control: Int32Array,
    pages: PageSource,
    locks: SpinLocks,
    publications: Publications,
    hal: Hal,
  ) {
    this.#locks = locks;
    this.#publications = publications;
    this.#words = new Int32Array(pages.buffer, 0, pages.buffer.byteLength >> 2);
    this.#control = control;
    this.#pages = pages;
    this.#firstBuckets = handle.buckets;
    this.#maxBuckets = handle.maxBuckets;
    this.#compared = comparedWords(handle);
    this.#hal = hal;
    // Look-ups by WebAssembly read the bases, too. Who knows a bucket has written its base, and everybody writes the same.
    const shared = handle.lookups;
    this.bases = shared === undefined ? new Int32Array(BASES) : new Int32Array(pages.buffer, shared.at, BASES);
    this.refresh();
  }

  /** Take notice of growth. Returns whether there was any. */
  refresh(): boolean {
    const mask = Atomics.load(this.#control, CONTROL.mask);
    if (mask === this.mask) return false;
    for (let segment = 0; segment < this.#segmentsOf(mask + 1); segment++) {
      const head = Atomics.load(this.#control, CONTROL.segments + segment) >> 2;
      const first = this.#firstBuckets * 2 ** (segment - 1);
      // The first segment has the buckets of all smaller numbers of bits, each other one those of one.
      if (segment === 0) this.bases.fill(head, Math.clz32(this.#firstBuckets - 1));
      else this.bases[Math.clz32(first)] = head - first;
    }
    this.mask = mask;
    return true;
  }

  /** The word of a bucket's head. */
  headOf(bucket: number): number {
    return this.bases[Math.clz32(bucket)] + bucket;
  }

  /** The first link of the stretch in which entries of `hash` are, for readers. */
  start(hash: number): number {
    const bucket = hash & this.mask;
    const link = Atomics.load(this.#words, this.headOf(bucket));
    return link === 0 ? Atomics.load(this.#words, this.headOf(parentOf(bucket))) : link;
  }

  /**
   * What to read where a stretch, entered when there were `mask + 1` buckets, ended without a hit: the link to go on from, or END
   * when there is no such entry.
   */
  resume(hash: number, link: number, mask: number): number {
    if (mask !== this.mask || this.refresh()) return this.start(hash);
    const bucket = hash & mask;
    // The bucket got its mark while we came from its parent: its entries are behind the mark.
    return link >>> 1 === bucket ? Atomics.load(this.#words, this.headOf(bucket)) : END;
  }

  /** The entry of a key, or 0, and in {@link BucketIndex.at} the word of the link to it, or of that which would lead to it. Under the lock. */
  find(key: Int32Array, offset: number, hash: number): number {
    const words = this.#words;
    const wanted = reverseBits(hash);
    let at = this.#enter(hash);
    for (let link = words[at]; ; link = words[at]) {
      if ((link & 1) !== 0) {
        if (link === END || reverseBits(link >>> 1) > wanted) break;
        at = this.#known(link >>> 1);
        continue;
      }
      const entry = link >> 2;
      const entryHash = words[entry + ENTRY.hash];
      if (entryHash === hash) {
        if (sameKey(words, entry + ENTRY.key, key, offset, this.#compared)) return link;
      } else if (reverseBits(entryHash) > wanted) break;
      at = entry + ENTRY.next;
    }
    this.at = at;
    return 0;
  }

  /** See {@link BucketIndex.find}. */
  at = 0;

  /** Put `entry` where {@link BucketIndex.find} did not find it. Its other words are written. Under the lock. */
  link(entry: number): void {
    const words = this.#words;
    const at = entry >> 2;
    const stripe = words[at + ENTRY.hash] & (this.#locks.count - 1);
    const generation = this.#publications.next(stripe, words[at + ENTRY.generation]);
    words[at + ENTRY.generation] = generation;
    words[at + ENTRY.next] = words[this.at];
    this.#publications.publish(stripe, generation);
    Atomics.store(words, this.at, entry);
  }

  /** Take `entry` out; readers that stand on it go on from there. Returns whether it was in. Under the lock. */
  unlink(entry: number): boolean {
    const words = this.#words;
    const at = this.#linkTo(entry);
    if (at < 0) return false;
    Atomics.add(words, (entry >> 2) + ENTRY.generation, 1);
    Atomics.store(words, at, words[(entry >> 2) + ENTRY.next]);
    return true;
  }

  /** Whether `entry` is in. Takes the lock. */
  holds(entry: number): boolean {
    const stripe = this.#words[(entry >> 2) + ENTRY.hash] & (this.#locks.count - 1);
    this.lock(stripe);
    const held = this.#linkTo(entry) >= 0;
    this.unlock(stripe);
    return held;
  }

  lock(stripe: number): void {
    if (this.#locks.lock(stripe)) this.#repair(stripe);
  }

  unlock(stripe: number): void {
    this.#locks.unlock(stripe);
  }

  /** The thread of `cpu` is dead: its stripe goes to the next owner, and growth goes on without it. */
  reportDead(cpu: number): void {
    this.#locks.releaseDeadOwner(cpu);
    if (Atomics.load(this.#control, markingWord(cpu)) !== 0) {
      this.refresh();
      const cursor = Atomics.load(this.#control, CONTROL.cursor);
      for (let bucket = this.#firstBuckets; bucket < cursor; bucket++) this.#setMark(bucket);
      Atomics.store(this.#control, markingWord(cpu), 0);
    }
    // Buckets it was adding and had not published are lost.
    Atomics.compareExchange(this.#control, CONTROL.growth, cpu + 1, 0);
  }

  /** The word of the link to `entry`, or -1. Under the lock. */
  #linkTo(entry: number): number {
    const words = this.#words;
    const hash = words[(entry >> 2) + ENTRY.hash];
    const wanted = reverseBits(hash);
    let at = this.#enter(hash);
    for (let link = words[at]; ; link = words[at]) {
      if (link === entry) return at;
      if ((link & 1) !== 0) {
        if (link === END || reverseBits(link >>> 1) > wanted) return -1;
        at = this.#known(link >>> 1);
      } else if (reverseBits(words[(link >> 2) + ENTRY.hash]) > wanted) return -1;
      else at = (link >> 2) + ENTRY.next;
    }
  }

  /** Double the buckets if `size` asks for it, and set some marks of a growth under way. No lock may be held. */
  grow(size: number): void {
    if (this.mask + 1 >= this.#maxBuckets && Atomics.load(this.#control, CONTROL.cursor) > this.mask) return;
    this.refresh();
    const buckets = this.mask + 1;
    if (Atomics.load(this.#control, CONTROL.cursor) < buckets) this.#setMarks(buckets);
    else if (size * 2 > buckets && buckets < this.#maxBuckets && !this.#isMarking()) this.#addSegment(buckets);
  }

  /** Call `visit` with every entry that is there throughout, once; it may take out the one it is given. Takes no lock. */
  forEach(visit: (entry: number) => void): void {
    for (let bucket = 0; bucket < this.#firstBuckets; bucket++) {
      let link = Atomics.load(this.#words, this.headOf(bucket));
      while (link !== END) {
        if ((link & 1) !== 0) {
          link = Atomics.load(this.#words, this.#known(link >>> 1));
          continue;
        }
        const next = Atomics.load(this.#words, (link >> 2) + ENTRY.next);
        visit(link);
        link = next;
      }
    }
  }

  /** Entries between the mark of `bucket` and the next one; 0 for a bucket without a mark. */
  chainLength(bucket: number): number {
    let length = 0;
    let link = Atomics.load(this.#words, this.headOf(bucket));
    for (; link !== 0 && (link & 1) === 0; link = Atomics.load(this.#words, (link >> 2) + ENTRY.next)) length++;
    return length;
  }

  /** Give the heads back. Nobody may use the buckets any more. */
  destroy(): void {
    this.refresh();
    for (let segment = 0; segment < this.#segmentsOf(this.mask + 1); segment++) {
      const offset = Atomics.load(this.#control, CONTROL.segments + segment);
      this.#pages.freePages(offset, segmentOrder(this.#firstBuckets, segment, this.#pages.pageBytes));
    }
  }

  /** The head from which to search `hash`, with its mark set. Under the lock. */
  #enter(hash: number): number {
    const bucket = hash & this.mask;
    const head = this.headOf(bucket);
    if (this.#words[head] === 0) this.#mark(bucket, head);
    return head;
  }

  /** The head of a bucket that another thread may have added. */
  #known(bucket: number): number {
    if (bucket > this.mask) this.refresh();
    return this.headOf(bucket);
  }

  /** Begin `bucket` where its entries begin. Under the lock. */
  #mark(bucket: number, head: number): void {
    const words = this.#words;
    const wanted = reverseBits(bucket);
    let at = this.headOf(parentOf(bucket));
    for (let link = words[at]; link !== END; link = words[at]) {
      const odd = (link & 1) !== 0;
      if (reverseBits(odd ? link >>> 1 : words[(link >> 2) + ENTRY.hash]) >= wanted) break;
      at = odd ? this.#known(link >>> 1) : (link >> 2) + ENTRY.next;
    }
    // First the head, then the mark: whoever sees the mark finds the rest behind it.
    Atomics.store(words, head, words[at]);
    Atomics.store(words, at, (bucket << 1) | 1);
  }

  #setMarks(buckets: number): void {
    const marking = markingWord(this.#hal.currentCpu());
    Atomics.store(this.#control, marking, 1);
    for (let i = 0; i < MARKS_PER_INSERT; i++) {
      const bucket = Atomics.load(this.#control, CONTROL.cursor);
      if (bucket >= buckets) break;
      if (Atomics.compareExchange(this.#control, CONTROL.cursor, bucket, bucket + 1) === bucket) this.#setMark(bucket);
    }
    Atomics.store(this.#control, marking, 0);
  }

  /** Takes the lock. */
  #setMark(bucket: number): void {
    const stripe = bucket & (this.#locks.count - 1);
    const head = this.headOf(bucket);
    this.lock(stripe);
    if (this.#words[head] === 0) this.#mark(bucket, head);
    this.unlock(stripe);
  }

  #isMarking(): boolean {
    for (let cpu = 0; cpu < this.#hal.possibleCpus; cpu++) {
      if (Atomics.load(this.#control, markingWord(cpu)) !== 0) return true;
    }
    return false;
  }

  /** The last owner of the lock died at any write: finish what it had begun. Under the lock. */
  #repair(stripe: number): void {
    const words = this.#words;
    const step = this.#locks.count;
    const marked = new Set<number>();
    this.refresh();
    for (let bucket = stripe; bucket < this.#firstBuckets; bucket += step) {
      let at = this.headOf(bucket);
      for (let link = words[at]; link !== END; link = words[at]) {
        if ((link & 1) !== 0) {
          marked.add(link >>> 1);
          at = this.headOf(link >>> 1);
        } else if ((words[(link >> 2) + ENTRY.generation] & 1) !== 0) at = (link >> 2) + ENTRY.next;
        else {
          Atomics.store(words, at, words[(link >> 2) + ENTRY.next]);
          Atomics.sub(this.#control, CONTROL.size, 1);
        }
      }
    }
    for (let bucket = this.#firstBuckets + stripe; bucket <= this.mask; bucket += step) {
      const head = this.headOf(bucket);
      if (words[head] !== 0 && !marked.has(bucket)) Atomics.store(words, head, 0);
    }
    this.#locks.markConsistent(stripe);
  }

  /** Only the CPU that gets GROWTH does; the others go on with the buckets there are. */
  #addSegment(buckets: number): void {
    const control = this.#control;
    if (Atomics.compareExchange(control, CONTROL.growth, 0, this.#hal.currentCpu() + 1) !== 0) return;
    if (Atomics.load(control, CONTROL.mask) + 1 !== buckets) return void Atomics.store(control, CONTROL.growth, 0);
    const segment = this.#segmentsOf(buckets);
    const offset = this.#pages.allocPages(
      segmentOrder(this.#firstBuckets, segment, this.#pages.pageBytes),
      this.#pages.nodeOfCpu?.(this.#hal.currentCpu()) ?? -1,
    );
    // Without memory the table stays as it is, for good: chains get longer, nothing fails.
    if (offset === 0) return void Atomics.store(control, CONTROL.growth, STOPPED);
    this.#words.fill(0, offset >> 2, (offset >> 2) + buckets);
    Atomics.store(control, CONTROL.segments + segment, offset);
    Atomics.store(control, CONTROL.mask, buckets * 2 - 1);
    Atomics.store(control, CONTROL.growth, 0);
    this.refresh();
  }

  #segmentsOf(buckets: number): number {
    return 1 + Math.log2(buckets / this.#firstBuckets);
  }
}

/** The bucket that held the entries of `bucket` when there were half as many. */
function parentOf(bucket: number): number {
  return bucket & (0x7fffffff >>> Math.clz32(bucket));
}

/** Pages of a segment of heads, as a power of two: segment 0 has the first buckets, each other one as many as all before it. */
export function segmentOrder(firstBuckets: number, segment: number, pageBytes: number): number {
  const heads = segment === 0 ? firstBuckets : firstBuckets * 2 ** (segment - 1);
  return Math.max(0, Math.ceil(Math.log2((heads * 4) / pageBytes)));
}
