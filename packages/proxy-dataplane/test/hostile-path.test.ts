import { expect, test } from "vitest";
import {
  PacketInfo,
  parseFrame,
  ParseResult,
  verifyIcmpChecksum,
  verifyIpChecksum,
  type AddedNode,
} from "@x/proxy-dataplane";
import { be16, be32, bytes, ethernet, icmpEcho, ipv4, ipv6, tcp, tcp4, tcp6, udp, udp4, udp6 } from "./frames.ts";
import { configOf, machine } from "./machine.ts";
import { assertGuarded, mutate, numbers, writeGuarded } from "./mutation.ts";
import { ACK, SYN } from "./traffic.ts";

/** Mutated frames; `DATAPLANE_FRAMES=10000000` for as many as that. */
const FRAMES = Number(process.env["DATAPLANE_FRAMES"] ?? 30_000);
const VECTOR = 32;
const MTU = 600;

const long = new Uint8Array(900).fill(0x61);
const options = [2, 4, 0xff, 0xff, 1, 1, 5, 10, ...be32(1), ...be32(9)];
const withOptions = (flags: number): Uint8Array =>
  bytes(be16(1000), be16(80), be32(1), be32(2), (20 + options.length) << 2, flags, be16(900), be32(0), options);
const error = (quoted: Uint8Array): Uint8Array => bytes(3, 4, 0, 0, be32(1400), quoted);
const seeds = [
  ethernet(0x800, ipv4(6, withOptions(SYN))),
  ethernet(0x86dd, ipv6(6, withOptions(SYN | ACK))),
  tcp4({ flags: ACK }),
  tcp4({ flags: ACK, fragment: 0x4000 }, long),
  tcp6({ flags: ACK }, new Uint8Array(1400)),
  udp4({}, long),
  tcp4({ flags: SYN, destinationPort: 9 }),
  udp4({ destinationPort: 9 }),
  udp6({ destinationPort: 9 }),
  ethernet(0x800, ipv4(17, udp(long), { options: [0x94, 4, 0, 0, 7, 8, 4, 0, 0, 0, 0, 0] })),
  ethernet(0x800, ipv4(17, long, { fragment: 0x2005 })),
  ethernet(0x800, ipv4(1, icmpEcho(8, 1))),
  ethernet(0x800, ipv4(1, error(ipv4(6, tcp())), { destination: [203, 0, 113, 1] })),
  ethernet(0x800, ipv4(1, error(ipv4(17, udp(), { source: [203, 0, 113, 1] })), { destination: [203, 0, 113, 1] })),
  ethernet(0x86dd, ipv6(58, bytes(2, 0, 0, 0, be32(1280), ipv6(17, udp())))),
];

const MUTATION = { changes: 5, headers: 100, cut: 6 };

test(`${FRAMES} mutated frames through translation, MTU, clamp, answers and edits: no exception, none lost, nothing outside written`, () => {
  const random = numbers(20_261_126);
  // Copies that an edit has made are as good or bad as what they were made of.
  const edited = new Set<number>();
  const node: AddedNode = {
    name: "edit",
    after: "route",
    process(vector, positions, count) {
      edited.clear();
      for (let p = 0; p < count; p++) {
        const i = positions[p];
        const protocol = vector.metas[i] & 0xff;
        if (vector.values[i] === 0 || random(3) > 0 || vector.payloads[i] < 5) continue;
        if (protocol !== 6) continue;
        m.dataplane.replacePayload(vector, i, random(4), random(2), new Uint8Array(random(9)).fill(98));
        edited.add(vector.packets[i]);
      }
      return count;
    },
  };
  const initial = configOf([], {
    translation: {
      own: ["203.0.113.9", "2001:db8:f::9"],
      source: [{ to: ["203.0.113.1", "2001:db8:f::1"] }],
      destination: [{ destination: ["10.0.0.3"], to: ["10.0.0.4"] }],
    },
    rules: [{ action: "reject", ports: [9] }],
  });
  const m = machine({
    initial,
    nodes: [node],
    maxConnections: 512,
    network: { mtu: MTU, clampMss: true, checksums: "count", answerBurst: 1_000_000 },
  });
  const { pool, dataplane } = m;
  const batch = new Int32Array(VECTOR);
  const out = new Int32Array(dataplane.roomFor(VECTOR));
  const info = new PacketInfo();
  let produced = 0;
  for (let done = 0; done < FRAMES; done += VECTOR) {
    pool.allocMany(batch, VECTOR);
    for (let i = 0; i < VECTOR; i++) {
      writeGuarded(pool, batch[i], mutate(seeds, random, MUTATION), random);
    }
    const given = new Map(Array.from(batch, (id) => [id, pool.columns.lengths[id]]));
    const count = dataplane.process(batch, VECTOR, out);
    for (let i = 0; i < count; i++) {
      const from = pool.columns.offsets[out[i]];
      const length = pool.columns.lengths[out[i]];
      if (given.get(out[i]) === length) assertGuarded(pool, out[i], done + i);
      // What the box has made itself is whole and right.
      if (given.has(out[i]) || edited.has(out[i])) continue;
      const result = parseFrame(pool.bytes, from, length, length, 1, info);
      const right = result === ParseResult.Ok || info.fragment === 1;
      if (!right || verifyIpChecksum(pool.bytes, info) === 2)
        throw new Error(`a bad packet was made, near frame ${done}`);
      if (info.icmpType === 3 && info.fragment === 0) expect(verifyIcmpChecksum(pool.bytes, info)).toBe(1);
      produced++;
    }
    pool.freeMany(out, count);
    m.hal.nowNs += 5e9;
    dataplane.expire(m.hal.nowNs, 64);
    m.rcu.quiescent();
  }
  const details = dataplane.details();
  expect(produced).toBeGreaterThan(1000);
  // Every way was gone.
  for (const name of [
    "answersReset",
    "answersUnreachable",
    "answersTooBig",
    "answersUnfit",
    "fragmentedPackets",
    "mssClamped",
    "relatedTranslated",
    "relatedUnknown",
    "relatedInvalid",
    "badIpv4Checksum",
    "badTcpChecksum",
    "badUdpChecksum",
    "badIcmpChecksum",
    "dropTooBig",
  ] as const) {
    expect([name, details[name] > 0]).toEqual([name, true]);
  }
  expect(pool.inUse).toBe(0);
}, 3_600_000);
