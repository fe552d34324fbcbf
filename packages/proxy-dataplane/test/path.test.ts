import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PacketInfo, parseFrame, type NetworkOptions, type ProxyConfig } from "@x/proxy-dataplane";
import { be16, be32, bytes, ethernet, icmpEcho, internetSum, ipv4, ipv6, tcp4, udp, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, ends, sums, SYN } from "./traffic.ts";

const path = (network: NetworkOptions, config: Partial<ProxyConfig> = {}, servers = [server("192.0.2.1")]): Machine =>
  machine({ initial: configOf(servers, config), network });
const DF = 0x4000;
const MORE = 0x2000;

function parse(frame: Uint8Array): PacketInfo {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  return info;
}

/** Puts fragments together again: the datagram's header with the payload of all, as text of its bytes. */
function reassemble(frames: readonly Uint8Array[]): number[] {
  const payload: number[] = [];
  let ended = false;
  for (const frame of frames) {
    const info = parse(frame);
    const from = info.networkOffset + info.networkHeaderLength;
    const part = frame.subarray(from, info.networkEnd);
    expect(info.fragmentOffset).toBe(payload.length);
    payload.push(...part);
    ended = info.moreFragments === 0;
  }
  expect(ended).toBe(true);
  return payload;
}

describe("an MTU", () => {
  test("fragments an IPv4 packet that may be: whole again it is what an endless path would have brought", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1900 }),
        fc.integer({ min: 576, max: 1500 }),
        fc.constantFrom<number[]>([], [1, 1, 1, 0], [0x94, 4, 0, 0, 7, 8, 4, 0, 0, 0, 0, 0]),
        (length, mtu, options) => {
          const payload = Uint8Array.from({ length }, (_, i) => i * 7);
          const frame = ethernet(0x800, ipv4(17, udp(payload), { options }));
          const m = path({ mtu });
          const wide = path({});
          const sent = m.send([frame, udp4()]);
          const [whole] = wide.send([frame]);
          const fragments = sent.slice(0, -1);
          expect(ends(sent[sent.length - 1])).toBe("10.0.0.1 1111 > 192.0.2.1 1080");
          expect(reassemble(fragments)).toEqual([...whole.subarray(14 + 20 + options.length)]);
          for (const one of fragments) {
            const info = parse(one);
            expect(info.networkEnd - info.networkOffset).toBeLessThanOrEqual(mtu);
            expect([sums(one)[0], one.length]).toEqual([1, info.networkEnd]);
            expect([...one.subarray(18, 20)]).toEqual([0, 1]);
          }
          const wanted = whole.length - 14 > mtu;
          expect(fragments.length > 1).toBe(wanted);
          expect(m.dataplane.details()).toMatchObject({
            fragmentedPackets: wanted ? 1 : 0,
            fragmentsMade: wanted ? fragments.length : 0,
          });
          expect(m.pool.inUse).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("copies into later fragments only the options that are marked so (RFC 791)", () => {
    const alert = [0x94, 4, 0, 0];
    const record = [7, 8, 4, 0, 0, 0, 0, 0];
    const frame = ethernet(0x800, ipv4(17, udp(new Uint8Array(1200)), { options: [...record, ...alert] }));
    const [first, second] = path({ mtu: 800 }, {}, []).send([frame]);
    expect([first[14], second[14]]).toEqual([0x48, 0x46]);
    expect([...second.subarray(34, 38)]).toEqual(alert);
  });

  test("fragments a fragment into fragments of the same datagram, and sends what fits as it is", () => {
    const m = path({ mtu: 600 }, {}, []);
    const fragment = ethernet(0x800, ipv4(17, new Uint8Array(1000).fill(3), { fragment: MORE | 100 }));
    const small = ethernet(0x800, ipv4(17, new Uint8Array(504), { fragment: MORE | 300 }));
    const sent = m.send([fragment, small]).map(parse);
    expect(
      sent.map((info) => [info.fragmentOffset, info.moreFragments, info.networkEnd - info.transportOffset]),
    ).toEqual([
      [800, 1, 576],
      [1376, 1, 424],
      [2400, 1, 504],
    ]);
  });

  test("tells the sender of a packet that may not be fragmented, about the packet as it was sent", () => {
    const m = path({ mtu: 1000 });
    const frame = udp4({ fragment: DF }, new Uint8Array(1100));
    const [error] = m.send([frame]);
    const info = parse(error);
    expect([info.icmpType, info.icmpCode, (error[40] << 8) | error[41]]).toEqual([3, 4, 1000]);
    expect(ends(error)).toBe("10.0.0.2 0 > 10.0.0.1 0");
    expect(error.subarray(42)).toEqual(frame.subarray(14, 14 + 548));
    expect(m.dataplane.details()).toMatchObject({ answersTooBig: 1, dropTooBig: 1, fragmentedPackets: 0 });
    expect(m.dataplane.statistics().packetsDropped).toBe(1);
    expect(m.pool.inUse).toBe(0);
  });

  test("of less than 1280 is 1280 for IPv6, whose packets nobody fragments on the way", () => {
    const m = path({ mtu: 700 }, {}, []);
    const frame = udp6({}, new Uint8Array(1300));
    const [error, fits] = m.send([frame, udp6({}, new Uint8Array(1200))]);
    const info = parse(error);
    expect([info.protocol, info.icmpType, info.icmpCode, internetSum(error.subarray(58, 62))]).toEqual([
      58, 2, 0, 1280,
    ]);
    expect(fits.length).toBe(14 + 40 + 8 + 1200);
  });

  test("drops without an answer what is too long where fragmenting is off, and what is not here whole", () => {
    const off = path({ mtu: 600, tooLong: "drop" });
    expect(off.send([udp4({}, new Uint8Array(700))])).toEqual([]);
    expect(off.dataplane.details()).toMatchObject({ dropTooBig: 1, answersTooBig: 0 });
    const m = path({ mtu: 600 });
    const frame = udp4({}, new Uint8Array(700));
    const id = m.pool.alloc();
    m.pool.write(id, frame, 0, 200, frame.length);
    expect(m.dataplane.process(Int32Array.of(id), 1, new Int32Array(m.dataplane.roomFor(1)))).toBe(0);
    expect(m.dataplane.details().dropTooBig).toBe(1);
    expect(m.pool.inUse).toBe(0);
  });

  test("asks for room for all that a batch may leave as, and loses no buffer when there is none for a fragment", () => {
    const m = machine({ initial: configOf([]), network: { mtu: 576 }, buffers: 4 });
    expect(m.dataplane.roomFor(10)).toBe(40);
    const id = m.packet(udp4());
    expect(() => m.dataplane.process(Int32Array.of(id), 1, new Int32Array(1))).toThrow(/room for 1 /);
    m.pool.free(id);
    const held = [m.pool.alloc(), m.pool.alloc()];
    expect(m.send([udp4({}, new Uint8Array(1500))])).toEqual([]);
    expect(m.dataplane.details().dropNoBuffer).toBe(1);
    for (const one of held) m.pool.free(one);
    expect(m.pool.inUse).toBe(0);
  });

  test("looks at ICMP errors and other untracked packets too", () => {
    const m = path({ mtu: 600 }, {}, []);
    const echo = ethernet(0x800, ipv4(1, bytes(icmpEcho(13, 1), new Uint8Array(700)), { fragment: DF }));
    const arp = ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(720)));
    const sent = m.send([echo, arp]);
    expect(parse(sent[0]).icmpType).toBe(3);
    expect(sent[1]).toEqual(arp);
  });
});

