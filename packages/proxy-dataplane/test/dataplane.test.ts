import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ConnectionState,
  DataplaneError,
  DropReason,
  formatAddress,
  PacketInfo,
  parseFrame,
  ParseResult,
  Stage,
  validateProxyConfig,
  verifyIpChecksum,
  verifyTransportChecksum,
  type ProxyConfig,
  type ProxyParameters,
} from "@x/proxy-dataplane";
import { bytes, ethernet, icmpEcho, ipv4, tcp, tcp4, tcp6, TEXT, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";

const SERVER = [192, 0, 2, 1];
const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

function ends(frame: Uint8Array): string {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const isIpv6 = info.network === 6;
  const [from, to] = [formatAddress(info.key, 0, isIpv6), formatAddress(info.key, 4, isIpv6)];
  return `${from} ${info.sourcePort} > ${to} ${info.destinationPort}`;
}

/** Checksum states by full computation. */
function sums(frame: Uint8Array): [number, number] {
  const info = new PacketInfo();
  expect(parseFrame(frame, 0, frame.length, frame.length, 1, info)).toBe(ParseResult.Ok);
  return [verifyIpChecksum(frame, info), verifyTransportChecksum(frame, info)];
}

const fromServer = { source: SERVER, destination: [10, 0, 0, 1], sourcePort: 1080, destinationPort: 1000 };

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
    const { SynSent, SynReceived, Established, FinWait, CloseWait, Closed } = ConnectionState;
    expect(states).toEqual([SynSent, SynReceived, Established, FinWait, FinWait, CloseWait, Closed, SynSent, Closed]);
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
  });

  test("UDP without a checksum stays without", () => {
    const frame = udp4();
    frame.set([0, 0], 40);
    const [there] = machine().send([frame]);
    expect([there[40], there[41]]).toEqual([0, 0]);
    expect(sums(there)).toEqual([1, 0]);
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

  test("ARP, fragments, ICMP errors and packets on a source route do, and found no connection", () => {
    const frames = [
      ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(20))),
      ethernet(0x800, ipv4(6, tcp().subarray(0, 24), { fragment: 0x2000 })),
      ethernet(0x800, ipv4(6, new Uint8Array(16), { fragment: 3 })),
      ethernet(0x800, ipv4(1, bytes(3, 1, 0, 0, 0, 0, 0, 0, ipv4(6, tcp())))),
      ethernet(0x800, ipv4(6, tcp(), { options: [131, 7, 4, 10, 0, 0, 9, 0] })),
    ];
    const m = machine();
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
      ["/servers", { servers: [] }],
      ["/servers/0/address", { servers: [server("1.2.3")] }],
      ["/servers/1/address", { servers: [server("1.2.3.4"), server("0.0.0.0")] }],
      ["/servers/0/port", { servers: [server("1.2.3.4", { port: 0 })] }],
      ["/servers/0/priority", { servers: [server("1.2.3.4", { priority: -1 })] }],
      ["/ports", { ports: [70000] }],
      ["/bypass/1", { bypass: ["10.0.0.0/8", "10.0.0.0/33"] }],
      ["/protocols", { protocols: ["icmp"] }],
    ];
    for (const [path, change] of faults) {
      const bad = { ...configOf([server("1.2.3.4")]), ...change } as ProxyConfig;
      expect(() => validateProxyConfig(bad)).toThrow(expect.objectContaining({ location: { path } }));
      expect(() => m.dataplane.updateConfig(bad)).toThrow(DataplaneError);
    }
    expect(chosen(m, 1)).toEqual(["1"]);
  });
});

