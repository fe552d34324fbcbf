import { KEY_WORDS } from "./packet-info.ts";

/*
 * Datagrams that come in fragments, by number from 1; columns over a fixed number of them. Private to one thread.
 *
 *   bucket → datagram → datagram     `next`: of the same bucket
 *   oldest ⇄ … ⇄ newest              `newer`, `older`: in the order they began, which is that in which they time out
 *   ranges                           octets that have come, as [from, to) pairs that do not touch each other
 *
 * That all fit in memory, and every loop ends soon, is what keeps a flood of fragments from doing more than pushing out
 * other datagrams that are under way.
 */
const MAX_RANGES = 16;

/** What became of a fragment: new octets; octets that were there already; a contradiction, after which the datagram is lost. */
export const ACCEPTED = 0;
export const DUPLICATE = 1;
export const REFUSED = 2;

/** What is known of a datagram: its first fragment has not come; it belongs to a flow; it is not translated; it is lost. */
export const WAITING = 0;
export const KNOWN = 1;
export const PASSED = 2;
export const LOST = 3;

/** Keeps octets and flows of datagrams that come in fragments, within bounds. */
export class DatagramTable {
  /** Of {@link WAITING}, …; ports, as in a flow key, and protocol of the first fragment; when the first to come came; held fragments. */
  readonly states: Uint8Array;
  readonly ports: Int32Array;
  readonly protocols: Int32Array;
  readonly createdMs: Int32Array;
  readonly heldHeads: Int32Array;
  readonly heldTails: Int32Array;
  /** Datagrams under way. */
  count = 0;
  oldest = 0;
  readonly #keys: Int32Array;
  readonly #hashes: Int32Array;
  readonly #next: Int32Array;
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  readonly #totals: Int32Array;
  readonly #rangeCounts: Int32Array;
  readonly #ranges: Int32Array;
  readonly #buckets: Int32Array;
  #newest = 0;
  #free = 1;

  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    const column = (words = 1): Int32Array => new Int32Array((capacity + 1) * words);
    this.states = new Uint8Array(capacity + 1);
    this.ports = column();
    this.protocols = column();
    this.createdMs = column();
    this.heldHeads = column();
    this.heldTails = column();
    this.#keys = column(KEY_WORDS);
    this.#hashes = column();
    this.#next = column();
    this.#older = column();
    this.#newer = column();
    this.#totals = column();
    this.#rangeCounts = column();
    this.#ranges = column(MAX_RANGES * 2);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(1, capacity))));
    for (let id = 1; id < capacity; id++) this.#next[id] = id + 1;
  }

  /** The datagram of a key, 0 for none. */
  find(key: Int32Array, hash: number): number {
    for (let id = this.#buckets[hash & (this.#buckets.length - 1)]; id !== 0; id = this.#next[id]) {
      if (this.#hashes[id] === hash && this.#isKey(id, key)) return id;
    }
    return 0;
  }

  /** Begins a datagram. There must be room: {@link DatagramTable.count} below the capacity. */
  begin(key: Int32Array, hash: number, nowMs: number): number {
    const id = this.#free;
    this.#free = this.#next[id];
    this.#keys.set(key, id * KEY_WORDS);
    this.#hashes[id] = hash;
    const bucket = hash & (this.#buckets.length - 1);
    this.#next[id] = this.#buckets[bucket];
    this.#buckets[bucket] = id;
    this.#older[id] = this.#newest;
    this.#newer[id] = 0;
    if (this.#newest === 0) this.oldest = id;
    else this.#newer[this.#newest] = id;
    this.#newest = id;
    this.states[id] = WAITING;
    this.createdMs[id] = nowMs;
    this.#totals[id] = -1;
    this.#rangeCounts[id] = 0;
    this.heldHeads[id] = this.heldTails[id] = 0;
    this.count++;
    return id;
  }

  /** Forgets a datagram; held fragments are the caller's. */
  end(id: number): void {
    const bucket = this.#hashes[id] & (this.#buckets.length - 1);
    if (this.#buckets[bucket] === id) this.#buckets[bucket] = this.#next[id];
    else {
      let before = this.#buckets[bucket];
      while (this.#next[before] !== id) before = this.#next[before];
      this.#next[before] = this.#next[id];
    }
    const [older, newer] = [this.#older[id], this.#newer[id]];
    if (older === 0) this.oldest = newer;
    else this.#newer[older] = newer;
    if (newer === 0) this.#newest = older;
    else this.#older[newer] = older;
    this.#next[id] = this.#free;
    this.#free = id;
    this.count--;
  }

  /**
   * Takes note of the octets `[from, to)`. Those that overlap others in part, lie behind the end, or would make another end, lose the
   * datagram (RFC 5722, for IPv4 too: RFC 1858 and Linux's ip_fragment.c); so do more gaps than are kept.
   */
  accept(id: number, from: number, to: number, isLast: boolean): number {
    if (this.states[id] === LOST || !this.#isWithin(id, to, isLast)) return REFUSED;
    const ranges = this.#ranges;
    const first = id * MAX_RANGES * 2;
    const count = this.#rangeCounts[id];
    let left = -1;
    let right = -1;
    for (let at = first; at < first + count * 2; at += 2) {
      if (from >= ranges[at] && to <= ranges[at + 1]) return DUPLICATE;
      if (from < ranges[at + 1] && to > ranges[at]) return REFUSED;
      if (ranges[at + 1] === from) left = at;
      if (ranges[at] === to) right = at;
    }
    if (left < 0 && right < 0 && count === MAX_RANGES) return REFUSED;
    if (isLast) this.#totals[id] = to;
    if (left >= 0) {
      ranges[left + 1] = right < 0 ? to : ranges[right + 1];
      if (right >= 0) this.#drop(id, right);
    } else if (right >= 0) ranges[right] = from;
    else {
      ranges[first + count * 2] = from;
      ranges[first + count * 2 + 1] = to;
      this.#rangeCounts[id]++;
    }
    return ACCEPTED;
  }

  /** Whether every octet has come. */
  isComplete(id: number): boolean {
    const at = id * MAX_RANGES * 2;
    const total = this.#totals[id];
    return total >= 0 && this.#rangeCounts[id] === 1 && this.#ranges[at] === 0 && this.#ranges[at + 1] === total;
  }

  #isWithin(id: number, to: number, isLast: boolean): boolean {
    const total = this.#totals[id];
    if (total >= 0) return isLast ? to === total : to <= total;
    if (!isLast) return true;
    const first = id * MAX_RANGES * 2;
    for (let r = 0; r < this.#rangeCounts[id]; r++) if (this.#ranges[first + r * 2 + 1] > to) return false;
    return true;
  }

  /** The last range comes in the place of the one at `at`. */
  #drop(id: number, at: number): void {
    const last = id * MAX_RANGES * 2 + --this.#rangeCounts[id] * 2;
    this.#ranges[at] = this.#ranges[last];
    this.#ranges[at + 1] = this.#ranges[last + 1];
  }

  #isKey(id: number, key: Int32Array): boolean {
    for (let i = 0; i < KEY_WORDS; i++) if (this.#keys[id * KEY_WORDS + i] !== key[i]) return false;
    return true;
  }
}
