import { SLOT, fillSlot, findSlot, otherSet } from "../flow-cache.ts";
import type { GraphNode } from "../graph.ts";
import { KEY_WORDS } from "../packet-info.ts";
import type { NodeParts } from "../node-parts.ts";
import { META_FLOW, META_IPV6, type PacketVector } from "../packet-vector.ts";
import { GENERATION, lineOf, ORIGINAL, REPLY } from "../connection-layout.ts";
import { ConnectionState } from "../connection-state.ts";
import { SLOT_OF } from "../statistics.ts";
import { swap32 } from "../words.ts";

/** Finds the connection of each packet: in this CPU's cache, else in the flow table. */
export class LookupNode implements GraphNode {
  readonly name = "lookup";
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { modes, counters } = this.#parts;
    vector.missCount = 0;
    if (!modes.cache) {
      for (let p = 0; p < count; p++) this.find(vector, positions[p]);
      return count;
    }
    const hits = this.#cached(vector, positions, count);
    counters.addOn(vector.cpu, SLOT_OF.cacheHits, hits);
    counters.addOn(vector.cpu, SLOT_OF.cacheMisses, count - hits);
    return count;
  }

  #cached(vector: PacketVector, positions: Int32Array, count: number): number {
    const { cache, connections } = this.#parts;
    const { sources, destinations, ports, metas, hashes, values, dense } = vector;
    const slots = cache.words;
    const { words } = connections;
    const mask = cache.setsMask;
    const epoch = cache.epochBits;
    const base = cache.base(vector.cpu);
    const { observer } = cache;
    let hits = 0;
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const hash = hashes[i];
      const set = hash & mask;
      const meta = (metas[i] & META_FLOW) | epoch;
      const first = base + (set << 4);
      const second = base + (otherSet(set, hash, mask) << 4);
      const slot = findSlot(slots, first, second, sources[i], destinations[i], ports[i], meta);
      if (observer !== undefined) observer.onProbe?.(vector.cpu, first << 2);
      if (slot !== 0) {
        const value = slots[slot + SLOT.value];
        if (words[lineOf(value) + GENERATION] === slots[slot + SLOT.generation] && this.#confirms(vector, i, value)) {
          values[i] = value;
          hits++;
          continue;
        }
        // The connection has ended, or two IPv6 flows have one digest.
        slots[slot + 3] = 0;
      }
      this.find(vector, i);
    }
    return hits;
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

  /** Searches the table for a packet that the cache does not know. What is found is remembered. */
  find(vector: PacketVector, i: number): void {
    const { table } = this.#parts;
    writeKey(vector, i);
    const at = i * KEY_WORDS;
    const entry = table.lookup(vector.keys, at, table.hash(vector.keys, at));
    if (entry === 0) {
      vector.values[i] = 0;
      vector.misses[vector.missCount++] = i;
      return;
    }
    const value = table.value(entry);
    vector.values[i] = value;
    this.remember(vector, i, value);
  }

  /**
   * Notes a connection in the cache. It is alive after its generation was read, so the generation is that of its life: who ends
   * it changes the state first.
   */
  remember(vector: PacketVector, i: number, value: number): void {
    const { cache, connections, modes } = this.#parts;
    if (!modes.cache) return;
    const generation = connections.words[lineOf(value) + GENERATION];
    if (connections.state(value & ~1) === ConnectionState.Dead) return;
    const mask = cache.setsMask;
    const set = vector.hashes[i] & mask;
    const base = cache.base(vector.cpu);
    fillSlot(
      cache.words,
      base + (set << 4),
      base + (otherSet(set, vector.hashes[i], mask) << 4),
      vector.sources[i],
      vector.destinations[i],
      vector.ports[i],
      (vector.metas[i] & META_FLOW) | cache.epochBits,
      value,
      generation,
    );
  }
}

/** The flow key of a packet; that of IPv6 was written when it was parsed. */
function writeKey(vector: PacketVector, i: number): void {
  const { keys } = vector;
  if ((vector.metas[i] & META_IPV6) !== 0) return;
  const at = i * KEY_WORDS;
  keys[at] = swap32(vector.sources[i]);
  keys[at + 1] = 0;
  keys[at + 2] = 0;
  keys[at + 3] = 0;
  keys[at + 4] = swap32(vector.destinations[i]);
  keys[at + 5] = 0;
  keys[at + 6] = 0;
  keys[at + 7] = 0;
  keys[at + 8] = swap32(vector.ports[i]);
  keys[at + 9] = vector.metas[i] & META_FLOW;
}
