import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ConnectionState,
  DataplaneError,
  formatAddress,
  validateProxyConfig,
  type ProxyConfig,
} from "@x/proxy-dataplane";
import { A6, B6, bytes, ethernet, icmpEcho, ipv4, ipv6, tcp, tcp4, tcp6, TEXT, udp, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, ends, FIN, fromServer, RST, SERVER, sums, SYN } from "./traffic.ts";

describe("a TCP flow through a server", () => {
  test("goes to the server, and answers come back from whom the client asked", () => {
    const m = machine();
    const [there] = m.send([tcp4({ flags: SYN })]);
    expect(ends(there)).toBe("10.0.0.1 1000 > 192.0.2.1 1080");
    const [back] = m.send([tcp4({ ...fromServer, flags: SYN | ACK })]);
    expect(ends(back)).toBe("10.0.0.2 80 > 10.0.0.1 1000");
    expect([sums(there), sums(back)]).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(there[22]).toBe(64);
    expect(m.pool.inUse).toBe(0);
  });

  test("passes the states of a connection, and comes to its end", () => {
    const m = machine();
    const states: number[] = [];
    const step = (frame: Uint8Array): void => {
      m.send([frame]);
      states.push([...m.dataplane.connections()][0].state);
    };
    step(tcp4({ flags: SYN }));
    step(tcp4({ ...fromServer, flags: SYN | ACK }));
    step(tcp4({ flags: ACK }));
    step(tcp4({ flags: FIN | ACK }));
    step(tcp4({ flags: FIN | ACK }));
    step(tcp4({ ...fromServer, flags: FIN | ACK }));
    step(tcp4({ flags: ACK }));
    step(tcp4({ flags: SYN }));
    step(tcp4({ ...fromServer, flags: RST }));
    const { SynSent, SynReceived, Established, FinWait, CloseWait, Closed, TimeWait } = ConnectionState;
    expect(states).toEqual([SynSent, SynReceived, Established, FinWait, FinWait, CloseWait, TimeWait, SynSent, Closed]);
  });

  test("a reset, data or an IPv6 flow in one batch with the packet that opens it are of one connection", () => {
    const six = configOf([server("192.0.2.1"), server("2001:db8::99")]);
    const m = machine({ initial: six });
    const frames = [tcp4({ flags: SYN }), tcp4({ flags: ACK }), tcp6({ flags: SYN }), tcp6({ flags: ACK })];
    expect(m.send(frames).map(ends)).toEqual([
      "10.0.0.1 1000 > 192.0.2.1 1080",
      "10.0.0.1 1000 > 192.0.2.1 1080",
      "2001:db8::1 1000 > 2001:db8::99 1080",
      "2001:db8::1 1000 > 2001:db8::99 1080",
    ]);
    expect(m.dataplane.connectionCount).toBe(2);
  });

  test("two flows of one client port to different destinations get different ports at the server, and their own answers", () => {
    const m = machine();
    const to = (host: number) => tcp4({ destination: [10, 0, 0, host], flags: SYN });
    const sent = m.send([to(2), to(3), to(4)]);
    const ports = sent.map((frame) => Number(ends(frame).split(" ")[1]));
    expect(new Set(ports).size).toBe(3);
    expect(ports[0]).toBe(1000);
    const back = m.send(ports.map((port) => tcp4({ ...fromServer, destinationPort: port, flags: SYN | ACK })));
    expect(back.map(ends)).toEqual([
      "10.0.0.2 80 > 10.0.0.1 1000",
      "10.0.0.3 80 > 10.0.0.1 1000",
      "10.0.0.4 80 > 10.0.0.1 1000",
    ]);
    expect([...sent, ...back].map(sums)).toEqual(Array.from({ length: 6 }, () => [1, 1]));
  });
});

