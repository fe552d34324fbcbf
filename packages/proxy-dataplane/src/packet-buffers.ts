import { CACHE_LINE_BYTES } from "@x/smp";
import { DataplaneError } from "./errors.ts";

/**
 * Bytes before a packet that was just allocated: a line, and two so that the header behind an Ethernet header is at a multiple
 * of four.
 */
export const HEAD_ROOM_BYTES: number = CACHE_LINE_BYTES + 2;
/** Bytes behind the largest packet, at least. */
const TAIL_ROOM_BYTES = 4;

/**
 * An odd number of cache lines: buffers a power of two apart would all begin in the same few sets of a cache, and the
 * headers of a batch would evict each other.
 */
export function strideBytes(bufferBytes: number): number {
  const bytes = HEAD_ROOM_BYTES + bufferBytes + TAIL_ROOM_BYTES;
  return (Math.ceil(bytes / CACHE_LINE_BYTES) | 1) * CACHE_LINE_BYTES;
}

export function requireRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `${name} is ${value}; ${least} to ${most} are possible`);
}

/** Enough for every buffer, and for the slabs that CPUs begin and do not fill. */
export function arenaBytes(buffers: number, bufferBytes: number): number {
  return Math.max(1 << 20, buffers * strideBytes(bufferBytes) * 2);
}
