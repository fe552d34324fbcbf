import { expect, test } from "vitest";
import { DropReason } from "@x/proxy-dataplane";
import { bytes, ethernet, icmpEcho, ipv4, tcp4, tcp6, udp4, udp6 } from "./frames.ts";
import { machine } from "./machine.ts";
import { assertGuarded, mutate, numbers, writeGuarded } from "./mutation.ts";
import { ACK, SYN } from "./traffic.ts";

/** Mutated frames; `DATAPLANE_FRAMES=10000000` for as many as that. */
const FRAMES = Number(process.env["DATAPLANE_FRAMES"] ?? 40_000);
const VECTOR = 64;

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

const MUTATION = { changes: 6, headers: 60, cut: 5 };

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
      writeGuarded(pool, batch[i], mutate(seeds, random, MUTATION), random);
    }
    const count = dataplane.process(batch, VECTOR, out);
    for (let i = 0; i < count; i++) assertGuarded(pool, out[i], done + i);
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
