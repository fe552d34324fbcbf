import { DataplaneError } from "./errors.ts";
import type { PacketColumns } from "./packet-columns.ts";
import type { PacketPool } from "./packet-pool.ts";
import type { PacketId } from "./packet-pool-types.ts";

/*
 * A packet whose bytes lie in several buffers: its head names the next piece in `nexts`, and so on; 0 ends the chain. Pieces are
 * packets of the pool that nobody holds by themselves any more. Headers are read from the head alone.
 */
const MOST_PIECES = 64;

/** Bytes of a packet in all its pieces. */
export function chainBytes({ lengths, nexts }: PacketColumns, head: PacketId): number {
  let bytes = 0;
  for (let piece = head; piece !== 0; piece = nexts[piece]) bytes += lengths[piece];
  return bytes;
}

/** Puts `tail`, a packet or chain of its own, behind the last piece of `head`. */
export function appendPiece({ nexts }: PacketColumns, head: PacketId, tail: PacketId): void {
  let pieces = 1;
  for (let piece = tail; nexts[piece] !== 0; piece = nexts[piece]) pieces++;
  let last = head;
  for (; nexts[last] !== 0; last = nexts[last]) pieces++;
  if (last === tail || head === tail) throw invalid(`packet ${tail} is a piece of packet ${head} already`);
  if (++pieces > MOST_PIECES) throw invalid(`packet ${head} would have ${pieces} pieces; ${MOST_PIECES} are possible`);
  nexts[last] = tail;
}

/** Writes the bytes of all pieces one behind the other from offset `to` of the pool. */
export function gather(pool: PacketPool, head: PacketId, to: number): void {
  const { offsets, lengths, nexts } = pool.columns;
  let at = to;
  for (let piece = head; piece !== 0; piece = nexts[piece]) {
    pool.bytes.copyWithin(at, offsets[piece], offsets[piece] + lengths[piece]);
    at += lengths[piece];
  }
}

/** A clone of every piece behind `head`, chained to `clone`; false when clones did not suffice: then those are freed. */
export function cloneTail(pool: PacketPool, head: PacketId, clone: PacketId): boolean {
  const { nexts } = pool.columns;
  let last = clone;
  for (let piece = nexts[head]; piece !== 0; piece = nexts[piece]) {
    const copy = pool.clonePiece(piece);
    if (copy === 0) return false;
    nexts[last] = copy;
    last = copy;
  }
  return true;
}

function invalid(message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_PACKET", message);
}
