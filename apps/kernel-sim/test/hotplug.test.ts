import { CpuState } from "@x/smp";
import { describe, expect, it } from "vitest";
import { bootMachine, loadCapture } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, validateScenario, type Scenario } from "../src/experiment/scenario.ts";
import { runOnThreads } from "../src/substrate/run-on-threads.ts";
import { findConversations } from "../src/workload/conversations.ts";
import { Replay } from "../src/workload/replay.ts";

const base = loadScenario(defaultScenarioFile);
/** Some 60 ms of traffic, and threads everywhere, one of them on CPU 3 alone. */
const scenario: Scenario = {
  ...base,
  machine: "server-2s",
  traffic: { ...base.traffic, repeat: 2, clients: 2, packetsPerSecond: 10_000 },
  threads: [
    { name: "worker", count: 24, priority: "normal", pages: 16, steps: [{ computeUs: 300 }, { sleepUs: 100 }] },
    {
      name: "pinned",
      count: 1,
      cpus: "3",
      priority: "normal",
      pages: 4,
      steps: [{ computeUs: 50 }, { sleepUs: 3000 }],
    },
  ],
};
const offlineAtNs = 5e6;

/** Boot, replay, and look at the machine once in a while. */
function run(events: Scenario["events"], look: (sinceNs: number, machine: ReturnType<typeof bootMachine>) => void) {
  const booted = bootMachine({ ...scenario, events });
  const { machine, kernel } = booted;
  const module = kernel.requireModule();
  const capture = loadCapture(scenario.traffic.pcap);
  const replay = new Replay({
    machine,
    nic: module.nic,
    pool: module.pool,
    capture,
    columns: findConversations(capture),
    ...scenario.traffic,
    headerSplit: false,
  });
  const resting = module.pool.inUse;
  module.driver.wire = replay;
  const startNs = machine.nowNs;
  kernel.beginRun(startNs);
  replay.start(startNs);
  let endNs = Infinity;
  for (let step = 1; machine.nowNs < endNs || !module.quiet; step++) {
    if (!machine.step()) throw new Error("the machine stands still");
    if (step % 1024 === 0) look(machine.nowNs - startNs, booted);
    if (endNs === Infinity && replay.finished) endNs = machine.nowNs + 10e6;
  }
  kernel.endRun(machine.nowNs);
  return { ...booted, module, replay, resting, log: kernel.log.text(), tookNs: machine.nowNs - startNs };
}

const lost = ({ module }: { module: ReturnType<typeof run>["module"] }): number => {
  const { dropMalformed, dropNoConnection, dropNoBuffer } = module.dataplane.details();
  return module.nic.missed + dropMalformed + dropNoConnection + dropNoBuffer;
};

