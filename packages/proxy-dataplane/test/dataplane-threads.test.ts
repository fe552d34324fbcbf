import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { Dataplane, PacketPool, proxyConfigCell } from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { WorkerHal } from "@x/smp";
import { tcp4, udp4 } from "./frames.ts";
import { configOf, server } from "./machine.ts";

const FLOWS = 200;
const ROUNDS = 60;

function run(data: object): Promise<{ sent: number; pending: number }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("fixtures/dataplane-worker.mjs", import.meta.url), { workerData: data });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

test("two threads share connections and configuration: counts add up and everything comes back", async () => {
  const hal = WorkerHal.create({ possibleCpus: 3 });
  const rcu = Rcu.create({ hal });
  rcu.online();
  const pool = PacketPool.create({ buffers: 512, hal });
  const config = proxyConfigCell({ rcu, initial: configOf([server("192.0.2.1"), server("192.0.2.2")]) });
  const dataplane = Dataplane.create({ hal, rcu, pool, config, maxConnections: 1024 });
  const frames = Array.from({ length: FLOWS }, (_, i) =>
    (i % 2 === 0 ? tcp4 : udp4)({ sourcePort: 1000 + i, flags: 2 }),
  );
  const handles = {
    hal: hal.handle,
    rcu: rcu.handle,
    pool: pool.handle,
    config: config.handle,
    dataplane: dataplane.handle,
  };
  // This thread waits: grace periods must not wait for it.
  rcu.offline();
  const results = await Promise.all([1, 2].map((cpu) => run({ cpu, handles, frames, rounds: ROUNDS })));
  rcu.online();

  const packets = 2 * FLOWS * ROUNDS;
  expect(results).toEqual([
    { sent: packets / 2, pending: 0 },
    { sent: packets / 2, pending: 0 },
  ]);
  const [one, two, total] = [dataplane.statistics(1), dataplane.statistics(2), dataplane.statistics()];
  expect(total.packetsProcessed).toBe(packets);
  expect(one.packetsProcessed + two.packetsProcessed).toBe(packets);
  expect(total).toMatchObject({ packetsDropped: 0, bytesProcessed: (packets / 2) * (66 + 54) });
  expect(total.cacheHits + total.cacheMisses).toBe(packets);
  expect(dataplane.aggregate()).toMatchObject({ packetsSent: packets, packetsReceived: 0 });
  expect(pool.inUse).toBe(0);

  // Each live connection was counted by both threads and lost nothing.
  const live = [...dataplane.connections()];
  expect(live.length).toBe(dataplane.connectionCount);
  expect(new Set(live.map((c) => `${c.protocol} ${c.original.sourcePort}`)).size).toBe(live.length);

  dataplane.expire(hal.now() + 1e14);
  expect(dataplane.connectionCount).toBe(0);
  const cookie = rcu.startPoll();
  while (!rcu.poll(cookie)) rcu.quiescent();
  rcu.quiescent();
  const [, allocated, freed] = /alloc=(\d+), free=(\d+)/.exec(dataplane.dumpStats()) ?? [];
  expect(Number(allocated)).toBeGreaterThan(0);
  expect(freed).toBe(allocated);
});

test("two threads that translate to one address never give two flows of a far end the same port", async () => {
  const hal = WorkerHal.create({ possibleCpus: 3 });
  const rcu = Rcu.create({ hal });
  rcu.online();
  const pool = PacketPool.create({ buffers: 512, hal });
  const translation = { source: [{ to: ["203.0.113.1"], ports: "5000-5511" }] };
  const config = proxyConfigCell({ rcu, initial: configOf([], { translation }) });
  const dataplane = Dataplane.create({ hal, rcu, pool, config, maxConnections: 1024 });
  // Every client has the same port, and both threads see every client.
  const frames = Array.from({ length: FLOWS }, (_, i) => tcp4({ source: [10, 1, 0, i + 1], flags: 2 }));
  const handles = {
    hal: hal.handle,
    rcu: rcu.handle,
    pool: pool.handle,
    config: config.handle,
    dataplane: dataplane.handle,
  };
  rcu.offline();
  const results = await Promise.all([1, 2].map((cpu) => run({ cpu, handles, frames, rounds: ROUNDS / 2 })));
  rcu.online();
  expect(results.map(({ sent }) => sent)).toEqual([(FLOWS * ROUNDS) / 2, (FLOWS * ROUNDS) / 2]);
  expect(dataplane.details()).toMatchObject({ dropNoPort: 0, dropNoConnection: 0, packetsDirect: 0 });
  const live = [...dataplane.connections()];
  expect(live.length).toBeGreaterThan(0);
  expect(new Set(live.map(({ reply }) => reply.destinationPort)).size).toBe(live.length);
  expect(new Set(live.map(({ original }) => original.source)).size).toBe(live.length);
  expect(live.every(({ reply }) => reply.destination === "203.0.113.1" && reply.destinationPort >= 1000)).toBe(true);
  expect(pool.inUse).toBe(0);
});