describe("rewriting", () => {
  test("keeps every checksum what full computation says, for any ends and payload, both ways", () => {
    const octets = fc.tuple(fc.integer({ min: 1, max: 223 }), fc.nat(255), fc.nat(255), fc.nat(255));
    const port = fc.integer({ min: 1, max: 65535 });
    fc.assert(
      fc.property(
        octets,
        octets,
        port,
        port,
        octets,
        port,
        fc.uint8Array({ maxLength: 40 }),
        fc.boolean(),
        fc.boolean(),
        (a, b, p, q, s, r, payload, isTcp, broken) => {
          const wide = (address: number[]): number[] => [0x20, 1, 0xd, 0xb8, ...address, ...address, ...address];
          const m = machine({
            initial: configOf([
              server(s.join("."), { port: r }),
              server(formatAddress(Int32Array.from([0x20010db8, word(s), word(s), word(s)]), 0, true), { port: r }),
            ]),
          });
          for (const family of [4, 6]) {
            const make = family === 4 ? (isTcp ? tcp4 : udp4) : isTcp ? tcp6 : udp6;
            const [source, destination, upstream] = [a, b, s].map((address) =>
              family === 4 ? [...address] : wide(address),
            );
            const frame = make({ source, destination, sourcePort: p, destinationPort: q }, payload);
            if (broken) frame[frame.length - 1 - (payload.length === 0 ? 8 : 0)] ^= 0x10;
            const before = sums(frame);
            const [there] = m.send([frame]);
            expect(sums(there)).toEqual(before);
            const port = Number(ends(there).split(" ")[1]);
            const [back] = m.send([
              make({ source: upstream, destination: source, sourcePort: r, destinationPort: port }, payload),
            ]);
            expect(sums(back)).toEqual([family === 4 ? 1 : 0, 1]);
          }
        },
      ),
      { numRuns: 300 },
    );
    function word(octets: readonly number[]): number {
      return octets.reduce((value, octet) => (value << 8) | octet, 0);
    }
  }, 120_000);

  test("UDP without a checksum stays without", () => {
    const frame = udp4();
    frame.set([0, 0], 40);
    const [there] = machine().send([frame]);
    expect([there[40], there[41]]).toEqual([0, 0]);
    expect(sums(there)).toEqual([1, 0]);
    const m = machine({ initial: configOf([server("2001:db8::99")]) });
    // Read by words and, behind destination options, byte by byte.
    const datagram = udp(TEXT, { ends: [...A6, ...B6] });
    datagram.set([0, 0], 6);
    for (const packet of [ipv6(17, datagram), ipv6(60, bytes(17, 0, 1, 4, 0, 0, 0, 0, datagram))]) {
      const [sent] = m.send([ethernet(0x86dd, packet)]);
      expect(ends(sent)).toContain("2001:db8::99");
      expect([...sent.subarray(sent.length - TEXT.length - 2, sent.length - TEXT.length)]).toEqual([0, 0]);
    }
  });

  test("a packet whose bytes are shared is copied first: the clone keeps what it saw", () => {
    const m = machine();
    const id = m.packet(tcp4());
    const clone = m.dataplane.clonePacket(id);
    const out = new Int32Array(1);
    expect(m.dataplane.process(Int32Array.of(id), 1, out)).toBe(1);
    expect(ends(m.read(clone))).toBe("10.0.0.1 1000 > 10.0.0.2 80");
    expect(ends(m.read(out[0]))).toBe("10.0.0.1 1000 > 192.0.2.1 1080");
    expect(sums(m.read(out[0]))).toEqual([1, 1]);
    m.pool.free(clone);
    m.pool.free(out[0]);
    expect(m.pool.inUse).toBe(0);
  });
});

describe("what goes direct", () => {
  const initial = configOf([server("192.0.2.1")], {
    protocols: ["tcp"],
    ports: [80, 443],
    bypass: ["10.9.0.0/16", "10.8.7.6"],
  });
  const cases: [string, Uint8Array, boolean][] = [
    ["a selected flow", tcp4(), false],
    ["another protocol", udp4({ destinationPort: 80 }), true],
    ["another port", tcp4({ destinationPort: 22 }), true],
    ["a network that is left out", tcp4({ destination: [10, 9, 200, 1] }), true],
    ["an address that is left out", tcp4({ destination: [10, 8, 7, 6] }), true],
    ["the neighbour of an address that is left out", tcp4({ destination: [10, 8, 7, 7] }), false],
    ["a flow to the server itself", tcp4({ destination: SERVER, destinationPort: 1080 }), true],
    ["an IPv6 flow without an IPv6 server", tcp6(), true],
  ];
  for (const [what, frame, direct] of cases) {
    test(`${what} ${direct ? "does" : "does not"}`, () => {
      const m = machine({ initial });
      const [sent] = m.send([frame]);
      expect(Buffer.compare(sent, frame) === 0).toBe(direct);
      expect([...m.dataplane.connections()][0].server).toBe(direct ? -1 : 0);
    });
  }

  test("a flow without an active server does", () => {
    const m = machine({ initial: configOf([server("192.0.2.1", { active: false })]) });
    expect(m.send([tcp4()])).toEqual([tcp4()]);
  });

  test("ARP, fragments that are not followed, ICMP errors and packets on a source route do, and found no connection", () => {
    const frames = [
      ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(20))),
      ethernet(0x800, ipv4(6, tcp().subarray(0, 24), { fragment: 0x2000 })),
      ethernet(0x800, ipv4(6, new Uint8Array(16), { fragment: 3 })),
      ethernet(0x800, ipv4(1, bytes(3, 1, 0, 0, 0, 0, 0, 0, ipv4(6, tcp())))),
      ethernet(0x800, ipv4(6, tcp(), { options: [131, 7, 4, 10, 0, 0, 9, 0] })),
    ];
    const m = machine({ network: { datagrams: 0 } });
    expect(m.send(frames)).toEqual(frames);
    expect(m.dataplane.connectionCount).toBe(0);
    expect(m.dataplane.details().packetsDirect).toBe(5);
  });

  test("pings are tracked: request and reply are one connection", () => {
    const m = machine();
    m.send([ethernet(0x800, ipv4(1, icmpEcho(8, 7)))]);
    m.send([ethernet(0x800, ipv4(1, icmpEcho(0, 7), { source: [10, 0, 0, 2], destination: [10, 0, 0, 1] }))]);
    expect([...m.dataplane.connections()]).toMatchObject([
      { protocol: 1, state: ConnectionState.Established, packetsSent: 1, packetsReceived: 1 },
    ]);
  });
});