describe("CPUs that go offline in the emulated machine", () => {
  it("do nothing afterwards, and what they did is done by others", () => {
    const after: { interrupts: number; switches: number }[] = [];
    let threads = 0;
    const result = run([{ atMs: 5, cpus: { offline: "2-3" } }], (sinceNs, { kernel, machine }) => {
      if (kernel.cpus.state(3) !== CpuState.Offline) return;
      const { timer, mailbox, device } = kernel.interrupts;
      const count = (of: Float64Array): number => of[2] + of[3];
      after.push({ interrupts: count(timer) + count(mailbox) + count(device), switches: count(kernel.switches) });
      for (const cpu of [2, 3]) {
        expect(kernel.scheduler.current(cpu)).toBe(0);
        expect(kernel.scheduler.queued(cpu)).toBe(0);
        expect(machine.timeNs[cpu]).toBeLessThan(machine.nowNs + 1);
      }
      kernel.scheduler.forEachThread((thread) => (threads = Math.max(threads, thread)));
      expect(sinceNs).toBeGreaterThan(offlineAtNs);
    });
    expect(after.length).toBeGreaterThan(5);
    expect(new Set(after.map((each) => JSON.stringify(each))).size).toBe(1);
    const { kernel, replay, module, log } = result;
    expect(log).toContain("smpboot: CPU 2 is now offline");
    expect(log).toContain("smpboot: CPU 3 is now offline");
    expect(log).toMatch(/process \d+ \(pinned\) no longer affine to cpu3/);
    expect([...kernel.online]).not.toContain(2);
    expect(kernel.cpus.onlineCount).toBe(14);
    expect(module.driver.queues(2)).toEqual([]);
    expect(module.nic.transmittedPackets + lost(result)).toBe(replay.total);
    expect(module.pool.inUse).toBe(result.resting);
    // Sleeping threads of theirs were woken: all have run since, the one that had only CPU 3 too.
    let least = Infinity;
    kernel.scheduler.forEachThread((thread) => {
      least = Math.min(least, kernel.scheduler.threadStats(thread).runtimeNs);
    });
    expect(threads).toBe(25);
    expect(least).toBeGreaterThan(50e3 * 5);
  });

  it("come back, take their queues back and run threads again", () => {
    let before = 0;
    const events = [
      { atMs: 5, cpus: { offline: "2,9" } },
      { atMs: 12, cpus: { online: "2" } },
    ];
    const result = run(events, (_sinceNs, { kernel }) => {
      if (kernel.cpus.state(2) === CpuState.Offline) before = kernel.interrupts.timer[2];
    });
    const { kernel, module, replay, log } = result;
    expect(kernel.cpus.state(2)).toBe(CpuState.Online);
    expect(kernel.cpus.state(9)).toBe(CpuState.Offline);
    expect(log).toContain("smpboot: Booting Node 0 Processor 2 APIC 0x");
    expect(kernel.interrupts.timer[2]).toBeGreaterThan(before + 5);
    expect(module.driver.queues(2)).toEqual([2]);
    expect(kernel.scheduler.isActive(2)).toBe(true);
    expect(module.nic.transmittedPackets + lost(result)).toBe(replay.total);
    expect(module.pool.inUse).toBe(result.resting);
  });

  it("go and come the same way each time", () => {
    const events = [{ atMs: 5, cpus: { offline: "1-15", online: "4-7" } }];
    const once = run(events, () => undefined);
    const again = run(events, () => undefined);
    expect(once.machine.trace.digest()).toBe(again.machine.trace.digest());
    expect([...once.kernel.online]).toEqual([0, 4, 5, 6, 7]);
    expect(once.module.nic.transmittedPackets + lost(once)).toBe(once.replay.total);
  });

  it("that never answer INIT and start-up messages end as failed after ten seconds, and the machine runs without them", () => {
    const broken = { ...base, machine: "laptop", deadCpus: "2,5", traffic: { ...base.traffic, repeat: 1, clients: 1 } };
    const { machine, kernel } = bootMachine(broken);
    const log = kernel.log.text();
    expect(log.match(/^.*failed to report alive state$/gm)?.map((line) => line.replace(/^\[.*?\] /, ""))).toEqual([
      "CPU2 failed to report alive state",
      "CPU5 failed to report alive state",
    ]);
    expect(log).toMatch(/smp: Brought up 1 node, 6 CPUs/);
    expect([...kernel.online]).toEqual([0, 1, 3, 4, 6, 7]);
    for (const cpu of [2, 5]) {
      expect(kernel.cpus.state(cpu)).toBe(CpuState.Failed);
      expect(machine.apics[cpu].waitingForStartup).toBe(false);
      expect(machine.timeNs[cpu]).toBe(0);
      expect([kernel.ipis.isOnline(cpu), kernel.scheduler.isActive(cpu)]).toEqual([false, false]);
    }
    // Two of them, ten seconds each, and the rest of the boot.
    expect(machine.nowNs).toBeGreaterThan(20e9);
    expect(machine.nowNs).toBeLessThan(21e9);
  });

  it("are refused where they cannot be", async () => {
    const wrong = (cpus: object): unknown => validateScenario({ machine: "server-2s", events: [{ atMs: 1, cpus }] });
    expect(() => wrong({ off: "1" })).toThrow(expect.objectContaining({ code: "SIM_SCENARIO" }));
    const at = (offline: string): Scenario => ({ ...scenario, events: [{ atMs: 1, cpus: { offline } }] });
    for (const list of ["0-3", "16", "x"]) {
      const refused = { code: "SIM_SCENARIO", location: { path: "/events/0/cpus/offline" } };
      expect(() => bootMachine(at(list))).toThrow(expect.objectContaining(refused));
    }
    for (const list of ["0-3", "16", "x"]) {
      const refused = { code: "SIM_SCENARIO", location: { path: "/deadCpus" } };
      expect(() => bootMachine({ ...scenario, deadCpus: list })).toThrow(expect.objectContaining(refused));
    }
    const never = { code: "SIM_SCENARIO", location: { path: "/threads/1/cpus" } };
    expect(() => bootMachine({ ...scenario, deadCpus: "3" })).toThrow(expect.objectContaining(never));
    await expect(runOnThreads({ ...scenario, deadCpus: "3" })).rejects.toMatchObject({ code: "SIM_SCENARIO" });
    await expect(runOnThreads(at("1"))).rejects.toThrow(expect.objectContaining({ code: "SIM_SCENARIO" }));
  });
});
