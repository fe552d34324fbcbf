import { fileURLToPath } from "node:url";
import { type Capture } from "@x/proxy-dataplane";
import type { CpuId, Hal } from "@x/smp";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadCapture } from "../src/experiment/emulation.ts";
import { loadMachine } from "../src/experiment/machine-image.ts";
import { validateScenario, type Scenario } from "../src/experiment/scenario.ts";
import { readPlatform } from "../src/kernel/platform.ts";
import { Firmware } from "../src/machine/firmware.ts";
import { createCore } from "../src/substrate/core.ts";
import { clientOf, markOf, packetOf } from "../src/workload/marks.ts";
import { createProxy, type Proxy } from "../src/substrate/proxy.ts";
import { Traffic } from "../src/substrate/traffic.ts";
import { findConversations } from "../src/workload/conversations.ts";

const whole = loadCapture(fileURLToPath(new URL("../captures/loopback.pcap", import.meta.url)));
const image = loadMachine("laptop");
const platform = readPlatform(new Firmware(image.tables), image.memoryBytes);
const CARD = platform.processors.length;
const CPUS = 2;

/** The first packets of a capture. */
function beginning(capture: Capture, count: number): Capture {
  const { timestampsNs, offsets, lengths, wireLengths, linkTypes } = capture;
  return {
    ...capture,
    count,
    timestampsNs: timestampsNs.subarray(0, count),
    offsets: offsets.subarray(0, count),
    lengths: lengths.subarray(0, count),
    wireLengths: wireLengths.subarray(0, count),
    linkTypes: linkTypes.subarray(0, count),
  };
}

/** One thread that plays the card and the CPUs in turn. */
class Machine {
  cpu: CpuId = CARD;
  nowNs = 0;
  readonly kicked: CpuId[] = [];
  readonly proxy: Proxy;
  readonly traffic: Traffic;

  constructor(capture: Capture, scenario: Scenario) {
    const hal: Hal = {
      possibleCpus: CARD + 1,
      currentCpu: () => this.cpu,
      now: () => (this.nowNs += 100),
      relax: () => expect.unreachable("nobody holds a lock"),
      kick: (cpu) => void this.kicked.push(cpu),
      wait: () => "timed-out",
      wake: () => 0,
    };
    this.proxy = createProxy(createCore(hal, platform, scenario), scenario, CPUS, scenario.nic.queues ?? CPUS);
    this.traffic = new Traffic({ hal, proxy: this.proxy, capture, traffic: scenario.traffic });
  }

  /** `cpu` takes up to `limit` packets from each of its queues and drops them; `visit` hears of each before it departs. */
  consume(cpu: CpuId, limit: number, visit: (mark: number, sentNs: number) => void): void {
    const { pool, receive, departed } = this.proxy;
    const { marks, timestampsNs } = pool.columns;
    const out = new Int32Array(limit);
    this.cpu = cpu;
    for (let queue = cpu; queue < receive.length; queue += CPUS) {
      const taken = receive[queue].take(out, limit);
      for (const packet of out.subarray(0, taken)) {
        visit(marks[packet], timestampsNs[packet]);
        pool.free(packet);
        expect(departed[cpu].push(marks[packet])).toBe(true);
      }
    }
    this.cpu = CARD;
  }
}

function scenario(members: object): Scenario {
  return validateScenario({ machine: "laptop", proxy: { maxConnections: 64 }, ...members });
}

describe("marks", () => {
  it("name a packet and a client", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 24 - 1 }), fc.nat({ max: 127 }), (packet, client) => {
        expect([packetOf(markOf(packet, client)), clientOf(markOf(packet, client))]).toEqual([packet, client]);
      }),
    );
  });
});

describe("Traffic", () => {
  const capture = beginning(whole, 300);
  const { answers } = findConversations(capture);

  it("sends every packet of every round once, each answer after what it answers, however CPUs interleave", () => {
    const turns = fc.array(fc.tuple(fc.nat({ max: CPUS }), fc.integer({ min: 1, max: 40 })), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(turns, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 }), (order, clients, repeat) => {
        const machine = new Machine(
          capture,
          scenario({ traffic: { pcap: "x", clients, repeat }, nic: { ringSize: 8 } }),
        );
        const { traffic, proxy } = machine;
        const arrived = new Int32Array(capture.count * clients);
        const departedNs = new Float64Array(capture.count * clients * repeat);
        const visit = (mark: number, sentNs: number): void => {
          const client = clientOf(mark);
          const at = packetOf(mark) * clients + client;
          const turn = arrived[at]++;
          const answered = answers[packetOf(mark)];
          if (answered >= 0) {
            const answeredNs = departedNs[(answered * clients + client) * repeat + turn];
            expect(answeredNs).toBeGreaterThan(0);
            expect(sentNs).toBeGreaterThan(answeredNs);
          }
          departedNs[at * repeat + turn] = machine.nowNs;
        };
        for (let turn = 0; !traffic.finished; turn++) {
          expect(turn).toBeLessThan(100_000);
          const [actor, limit] = order[turn % order.length];
          if (actor < CPUS) machine.consume(actor, limit, visit);
          traffic.drain();
          traffic.send();
          if (turn % order.length === 0) for (let cpu = 0; cpu < CPUS; cpu++) machine.consume(cpu, 64, visit);
        }
        expect([...arrived]).toEqual(
          Array.from(arrived, (_, at) => Math.max(0, Math.ceil((repeat - (at % clients)) / clients))),
        );
        expect(traffic.packets).toBe(capture.count * repeat);
        expect(proxy.pool.inUse).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it("holds packets back while their queue is full, and kicks the CPUs it sent to", () => {
    const traffic = { pcap: "x", repeat: 1 };
    const machine = new Machine(capture, scenario({ traffic, nic: { ringSize: 8, queues: 1 } }));
    while (machine.traffic.send() > 0);
    expect(machine.traffic.packets).toBe(8);
    expect(machine.proxy.pool.inUse).toBe(8);
    expect(machine.traffic.pauses).toBeGreaterThan(0);
    expect(new Set(machine.kicked)).toEqual(new Set([0]));
    machine.consume(0, 3, () => undefined);
    expect(machine.traffic.drain()).toBe(3);
    while (machine.traffic.send() > 0);
    expect(machine.traffic.packets).toBe(11);
    expect(machine.traffic.inFlight).toBe(8);
  });
});