describe("connections", () => {
  test("end after the time their state and protocol allow, and all memory comes back", () => {
    const m = machine();
    m.send([tcp4({ flags: SYN }), udp4(), ethernet(0x800, ipv4(1, icmpEcho(8, 7))), ethernet(0x800, ipv4(47, TEXT))]);
    m.send([tcp4({ flags: SYN, sourcePort: 5 }), tcp4({ flags: ACK, sourcePort: 6 })]);
    const alive = (): number => m.dataplane.connectionCount;
    const after = (seconds: number): number => {
      m.hal.nowNs = 5e9 + seconds * 1e9;
      m.dataplane.expire();
      return alive();
    };
    expect([29, 30, 119, 120, 179, 180, 599, 600, 7199, 7200].map(after)).toEqual([6, 5, 5, 3, 3, 2, 2, 1, 1, 0]);
    m.settle();
    expect(m.dataplane.dumpStats()).toContain("Conn pool: alloc=6, free=6");
    expect(m.dataplane.aggregate()).toMatchObject({ connectionsActive: 0, connectionsTotal: 6 });
  });

  test("a packet renews the time, and a late packet makes another connection", () => {
    const m = machine();
    m.send([udp4()]);
    m.hal.nowNs += 179e9;
    m.send([udp4()]);
    m.hal.nowNs += 179e9;
    expect(m.dataplane.expire()).toBe(0);
    m.hal.nowNs += 2e9;
    expect(m.dataplane.expire()).toBe(1);
    m.send([udp4()]);
    expect([...m.dataplane.connections()]).toMatchObject([{ packetsSent: 1, ageMs: 0 }]);
  });

  test("expire examines as many as it is told and goes on from there", () => {
    const m = machine({ maxConnections: 64 });
    m.send(Array.from({ length: 64 }, (_, i) => udp4({ sourcePort: i + 1 })));
    m.hal.nowNs += 200e9;
    expect([1, 2, 3, 4].map(() => m.dataplane.expire(m.hal.nowNs, 16))).toEqual([16, 16, 16, 16]);
  });

  test("when there is no room, packets of new flows are dropped, counted and freed, and room comes back", () => {
    const m = machine({ maxConnections: 16 });
    const flows = Array.from({ length: 20 }, (_, i) => udp4({ sourcePort: i + 1 }));
    expect(m.send(flows).length).toBe(16);
    expect(m.dataplane.details().dropNoConnection).toBe(4);
    expect(m.dataplane.statistics().packetsDropped).toBe(4);
    expect(m.pool.inUse).toBe(0);
    m.hal.nowNs += 200e9;
    expect(m.dataplane.expire()).toBe(16);
    m.settle();
    expect(m.send(flows.slice(4)).length).toBe(16);
  });

  test("a connection is told with both tuples and its counts", () => {
    const m = machine();
    m.send([tcp4({ flags: SYN }), tcp4({ flags: SYN })]);
    m.send([tcp4({ ...fromServer, flags: SYN | ACK }, new Uint8Array(100))]);
    m.hal.nowNs += 1e9;
    expect([...m.dataplane.connections()]).toMatchObject([
      {
        protocol: 6,
        server: 0,
        original: { source: "10.0.0.1", sourcePort: 1000, destination: "10.0.0.2", destinationPort: 80 },
        reply: { source: "192.0.2.1", sourcePort: 1080, destination: "10.0.0.1", destinationPort: 1000 },
        packetsSent: 2,
        bytesSent: 132,
        packetsReceived: 1,
        bytesReceived: 154,
        ageMs: 1000,
        remainingMs: 119_000,
      },
    ]);
  });

  test("a flow to itself is one connection that goes away whole", () => {
    const m = machine({ initial: configOf([server("192.0.2.1", { active: false })]) });
    const self = udp4({ source: [10, 0, 0, 1], destination: [10, 0, 0, 1], sourcePort: 5, destinationPort: 5 });
    m.send([self, self]);
    expect(m.dataplane.connectionCount).toBe(1);
    m.hal.nowNs += 200e9;
    expect(m.dataplane.expire()).toBe(1);
    m.settle();
    m.send([self]);
    expect(m.dataplane.connectionCount).toBe(1);
  });
});

