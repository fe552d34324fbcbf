import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  LinkType,
  NetworkKind,
  PacketInfo,
  parseFrame,
  ParseResult,
  verifyIpChecksum,
  verifyTransportChecksum,
} from "@x/proxy-dataplane";
import { parseCommon } from "../src/parse-common.ts";
import { walkFrame } from "../src/parse-frame.ts";
import {
  A4,
  A6,
  B4,
  B6,
  be16,
  be32,
  bytes,
  ethernet,
  icmpEcho,
  ipv4,
  ipv6,
  tcp,
  tcp4,
  tcp6,
  udp,
  udp4,
  udp6,
} from "./frames.ts";

const ENDS6 = [...A6, ...B6];

function parse(frame: Uint8Array, linkType: number = LinkType.Ethernet, wireLength = frame.length): PacketInfo {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, wireLength, linkType, info);
  return info;
}

const extension = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];
const fragment = (next: number, offset: number, more: number): number[] => [
  next,
  0,
  ...be16(offset | more),
  ...be32(7),
];
const in6 = (next: number, ...parts: (number[] | Uint8Array)[]): Uint8Array =>
  ethernet(0x86dd, ipv6(next, bytes(...parts)));
const tcp6Segment = tcp(undefined, { ends: ENDS6 });

describe("headers", () => {
  test("a TCP packet gives its addresses, ports, flags and flow key", () => {
    const info = parse(tcp4({ flags: 0x12, sequence: 0xfffffff0 }));
    expect(info).toMatchObject({
      result: ParseResult.Ok,
      network: NetworkKind.Ipv4,
      protocol: 6,
      ttl: 64,
      hasPorts: 1,
    });
    expect(info).toMatchObject({ sourcePort: 1000, destinationPort: 80, tcpFlags: 0x12, transportOffset: 34 });
    expect(info.tcpSequence >>> 0).toBe(0xfffffff0);
    expect([...info.key]).toEqual([0x0a000001, 0, 0, 0, 0x0a000002, 0, 0, 0, (1000 << 16) | 80, 6]);
  });

  test("the key of an IPv6 flow has all eight address words and the IPv6 bit", () => {
    expect([...parse(udp6()).key]).toEqual([0x20010db8, 0, 0, 1, 0x20010db8, 0, 0, 2, (1111 << 16) | 2222, 17 | 0x100]);
  });

  test("any stack of VLAN tags is walked, and the outermost identifier kept", () => {
    const tags: [number, number][] = [
      [0x9100, 0x2005],
      [0x88a8, 6],
      [0x8100, 7],
      [0x8100, 8],
    ];
    expect(parse(ethernet(0x800, ipv4(6, tcp()), tags))).toMatchObject({
      vlanTags: 4,
      vlanId: 5,
      protocol: 6,
      result: 0,
    });
  });

  test("an LLC header with SNAP is opened, other 802.3 frames are not", () => {
    const snap = bytes(0xaa, 0xaa, 3, 0, 0, 0, 8, 0, ipv4(6, tcp()));
    expect(parse(ethernet(snap.length, snap))).toMatchObject({ network: NetworkKind.Ipv4, protocol: 6 });
    expect(parse(ethernet(38, new Uint8Array(38)))).toMatchObject({ network: NetworkKind.Other, result: 0 });
  });

  const loopbacks: [string, number, number[], number][] = [
    ["BSD loopback of a little-endian host", LinkType.Null, [2, 0, 0, 0], 4],
    ["BSD loopback of a big-endian host", LinkType.Null, [0, 0, 0, 2], 4],
    ["FreeBSD's IPv6 family", LinkType.Null, [28, 0, 0, 0], 6],
    ["Darwin's IPv6 family", LinkType.Null, [30, 0, 0, 0], 6],
    ["OpenBSD loopback", LinkType.Loop, [0, 0, 0, 24], 6],
    ["OpenBSD loopback in the wrong order", LinkType.Loop, [2, 0, 0, 0], 0],
    ["another family", LinkType.Null, [7, 0, 0, 0], 0],
  ];
  for (const [what, linkType, family, network] of loopbacks) {
    test(`${what} is told`, () => {
      const packet = network === 6 ? ipv6(6, tcp6Segment) : ipv4(6, tcp());
      expect(parse(bytes(family, packet), linkType)).toMatchObject({ network, protocol: network === 0 ? -1 : 6 });
    });
  }

  test("raw IP is told by its version, and Linux cooked captures by their protocol field", () => {
    expect(parse(ipv4(6, tcp()), LinkType.Raw).network).toBe(4);
    expect(parse(ipv6(6, tcp6Segment), 12).network).toBe(6);
    expect(parse(bytes(0x55, new Uint8Array(30)), LinkType.Raw)).toMatchObject({ network: 0, result: 0 });
    expect(parse(ipv6(6, tcp6Segment), LinkType.Ipv6).protocol).toBe(6);
    expect(parse(bytes(new Uint8Array(14), be16(0x800), ipv4(6, tcp())), LinkType.LinuxSll).protocol).toBe(6);
    expect(parse(bytes(be16(0x86dd), new Uint8Array(18), ipv6(6, tcp6Segment)), LinkType.LinuxSll2).protocol).toBe(6);
    expect(parse(ipv4(6, tcp()), 147).network).toBe(NetworkKind.Other);
  });

  test("IPv6 extension headers are walked to the transport", () => {
    const routing = [60, 0, 2, 0, 0, 0, 0, 0];
    const info = parse(in6(0, extension(60), extension(43), routing, extension(6), tcp6Segment));
    expect(info).toMatchObject({ protocol: 6, networkHeaderLength: 72, sourcePort: 1000, result: 0, fragment: 0 });
    const authentication = [6, 4, 0, 0, ...be32(1), ...be32(1), ...new Uint8Array(12)];
    expect(parse(in6(51, authentication, tcp6Segment))).toMatchObject({ protocol: 6, networkHeaderLength: 64 });
    expect(parse(in6(59))).toMatchObject({ protocol: 59, result: 0 });
    expect(parse(in6(50, new Uint8Array(24)))).toMatchObject({ protocol: 50, result: 0 });
  });

  test("a jumbo payload option gives the length that the header cannot", () => {
    const jumbo = [17, 0, 0xc2, 4, ...be32(8 + 70000)];
    const datagram = udp(new Uint8Array(69992), { ends: ENDS6, length: 0 });
    const info = parse(ethernet(0x86dd, ipv6(0, bytes(jumbo, datagram), { payloadLength: 0 })));
    expect(info).toMatchObject({ result: 0, protocol: 17, transportLength: 70000 });
    expect(verifyTransportChecksum(ethernet(0x86dd, ipv6(0, bytes(jumbo, datagram), { payloadLength: 0 })), info)).toBe(
      1,
    );
  });

  test("an ICMP echo reply has the swapped key of its request", () => {
    const request = parse(ethernet(0x800, ipv4(1, icmpEcho(8, 77))));
    const reply = parse(ethernet(0x800, ipv4(1, icmpEcho(0, 77), { source: B4, destination: A4 })));
    expect(request).toMatchObject({ icmpType: 8, sourcePort: 77, destinationPort: 77, hasPorts: 0 });
    expect([...reply.key]).toEqual([
      ...request.key.subarray(4, 8),
      ...request.key.subarray(0, 4),
      ...request.key.subarray(8),
    ]);
  });

  test("tunnels stay closed", () => {
    expect(parse(ethernet(0x800, ipv4(4, ipv4(6, tcp()))))).toMatchObject({ protocol: 4, hasPorts: 0, result: 0 });
    expect(parse(ethernet(0x800, ipv4(41, ipv6(6, tcp6Segment)))).protocol).toBe(41);
    expect(parse(in6(4, ipv4(6, tcp())))).toMatchObject({ network: NetworkKind.Ipv6, protocol: 4 });
    expect(parse(ethernet(0x8847, bytes(0, 1, 1, 64, ipv4(6, tcp())))).network).toBe(NetworkKind.Other);
  });
});

