import { describe, expect, it } from "vitest";
import { emulate } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, type Scenario, type ThreadStep } from "../src/experiment/scenario.ts";
import { runOnThreads } from "../src/substrate/run-on-threads.ts";

const base = loadScenario(defaultScenarioFile);
const CPU = 3;

/** Some 60 ms of traffic on 8 CPUs, whose old connections wait for grace periods, and one thread on CPU 3. */
function scenarioWith(steps: readonly ThreadStep[]): Scenario {
  return {
    ...base,
    cpus: 8,
    traffic: { ...base.traffic, repeat: 2, clients: 2, packetsPerSecond: 10_000 },
    kernel: { ...base.kernel, rcuStallMs: 10 },
    threads: [{ name: "reader", count: 1, cpus: String(CPU), priority: "normal", pages: 4, steps }],
    // A new configuration: the old one is freed after a grace period.
    events: [5, 6, 20, 50].map((atMs) => ({ atMs, config: { ...base.proxy.config! } })),
  };
}

interface Period {
  start: number;
  end?: number;
  readonly passed: Set<number>;
}

/** Grace periods of a trace, by number, times in seconds. */
function periodsOf(trace: string): Map<number, Period> {
  const periods = new Map<number, Period>();
  for (const line of trace.split("\n").filter((text) => text !== "" && !text.startsWith("#"))) {
    const match =
      /^ +<\.\.\.>-0 +\[(\d{3})\] \.\.s1\. +([\d.]+): rcu_grace_period: rcu_qsbr (\d+) (start|end|cpuqs)$/.exec(line);
    if (match === null) throw new Error(`no line of ftrace: ${line}`);
    const [cpu, time, number] = [match[1], match[2], match[3]].map(Number);
    if (match[4] === "start") periods.set(number, { start: time, passed: new Set() });
    const period = periods.get(number);
    if (match[4] === "end") period!.end = time;
    if (match[4] === "cpuqs") period?.passed.add(cpu);
  }
  return periods;
}

describe("the emulated kernel's RCU", () => {
  it("traces the start and end of every grace period, as many as the report counts, and no stall", async () => {
    const { report, files } = await emulate(scenarioWith([{ computeUs: 30_000 }]));
    const periods = [...periodsOf(files["rcu_trace.txt"]).values()];
    const ended = periods.filter(({ end }) => end !== undefined);
    expect(ended.length).toBe(report.rcu["gracePeriods"]);
    expect(ended.length).toBeGreaterThan(3);
    for (const { start, end } of ended) expect(end).toBeGreaterThanOrEqual(start);
    const longest = Math.max(...ended.map(({ start, end }) => end! - start));
    // A tick is a quiescent state, so a thread that computes for long holds up nobody.
    expect(longest).toBeLessThan(0.01);
    expect(Math.abs(longest - report.rcu["longestGracePeriodNs"] / 1e9)).toBeLessThan(2e-3);
    expect(report.rcu["stalls"]).toBe(0);
    expect(files["dmesg.txt"]).not.toContain("detected stalls");
  });

  it("names the CPU and the thread of a read section that does not end, until it does", async () => {
    const { report, files } = await emulate(scenarioWith([{ sleepUs: 2000 }, { readUs: 35_000 }]));
    const lines = files["dmesg.txt"].split("\n");
    const at = lines.findIndex((line) => line.includes("rcu: INFO: rcu_qsbr detected stalls on CPUs/tasks:"));
    expect(lines[at]).toMatch(/\(detected by [0-7], t=1\d ms, g=\d+\)$/);
    expect(lines[at + 1]).toMatch(/rcu: \t3-\.\.\.\.: task reader$/);
    expect(lines.filter((line) => /rcu: \t\d+-\.\.\.\.: task/.test(line)).every((line) => line.includes("\t3-"))).toBe(
      true,
    );
    expect(report.rcu["stalls"]).toBeGreaterThan(0);
    expect(report.rcu["longestGracePeriodNs"]).toBeGreaterThan(10e6);
    const stalled = [...periodsOf(files["rcu_trace.txt"]).values()].filter(
      ({ start, end = start }) => end - start > 0.01,
    );
    expect(stalled.length).toBeGreaterThan(0);
    // The period that waited ended when CPU 3 had passed.
    for (const { passed } of stalled) expect(passed.has(CPU)).toBe(true);
  });

  it("has no such sections on real threads, and says so", async () => {
    await expect(runOnThreads(scenarioWith([{ readUs: 10 }]))).rejects.toThrow(/emulated machine only/);
  });
});
