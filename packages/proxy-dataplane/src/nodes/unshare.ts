import { META_COMMON, META_COMMON_IPV6, transportOf, type PacketVector } from "../packet-vector.ts";
import type { PacketPool } from "../packet-pool.ts";
import { DropReason } from "../statistics.ts";

/**
 * Gives the packet at a position bytes of its own, and its columns the place they are at, before it is changed. False when there is no
 * buffer: then it was dropped.
 */
export function unshareAt(pool: PacketPool, vector: PacketVector, i: number): boolean {
  const packet = vector.packets[i];
  if (pool.isSole(packet)) return true;
  // Read before unshare, which gives the id away when it copies.
  const start = pool.columns.offsets[packet];
  const own = pool.unshare(packet);
  if (own === 0) {
    vector.drop(i, DropReason.NoBuffer);
    return false;
  }
  moveTo(pool, vector, i, own, start);
  return true;
}

/** Puts `own` in the place of the packet at a position, whose bytes began at `start` and lie alike in it. */
export function moveTo(pool: PacketPool, vector: PacketVector, i: number, own: number, start: number): void {
  const moved = pool.columns.offsets[own] - start;
  vector.packets[i] = own;
  vector.transports[i] = moved + transportOf(vector, i);
  vector.networks[i] += moved;
  if ((moved & 3) !== 0) vector.metas[i] &= ~(META_COMMON | META_COMMON_IPV6);
}
