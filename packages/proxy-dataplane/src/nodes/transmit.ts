import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { Verdict, type PacketVector } from "../packet-vector.ts";
import { SLOT_OF } from "../statistics.ts";

/** Hands out what is to be sent, in the order of arrival, frees what was dropped, and counts. */
export class TransmitNode implements GraphNode {
  readonly name = "transmit";
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, _positions: Int32Array, count: number): number {
    const { counters } = this.#parts;
    const { cpu, dense } = vector;
    if (dense) sendAll(vector, count);
    else this.#sort(vector);
    // Fragments that waited were counted when they came.
    counters.addOn(cpu, SLOT_OF.packetsProcessed, vector.count - vector.resumed);
    counters.addOn(cpu, SLOT_OF.bytesProcessed, vector.bytes);
    counters.addOn(cpu, SLOT_OF.batches, 1);
    counters.addOn(cpu, SLOT_OF.packetsSent, count - vector.receivedPackets);
    counters.addOn(cpu, SLOT_OF.bytesSent, vector.sentBytes);
    counters.addOn(cpu, SLOT_OF.packetsReceived, vector.receivedPackets);
    counters.addOn(cpu, SLOT_OF.bytesReceived, vector.receivedBytes);
    return count;
  }

  /** Packets went different ways: what each direction sends is counted anew. */
  #sort(vector: PacketVector): void {
    const { pool, counters } = this.#parts;
    const { verdicts, packets, wireLengths, values, out, followers, followed, followerCount } = vector;
    let { sent } = vector;
    let bytes = 0;
    let direct = 0;
    let dropped = 0;
    let next = 0;
    const arrived = vector.count - vector.resumed;
    vector.receivedPackets = vector.receivedBytes = vector.sentBytes = 0;
    for (let i = 0; i < vector.count; i++) {
      const length = wireLengths[i];
      const verdict = verdicts[i];
      if (i < arrived) bytes += length;
      if (verdict === Verdict.Tracked) countSent(vector, values[i] & 1, length);
      else if (verdict === Verdict.Direct) direct++;
      else if (verdict === Verdict.Dropped) {
        pool.free(packets[i]);
        dropped++;
      } else if (verdict === Verdict.Answered) dropped++;
      if (verdict <= Verdict.Direct || verdict === Verdict.Answered) out[sent++] = packets[i];
      while (next < followerCount && followed[next] === i) out[sent++] = followers[next++];
    }
    vector.sent = sent;
    vector.bytes = bytes;
    counters.addOn(vector.cpu, SLOT_OF.packetsDropped, dropped);
    counters.addOn(vector.cpu, SLOT_OF.packetsDirect, direct);
  }
}

function countSent(vector: PacketVector, direction: number, bytes: number): void {
  vector.receivedPackets += direction;
  if (direction === 0) vector.sentBytes += bytes;
  else vector.receivedBytes += bytes;
}

/** Every packet has gone the whole way. */
function sendAll(vector: PacketVector, count: number): void {
  const { packets, out, sent } = vector;
  for (let i = 0; i < count; i++) out[sent + i] = packets[i];
  vector.sent = sent + count;
  vector.bytes = vector.sentBytes + vector.receivedBytes;
}
