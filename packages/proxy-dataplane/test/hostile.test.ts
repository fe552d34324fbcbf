import { expect, test } from "vitest";
import { DropReason } from "@x/proxy-dataplane";
import { bytes, ethernet, icmpEcho, ipv4, tcp4, tcp6, udp4, udp6 } from "./frames.ts";
import { machine } from "./machine.ts";
import { ACK, SYN } from "./traffic.ts";

/** Mutated frames; `DATAPLANE_FRAMES=10000000` for as many as that. */
const FRAMES = Number(process.env["DATAPLANE_FRAMES"] ?? 40_000);
const VECTOR = 64;
/** Around each packet: what is read or written there was not the packet's. */
const CANARY = 0xa5;

/** Marsaglia's xorshift32: the same frames for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const seeds = [
  tcp4({ flags: SYN }),
  tcp4({ flags: ACK }),
  udp4(),
  tcp6({ flags: ACK }),
  udp6(),
  ethernet(0x800, ipv4(1, icmpEcho(8, 1))),
  ethernet(0x800, ipv4(1, bytes(3, 4, 0, 0, 0, 0, 5, 0, ipv4(6, new Uint8Array(8))))),
  ethernet(0x800, ipv4(6, tcp4().subarray(34), { options: [7, 8, 4, 0, 0, 0, 0, 0] })),
  ethernet(0x800, tcp4().subarray(14), [
    [0x88a8, 5],
    [0x8100, 6],
  ]),
  ethernet(
    0x86dd,
    bytes(tcp6().subarray(14, 20), 0, 64, tcp6().subarray(22, 54), 6, 0, 1, 4, 0, 0, 0, 0, tcp6().subarray(54)),
  ),
  ethernet(0x800, ipv4(17, new Uint8Array(24), { fragment: 0x2001 })),
];

function mutate(random: (below: number) => number): Uint8Array {
  const frame = seeds[random(seeds.length)].slice();
  for (let changes = random(6); changes > 0; changes--) {
    // Headers are changed more often than payload.
    const at = random(2) === 0 ? random(frame.length) : random(Math.min(60, frame.length));
    frame[at] = random(4) === 0 ? frame[at] ^ (1 << random(8)) : random(256);
  }
  return random(5) === 0 ? frame.subarray(0, random(frame.length + 1)) : frame;
}

test(`${FRAMES} mutated frames: no exception, nothing outside of a packet is written, none lost, all buffers back`, () => {
  const random = numbers(20_261_125);
  const drops = new Map<number, number>();
  const m = machine({
    maxConnections: 256,
    params: { perf_batch_size: VECTOR },
    observer: { onDrop: (_cpu, reason) => drops.set(reason, (drops.get(reason) ?? 0) + 1) },
  });
  const { pool, dataplane } = m;
  const batch = new Int32Array(VECTOR);
  const out = new Int32Array(VECTOR);
  let sent = 0;
  for (let done = 0; done < FRAMES; done += VECTOR) {
    pool.allocMany(batch, VECTOR);
    for (let i = 0; i < VECTOR; i++) {
      const frame = mutate(random);
      pool.write(batch[i], frame, 0, frame.length, frame.length + (random(8) === 0 ? random(100) : 0));
      const from = pool.columns.offsets[batch[i]];
      pool.bytes.fill(CANARY, from - 8, from);
      pool.bytes.fill(CANARY, from + frame.length, from + frame.length + 16);
    }
    const count = dataplane.process(batch, VECTOR, out);
    for (let i = 0; i < count; i++) {
      const from = pool.columns.offsets[out[i]];
      const end = from + pool.columns.lengths[out[i]];
      let damage = 0;
      for (let at = 1; at <= 8; at++) damage |= pool.bytes[from - at] ^ CANARY;
      for (let at = 0; at < 16; at++) damage |= pool.bytes[end + at] ^ CANARY;
      if (damage !== 0) throw new Error(`a byte outside of a packet was changed, near frame ${done + i}`);
    }
    pool.freeMany(out, count);
    sent += count;
    m.hal.nowNs += 5e9;
    dataplane.expire(m.hal.nowNs, 64);
    m.rcu.quiescent();
  }
  const frames = Math.ceil(FRAMES / VECTOR) * VECTOR;
  const { packetsProcessed, packetsDropped } = dataplane.statistics();
  expect([packetsProcessed, packetsDropped]).toEqual([frames, frames - sent]);
  expect([...drops.values()].reduce((sum, count) => sum + count, 0)).toBe(packetsDropped);
  expect(dataplane.details().dropMalformed).toBe(drops.get(DropReason.Malformed));
  expect(pool.inUse).toBe(0);
}, 3_600_000);
