import { CacheUse } from "../cache-use.ts";
import * as caching from "../flow-cache.ts";
import type { GraphNode } from "../graph.ts";
import { KEY_WORDS } from "../packet-info.ts";
import type { NodeParts } from "../node-parts.ts";
import * as vectors from "../packet-vector.ts";
import type { PacketVector } from "../packet-vector.ts";
import * as layout from "../connection-layout.ts";
import { ConnectionState } from "../connection-state.ts";
import { MAX_BATCH } from "../parameters.ts";
import { SLOT_OF } from "../statistics.ts";
import { swap32 } from "../words.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const { LARGE_SETS, fillSlot, findSlot, findSlotOfMany, otherSet } = caching;
const { value: SLOT_VALUE, generation: SLOT_GENERATION } = caching.SLOT;
const { META_FLOW, META_IPV6, ROW } = vectors;
const {
  hashes: HASHES,
  metas: METAS,
  sources: SOURCES,
  destinations: DESTINATIONS,
  ports: PORTS,
  values: VALUES,
} = ROW;
const { GENERATION, lineOf, ORIGINAL, REPLY } = layout;

/**
 * Finds the connection of each packet: in this CPU's cache, else in the flow table.
 *
 * Loops over many packets call nothing and wait for no earlier turn, so that memory works on many look-ups at once.
 */
export class LookupNode implements GraphNode {
  readonly name = "lookup";
  readonly #parts: NodeParts;
  /** Positions that the cache does not know. */
  readonly #unknown = new Int32Array(MAX_BATCH);
  /** Of each position: the generation the cache remembers. */
  readonly #generations = new Int32Array(MAX_BATCH);
  /** Of each of those that it does not know: the key, the table's hash, the entry. */
  readonly #keys = new Int32Array(MAX_BATCH * KEY_WORDS);
  readonly #hashes = new Int32Array(MAX_BATCH);
  readonly #entries = new Int32Array(MAX_BATCH);
  /** What was loaded ahead, so that loading it cannot be left out. */
  ahead = 0;
  /** What is known of the cache of each CPU that this thread plays. */
  readonly #uses: readonly CacheUse[];
  /** That of the CPU whose vector it is, and whether the vector goes by the cache. */
  #use: CacheUse;
  #isCached = false;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#uses = Array.from({ length: parts.hal.possibleCpus }, () => new CacheUse());
    [this.#use] = this.#uses;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { modes, cache, counters } = this.#parts;
    const { cpu } = vector;
    vector.missCount = 0;
    this.#use = this.#uses[cpu];
    const mask = cache.setsMask;
    const epoch = cache.epochBits;
    this.#isCached = modes.cache && this.#use.isDue(mask ^ epoch);
    modes.spread = modes.cache && (mask >= LARGE_SETS || !this.#isCached);
    const unknown = this.#isCached ? this.#cached(vector, positions, count, mask, epoch) : this.#all(positions, count);
    if (unknown > 0) this.#search(vector, unknown);
    if (!modes.cache) return count;
    counters.addOn(cpu, SLOT_OF.cacheHits, count - unknown);
    counters.addOn(cpu, SLOT_OF.cacheMisses, unknown);
    if (this.#isCached) this.#use.note(count, unknown);
    return count;
  }

  #all(positions: Int32Array, count: number): number {
    for (let p = 0; p < count; p++) this.#unknown[p] = positions[p];
    return count;
  }

  /** Returns how many packets the cache does not know; their positions are in `#unknown`. */
  #cached(vector: PacketVector, positions: Int32Array, count: number, mask: number, epoch: number): number {
    const { cache } = this.#parts;
    const base = cache.base(vector.cpu);
    if (cache.observer !== undefined) this.#tell(vector, positions, count, base, mask);
    const others =
      mask < LARGE_SETS
        ? this.#firstSets(vector, positions, count, base, mask, epoch)
        : this.#firstSetsOfMany(vector, positions, count, base, mask, epoch);
    if (others > 0) this.#secondSets(vector, others, base, mask, epoch);
    if (mask >= LARGE_SETS) this.#fetchLines(vector, positions, count);
    return this.#alive(vector, positions, count);
  }

  /** Of each packet the connection its slot names, unless another lives there now. Returns how many have none; their positions are in `#unknown`. */
  #alive(vector: PacketVector, positions: Int32Array, count: number): number {
    const { rows, dense } = vector;
    const { words } = this.#parts.connections;
    const generations = this.#generations;
    const unknown = this.#unknown;
    let rest = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const value = rows[VALUES + i];
      const isAlive = value !== 0 && words[lineOf(value) + GENERATION] === generations[i];
      if (!isAlive || ((rows[METAS + i] & META_IPV6) !== 0 && !this.#confirms(vector, i, value))) unknown[rest++] = i;
    }
    return rest;
  }