describe("choice of a server", () => {
  const three = [
    server("192.0.2.1", { priority: 5 }),
    server("192.0.2.2", { priority: 7 }),
    server("192.0.2.3", { priority: 5 }),
  ];
  const chosen = (m: Machine, flows: number): string[] =>
    m
      .send(Array.from({ length: flows }, (_, i) => tcp4({ sourcePort: 2000 + i, flags: SYN })))
      .map((frame) => ends(frame).split(" ")[3].slice(-1));

  test("round-robin takes each active server in turn, whichever CPU asks", () => {
    const m = machine({ cpus: 2, initial: configOf([...three, server("192.0.2.4", { active: false })]) });
    expect(chosen(m, 4)).toEqual(["1", "2", "3", "1"]);
    const more = m.send([tcp4({ sourcePort: 9, flags: SYN })], 1).map((frame) => ends(frame).split(" ")[3].slice(-1));
    expect(more).toEqual(["2"]);
  });

  test("failover takes the lowest priority number, also when it is the first listed", () => {
    const failover = (servers: ProxyConfig["servers"]): string[] =>
      chosen(machine({ initial: configOf([...servers], { selection: "failover" }) }), 2);
    expect(failover(three)).toEqual(["1", "1"]);
    expect(failover([three[1], three[2], three[0]])).toEqual(["3", "3"]);
    expect(failover([server("192.0.2.1", { priority: 0, active: false }), three[1]])).toEqual(["2", "2"]);
  });

  test("random is a function of the seed, takes every server, and may come from outside", () => {
    const initial = configOf(three, { selection: "random" });
    const one = chosen(machine({ initial, seed: 7 }), 60);
    expect(chosen(machine({ initial, seed: 7 }), 60)).toEqual(one);
    expect(chosen(machine({ initial, seed: 8 }), 60)).not.toEqual(one);
    expect(new Set(one)).toEqual(new Set(["1", "2", "3"]));
    expect(new Set(chosen(machine({ initial, random: () => 0 }), 5))).toEqual(new Set(["1"]));
  });

  test("a new configuration holds for new flows from the next batch on; flows that exist keep their server", () => {
    const m = machine();
    expect(chosen(m, 1)).toEqual(["1"]);
    expect(m.dataplane.updateConfig(configOf([server("192.0.2.9")]))).toBe(2);
    expect(chosen(m, 2)).toEqual(["1", "9"]);
    m.settle();
    expect(m.dataplane.statistics(0).rcuGracePeriods).toBe(1);
  });

  test("an invalid configuration is refused with the place of its fault, and the old one holds", () => {
    const m = machine();
    const faults: [string, object][] = [
      ["/version", { version: 2 }],
      ["/selection", { selection: "best" }],
      ["/servers", { servers: {} }],
      ["/servers/0/address", { servers: [server("1.2.3")] }],
      ["/servers/1/address", { servers: [server("1.2.3.4"), server("0.0.0.0")] }],
      ["/servers/0/port", { servers: [server("1.2.3.4", { port: 0 })] }],
      ["/servers/0/priority", { servers: [server("1.2.3.4", { priority: -1 })] }],
      ["/ports/0", { ports: [70000] }],
      ["/bypass/1", { bypass: ["10.0.0.0/8", "10.0.0.0/33"] }],
      ["/protocols/0", { protocols: ["icmp"] }],
    ];
    for (const [path, change] of faults) {
      const bad = { ...configOf([server("1.2.3.4")]), ...change } as ProxyConfig;
      expect(() => validateProxyConfig(bad)).toThrow(expect.objectContaining({ location: { path } }));
      expect(() => m.dataplane.updateConfig(bad)).toThrow(DataplaneError);
    }
    expect(chosen(m, 1)).toEqual(["1"]);
  });
});
