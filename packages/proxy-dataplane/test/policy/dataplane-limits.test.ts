import { expect, test } from "vitest";
import { ClientLimits, type ProxyLimits } from "@x/proxy-dataplane";
import { udp4 } from "../frames.ts";
import { configOf, machine, server, testHal, type Machine } from "../machine.ts";

function limited(limits: ProxyLimits): Machine {
  const hal = testHal();
  // The machine's own clock is for its pool; what is measured here is the data path's.
  return {
    ...machine({
      hal,
      initial: configOf([server("192.0.2.1")], { limits }),
      clientLimits: ClientLimits.create({ hal }),
    }),
    hal,
  };
}

const flows = (source: number[], count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => udp4({ source, sourcePort: 1000 + i }));

test("a client's connections beyond its limit are dropped and counted, others' are not, and ended ones make room", () => {
  const m = limited({ perClient: { connections: 3 } });
  expect(m.send(flows([10, 0, 0, 1], 5)).length).toBe(3);
  expect(m.send(flows([10, 0, 0, 9], 2)).length).toBe(2);
  expect(m.send(flows([10, 0, 0, 1], 5)).length).toBe(3);
  expect(m.dataplane.details().dropLimit).toBe(4);
  m.hal.nowNs += 200e9;
  m.dataplane.expire();
  m.settle();
  expect(m.send(flows([10, 0, 0, 1], 5)).length).toBe(3);
  expect(m.pool.inUse).toBe(0);
});

test("a new configuration's limits hold at once, also for connections there are", () => {
  const m = limited({ perClient: { connections: 100 } });
  expect(m.send(flows([10, 0, 0, 1], 10)).length).toBe(10);
  m.dataplane.updateConfig(configOf([server("192.0.2.1")], { limits: { perClient: { connections: 10 } } }));
  expect(m.send(flows([10, 0, 0, 1], 12)).length).toBe(10);
  m.dataplane.updateConfig(configOf([server("192.0.2.1")]));
  expect(m.send(flows([10, 0, 0, 1], 12)).length).toBe(12);
});

test("a client's new connections come no faster than allowed", () => {
  const m = limited({ perClient: { connectionsPerSecond: 10, connectionBurst: 4 } });
  expect(m.send(flows([10, 0, 0, 1], 20)).length).toBe(4);
  m.hal.nowNs += 200e6;
  expect(m.send(flows([10, 0, 0, 1], 20)).length).toBe(4 + 2);
});

test("packets beyond a client's bytes a second are dropped, on its way there and back, and cost it nothing", () => {
  const bytes = udp4().length;
  const m = limited({ perClient: { bytesPerSecond: bytes * 10, byteBurst: bytes * 5 } });
  const [packet] = flows([10, 0, 0, 1], 1);
  m.send([packet]);
  const burst = Array.from({ length: 20 }, () => packet);
  expect(m.send(burst).length).toBe(5);
  m.hal.nowNs += 300e6;
  expect(m.send(burst).length).toBe(3);
  const answer = udp4({ source: [192, 0, 2, 1], destination: [10, 0, 0, 1], sourcePort: 1080, destinationPort: 1000 });
  expect(m.send([answer])).toEqual([]);
  m.hal.nowNs += 100e6;
  expect(m.send([answer]).length).toBe(1);
  expect(m.send(flows([10, 0, 0, 2], 1)).length).toBe(1);
  expect(m.dataplane.details().dropLimit).toBe(15 + 17 + 1);
  expect(m.pool.inUse).toBe(0);
});

test("without limits in the data path those of the configuration are not asked for", () => {
  const m = machine({ initial: configOf([server("192.0.2.1")], { limits: { perClient: { connections: 1 } } }) });
  expect(m.send(flows([10, 0, 0, 1], 5)).length).toBe(5);
  expect(m.dataplane.nodeStatistics().map(({ name }) => name)).not.toContain("police");
});