  /** Looks in the first set of each flow. Returns how many are not there; their positions are in `#unknown`. */
  #firstSets(
    vector: PacketVector,
    positions: Int32Array,
    count: number,
    base: number,
    mask: number,
    epoch: number,
  ): number {
    const { rows, dense } = vector;
    const slots = this.#parts.cache.words;
    const generations = this.#generations;
    const elsewhere = this.#unknown;
    let others = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const meta = (rows[METAS + i] & META_FLOW) | epoch;
      const at = base + ((rows[HASHES + i] & mask) << 4);
      const slot = findSlot(slots, at, rows[SOURCES + i], rows[DESTINATIONS + i], rows[PORTS + i], meta);
      // Slot 0 is the shared line, whose value is 0.
      rows[VALUES + i] = slots[slot + SLOT_VALUE];
      generations[i] = slots[slot + SLOT_GENERATION];
      if (slot === 0) elsewhere[others++] = i;
    }
    return others;
  }

  /** {@link LookupNode.#firstSets} for a cache that is large: the lines are fetched before they are looked at. */
  #firstSetsOfMany(
    vector: PacketVector,
    positions: Int32Array,
    count: number,
    base: number,
    mask: number,
    epoch: number,
  ): number {
    this.#fetchAhead(vector, this.#parts.cache.words, base, mask, positions, count);
    const { rows, dense } = vector;
    const slots = this.#parts.cache.words;
    const generations = this.#generations;
    const elsewhere = this.#unknown;
    let others = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const meta = (rows[METAS + i] & META_FLOW) | epoch;
      const at = base + ((rows[HASHES + i] & mask) << 4);
      const slot = findSlotOfMany(slots, at, rows[SOURCES + i], rows[DESTINATIONS + i], rows[PORTS + i], meta);
      // Slot 0 is the shared line, whose value is 0.
      rows[VALUES + i] = slots[slot + SLOT_VALUE];
      generations[i] = slots[slot + SLOT_GENERATION];
      elsewhere[others] = i;
      others += Number(slot === 0);
    }
    return others;
  }

  /**
   * Looks for the `count` flows at the positions in `#unknown` in their second sets: few are there while the cache is not full, so those lines are
   * only read when the first ones do not tell.
   */
  #secondSets(vector: PacketVector, count: number, base: number, mask: number, epoch: number): void {
    const { sources, destinations, ports, metas, hashes, values } = vector;
    const slots = this.#parts.cache.words;
    const elsewhere = this.#unknown;
    const generations = this.#generations;
    if (mask >= LARGE_SETS) {
      let ahead = 0;
      for (let u = 0; u < count; u++) {
        const hash = hashes[elsewhere[u]];
        ahead |= slots[base + (otherSet(hash & mask, hash, mask) << 4)];
      }
      this.ahead = ahead;
    }
    for (let u = 0; u < count; u++) {
      const i = elsewhere[u];
      const hash = hashes[i];
      const meta = (metas[i] & META_FLOW) | epoch;
      const at = base + (otherSet(hash & mask, hash, mask) << 4);
      const slot = findSlot(slots, at, sources[i], destinations[i], ports[i], meta);
      values[i] = slots[slot + SLOT_VALUE];
      generations[i] = slots[slot + SLOT_GENERATION];
    }
  }

  /**
   * Loads a word of the first set of each flow. The fewer instructions there are from one load to the next, the more of them the processor has
   * under way: eight in a turn check their arrays once (V8 11 does not take that out of a loop).
   */
  #fetchAhead(
    vector: PacketVector,
    slots: Int32Array,
    base: number,
    mask: number,
    positions: Int32Array,
    count: number,
  ): void {
    const { rows, dense } = vector;
    let ahead = 0;
    const whole = dense ? count & ~7 : 0;
    let p = 0;
    for (; p < whole; p += 8) {
      const at = HASHES + p;
      ahead |=
        slots[(base + ((rows[at] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 1] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 2] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 3] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 4] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 5] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 6] & mask) << 4)) | 0] |
        slots[(base + ((rows[at + 7] & mask) << 4)) | 0];
    }
    for (; p < count; p++) ahead |= slots[(base + ((rows[HASHES + positions[p]] & mask) << 4)) | 0];
    this.ahead = ahead;
  }

  /** The same for the line of each packet's connection; that of none is word 0. */
  #fetchLines(vector: PacketVector, positions: Int32Array, count: number): void {
    const { rows, dense } = vector;
    const { words } = this.#parts.connections;
    let ahead = 0;
    const whole = dense ? count & ~3 : 0;
    let p = 0;
    for (; p < whole; p += 4) {
      const at = VALUES + p;
      ahead |=
        words[lineOf(rows[at])] |
        words[lineOf(rows[at + 1])] |
        words[lineOf(rows[at + 2])] |
        words[lineOf(rows[at + 3])];
    }
    for (; p < count; p++) ahead |= words[lineOf(rows[VALUES + positions[p]])];
    this.ahead = ahead;
  }

  #tell(vector: PacketVector, positions: Int32Array, count: number, base: number, mask: number): void {
    const { cache } = this.#parts;
    for (let p = 0; p < count; p++) {
      cache.observer?.onProbe?.(vector.cpu, (base + ((vector.hashes[positions[p]] & mask) << 4)) << 2);
    }
  }

  /** Of IPv6 the cache holds digests: the connection's own tuple decides. */
  #confirms(vector: PacketVector, i: number, value: number): boolean {
    if ((vector.metas[i] & META_IPV6) === 0) return true;
    const { words } = this.#parts.connections;
    const at = (value >> 2) + ((value & 1) === 0 ? ORIGINAL : REPLY);
    for (let word = 0; word < KEY_WORDS; word++) {
      if (words[at + word] !== vector.keys[i * KEY_WORDS + word]) return false;
    }
    return true;
  }

  /** Searches the table for the packets at the `count` positions in `#unknown`. What is found is remembered. */
  #search(vector: PacketVector, count: number): void {
    const { table } = this.#parts;
    const unknown = this.#unknown;
    const keys = this.#keys;
    for (let u = 0; u < count; u++) writeKey(vector, unknown[u], keys, u * KEY_WORDS);
    table.findBulk(keys, count, this.#hashes, this.#entries);
    this.#take(vector, count);
  }

  #take(vector: PacketVector, count: number): void {
    const { table, connections } = this.#parts;
    const { rows, values } = vector;
    const { words } = connections;
    const unknown = this.#unknown;
    const entries = this.#entries;
    for (let u = 0; u < count; u++) {
      const i = unknown[u];
      values[i] = entries[u] === 0 ? 0 : table.value(entries[u]);
    }
    let ahead = 0;
    let u = 0;
    for (; u + 4 <= count; u += 4) {
      ahead |=
        words[lineOf(rows[VALUES + unknown[u]])] |
        words[lineOf(rows[VALUES + unknown[u + 1]])] |
        words[lineOf(rows[VALUES + unknown[u + 2]])] |
        words[lineOf(rows[VALUES + unknown[u + 3]])];
    }
    for (; u < count; u++) ahead |= words[lineOf(rows[VALUES + unknown[u]])];
    this.ahead = ahead;
    for (u = 0; u < count; u++) {
      const i = unknown[u];
      if (values[i] === 0) {
        copyKey(this.#keys, u * KEY_WORDS, vector.keys, i * KEY_WORDS);
        vector.misses[vector.missCount++] = i;
      } else this.remember(vector, i, values[i]);
    }
  }

  /**
   * Notes a connection in the cache. It is alive after its generation was read, so the generation is that of its life: who ends
   * it changes the state first.
   */
  remember(vector: PacketVector, i: number, value: number): void {
    const { cache, connections } = this.#parts;
    if (!this.#isCached) return;
    const generation = connections.words[lineOf(value) + GENERATION];
    if (connections.state(value & ~1) === ConnectionState.Dead) return;
    this.#use.filled++;
    const isForgetting = fillSlot(
      cache.words,
      cache.base(vector.cpu),
      cache.setsMask,
      vector.hashes[i],
      vector.sources[i],
      vector.destinations[i],
      vector.ports[i],
      (vector.metas[i] & META_FLOW) | cache.epochBits,
      value,
      generation,
    );
    if (isForgetting) this.#use.forgotten++;
  }
}

/** The flow key of a packet to `into[to ..]`; that of IPv6 was written when it was parsed. */
function writeKey(vector: PacketVector, i: number, into: Int32Array, to: number): void {
  if ((vector.metas[i] & META_IPV6) !== 0) {
    copyKey(vector.keys, i * KEY_WORDS, into, to);
    return;
  }
  into[to] = swap32(vector.sources[i]);
  into[to + 1] = 0;
  into[to + 2] = 0;
  into[to + 3] = 0;
  into[to + 4] = swap32(vector.destinations[i]);
  into[to + 5] = 0;
  into[to + 6] = 0;
  into[to + 7] = 0;
  into[to + 8] = swap32(vector.ports[i]);
  into[to + 9] = vector.metas[i] & META_FLOW;
}

function copyKey(from: Int32Array, at: number, into: Int32Array, to: number): void {
  for (let word = 0; word < KEY_WORDS; word++) into[to + word] = from[at + word];
}