describe("fragments", () => {
  test("a first fragment has ports, the others have not, and neither is malformed", () => {
    const segment = tcp();
    const first = parse(ethernet(0x800, ipv4(6, segment.subarray(0, 8), { fragment: 0x2000 })));
    expect(first).toMatchObject({ fragment: 1, moreFragments: 1, fragmentOffset: 0, hasPorts: 1, result: 0 });
    const last = parse(ethernet(0x800, ipv4(6, segment.subarray(8), { fragment: 1 })));
    expect(last).toMatchObject({
      fragment: 1,
      moreFragments: 0,
      fragmentOffset: 8,
      hasPorts: 0,
      protocol: 6,
      result: 0,
    });
  });

  test("an IPv6 atomic fragment is a fragment whose checksum can be verified", () => {
    const frame = in6(44, fragment(6, 0, 0), tcp6Segment);
    const info = parse(frame);
    expect(info).toMatchObject({ fragment: 1, protocol: 6, sourcePort: 1000, result: 0 });
    expect(verifyTransportChecksum(frame, info)).toBe(1);
  });

  test("a later IPv6 fragment has the protocol its fragment header names", () => {
    expect(parse(in6(0, extension(44), fragment(58, 64, 1), [1, 2, 3]))).toMatchObject({
      protocol: 58,
      fragmentOffset: 64,
    });
    expect(parse(in6(44, fragment(60, 8, 0), [1, 2]))).toMatchObject({ protocol: 60, result: 0 });
  });
});

