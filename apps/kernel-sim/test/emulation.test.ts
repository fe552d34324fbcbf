import {
  ChecksumState,
  PacketInfo,
  type PacketPool,
  parseFrame,
  verifyIpChecksum,
  verifyTransportChecksum,
} from "@x/proxy-dataplane";
import { expect, test } from "vitest";
import { bootMachine, loadCapture } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, type Scenario } from "../src/experiment/scenario.ts";
import type { Wire } from "../src/kernel/net-driver.ts";
import { DIRECT } from "../src/kernel/proxy-module.ts";
import { findConversations } from "../src/workload/conversations.ts";
import { Replay } from "../src/workload/replay.ts";

const base = loadScenario(defaultScenarioFile);

/** Boot, replay to the end, and look at every packet that leaves. */
function run(scenario: Scenario, look: (buffer: number, pool: PacketPool) => void = () => undefined) {
  const capture = loadCapture(scenario.traffic.pcap);
  const { machine, kernel } = bootMachine(scenario);
  const module = kernel.requireModule();
  const resting = module.pool.inUse;
  const replay = new Replay({
    machine,
    nic: module.nic,
    pool: module.pool,
    capture,
    columns: findConversations(capture),
    ...scenario.traffic,
    ...scenario.nic,
  });
  const wire: Wire = {
    transmitted(buffer) {
      look(buffer, module.pool);
      replay.transmitted(buffer);
    },
    departed: (mark) => replay.departed(mark),
  };
  module.driver.wire = wire;
  const startNs = machine.nowNs;
  kernel.beginRun(startNs);
  replay.start(startNs);
  let endNs = Infinity;
  while (machine.nowNs < endNs || !module.quiet) {
    if (!machine.step()) throw new Error("the machine stands still");
    if (endNs === Infinity && replay.finished) endNs = machine.nowNs + 2e6;
  }
  kernel.endRun(machine.nowNs);
  return { machine, kernel, module, replay, resting };
}

/** Ethernet, IPv4 and UDP: what every packet with ports has. */
const HEADERS_BYTES = 14 + 20 + 8;
const traffic = { ...base.traffic, repeat: 3, clients: 3 };

test("every packet that comes in goes out or is counted as dropped, and every buffer comes back", () => {
  const { module, replay, resting } = run({ ...base, traffic });
  const { dropMalformed, dropNoConnection, dropNoBuffer } = module.dataplane.details();
  const dropped = module.nic.missed + dropMalformed + dropNoConnection + dropNoBuffer;
  expect(replay.packets).toBe(replay.total);
  expect(module.nic.transmittedPackets + dropped).toBe(replay.total);
  expect(module.pool.inUse).toBe(resting);
});

test("what leaves has right checksums: none of the packets was right when captured and is wrong now", () => {
  const info = new PacketInfo();
  let looked = 0;
  const wrong: string[] = [];
  const whole = { ...base, nic: { ...base.nic, headerSplit: false }, traffic };
  const { module } = run(whole, (buffer, { bytes, columns }) => {
    const start = columns.offsets[buffer];
    parseFrame(bytes, start, columns.lengths[buffer], columns.wireLengths[buffer], columns.linkTypes[buffer], info);
    looked++;
    if (verifyIpChecksum(bytes, info) === ChecksumState.Bad) wrong.push(`packet ${looked}: IP`);
    if (verifyTransportChecksum(bytes, info) === ChecksumState.Bad) wrong.push(`packet ${looked}: transport`);
  });
  expect(wrong).toEqual([]);
  expect(looked).toBe(module.nic.transmittedPackets);
});

test("clients see answers from the address they asked, although another host answered", () => {
  const asked = new Set<string>();
  const answered = new Set<string>();
  const info = new PacketInfo();
  run({ ...base, traffic: { ...traffic, repeat: 2, clients: 1 } }, (buffer, { bytes, columns }) => {
    parseFrame(
      bytes,
      columns.offsets[buffer],
      columns.lengths[buffer],
      columns.wireLengths[buffer],
      columns.linkTypes[buffer],
      info,
    );
    const { key } = info;
    const upstream = key[4] >>> 8 === 0x0a1400;
    if (info.protocol === 6 && upstream) asked.add(`${key[0]} ${key[8] >>> 16}`);
    if (info.protocol === 6 && key[0] >>> 8 === 0x0a1400) answered.add("from upstream");
  });
  expect(asked.size).toBeGreaterThan(100);
  expect(answered.size).toBe(0);
});

test("the machine forgets no thread and no grace period, whatever number of CPUs is brought up", () => {
  for (const cpus of [1, 2, 5, 16]) {
    const { kernel } = run({ ...base, cpus, traffic: { ...traffic, repeat: 1, clients: 1 } });
    expect(kernel.cpus.onlineCount).toBe(cpus);
    expect(kernel.scheduler.threadCount).toBe(base.threads.reduce((sum, { count }) => sum + count, 0));
    expect(kernel.rcu.stats().stalls).toBe(0);
    expect(kernel.preempt.stats().total).toBeGreaterThan(0);
  }
});

test("a card that splits headers from payload forwards the same headers and lengths", () => {
  const config = { ...(base.proxy.config ?? DIRECT), selection: "failover" as const };
  const failover = { ...base, events: [], proxy: { ...base.proxy, config }, traffic: { ...traffic, repeat: 2 } };
  const headers = (headerSplit: boolean): string[] => {
    const seen: string[] = [];
    run({ ...failover, nic: { ...base.nic, headerSplit } }, (buffer, pool) => {
      const { offsets, wireLengths } = pool.columns;
      const start = offsets[buffer];
      seen.push(
        `${wireLengths[buffer]} ${Buffer.from(pool.bytes.slice(start, start + HEADERS_BYTES)).toString("hex")}`,
      );
    });
    return seen.sort();
  };
  expect(headers(true)).toEqual(headers(false));
});

test("switching batching, zero-copy, RCU and the cache off changes the work, not the outcome", () => {
  const outcome = (parameters: Scenario["proxy"]["parameters"]) => {
    const { module } = run({
      ...base,
      events: [],
      proxy: { ...base.proxy, parameters },
      traffic: { ...traffic, repeat: 1 },
    });
    return { forwarded: module.nic.transmittedPackets, connections: module.dataplane.connectionCount };
  };
  const on = outcome({});
  expect(outcome({ perf_enable_batching: false, perf_enable_zero_copy: false, perf_enable_rcu: false })).toEqual(on);
  expect(outcome({ perf_cache_size: 0, perf_batch_size: 1 })).toEqual(on);
});