describe("parameters", () => {
  test("have the defaults of the original and are typed and ranged", () => {
    const { dataplane } = machine();
    const names = [
      "perf_enable_batching",
      "perf_enable_zero_copy",
      "perf_enable_rcu",
      "perf_batch_size",
      "perf_cache_size",
    ] as const;
    expect(names.map((name) => dataplane.getParameter(name))).toEqual([true, true, true, 32, 1024]);
    const bad: [string, unknown][] = [
      ["perf_batch_size", 0],
      ["perf_batch_size", 257],
      ["perf_batch_size", 1.5],
      ["perf_batch_size", true],
      ["perf_enable_rcu", 1],
      ["perf_cache_size", 1000],
      ["perf_cache_size", 8192],
      ["perf_speed", 1],
      ["toString", 1],
    ];
    for (const [name, value] of bad) {
      expect(() => dataplane.setParameter(name as keyof ProxyParameters, value as never)).toThrow(
        expect.objectContaining({ code: "DATAPLANE_INVALID_PARAMETER" }),
      );
    }
  });

  const stages = (m: { sizes: number[] }) => ({
    onStage: (_cpu: number, stage: Stage, packets: number): void => {
      if (stage === Stage.Receive) m.sizes.push(packets);
    },
  });

  test("the batch size, and batching itself, are obeyed by the next batch", () => {
    const seen = { sizes: [] as number[] };
    const m = machine({ observer: stages(seen) });
    const ten = Array.from({ length: 10 }, () => udp4());
    const sizes = (): number[] => {
      seen.sizes.length = 0;
      m.send(ten);
      return [...seen.sizes];
    };
    expect(sizes()).toEqual([10]);
    m.dataplane.setParameter("perf_batch_size", 4);
    expect(sizes()).toEqual([4, 4, 2]);
    m.dataplane.setParameter("perf_enable_batching", false);
    expect(sizes()).toEqual(Array.from({ length: 10 }, () => 1));
  });

  test("without zero-copy every packet is copied, and none leaks", () => {
    const m = machine({ params: { perf_enable_zero_copy: false } });
    const before = m.pool.stats().copied;
    const [sent] = m.send([tcp4()]);
    expect(ends(sent)).toBe("10.0.0.1 1000 > 192.0.2.1 1080");
    expect(m.pool.stats().copied - before).toBe(2);
    const id = m.packet(tcp4());
    const clone = m.dataplane.clonePacket(id);
    expect(m.pool.isShared(id)).toBe(false);
    m.pool.free(id);
    m.pool.free(clone);
    expect(m.pool.inUse).toBe(0);
  });

  test("without a buffer for the copy the packet is dropped, counted and freed", () => {
    const drops: DropReason[] = [];
    const m = machine({
      buffers: 1,
      params: { perf_enable_zero_copy: false },
      observer: { onDrop: (_cpu, reason) => drops.push(reason) },
    });
    expect(m.send([tcp4()])).toEqual([]);
    expect(drops).toEqual([DropReason.NoBuffer]);
    expect(m.pool.inUse).toBe(0);
  });

  test("without RCU every packet's configuration is read under the lock", () => {
    const names: string[] = [];
    const m = machine({ lockObserver: { onAcquired: (locks) => names.push(locks.name) } });
    m.send([udp4()]);
    names.length = 0;
    m.send([udp4(), udp4()]);
    expect(names).toEqual([]);
    m.dataplane.setParameter("perf_enable_rcu", false);
    const before = m.dataplane.statistics(0).lockAcquisitions;
    m.send([udp4(), udp4()]);
    expect(names).toEqual(["proxy-config", "proxy-config"]);
    expect(m.dataplane.statistics(0).lockAcquisitions - before).toBe(2);
  });

  test("the cache size is obeyed at once, 0 is no cache", () => {
    const m = machine({ params: { perf_cache_size: 4 } });
    const flows = Array.from({ length: 64 }, (_, i) => udp4({ sourcePort: i + 1 }));
    m.send(flows);
    const hits = (): number => {
      const before = m.dataplane.statistics().cacheHits;
      m.send(flows);
      return m.dataplane.statistics().cacheHits - before;
    };
    expect(hits()).toBeLessThanOrEqual(4);
    m.dataplane.setParameter("perf_cache_size", 1024);
    hits();
    expect(hits()).toBe(64);
    m.dataplane.setParameter("perf_cache_size", 0);
    expect(hits()).toBe(0);
  });

  test("no choice of parameters changes what comes out", () => {
    const frames = Array.from({ length: 60 }, (_, i) =>
      (i % 3 === 0 ? tcp4 : udp4)({ sourcePort: 1 + (i % 7) }, bytes(i)),
    );
    const all = fc.record({
      perf_enable_batching: fc.boolean(),
      perf_enable_zero_copy: fc.boolean(),
      perf_enable_rcu: fc.boolean(),
      perf_batch_size: fc.integer({ min: 1, max: 256 }),
      perf_cache_size: fc.constantFrom(0, 4, 64, 1024),
    });
    const expected = machine().send(frames);
    fc.assert(
      fc.property(all, (params) => {
        const m = machine({ params });
        expect(m.send(frames)).toEqual(expected);
        expect(m.pool.inUse).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe("batches", () => {
  test("packets wait until the batch is full, are flushed by hand or by age, and none is lost", () => {
    const m = machine({ params: { perf_batch_size: 4 } });
    const out = new Int32Array(256);
    const add = (): number => m.dataplane.addToBatch(m.packet(udp4()), out);
    expect([add(), add(), add(), add(), add()]).toEqual([0, 0, 0, 4, 0]);
    expect(m.dataplane.pending).toBe(1);
    expect(m.dataplane.flush(out)).toBe(1);
    add();
    m.hal.nowNs += 1000;
    expect(m.dataplane.flushOlderThan(2000, out)).toBe(0);
    m.hal.nowNs += 1000;
    expect(m.dataplane.flushOlderThan(2000, out)).toBe(1);
    m.dataplane.setParameter("perf_batch_size", 256);
    for (let i = 0; i < 10; i++) add();
    m.dataplane.setParameter("perf_enable_batching", false);
    expect(add()).toBe(11);
    expect(m.dataplane.statistics().packetsProcessed).toBe(17);
  });

  test("each CPU has a batch of its own", () => {
    const m = machine({ cpus: 2 });
    const out = new Int32Array(8);
    m.dataplane.addToBatch(m.packet(udp4()), out);
    m.hal.cpu = 1;
    expect([m.dataplane.pending, m.dataplane.flush(out)]).toEqual([0, 0]);
    m.hal.cpu = 0;
    expect(m.dataplane.flush(out)).toBe(1);
  });

  test("every stage is told in order, and memory that is touched lies inside", () => {
    const told: number[] = [];
    let touches = 0;
    const m = machine({
      observer: {
        onStage: (_cpu, stage) => told.push(stage),
        onTouch: (offset, length) => {
          expect(offset).toBeGreaterThan(0);
          expect(length).toBeGreaterThan(0);
          touches++;
        },
      },
    });
    m.send([tcp4()]);
    expect(told).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(touches).toBe(3);
  });
});

describe("statistics", () => {
  test("all twelve fields of a CPU are fed, and the totals are the sums", () => {
    const m = machine({ cpus: 2 });
    m.hal.now = () => (m.hal.nowNs += 100);
    m.send([tcp4({ flags: SYN }), udp4(), tcp4().subarray(0, 30)], 1);
    m.send([tcp4({ flags: ACK })], 1);
    m.send([tcp4({ ...fromServer, flags: ACK })], 0);
    m.hal.now = () => m.hal.nowNs;
    m.hal.cpu = 1;
    m.dataplane.updateConfig(configOf([server("192.0.2.5")]));
    m.settle();
    const one = m.dataplane.statistics(1);
    expect(one).toMatchObject({ packetsProcessed: 4, packetsDropped: 1, bytesProcessed: 66 + 54 + 30 + 66 });
    expect(one).toMatchObject({ cacheHits: 1, cacheMisses: 2, rcuGracePeriods: 1, processingTimeNs: 200 });
    expect(one.allocFast + one.allocSlow).toBe(2);
    expect(one.lockAcquisitions).toBeGreaterThan(4);
    expect(one.lastUpdatedNs).toBeGreaterThan(5e9);
    const [zero, total] = [m.dataplane.statistics(0), m.dataplane.statistics()];
    for (const name of Object.keys(total) as (keyof typeof total)[]) {
      if (name !== "lastUpdatedNs") expect(total[name]).toBe(zero[name] + one[name]);
    }
    expect(total.lastUpdatedNs).toBe(zero.lastUpdatedNs);
    expect(m.dataplane.aggregate()).toEqual({
      bytesSent: 66 + 54 + 66,
      bytesReceived: 66,
      packetsSent: 3,
      packetsReceived: 1,
      connectionsActive: 2,
      connectionsTotal: 2,
    });
  });

  test("contention is counted when another CPU holds the lock", () => {
    let configLock: { lock(): void; unlock(): void } | undefined;
    const onAcquired = (locks: { name: string; lock(): void; unlock(): void }): void => {
      if (locks.name === "proxy-config") configLock = locks;
    };
    const m = machine({ cpus: 2, params: { perf_enable_rcu: false }, lockObserver: { onAcquired } });
    m.send([udp4()]);
    expect(m.dataplane.statistics(0).lockContentions).toBe(0);
    m.hal.cpu = 1;
    configLock?.lock();
    // CPU 0 spins; meanwhile CPU 1 lets go.
    m.hal.relax = (): void => {
      m.hal.cpu = 1;
      configLock?.unlock();
      m.hal.cpu = 0;
    };
    m.send([udp4()], 0);
    expect(m.dataplane.statistics(0).lockContentions).toBe(1);
  });

  test("the report is the original's, and reset begins anew without losing connections", () => {
    const m = machine({ cpus: 3 });
    m.send([udp4(), udp4(), tcp4().subarray(0, 30)], 1);
    m.send([udp4()], 1);
    expect(m.dataplane.dumpStats().split("\n")).toEqual([
      "========== MUTEX Performance Statistics ==========",
      "CPU 1: packets=4, bytes=192, dropped=1, cache_hits=1, cache_misses=2, hit_rate=33%",
      "Total: packets=4, bytes=192, dropped=1",
      "Cache: hits=1, misses=2, hit_rate=33%",
      expect.stringMatching(/^Hash table: lookups=\d+, collisions=\d+, max_chain=1, avg_chain=1\.000$/),
      expect.stringMatching(/^Conn pool: alloc=1, free=0, peak=\d+$/),
      "=".repeat(50),
    ]);
    m.dataplane.resetStats();
    expect(m.dataplane.statistics()).toMatchObject({ packetsProcessed: 0, cacheHits: 0, lastUpdatedNs: 0 });
    expect(m.dataplane.connectionCount).toBe(1);
  });
});

describe("hostile packets", () => {
  test("are dropped or sent on, never an error, and every buffer comes back", () => {
    const m = machine({ cpus: 2 });
    const seeds = [tcp4(), udp4(), tcp6(), udp6(), ethernet(0x800, ipv4(1, icmpEcho(8, 1)))];
    const change = fc.tuple(fc.nat(), fc.nat(255));
    const hostile = fc
      .tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 5 }), fc.nat())
      .map(([seed, changes, cut]) => {
        const frame = seed.slice(0, cut % 4 === 0 ? cut % (seed.length + 1) : seed.length);
        for (const [at, value] of changes) if (frame.length > 0) frame[at % frame.length] = value;
        return frame;
      });
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 40 }), fc.nat(1), (frames, cpu) => {
        const sent = m.send(frames, cpu);
        const { packetsProcessed, packetsDropped } = m.dataplane.statistics();
        expect(sent.length).toBeLessThanOrEqual(frames.length);
        expect(packetsDropped).toBeLessThanOrEqual(packetsProcessed);
        expect(m.pool.inUse).toBe(0);
        m.hal.nowNs += 1e9;
        m.dataplane.expire(m.hal.nowNs, 64);
        m.settle();
      }),
      { numRuns: 400 },
    );
    m.hal.nowNs += 8000e9;
    m.dataplane.expire();
    m.settle();
    expect(m.dataplane.connectionCount).toBe(0);
  });

  test("a batch larger than out is refused whole", () => {
    const m = machine();
    expect(() => m.dataplane.process(new Int32Array(4), 4, new Int32Array(3))).toThrow(DataplaneError);
    expect(m.dataplane.statistics().packetsProcessed).toBe(0);
  });
});