describe("what is cut or contradictory", () => {
  const whole = tcp4();
  const cases: [string, Uint8Array, number, number][] = [
    ["an Ethernet header", whole.subarray(0, 13), 60, ParseResult.CutLink],
    ["a VLAN tag", ethernet(0x8100, bytes(0, 5)), 60, ParseResult.CutLink],
    ["an IPv4 header", whole.subarray(0, 33), 66, ParseResult.CutNetwork],
    ["a TCP header", whole.subarray(0, 53), 66, ParseResult.CutTransport],
    ["a UDP header", udp4().subarray(0, 41), 54, ParseResult.CutTransport],
    ["an IPv6 header", tcp6().subarray(0, 53), 86, ParseResult.CutNetwork],
    ["an ARP header", ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1)), 60, ParseResult.CutNetwork],
    ["an IPv6 extension header", in6(0, extension(6), tcp6Segment).subarray(0, 58), 94, ParseResult.CutNetwork],
  ];
  for (const [what, frame, wireLength, result] of cases) {
    test(`${what} that ends early is reported`, () => expect(parse(frame, 1, wireLength).result).toBe(result));
  }

  const contradictions: [string, Uint8Array, number][] = [
    ["an IPv4 header of 16 bytes", ethernet(0x800, ipv4(6, tcp(), { headerWords: 4 })), ParseResult.BadNetwork],
    [
      "an IPv4 total length below the header's",
      ethernet(0x800, ipv4(6, tcp(), { totalLength: 19 })),
      ParseResult.BadNetwork,
    ],
    [
      "an IPv4 total length above the frame's",
      ethernet(0x800, ipv4(6, tcp(), { totalLength: 400 })),
      ParseResult.BadNetwork,
    ],
    ["IPv6 behind the EtherType of IPv4", ethernet(0x800, ipv6(6, tcp6Segment)), ParseResult.BadNetwork],
    [
      "an IPv6 payload length above the frame's",
      ethernet(0x86dd, ipv6(6, tcp6Segment, { payloadLength: 400 })),
      ParseResult.BadNetwork,
    ],
    [
      "an extension header longer than the packet",
      in6(0, [6, 50, 1, 4, 0, 0, 0, 0], tcp6Segment),
      ParseResult.BadNetwork,
    ],
    ["a UDP length of 7", ethernet(0x800, ipv4(17, udp(undefined, { length: 7 }))), ParseResult.BadTransport],
    [
      "a UDP length above the packet's",
      ethernet(0x800, ipv4(17, udp(undefined, { length: 90 }))),
      ParseResult.BadTransport,
    ],
    ["a TCP header of 0 bytes", mutate(tcp4(), 46, 0), ParseResult.BadTransport],
    ["a TCP header longer than its segment", mutate(tcp4(), 46, 0xf0), ParseResult.BadTransport],
    [
      "TCP in an IPv4 packet with room for 4 bytes",
      ethernet(0x800, ipv4(6, tcp(), { totalLength: 24 })),
      ParseResult.BadTransport,
    ],
  ];
  function mutate(frame: Uint8Array, at: number, value: number): Uint8Array {
    frame[at] = value;
    return frame;
  }
  for (const [what, frame, result] of contradictions) {
    test(`${what} is reported`, () => expect(parse(frame).result).toBe(result));
  }

  test("padding behind the packet, and an IPv4 total length of 0, are nothing odd", () => {
    expect(parse(bytes(tcp4(), new Uint8Array(9))).result).toBe(0);
    const offloaded = ethernet(0x800, ipv4(6, tcp(), { totalLength: 0 }));
    expect(parse(offloaded)).toMatchObject({ result: 0, sourcePort: 1000 });
  });
});