/** A SYN with options. */
function syn(options: number[], isIpv6 = false, flags = SYN): Uint8Array {
  const padded = [...options, ...Array.from({ length: (4 - (options.length % 4)) % 4 }, () => 0)];
  const header = (sum: number): Uint8Array =>
    bytes(
      be16(1000),
      be16(80),
      be32(1),
      be32(0),
      ((20 + padded.length) / 4) << 4,
      flags,
      be16(9),
      be16(sum),
      be16(0),
      padded,
    );
  const [a, b] = isIpv6
    ? [Array.from({ length: 16 }, (_, i) => i + 1), Array.from({ length: 16 }, (_, i) => i + 9)]
    : [
        [10, 0, 0, 1],
        [10, 0, 0, 2],
      ];
  const sum = ~internetSum(bytes(a, b, be16(20 + padded.length), be16(6), header(0))) & 0xffff;
  return isIpv6
    ? ethernet(0x86dd, ipv6(6, header(sum), { source: a, destination: b }))
    : ethernet(0x800, ipv4(6, header(sum)));
}
const mss = (value: number): number[] => [2, 4, ...be16(value)];

describe("clamping the segment size", () => {
  test.each([
    ["is lowered to what the MTU takes", mss(1460), false, 1400, mss(1360)],
    ["is lowered to what the MTU takes for IPv6", mss(1440), true, 1400, mss(1340)],
    ["is never raised", mss(536), false, 1400, mss(536)],
    [
      "is found behind other options, at an odd place too",
      [1, 3, 3, 7, 1, ...mss(0xffff), 1, 1, 1],
      false,
      1400,
      [1, 3, 3, 7, 1, ...mss(1360), 1, 1, 1],
    ],
    ["is found at an odd place", [1, ...mss(9000)], true, 1500, [1, ...mss(1440), 0, 0, 0]],
    ["is not looked for behind the end of the options", [0, 2, 4, 255], false, 1400, [0, 2, 4, 255]],
    ["is not added", [1, 1, 1, 1], false, 1400, [1, 1, 1, 1]],
    ["that is cut is left alone", [1, 1, 2, 4], false, 1400, [1, 1, 2, 4]],
    ["of IPv6 is that of 1280 bytes at least", mss(1440), true, 600, mss(1220)],
  ])("%s", (_, options, isIpv6, mtu, wanted) => {
    for (const flags of [SYN, SYN | ACK]) {
      const m = path({ mtu, clampMss: true }, {}, []);
      const frame = syn(options, isIpv6, flags);
      const [sent] = m.send([frame]);
      const at = 14 + (isIpv6 ? 40 : 20) + 20;
      expect([...sent.subarray(at)]).toEqual(wanted);
      expect(sums(sent)).toEqual(sums(frame));
      expect(m.dataplane.details().mssClamped).toBe(wanted.join() === [...frame.subarray(at)].join() ? 0 : 1);
    }
  });

  test("keeps any checksum what it was, at any place, with any value", () => {
    fc.assert(
      fc.property(
        fc.nat(65535),
        fc.integer({ min: 64, max: 65495 }),
        fc.nat(6),
        fc.boolean(),
        (value, clampMss, nops, isIpv6) => {
          const m = path({ clampMss }, {}, []);
          const [sent] = m.send([syn([...Array.from({ length: nops }, () => 1), ...mss(value)], isIpv6)]);
          expect(sums(sent)).toEqual([isIpv6 ? 0 : 1, 1]);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("leaves fragments alone, whose options may lie in the next one", () => {
    const m = path({ clampMss: 500 }, {}, []);
    const whole = syn([...mss(1460), 1, 1, 1, 1]);
    const part = ethernet(0x800, ipv4(6, whole.subarray(34, 58), { fragment: MORE }));
    expect(m.send([part])).toEqual([part]);
    expect(m.dataplane.details().mssClamped).toBe(0);
  });

  test("is for segments with SYN alone, and not of bytes that another packet uses", () => {
    const m = path({ clampMss: 500 }, {}, []);
    const data = syn(mss(1460), false, ACK);
    expect(m.send([data])).toEqual([data]);
    const frame = syn(mss(1460));
    const id = m.packet(frame);
    const clone = m.pool.clone(id);
    const out = new Int32Array(1);
    m.dataplane.process(Int32Array.of(id), 1, out);
    expect(m.read(clone)).toEqual(frame);
    expect([...m.read(out[0]).subarray(54, 58)]).toEqual(mss(500));
  });
});

describe("verifying checksums", () => {
  const bad = (frame: Uint8Array, at: number): Uint8Array => {
    const changed = frame.slice();
    changed[at] ^= 0x55;
    return changed;
  };
  const frames = [
    bad(tcp4(), 24),
    bad(tcp4(), 60),
    bad(udp4(), 45),
    bad(udp6(), 70),
    bad(ethernet(0x800, ipv4(1, icmpEcho(8, 1))), 40),
    bad(ethernet(0x800, ipv4(17, new Uint8Array(8), { fragment: 4 })), 24),
    tcp4(),
    udp4(),
    ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(20))),
  ];
  const counts = { badIpv4Checksum: 2, badTcpChecksum: 1, badUdpChecksum: 2, badIcmpChecksum: 1 };

  test("counts bad ones by protocol and drops them, or passes them on, as it is told", () => {
    const drop = path({ checksums: "drop" }, {}, []);
    expect(drop.send(frames)).toEqual(frames.slice(6));
    expect(drop.dataplane.details()).toMatchObject({ ...counts, dropChecksum: 6 });
    const count = path({ checksums: "count" }, {}, []);
    expect(count.send(frames)).toEqual(frames);
    expect(count.dataplane.details()).toMatchObject({ ...counts, dropChecksum: 0 });
    const off = path({}, {}, []);
    off.send(frames);
    expect(off.dataplane.details().badTcpChecksum).toBe(0);
    expect(drop.dataplane.nodeStatistics().find(({ name }) => name === "checksums")).toMatchObject({
      packets: 7,
      ended: 5,
    });
  });
});

test("wrong options of the path are refused, each with its name", () => {
  const wrong: [NetworkOptions, string][] = [
    [{ mtu: 100 }, "network.mtu is 100"],
    [{ mtu: 70_000 }, "network.mtu"],
    [{ clampMss: true }, "needs network.mtu"],
    [{ clampMss: 10 }, "network.clampMss is 10"],
    [{ checksums: "maybe" as "drop" }, "network.checksums"],
    [{ tooLong: "maybe" as "drop" }, "network.tooLong"],
    [{ answersPerSecond: -1 }, "network.answersPerSecond"],
    [{ answerBurst: 0 }, "network.answerBurst"],
    [{ mut: 1500 } as NetworkOptions, "network.mut"],
  ];
  for (const [network, message] of wrong) {
    expect(() => path(network)).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT", message: expect.stringContaining(message) }),
    );
  }
});
