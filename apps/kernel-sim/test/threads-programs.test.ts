import { Preempt, Scheduler, ThreadState } from "@x/preempt";
import type { Hal } from "@x/smp";
import { beforeEach, describe, expect, it } from "vitest";
import { validateScenario, type ScenarioThread } from "../src/experiment/scenario.ts";
import { Next, Programs } from "../src/substrate/programs.ts";

const CPUS = 2;
let cpu: number;
let nowNs: number;
let scheduler: Scheduler;

beforeEach(() => {
  cpu = 0;
  nowNs = 1000;
  const hal: Hal = {
    possibleCpus: CPUS,
    currentCpu: () => cpu,
    now: () => nowNs,
    relax: () => expect.unreachable("nobody holds a lock"),
    kick: () => undefined,
    wait: () => "timed-out",
    wake: () => 0,
  };
  scheduler = Scheduler.create({ hal, preempt: Preempt.create({ hal }) });
  made = (...threads) => {
    const { threads: groups } = validateScenario({ threads });
    const programs = Programs.create(groups, scheduler, hal);
    programs.start(CPUS);
    return programs;
  };
});
let made: (...threads: Partial<ScenarioThread>[]) => Programs;

/** The thread that `on` runs next. */
function run(on: number): number {
  cpu = on;
  return scheduler.schedule(true);
}

describe("Programs", () => {
  it("take the steps in turn and begin again", () => {
    const programs = made({ name: "t", cpus: "0", steps: [{ computeUs: 5 }, { sleepUs: 7 }, { computeUs: 9 }] });
    const thread = run(0);
    expect(programs.advance(thread)).toBe(Next.Compute);
    expect(programs.leftNs(thread)).toBe(5000);
    programs.spend(thread, 6000);
    expect(programs.leftNs(thread)).toBe(0);
    expect(programs.advance(thread)).toBe(Next.Sleep);
    expect(programs.wakeNs).toBe(nowNs + 7000);
    expect(run(0)).toBe(0);
    scheduler.wake(thread);
    expect(run(0)).toBe(thread);
    expect(programs.advance(thread)).toBe(Next.Compute);
    expect(programs.leftNs(thread)).toBe(9000);
    expect(programs.advance(thread)).toBe(Next.Compute);
    expect(programs.leftNs(thread)).toBe(5000);
  });

  it("give each connection to one thread, whether it came before or after the thread began to wait", () => {
    const steps = [{ awaitConnection: true as const }, { computeUs: 1 }];
    const programs = made({ name: "t", count: 2, cpus: "0", steps });
    programs.connection(1);
    const [first, second] = [1, 2];
    expect(run(0)).toBe(first);
    expect(programs.advance(first)).toBe(Next.Compute);
    expect(programs.advance(first)).toBe(Next.Wait);
    expect(run(0)).toBe(second);
    expect(programs.advance(second)).toBe(Next.Wait);
    expect(run(0)).toBe(0);
    cpu = 1;
    programs.connection(1);
    expect(run(0)).toBe(first);
    expect(scheduler.state(second)).toBe(ThreadState.Blocked);
    expect(programs.advance(first)).toBe(Next.Compute);
    expect(programs.advance(first)).toBe(Next.Wait);
    expect(run(0)).toBe(0);
  });

  it("let a woken thread wait again when another one was faster", () => {
    const steps = [{ awaitConnection: true as const }, { computeUs: 1 }];
    const programs = made({ name: "slow", cpus: "0", steps }, { name: "fast", cpus: "1", steps });
    const [slow, fast] = [1, 2];
    expect(run(0)).toBe(slow);
    expect(programs.advance(slow)).toBe(Next.Wait);
    expect(run(0)).toBe(0);
    programs.connection(0);
    expect(scheduler.state(slow)).toBe(ThreadState.Ready);
    expect(run(1)).toBe(fast);
    expect(programs.advance(fast)).toBe(Next.Compute);
    expect(run(0)).toBe(slow);
    expect(programs.advance(slow)).toBe(Next.Wait);
    expect(run(0)).toBe(0);
    programs.connection(0);
    expect(run(0)).toBe(slow);
    expect(programs.advance(slow)).toBe(Next.Compute);
  });

  it("know which group a thread is of", () => {
    const programs = made({ name: "a", steps: [{ computeUs: 1 }] }, { name: "b", count: 2, steps: [{ computeUs: 1 }] });
    expect([1, 2, 3].map((thread) => [programs.group(thread), scheduler.name(thread)])).toEqual([
      [0, "a"],
      [1, "b/0"],
      [1, "b/1"],
    ]);
  });
});
