import { expect, test } from "vitest";
import { ConnectionState, formatConntrackEvent, type Dataplane } from "@x/proxy-dataplane";
import { tcp4, udp4 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, FIN, fromServer, RST, SYN } from "./traffic.ts";

const LIMIT = 256;

/** A flow that both ends have spoken in: established, and no early drop's to take. */
function establish(m: Machine, sourcePort: number): void {
  m.send([tcp4({ flags: SYN, sourcePort, sequence: 0 })]);
  m.send([tcp4({ ...fromServer, destinationPort: sourcePort, flags: SYN | ACK })]);
  m.send([tcp4({ flags: ACK, sourcePort })]);
}

const flood = (round: number, i: number, flags: number): Uint8Array =>
  tcp4({ source: [172, 16 + (round & 15), i, round >> 4], sourcePort: 1024 + i, flags, sequence: round });

for (const [name, flags] of [
  ["SYN", SYN],
  ["ACK", ACK],
  ["RST", RST],
] as const) {
  test(`a flood of ${name} segments leaves established flows alive, and new flows get through`, () => {
    const m = machine({ maxConnections: LIMIT });
    for (let port = 1; port <= 50; port++) establish(m, port);
    let opened = 0;
    for (let round = 0; round < 60; round++) {
      m.send(Array.from({ length: 64 }, (_, i) => flood(round, i, flags)));
      m.hal.nowNs += 1e6;
      m.settle();
      opened += m.send([tcp4({ flags: SYN, sourcePort: 20_000 + round })]).length;
      expect(m.dataplane.connectionCount).toBeLessThanOrEqual(LIMIT);
    }
    expect(opened).toBe(60);
    expect(m.dataplane.details().earlyDrops).toBeGreaterThan(3000);
    const established = [...m.dataplane.connections()].filter((c) => c.packetsReceived > 0);
    expect(established.map((c) => c.original.sourcePort).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    expect(established.every((c) => c.state === ConnectionState.Established)).toBe(true);
    const answers = Array.from({ length: 50 }, (_, i) => tcp4({ ...fromServer, destinationPort: i + 1, flags: ACK }));
    expect(m.send(answers).length).toBe(50);
    expect(m.pool.inUse).toBe(0);
  });
}

test("when every connection is answered none is dropped early: the newcomer is refused", () => {
  const m = machine({ maxConnections: 16 });
  for (let port = 1; port <= 16; port++) establish(m, port);
  expect(m.send([udp4()])).toEqual([]);
  expect(m.dataplane.details()).toMatchObject({ earlyDrops: 0, dropNoConnection: 1 });
});

test("of what may go the one that was silent for longest goes", () => {
  const m = machine({ maxConnections: 8 });
  for (let port = 1; port <= 8; port++) {
    m.send([udp4({ sourcePort: port })]);
    m.hal.nowNs += 1e9;
  }
  m.send([udp4({ sourcePort: 1 })]);
  // The hand passes all places, those without a connection too.
  for (let more = 0; more < 40 && m.dataplane.details().earlyDrops === 0; more++) m.send([udp4({ sourcePort: 100 })]);
  const ports = [...m.dataplane.connections()].map((c) => c.original.sourcePort);
  expect(ports).not.toContain(2);
  expect(ports).toContain(1);
  expect(ports.length).toBe(8);
});

test("memory of connections that were dropped early comes back", () => {
  const m = machine({ maxConnections: LIMIT });
  for (let round = 0; round < 40; round++) {
    m.send(Array.from({ length: 200 }, (_, i) => flood(round, i, SYN)));
    m.settle();
  }
  m.hal.nowNs += 200e9;
  m.dataplane.expire();
  m.settle();
  const [, allocated, freed] = /alloc=(\d+), free=(\d+)/.exec(m.dataplane.dumpStats()) ?? [];
  expect(Number(allocated)).toBeGreaterThan(3000);
  expect(freed).toBe(allocated);
});

test("events are told as conntrack -E prints them, from the first packet to the end", () => {
  const lines: string[] = [];
  let dataplane: Dataplane | undefined;
  const tell = (event: "new" | "update" | "destroy", id: number): void => {
    if (dataplane !== undefined) lines.push(formatConntrackEvent(event, dataplane.connection(id)));
  };
  const m = machine({
    initial: configOf([server("192.0.2.1")]),
    observer: {
      onConnection: (_cpu, id, created) => tell(created ? "new" : "destroy", id),
      onConnectionUpdate: (_cpu, id) => tell("update", id),
    },
  });
  ({ dataplane } = m);
  establish(m, 1000);
  m.send([tcp4({ flags: ACK | FIN })]);
  m.hal.nowNs += 121e9;
  m.dataplane.expire();
  const ends = "src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80";
  const back = "src=192.0.2.1 dst=10.0.0.1 sport=1080 dport=1000";
  expect(lines).toEqual([
    `    [NEW] tcp      6 120 SYN_SENT ${ends} [UNREPLIED] ${back}`,
    ` [UPDATE] tcp      6 120 SYN_RECV ${ends} ${back}`,
    ` [UPDATE] tcp      6 7200 ESTABLISHED ${ends} ${back} [ASSURED]`,
    ` [UPDATE] tcp      6 120 FIN_WAIT ${ends} ${back} [ASSURED]`,
    `[DESTROY] tcp      6 ${ends} packets=3 bytes=198 ${back} packets=1 bytes=66 [ASSURED]`,
  ]);
  lines.length = 0;
  m.send([udp4()]);
  m.send([udp4({ source: [192, 0, 2, 1], destination: [10, 0, 0, 1], sourcePort: 1080, destinationPort: 1111 })]);
  const pair = "src=10.0.0.1 dst=10.0.0.2 sport=1111 dport=2222";
  expect(lines).toEqual([
    `    [NEW] udp      17 180 ${pair} [UNREPLIED] src=192.0.2.1 dst=10.0.0.1 sport=1080 dport=1111`,
    ` [UPDATE] udp      17 180 ${pair} src=192.0.2.1 dst=10.0.0.1 sport=1080 dport=1111 [ASSURED]`,
  ]);
});
