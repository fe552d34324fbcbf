import type { PacketPool } from "@x/proxy-dataplane";

/** Around each packet: what is read or written there was not the packet's. */
const CANARY = 0xa5;
const BEFORE = 8;
const BEHIND = 16;

/** A whole number from 0 on, below `below`. */
export type Numbers = (below: number) => number;

/** Marsaglia's xorshift32: the same frames for the same seed. */
export function numbers(seed: number): Numbers {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** How a seed is changed: at fewer than `changes` places, half of them in the first `headers` bytes; one in `cut` is cut as well. */
export interface Mutation {
  readonly changes: number;
  readonly headers: number;
  readonly cut: number;
}

export function mutate(seeds: readonly Uint8Array[], random: Numbers, { changes, headers, cut }: Mutation): Uint8Array {
  const frame = seeds[random(seeds.length)].slice();
  for (let left = random(changes); left > 0; left--) {
    const at = random(2) === 0 ? random(frame.length) : random(Math.min(headers, frame.length));
    frame[at] = random(4) === 0 ? frame[at] ^ (1 << random(8)) : random(256);
  }
  return random(cut) === 0 ? frame.subarray(0, random(frame.length + 1)) : frame;
}

/** Fills a packet with a frame, which now and then was longer on the wire, and marks what lies around it. */
export function writeGuarded(pool: PacketPool, packet: number, frame: Uint8Array, random: Numbers): void {
  pool.write(packet, frame, 0, frame.length, frame.length + (random(8) === 0 ? random(100) : 0));
  const from = pool.columns.offsets[packet];
  pool.bytes.fill(CANARY, from - BEFORE, from);
  pool.bytes.fill(CANARY, from + frame.length, from + frame.length + BEHIND);
}

/** Throws if what lies around a packet was changed since. */
export function assertGuarded(pool: PacketPool, packet: number, near: number): void {
  const from = pool.columns.offsets[packet];
  const end = from + pool.columns.lengths[packet];
  let damage = 0;
  for (let at = 1; at <= BEFORE; at++) damage |= pool.bytes[from - at] ^ CANARY;
  for (let at = 0; at < BEHIND; at++) damage |= pool.bytes[end + at] ^ CANARY;
  if (damage !== 0) throw new Error(`a byte outside of a packet was changed, near frame ${near}`);
}
