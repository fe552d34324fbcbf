import { SpinLocks } from "@x/smp";
import { expect, test } from "vitest";
import { bootMachine, emulate } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario, type Scenario } from "../src/experiment/scenario.ts";

const base = loadScenario(defaultScenarioFile);
/** Many short sleeps: the run queues are busy. */
const busy: Scenario["threads"] = [
  { ...base.threads[0], name: "worker", count: 200, priority: "normal", steps: [{ computeUs: 2 }, { sleepUs: 10 }] },
];
const scenario = (kernel: Partial<Scenario["kernel"]>): Scenario => ({
  ...base,
  traffic: { ...base.traffic, repeat: 4, clients: 2 },
  threads: busy,
  kernel: { ...base.kernel, lockStatistics: true, lockValidator: true, ...kernel },
});

test.each(["spin", "ticket", "mcs"] as const)(
  "the kernel takes its locks in an order that cannot deadlock, with %s locks on its run queues",
  async (runQueueLock) => {
    const lines: string[] = [];
    const { report, files } = await emulate(scenario({ runQueueLock }), { onLine: ({ text }) => lines.push(text) });
    expect(lines.filter((line) => line.includes("lockdep"))).toEqual([]);
    const row = files["lock_stat.txt"].split("\n").find((line) => line.trim().startsWith("runqueue "));
    const [, contentions, , , waitUs, , acquisitions] = (row ?? "").trim().split(/\s+/).map(Number);
    expect(acquisitions).toBeGreaterThan(1000);
    expect(contentions).toBeGreaterThan(0);
    expect(waitUs).toBeGreaterThan(0);
    expect(report.locks.acquisitions).toBeGreaterThanOrEqual(acquisitions);
    const [head, ...handOvers] = files["lock-hand-overs.csv"].trim().split("\n");
    expect(head).toBe("lock,from_cpu,to_cpu,asked_ns,taken_ns");
    expect(handOvers.length).toBe(report.locks.contentions);
    for (const [, from, to, asked, taken] of handOvers.map((line) => line.split(","))) {
      expect(from).not.toBe(to);
      expect(Number(taken)).toBeGreaterThan(Number(asked));
    }
  },
);

test("a lock taken in the wrong order is in the kernel's log, with the place", () => {
  const lines: string[] = [];
  const { kernel } = bootMachine(scenario({}), ({ text }) => lines.push(text));
  const locks = SpinLocks.create({ name: "planted", count: 2, hal: kernel.hal, observer: kernel.locks });
  const theWrongWay = (): void => {
    locks.lock(1);
    locks.lock(0);
  };
  theWrongWay();
  expect(lines.filter((line) => line.startsWith("lockdep:")).join("\n")).toMatch(
    /nested locks of one class[^]*planted\[0\] while it holds planted\[1\][^]*asked for at theWrongWay [^]*locks\.test\.ts/,
  );
});
