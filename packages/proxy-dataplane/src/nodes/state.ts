import * as layout from "../connection-layout.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { TouchKind } from "../observer.ts";
import { ROW, type PacketVector } from "../packet-vector.ts";
import { MAX_BATCH } from "../parameters.ts";
import { SLOT_OF } from "../statistics.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const {
  addCount,
  BYTES_DOUBLE,
  FLAG_MASK,
  FLAG_SETTLED,
  FLAGS,
  FOREIGN,
  FOREIGN_STRIDE,
  LAST_SEEN_MS,
  LINE_WORDS,
  lineOf,
  OWNER_SHIFT,
  PACKETS_DOUBLE,
} = layout;

const { values: VALUES, wireLengths: WIRE_LENGTHS } = ROW;
const LINE_BYTES = LINE_WORDS * 4;

/** Counts each packet to its connection, renews its time, and moves the state machine. */
export class StateNode implements GraphNode {
  readonly name = "state";
  readonly #parts: NodeParts;
  readonly #single = new Int32Array(1);
  /** Positions whose direction another CPU owns, or none; and those whose state may move. */
  readonly #foreign = new Int32Array(MAX_BATCH);
  readonly #moving = new Int32Array(MAX_BATCH);

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { connections, counters, touch } = this.#parts;
    const { words, doubles } = connections;
    const { rows, values, wireLengths, nowMs, dense } = vector;
    const owner = vector.cpu + 1;
    let sentBytes = 0;
    let receivedPackets = 0;
    let receivedBytes = 0;
    const foreign = this.#foreign;
    const moving = this.#moving;
    let foreignCount = 0;
    let movingCount = 0;
    // No call in this loop: what is constant in it stays in registers.
    for (let p = 0; p < count; p++) {
      const i = dense ? p : positions[p];
      const value = rows[VALUES + i];
      // A packet of a flow that is not known yet is counted by who makes the connection.
      if (value === 0) continue;
      const direction = value & 1;
      const line = (value >> 2) + (direction << 4);
      const flags = words[line + FLAGS];
      const bytes = rows[WIRE_LENGTHS + i];
      receivedPackets += direction;
      receivedBytes += bytes & -direction;
      sentBytes += bytes & (direction - 1);
      if (flags >>> OWNER_SHIFT === owner) {
        const double = line >> 1;
        doubles[double + PACKETS_DOUBLE] += 1;
        doubles[double + BYTES_DOUBLE] += bytes;
      } else foreign[foreignCount++] = i;
      words[line + LAST_SEEN_MS] = nowMs;
      if ((flags & FLAG_SETTLED) === 0) moving[movingCount++] = i;
    }
    for (let f = 0; f < foreignCount; f++) this.#countElsewhere(values[foreign[f]], wireLengths[foreign[f]], owner);
    const outOfWindow = movingCount === 0 ? 0 : connections.advance(vector, moving, movingCount);
    if (outOfWindow > 0) counters.addOn(vector.cpu, SLOT_OF.outOfWindow, outOfWindow);
    if (touch !== undefined) this.#tell(vector, positions, count);
    vector.sentBytes += sentBytes;
    vector.receivedPackets += receivedPackets;
    vector.receivedBytes += receivedBytes;
    return count;
  }

  /** The packet at one position, whose connection has just been made. */
  one(vector: PacketVector, i: number): void {
    const { dense } = vector;
    this.#single[0] = i;
    vector.dense = false;
    this.process(vector, this.#single, 1);
    vector.dense = dense;
  }

  /** Counts a packet of a direction that is not known to be this CPU's: it may have no owner yet. */
  #countElsewhere(value: number, bytes: number, owner: number): void {
    const { words, doubles } = this.#parts.connections;
    const line = lineOf(value);
    const flags = words[line + FLAGS];
    if (flags >>> OWNER_SHIFT !== owner && !this.#own(line, flags, owner)) return this.#countForeign(value, bytes);
    doubles[(line >> 1) + PACKETS_DOUBLE] += 1;
    doubles[(line >> 1) + BYTES_DOUBLE] += bytes;
  }

  /** Makes the CPU the owner of a direction that has none. */
  #own(line: number, flags: number, owner: number): boolean {
    if (flags >>> OWNER_SHIFT !== 0) return false;
    const { words } = this.#parts.connections;
    for (let seen = flags; ;) {
      const before = Atomics.compareExchange(words, line + FLAGS, seen, (seen & FLAG_MASK) | (owner << OWNER_SHIFT));
      if (before === seen) return true;
      if (before >>> OWNER_SHIFT !== 0) return false;
      seen = before;
    }
  }

  #countForeign(value: number, bytes: number): void {
    const { words } = this.#parts.connections;
    const at = (value >> 2) + FOREIGN + (value & 1) * FOREIGN_STRIDE;
    addCount(words, at, 1);
    addCount(words, at + 2, bytes);
  }

  #tell(vector: PacketVector, positions: Int32Array, count: number): void {
    for (let p = 0; p < count; p++) {
      const value = vector.values[positions[p]];
      if (value !== 0) this.#parts.touch?.(lineOf(value) << 2, LINE_BYTES, true, TouchKind.Connection);
    }
  }
}
