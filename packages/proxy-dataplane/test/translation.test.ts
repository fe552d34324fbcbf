import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ConnectionState,
  formatConntrack,
  validateProxyConfig,
  verifyIcmpChecksum,
  PacketInfo,
  parseFrame,
} from "@x/proxy-dataplane";
import type { DestinationTranslation, SourceTranslation, TranslationConfig } from "@x/proxy-dataplane";
import { ethernet, icmpEcho, ipv4, ipv6, tcp4, tcp6, udp4, udp6, bytes, A6, B6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, ends, FIN, sums, SYN } from "./traffic.ts";

/** A machine that translates and has no servers. */
const box = (translation: TranslationConfig, more = {}): Machine =>
  machine({ initial: configOf([], { translation, ...more }), maxConnections: 4096 });
const source = (rule: SourceTranslation): TranslationConfig => ({ source: [rule] });
const destination = (rule: DestinationTranslation, more: TranslationConfig = {}): TranslationConfig => ({
  destination: [rule],
  ...more,
});
const POOL = [203, 0, 113, 4];
const octets = (text: string): number[] => text.split(".").map(Number);
const port = (end: string): number => Number(end.split(" ")[1]);

describe("source translation", () => {
  test("gives flows an address of the pool and keeps the port; answers are undone; others are left alone", () => {
    const m = box(source({ source: ["10.0.0.0/24"], to: ["203.0.113.4"] }));
    const [there] = m.send([tcp4({ flags: SYN })]);
    expect(ends(there)).toBe("203.0.113.4 1000 > 10.0.0.2 80");
    const [back] = m.send([
      tcp4({ source: [10, 0, 0, 2], destination: POOL, sourcePort: 80, destinationPort: 1000, flags: SYN | ACK }),
    ]);
    expect(ends(back)).toBe("10.0.0.2 80 > 10.0.0.1 1000");
    const [other] = m.send([udp4({ source: [10, 1, 0, 1] })]);
    expect(ends(other)).toBe("10.1.0.1 1111 > 10.0.0.2 2222");
    expect([there, back, other].map(sums)).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    const translated = [...m.dataplane.connections()].map((c) => [
      c.protocol,
      c.sourceTranslated,
      c.destinationTranslated,
    ]);
    expect(translated.toSorted(([a], [b]) => Number(b) - Number(a))).toEqual([
      [17, false, false],
      [6, true, false],
    ]);
  });

  test("of any family, protocol and payload keeps checksums what full computation says, both ways, and is undone", () => {
    const translation = source({ to: ["203.0.113.4-203.0.113.11", "2001:db8:f::4-2001:db8:f::b"] });
    fc.assert(
      fc.property(
        fc.nat(65535),
        fc.nat(65535),
        fc.nat(255),
        fc.uint8Array({ maxLength: 30 }),
        fc.boolean(),
        (p, q, host, payload, random) => {
          const m = box({ source: [{ ...translation.source?.[0], randomPorts: random }] });
          for (const [make, isIpv6] of [
            [tcp4, false],
            [udp4, false],
            [tcp6, true],
            [udp6, true],
          ] as const) {
            const client = isIpv6 ? [...A6.slice(0, 15), host] : [10, 0, 0, host];
            const far = isIpv6 ? B6 : [198, 51, 100, 7];
            const frame = make({ source: client, destination: far, sourcePort: p, destinationPort: q }, payload);
            const [there] = m.send([frame]);
            const near = parsed(there);
            expect(sums(there)).toEqual([isIpv6 ? 0 : 1, 1]);
            const [back] = m.send([
              make({ source: far, destination: near.source, sourcePort: q, destinationPort: near.sourcePort }, payload),
            ]);
            expect(sums(back)).toEqual([isIpv6 ? 0 : 1, 1]);
            expect(ends(back).split(" > ").toReversed().join(" > ")).toBe(ends(frame));
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test("gives a client the same address for all its flows, and clients all addresses of the pool", () => {
    const m = box(source({ to: ["203.0.113.4-203.0.113.7"] }));
    const used = new Map<number, Set<string>>();
    for (let host = 1; host <= 60; host++) {
      const frames = [1, 2, 3].map((far) => udp4({ source: [10, 0, 0, host], destination: [198, 51, 100, far] }));
      used.set(host, new Set(m.send(frames).map((frame) => ends(frame).split(" ")[0])));
    }
    expect([...used.values()].every((addresses) => addresses.size === 1)).toBe(true);
    expect(new Set([...used.values()].flatMap((addresses) => [...addresses])).size).toBe(4);
  });

  test("of two clients with one port to one destination gives the second another port, of its class", () => {
    const m = box(source({ to: ["203.0.113.4"] }));
    for (const [clientPort, least, most] of [
      [300, 1, 511],
      [800, 600, 1023],
      [40_000, 1024, 65_535],
    ]) {
      const ports = m
        .send([1, 2, 3].map((host) => udp4({ source: [10, 0, 0, host], sourcePort: clientPort })))
        .map((frame) => port(ends(frame)));
      expect(ports[0]).toBe(clientPort);
      expect(new Set(ports).size).toBe(3);
      for (const one of ports) expect(one >= least && one <= most).toBe(true);
    }
  });

  test("gives out every port of a range once, counts the flow that finds none, and never one that another flow holds", () => {
    const m = box(source({ to: ["203.0.113.4-203.0.113.5"], ports: "5000-5019" }));
    const flows = Array.from({ length: 41 }, (_, i) => tcp4({ sourcePort: 2000 + i, flags: SYN }));
    const sent = flows.flatMap((flow) => m.send([flow]));
    expect(new Set(sent.map((frame) => ends(frame).split(" > ")[0])).size).toBe(40);
    expect(sent.length).toBe(40);
    expect(m.dataplane.details()).toMatchObject({ dropNoPort: 1, dropNoConnection: 0 });
    // To another far end all of them may be used again.
    expect(m.send([tcp4({ sourcePort: 9, destination: [10, 0, 0, 3], flags: SYN })]).length).toBe(1);
    expect(m.pool.inUse).toBe(0);
  });

  test("a port is held in TIME_WAIT and given out again when that is over", () => {
    const m = box(source({ to: ["203.0.113.4"], ports: "5000-5000" }));
    const far = { source: [10, 0, 0, 2], destination: POOL, sourcePort: 80, destinationPort: 5000 };
    m.send([tcp4({ flags: SYN }), tcp4({ ...far, flags: SYN | ACK }), tcp4({ flags: ACK })]);
    m.send([tcp4({ flags: FIN | ACK }), tcp4({ ...far, flags: FIN | ACK }), tcp4({ flags: ACK })]);
    const [connection] = [...m.dataplane.connections()];
    expect(connection.state).toBe(ConnectionState.TimeWait);
    expect(formatConntrack(connection)).toContain(" TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80");
    const other = tcp4({ source: [10, 0, 0, 7], flags: SYN });
    for (const seconds of [0, 60, 119]) {
      m.dataplane.expire(m.hal.nowNs + seconds * 1e9);
      expect(m.send([other])).toEqual([]);
    }
    m.hal.nowNs += 121e9;
    m.dataplane.expire();
    expect(m.send([other]).map(ends)).toEqual(["203.0.113.4 5000 > 10.0.0.2 80"]);
    expect(m.dataplane.details().dropNoPort).toBe(3);
  });

  test("ports that are drawn cannot be told from the client's, and differ from flow to flow", () => {
    const m = box(source({ to: ["203.0.113.4"], ports: "1024-65535", randomPorts: true }));
    const drawn = m
      .send(Array.from({ length: 200 }, (_, i) => udp4({ sourcePort: 3000 + i })))
      .map((frame) => port(ends(frame)));
    expect(new Set(drawn).size).toBe(200);
    const kept = drawn.filter((one, i) => one === 3000 + i).length;
    const steps = new Set(drawn.slice(1).map((one, i) => one - drawn[i]));
    expect([kept < 3, steps.size > 150]).toEqual([true, true]);
  });

  test("echoes of two clients with one identifier get identifiers of their own, and their own answers", () => {
    const m = box({ own: ["203.0.113.9", "2001:db8:f::9"], source: [{}] });
    const echo4 = (type: number, id: number, from: number[], to: number[]): Uint8Array =>
      ethernet(0x800, ipv4(1, icmpEcho(type, id), { source: from, destination: to }));
    const far = [198, 51, 100, 7];
    const sent = m.send([1, 2].map((host) => echo4(8, 77, [10, 0, 0, host], far)));
    const ids = sent.map((frame) => port(ends(frame)));
    expect(ids[0]).toBe(77);
    expect(ids[1]).not.toBe(77);
    const back = m.send(ids.map((id) => echo4(0, id, far, [203, 0, 113, 9])));
    expect(back.map(ends)).toEqual(["198.51.100.7 77 > 10.0.0.1 77", "198.51.100.7 77 > 10.0.0.2 77"]);
    const six = m.send([1, 2].map((host) => echo6([...A6.slice(0, 15), host])));
    for (const frame of [...sent, ...back, ...six]) expect(icmpSum(frame)).toBe(1);
    expect(ends(six[1]).startsWith("2001:db8:f::9 ")).toBe(true);
    expect([...m.dataplane.connections()].map((one) => formatConntrack(one)).join()).toContain(
      `type=0 code=0 id=${ids[1]}`,
    );
  });

  test("of flows to servers only, or of others only, as the rule says", () => {
    const translation: TranslationConfig = { source: [{ via: "server", to: ["203.0.113.4"] }] };
    const m = machine({ initial: configOf([server("192.0.2.1")], { translation, protocols: ["tcp"] }) });
    expect(m.send([tcp4({ flags: SYN }), udp4()]).map(ends)).toEqual([
      "203.0.113.4 1000 > 192.0.2.1 1080",
      "10.0.0.1 1111 > 10.0.0.2 2222",
    ]);
  });

  test("of protocols without ports changes addresses alone, and has no room for a second flow of one answer", () => {
    const m = box(source({ to: ["203.0.113.4"] }));
    const gre = (host: number): Uint8Array =>
      ethernet(0x800, ipv4(47, bytes(0, 0, 8, 0, 1, 2, 3), { source: [10, 0, 0, host] }));
    const sent = m.send([gre(1), gre(2)]);
    expect(sent.map(ends)).toEqual(["203.0.113.4 0 > 10.0.0.2 0"]);
    expect([sums(sent[0]), [...sent[0].subarray(34)]]).toEqual([
      [1, 0],
      [0, 0, 8, 0, 1, 2, 3],
    ]);
    expect(m.dataplane.details().dropNoPort).toBe(1);
  });

  test("a flow keeps what it got when the configuration changes", () => {
    const m = box(source({ to: ["203.0.113.4"] }));
    m.send([tcp4({ flags: SYN })]);
    m.dataplane.updateConfig(configOf([], { translation: source({ to: ["203.0.113.5"] }) }));
    expect(m.send([tcp4({ flags: ACK }), tcp4({ sourcePort: 1001, flags: SYN })]).map(ends)).toEqual([
      "203.0.113.4 1000 > 10.0.0.2 80",
      "203.0.113.5 1001 > 10.0.0.2 80",
    ]);
  });
});

describe("destination translation", () => {
  const publicEnd = [203, 0, 113, 80];
  const inside = [10, 0, 0, 2];

  test("leads a port of the box inside, and answers come from the box", () => {
    const m = box(
      destination({ destination: ["203.0.113.80"], ports: [8080], protocols: ["tcp"], to: ["10.0.0.2"], port: 80 }),
    );
    const client = { source: [198, 51, 100, 9], sourcePort: 4000 };
    const [there] = m.send([tcp4({ ...client, destination: publicEnd, destinationPort: 8080, flags: SYN })]);
    expect(ends(there)).toBe("198.51.100.9 4000 > 10.0.0.2 80");
    const [back] = m.send([
      tcp4({ source: inside, sourcePort: 80, destination: client.source, destinationPort: 4000, flags: SYN | ACK }),
    ]);
    expect(ends(back)).toBe("203.0.113.80 8080 > 198.51.100.9 4000");
    const [other] = m.send([tcp4({ ...client, destination: publicEnd, destinationPort: 8081, flags: SYN })]);
    expect(ends(other)).toBe("198.51.100.9 4000 > 203.0.113.80 8081");
    expect([there, back].map(sums)).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  test("comes before servers, and after rules that drop and reject", () => {
    const translation = destination({ ports: [80], to: ["10.0.0.3"] });
    const initial = configOf([server("192.0.2.1")], { translation, rules: [{ action: "drop", source: ["10.0.0.9"] }] });
    const m = machine({ initial });
    const frames = [tcp4(), tcp4({ destinationPort: 81 }), tcp4({ source: [10, 0, 0, 9] })];
    expect(m.send(frames).map(ends)).toEqual(["10.0.0.1 1000 > 10.0.0.3 80", "10.0.0.1 1000 > 192.0.2.1 1080"]);
    expect([...m.dataplane.connections()].map((one) => one.server).toSorted((a, b) => a - b)).toEqual([-1, 0]);
  });

  test.each([
    ["the box's address", { own: ["10.0.0.254"] }, "10.0.0.254"],
    ["the address that the client asked for, where the box has none", {}, "203.0.113.80"],
  ])("a hairpin: a client of the same network gets %s, and answers come back through the box", (_, own, near) => {
    const m = box(
      destination({ destination: ["203.0.113.80"], to: ["10.0.0.2"] }, { ...own, hairpin: ["10.0.0.0/24"] }),
    );
    const [there] = m.send([tcp4({ destination: publicEnd, flags: SYN })]);
    expect(ends(there)).toBe(`${near} 1000 > 10.0.0.2 80`);
    const [back] = m.send([
      tcp4({ source: inside, sourcePort: 80, destination: octets(near), destinationPort: 1000, flags: SYN | ACK }),
    ]);
    expect(ends(back)).toBe("203.0.113.80 80 > 10.0.0.1 1000");
    const [outsider] = m.send([tcp4({ source: [198, 51, 100, 9], destination: publicEnd, flags: SYN })]);
    expect(ends(outsider)).toBe("198.51.100.9 1000 > 10.0.0.2 80");
    expect([there, back, outsider].map(sums)).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
  });

  test("a hairpin of IPv6, and none for flows that are not translated", () => {
    const translation = destination(
      { destination: ["2001:db8:f::80"], to: ["2001:db8::2"] },
      { own: ["2001:db8::fe"], hairpin: ["2001:db8::/64"] },
    );
    const m = box(translation);
    const asked = [0x20, 1, 0xd, 0xb8, 0, 15, ...Array.from({ length: 9 }, () => 0), 0x80];
    const [there, plain] = m.send([tcp6({ destination: asked, flags: SYN }), udp6()]);
    expect(ends(there)).toBe("2001:db8::fe 1000 > 2001:db8::2 80");
    expect(ends(plain)).toBe("2001:db8::1 1111 > 2001:db8::2 2222");
    expect(sums(there)).toEqual([0, 1]);
  });
});

describe("a configuration of translation", () => {
  const bad: [string, unknown][] = [
    ["/translation/source/0/to/0", { source: [{ to: ["10.0.0.9-10.0.0.1"] }] }],
    ["/translation/source/0/to/0", { source: [{ to: ["10.0.0.0/8"] }] }],
    ["/translation/source/0/to", { source: [{}] }],
    ["/translation/source/0/ports", { source: [{ to: ["10.0.0.1"], ports: "9-1" }] }],
    ["/translation/destination/0/to", { destination: [{ port: 80 }] }],
    ["/translation/destination/0/port", { destination: [{ to: ["10.0.0.1"], port: 0 }] }],
    ["/translation/own", { own: ["10.0.0.1", "10.0.0.2"] }],
    ["/translation/hairpin/0", { hairpin: ["ten"] }],
    ["/translation/sources", { sources: [] }],
    ["/rejectWith", undefined],
  ];
  test.each(bad)("that is wrong at %s is refused there", (path, translation) => {
    const value = translation === undefined ? { rejectWith: "politely" } : { translation };
    expect(() => validateProxyConfig({ ...configOf([]), ...(value as object) })).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_CONFIG", location: { path } }),
    );
  });
});

function echo6(from: number[]): Uint8Array {
  const message = icmpEcho(128, 77);
  const frame = ethernet(0x86dd, ipv6(58, message, { source: from }));
  // The checksum of ICMPv6 counts the pseudo-header: addresses, length and protocol.
  const pseudo = [...from, ...B6, 0, 0, 0, message.length, 0, 0, 0, 58];
  let sum = 0;
  message.set([0, 0], 2);
  const all = [...pseudo, ...message];
  for (let at = 0; at < all.length; at += 2) sum += (all[at] << 8) | (all[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.set([(~sum >> 8) & 255, ~sum & 255], 14 + 40 + 2);
  return frame;
}

function parsed(frame: Uint8Array): { source: number[]; sourcePort: number } {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const [at, length] = info.network === 6 ? [8, 16] : [12, 4];
  const from = info.networkOffset + at;
  return { source: [...frame.subarray(from, from + length)], sourcePort: info.sourcePort };
}

function icmpSum(frame: Uint8Array): number {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  return verifyIcmpChecksum(frame, info);
}
