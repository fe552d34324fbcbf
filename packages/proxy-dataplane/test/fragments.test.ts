import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DropReason } from "@x/proxy-dataplane";
import { ethernet, icmpEcho, ipv4, tcp4, tcp6, udp4, udp6, type PortOptions } from "./frames.ts";
import { fragment4, fragmentsOf, reassemble } from "./fragments.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, ends, fromServer, sums, SYN } from "./traffic.ts";

const DATA = Uint8Array.from({ length: 100 }, (_, i) => i * 7);
const both = configOf([server("192.0.2.1"), server("2001:db8:1::1")]);
const holding = (more: object = {}): Machine => machine({ initial: both, network: { heldFragments: 64 }, ...more });

describe("fragments of a datagram", () => {
  const whole: [string, (o: PortOptions) => Uint8Array, string][] = [
    ["UDP over IPv4", (o) => udp4(o, DATA), "10.0.0.1 1111 > 192.0.2.1 1080"],
    ["TCP over IPv4", (o) => tcp4({ ...o, flags: ACK }, DATA), "10.0.0.1 1000 > 192.0.2.1 1080"],
    ["UDP over IPv6", (o) => udp6(o, DATA), "2001:db8::1 1111 > 2001:db8:1::1 1080"],
    ["TCP over IPv6", (o) => tcp6({ ...o, flags: ACK }, DATA), "2001:db8::1 1000 > 2001:db8:1::1 1080"],
  ];
  for (const [name, make, where] of whole) {
    test(`go the way of their flow, and are what the whole packet would have been: ${name}`, () => {
      const m = holding();
      const sent = m.send(fragmentsOf(make({}), 32, 77));
      expect(sent.length).toBeGreaterThan(3);
      const [packet] = reassemble(sent);
      expect(packet.subarray(26)).toEqual(
        holding()
          .send([make({})])[0]
          .subarray(26),
      );
      expect(ends(packet)).toBe(where);
      expect(sums(packet)[1]).toBe(1);
      expect([...m.dataplane.connections()]).toMatchObject([{ packetsSent: sent.length, packetsReceived: 0 }]);
      expect(m.pool.inUse).toBe(0);
    });
  }

  test("are translated back on the way of the answer", () => {
    const m = holding();
    m.send([udp4()]);
    const answer = udp4({ ...fromServer, destinationPort: 1111 }, DATA);
    const [packet] = reassemble(m.send(fragmentsOf(answer, 24, 5)));
    expect(ends(packet)).toBe("10.0.0.2 2222 > 10.0.0.1 1111");
    expect(sums(packet)).toEqual([1, 1]);
  });

  test("of a ping belong to it by its identifier", () => {
    const m = holding();
    const ping = ethernet(0x800, ipv4(1, new Uint8Array([...icmpEcho(8, 7), ...new Uint8Array(60)])));
    expect(m.send(fragmentsOf(ping, 32, 9)).length).toBe(3);
    expect([...m.dataplane.connections()]).toMatchObject([{ protocol: 1, packetsSent: 3 }]);
  });

  test("of a TCP segment do not make what follows look out of window", () => {
    const m = holding();
    m.send([tcp4({ flags: SYN, sequence: 99 })]);
    m.send([tcp4({ ...fromServer, flags: SYN | ACK, sequence: 500 })]);
    m.send(fragmentsOf(tcp4({ flags: ACK, sequence: 100 }, DATA), 32, 3));
    m.send([tcp4({ ...fromServer, flags: ACK, sequence: 501 })]);
    expect(m.dataplane.details().outOfWindow).toBe(0);
    expect([...m.dataplane.connections()]).toMatchObject([{ state: 3 }]);
  });

  test("of several datagrams in any order, in batches of any size, all come out right and none is lost or kept", () => {
    const order = fc.record({
      datagrams: fc.integer({ min: 1, max: 6 }),
      size: fc.constantFrom(8, 16, 40),
      batch: fc.integer({ min: 1, max: 40 }),
      shuffle: fc.infiniteStream(fc.nat(1000)),
      isIpv6: fc.boolean(),
    });
    fc.assert(
      fc.property(order, ({ datagrams, size, batch, shuffle, isIpv6 }) => {
        const m = holding();
        const make = isIpv6 ? udp6 : udp4;
        const frames = Array.from({ length: datagrams }, (_, d) =>
          fragmentsOf(make({ sourcePort: 5000 + (d >> 1) }, DATA.subarray(0, 60 + d)), size, 1000 + d),
        ).flat();
        const mixed = frames.map((frame) => ({ frame, at: shuffle.next().value ?? 0 })).toSorted((a, b) => a.at - b.at);
        const out: Uint8Array[] = [];
        for (let at = 0; at < mixed.length; at += batch) {
          out.push(...m.send(mixed.slice(at, at + batch).map(({ frame }) => frame)));
        }
        expect(out.length).toBe(frames.length);
        const packets = reassemble(out);
        expect(packets.length).toBe(datagrams);
        for (const packet of packets) expect(sums(packet)[1]).toBe(1);
        expect(m.dataplane.statistics().packetsProcessed).toBe(frames.length);
        expect(m.dataplane.statistics().bytesProcessed).toBe(frames.reduce((sum, frame) => sum + frame.length, 0));
        expect(m.pool.inUse).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe("fragments that are refused", () => {
  const head = udp4().subarray(0, 34);
  const part = (from: number, length: number, more = true): Uint8Array =>
    fragment4(head, udp4({}, new Uint8Array(400)).subarray(34 + from, 34 + from + length), from, more, 42);
  const drops = (frames: Uint8Array[]): number => {
    const reasons: number[] = [];
    const m = holding({ observer: { onDrop: (_cpu: number, reason: DropReason) => reasons.push(reason) } });
    const sent = m.send(frames).length;
    const dropped = reasons.length;
    expect(reasons.every((reason) => reason === DropReason.Fragment)).toBe(true);
    expect(m.dataplane.statistics().packetsDropped).toBe(dropped);
    expect(m.pool.inUse).toBe(frames.length - sent - dropped);
    m.hal.nowNs += 31e9;
    m.dataplane.expire();
    expect(m.pool.inUse).toBe(0);
    return dropped;
  };

  test("an overlap in part loses the datagram: it, what waits and what follows are dropped", () => {
    expect(drops([part(0, 64), part(32, 64), part(96, 8, false)])).toBe(2);
    expect(drops([part(64, 32), part(96, 32), part(112, 32)])).toBe(3);
  });

  test("the same fragment again is dropped alone", () => {
    expect(drops([part(0, 64), part(0, 64), part(64, 8, false)])).toBe(1);
    expect(drops([part(64, 32), part(64, 8), part(0, 64), part(96, 8, false)])).toBe(1);
  });

  test("two ends, octets behind the end, and more octets than a datagram has", () => {
    expect(drops([part(0, 64), part(72, 16, false), part(96, 16, false)])).toBe(1);
    expect(drops([part(0, 64), part(72, 16, false), part(88, 8)])).toBe(1);
    expect(drops([fragment4(head, new Uint8Array(64), 65_528, false, 1)])).toBe(1);
  });

  test("a length that is no multiple of eight, no length at all, and headers cut in two", () => {
    expect(drops([part(0, 20)])).toBe(1);
    expect(drops([fragment4(head, new Uint8Array(0), 64, true, 1)])).toBe(1);
    const tcp = tcp4();
    expect(drops([fragment4(tcp.subarray(0, 34), tcp.subarray(34, 50), 0, true, 1)])).toBe(1);
    expect(drops([fragment4(tcp.subarray(0, 34), tcp.subarray(42, 58), 8, true, 1)])).toBe(1);
  });

  test("more gaps than are kept", () => {
    expect(drops(Array.from({ length: 20 }, (_, i) => part(8 + i * 16, 8)))).toBeGreaterThan(16);
  });
});

describe("bounds", () => {
  test("what waits for a first fragment that does not come is dropped when its time is over", () => {
    const m = holding();
    const [, second, third] = fragmentsOf(udp4({}, DATA), 32, 7);
    expect(m.send([second])).toEqual([]);
    m.hal.nowNs += 29e9;
    expect(m.send([third])).toEqual([]);
    expect(m.pool.inUse).toBe(2);
    m.hal.nowNs += 2e9;
    m.send([udp4({ sourcePort: 9 })]);
    expect(m.pool.inUse).toBe(0);
    expect(m.dataplane.details().dropFragment).toBe(2);
  });

  test("without room to wait, and with fragments not followed at all, they are sent on as they are", () => {
    const fragments = fragmentsOf(udp4({}, DATA), 32, 7).toReversed();
    for (const network of [{}, { datagrams: 0, heldFragments: 64 }]) {
      const m = machine({ network });
      const sent = m.send(fragments);
      expect(sent.slice(0, -1)).toEqual(fragments.slice(0, -1));
      expect(m.pool.inUse).toBe(0);
    }
  });

  test("a flood of fragments leaves established flows alive, whole packets and fragments, and its own memory bounded", () => {
    const m = holding({ maxConnections: 64, buffers: 512 });
    for (let port = 1; port <= 20; port++) {
      m.send([tcp4({ flags: SYN, sourcePort: port })]);
      m.send([tcp4({ ...fromServer, destinationPort: port, flags: SYN | ACK })]);
      m.send([tcp4({ flags: ACK, sourcePort: port })]);
    }
    const flood = (round: number, i: number): Uint8Array => {
      const [first, later] = fragmentsOf(udp4({ source: [172, 16, round & 255, i] }, DATA), 32, round);
      return i % 3 === 0 ? first : later;
    };
    for (let round = 0; round < 60; round++) {
      m.send(Array.from({ length: 128 }, (_, i) => flood(round, i)));
      m.settle();
      expect(m.pool.inUse).toBeLessThanOrEqual(64);
      m.hal.nowNs += 1e6;
      const answers = Array.from({ length: 20 }, (_, i) => tcp4({ ...fromServer, destinationPort: i + 1, flags: ACK }));
      expect(m.send(answers).length).toBe(20);
      const datagram = fragmentsOf(tcp4({ flags: ACK, sourcePort: 1 + (round % 20) }, DATA), 32, 9000 + round);
      expect(ends(reassemble(m.send(datagram))[0])).toContain("> 192.0.2.1 1080");
    }
    m.hal.nowNs += 31e9;
    m.dataplane.expire();
    expect(m.pool.inUse).toBe(0);
    expect([...m.dataplane.connections()].filter((c) => c.state === 3).length).toBeGreaterThanOrEqual(20);
  });
});