describe("checksums", () => {
  test("good ones are good, with any single bit of the covered bytes flipped they are bad", () => {
    for (const frame of [tcp4(), udp4(), tcp6(), udp6()]) {
      const clean = parse(frame);
      expect(verifyTransportChecksum(frame, clean)).toBe(1);
      expect(verifyIpChecksum(frame, clean)).toBe(clean.network === 4 ? 1 : 0);
      const last = frame.length - 1;
      frame[last] ^= 4;
      expect(verifyTransportChecksum(frame, parse(frame))).toBe(2);
      frame[last] ^= 4;
      frame[22] ^= 1;
      if (clean.network === 4) expect(verifyIpChecksum(frame, parse(frame))).toBe(2);
    }
  });

  test("UDP may have none over IPv4, and must have one over IPv6", () => {
    const four = udp4();
    four.set([0, 0], 40);
    expect(verifyTransportChecksum(four, parse(four))).toBe(0);
    const six = udp6();
    six.set([0, 0], 60);
    expect(verifyTransportChecksum(six, parse(six))).toBe(2);
  });

  test("bytes that are not here are not verified", () => {
    const frame = tcp4();
    expect(verifyTransportChecksum(frame, parse(frame.subarray(0, 60), 1, frame.length))).toBe(0);
  });

  test("behind a routing header or source route the final destination is covered", () => {
    const far = [...B6.slice(0, 15), 9];
    const segment = tcp(undefined, { ends: [...A6, ...far] });
    const six = in6(43, [6, 2, 0, 1, 0, 0, 0, 0], far, segment);
    expect(verifyTransportChecksum(six, parse(six))).toBe(1);
    const route = [131, 7, 4, 10, 0, 0, 9, 0];
    const four = ethernet(0x800, ipv4(6, tcp(undefined, { ends: [...A4, 10, 0, 0, 9] }), { options: route }));
    expect(verifyTransportChecksum(four, parse(four))).toBe(1);
  });
});

describe("hostile frames", () => {
  const seeds = [tcp4(), udp4(), tcp6(), udp6(), in6(0, extension(60), extension(44), fragment(17, 0, 0), udp())];
  seeds.push(
    ethernet(0x800, ipv4(6, tcp()), [
      [0x88a8, 1],
      [0x8100, 2],
    ]),
    ethernet(0x800, ipv4(1, icmpEcho(8, 1))),
  );
  const linkTypes = [0, 1, 12, 101, 108, 113, 147, 228, 229, 276];
  const change = fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 4, 0x40, 0x60, 43, 44, 51, 60, 255), fc.nat(255)));
  const frame = fc
    .tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 8 }), fc.nat())
    .map(([seed, changes, cut]) => {
      const mutated = seed.slice(0, cut % 4 === 0 ? cut % (seed.length + 1) : seed.length);
      for (const [at, value] of changes) if (mutated.length > 0) mutated[at % mutated.length] = value;
      return mutated;
    });

  test("are parsed the same whatever lies around them, so nothing outside is read", () => {
    fc.assert(
      fc.property(frame, fc.constantFrom(...linkTypes), fc.nat(2000), (packet, linkType, more) => {
        const results = [0, 0x45, 0xff].map((filler) => {
          const buffer = new Uint8Array(packet.length + 256).fill(filler);
          buffer.set(packet, 128);
          const info = new PacketInfo();
          parseFrame(buffer, 128, packet.length, packet.length + (more % 3 === 0 ? more : 0), linkType, info);
          const ip = verifyIpChecksum(buffer, info);
          const transport = verifyTransportChecksum(buffer, info);
          return { fields: Object.entries(info), key: [...info.key], ip, transport };
        });
        expect(results[1]).toEqual(results[0]);
        expect(results[2]).toEqual(results[0]);
      }),
      { numRuns: 4000 },
    );
  });

  test("come out of the short way for common packets as out of the general walk", () => {
    let common = 0;
    let cut = 0;
    fc.assert(
      fc.property(frame, fc.nat(100), (whole, more) => {
        const [short, general] = [new PacketInfo(), new PacketInfo()];
        // Some are longer on the wire than their packet, some are here in part.
        const packet = more < 70 ? whole : whole.subarray(0, Math.max(14, whole.length - ((more - 69) % 8)));
        const wireLength = whole.length + (more < 50 ? 0 : more);
        if (parseCommon(packet, 0, packet.length, wireLength, short)) {
          common++;
          if (packet.length < whole.length) cut++;
          walkFrame(packet, 0, packet.length, wireLength, 1, general);
        }
        expect(short).toEqual(general);
      }),
      { numRuns: 4000 },
    );
    expect(common).toBeGreaterThan(200);
    expect(cut).toBeGreaterThan(0);
  });

  test("give offsets and lengths inside the packet", () => {
    fc.assert(
      fc.property(frame, fc.constantFrom(...linkTypes), (packet, linkType) => {
        const info = new PacketInfo();
        const result = parseFrame(packet, 0, packet.length, packet.length, linkType, info);
        expect(result).toBe(info.result);
        expect(info.networkEnd).toBeLessThanOrEqual(packet.length);
        expect(info.transportOffset).toBeLessThanOrEqual(packet.length);
        if (result === ParseResult.Ok && info.transportOffset >= 0) {
          expect(info.transportOffset + info.transportLength).toBeLessThanOrEqual(packet.length);
          expect(info.transportHeaderLength).toBeLessThanOrEqual(Math.max(info.transportLength, info.fragment * 60));
        }
      }),
      { numRuns: 4000 },
    );
  });
});
