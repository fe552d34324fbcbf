import { describe, expect, test } from "vitest";
import { ethernet, icmpEcho, ipv4, tcp4, TEXT, udp4 } from "./frames.ts";
import { configOf, machine, server } from "./machine.ts";
import { ACK, fromServer, SYN } from "./traffic.ts";

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
    const answers = flows.map((_, i) => udp4({ ...fromServer, destinationPort: i + 1 }));
    // Connections that were answered are not dropped early to make room.
    for (let i = 0; i < 16; i++) expect(m.send([flows[i], answers[i]]).length).toBe(2);
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
