import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { Verdict, type PacketVector } from "../packet-vector.ts";
import { DropReason } from "../statistics.ts";

/** Takes packets over; without zero-copy each is copied, as an interface that hands out its own buffers would force one to. */
export class ReceiveNode implements GraphNode {
  readonly name = "receive";
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { modes } = this.#parts;
    const { verdicts } = vector;
    for (let i = 0; i < count; i++) verdicts[i] = Verdict.Tracked;
    const { pool } = this.#parts;
    if (pool.handle.checked) for (let i = 0; i < count; i++) pool.requireOwned(vector.packets[i]);
    if (modes.zeroCopy) return count;
    for (let i = 0; i < count; i++) this.#copy(vector, i);
    return vector.keepTracked(positions, count);
  }

  #copy(vector: PacketVector, i: number): void {
    const { pool } = this.#parts;
    const packet = vector.packets[i];
    const copy = pool.copy(packet);
    if (copy === 0) {
      vector.wireLengths[i] = pool.columns.wireLengths[packet];
      vector.drop(i, DropReason.NoBuffer);
      return;
    }
    pool.free(packet);
    vector.packets[i] = copy;
  }
}
