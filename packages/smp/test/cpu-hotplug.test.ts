import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CpuManager, CpuState, SmpError, type CpuHotplugStep, type CpuPlatform } from "../src/index.ts";
import { SeveralCpus } from "./several-cpus.ts";

const failed = expect.objectContaining({ code: "SMP_HOTPLUG_FAILED" });
type Member = Exclude<keyof CpuHotplugStep, "name">;
const MEMBERS: readonly Member[] = ["prepare", "dead", "online", "offline"];

/** A machine of CPUs with one step after the other, a record of what was done, and the places where a step throws. */
function machine(names: readonly string[], platform?: CpuPlatform, cpus = 3) {
  const hal = new SeveralCpus(cpus);
  const done: string[] = [];
  const faults: SmpError[] = [];
  const throwing = new Set<string>();
  const manager = CpuManager.create({
    hal,
    startupTimeoutNs: 1000,
    platform,
    observer: { onStepFault: (fault) => faults.push(fault) },
  });
  for (let cpu = 0; cpu < cpus; cpu++) manager.addCpu(cpu);
  manager.bringCpuOnline(0);
  const step = (name: string): CpuHotplugStep => {
    const act = (member: Member) => (cpu: number) => {
      if (throwing.has(`${name}.${member}`)) throw new Error(`no ${member} today`);
      done.push(`${name}.${member} ${cpu}`);
    };
    return {
      name,
      ...(Object.fromEntries(MEMBERS.map((member) => [member, act(member)])) as Record<Member, () => void>),
    };
  };
  const registered = names.map((name) => manager.addHotplugStep(step(name), { invoke: false }));
  const up = (cpu: number): void => {
    manager.bringCpuOnline(cpu);
    hal.on(cpu, () => manager.markOnline(cpu));
  };
  return { hal, manager, done, faults, throwing, step, registered, up };
}

describe("hotplug steps", () => {
  it("are done in their order around the start, and undone in reverse around the stop", () => {
    const order: string[] = [];
    const platform: CpuPlatform = {
      startCpu: ({ id }) => order.push(`start ${id}`),
      stopCpu: ({ id }) => order.push(`stop ${id}`),
    };
    const { manager, up, done } = machine(["a", "b"], platform);
    done.push = (...lines: string[]) => order.push(...lines);
    up(1);
    const wayUp = ["a.prepare 1", "b.prepare 1", "start 1", "a.online 1", "b.online 1"];
    expect(order).toEqual(wayUp);
    manager.takeCpuOffline(1);
    expect(order).toEqual([...wayUp, "b.offline 1", "a.offline 1", "stop 1", "b.dead 1", "a.dead 1"]);
    manager.takeCpuOffline(1);
    expect(order).toHaveLength(10);
  });

  it("keep a CPU offline when one cannot prepare, with those before it undone", () => {
    const started: number[] = [];
    const { manager, throwing, done } = machine(["a", "b", "c"], { startCpu: ({ id }) => started.push(id) });
    throwing.add("c.prepare");
    expect(() => manager.bringCpuOnline(1)).toThrow(failed);
    expect(() => manager.bringCpuOnline(1)).toThrow('CPU 1: "c" failed in prepare: no prepare today');
    expect(done.slice(0, 4)).toEqual(["a.prepare 1", "b.prepare 1", "b.dead 1", "a.dead 1"]);
    expect(manager.state(1)).toBe(CpuState.Offline);
    expect(started).toEqual([]);
    throwing.clear();
    expect(manager.bringCpuOnline(1)).toBe(CpuState.Initializing);
  });

  it("make a CPU fail that cannot come online, with everything undone", () => {
    const { manager, throwing, done, up } = machine(["a", "b"]);
    throwing.add("b.online");
    expect(() => up(1)).toThrow(failed);
    expect(done).toEqual(["a.prepare 1", "b.prepare 1", "a.online 1", "a.offline 1", "b.dead 1", "a.dead 1"]);
    expect(manager.state(1)).toBe(CpuState.Failed);
    throwing.clear();
    up(1);
    expect(manager.state(1)).toBe(CpuState.Online);
  });

  it("undo what was prepared for a CPU that does not start, or not in time", () => {
    const startCpu = (): never => {
      throw new Error("no such core");
    };
    const broken = machine(["a"], { startCpu });
    expect(() => broken.manager.bringCpuOnline(1)).toThrow("no such core");
    expect(broken.done).toEqual(["a.prepare 1", "a.dead 1"]);
    const { hal, manager, done } = machine(["a", "b"]);
    manager.bringCpuOnline(2);
    hal.timeNs = 1001;
    expect(manager.pollStartup()).toBe(1);
    expect(manager.pollStartup()).toBe(0);
    expect(done).toEqual(["a.prepare 2", "b.prepare 2", "b.dead 2", "a.dead 2"]);
  });

  it("undo what a CPU did that comes online when it was given up already", () => {
    const { hal, manager, step, done } = machine(["a"]);
    manager.addHotplugStep({ ...step("slow"), online: () => (hal.timeNs += 2000) && void manager.pollStartup() });
    done.length = 0;
    manager.bringCpuOnline(1);
    expect(() => hal.on(1, () => manager.markOnline(1))).toThrow(expect.objectContaining({ code: "SMP_CPU_STATE" }));
    expect(done).toEqual([
      "a.prepare 1",
      "slow.prepare 1",
      "a.online 1",
      "slow.dead 1",
      "a.dead 1",
      "slow.offline 1",
      "a.offline 1",
    ]);
    expect(manager.state(1)).toBe(CpuState.Failed);
  });

  it("keep a CPU online when one refuses, with those before it done again", () => {
    const stopped: number[] = [];
    const { manager, throwing, done, up } = machine(["a", "b", "c"], {
      startCpu: () => undefined,
      stopCpu: ({ id }) => stopped.push(id),
    });
    up(1);
    done.length = 0;
    throwing.add("a.offline");
    expect(() => manager.takeCpuOffline(1)).toThrow(failed);
    expect(done).toEqual(["c.offline 1", "b.offline 1", "b.online 1", "c.online 1"]);
    expect(manager.state(1)).toBe(CpuState.Online);
    expect(stopped).toEqual([]);
    throwing.clear();
    manager.takeCpuOffline(1);
    expect(stopped).toEqual([1]);
  });

  it("that throw where nothing can be refused are told to the observer, and the others are undone all the same", () => {
    const { manager, throwing, done, faults, up } = machine(["a", "b"]);
    up(1);
    done.length = 0;
    throwing.add("b.dead");
    manager.takeCpuOffline(1);
    expect(done).toEqual(["b.offline 1", "a.offline 1", "a.dead 1"]);
    expect(faults.map(({ message }) => message)).toEqual(['CPU 1: "b" failed in dead: no dead today']);
  });

  it("are done at once for CPUs that are online, and undone when they are taken away", () => {
    const { manager, step, done, up } = machine([]);
    up(1);
    const registered = manager.addHotplugStep(step("late"));
    expect(done).toEqual(["late.prepare 0", "late.online 0", "late.prepare 1", "late.online 1"]);
    done.length = 0;
    registered[Symbol.dispose]();
    registered[Symbol.dispose]();
    expect(done).toEqual(["late.offline 1", "late.dead 1", "late.offline 0", "late.dead 0"]);
    manager.takeCpuOffline(1);
    expect(done).toHaveLength(4);
  });

  it("are not registered where one CPU that is online cannot have them", () => {
    const { manager, step, done, up } = machine([]);
    up(1);
    const late = step("late");
    const online = (cpu: number): void => {
      if (cpu === 1) throw new Error("not here");
      late.online?.(cpu);
    };
    expect(() => manager.addHotplugStep({ ...late, online })).toThrow(failed);
    expect(done).toEqual([
      "late.prepare 0",
      "late.online 0",
      "late.prepare 1",
      "late.dead 1",
      "late.offline 0",
      "late.dead 0",
    ]);
    done.length = 0;
    up(2);
    expect(done).toEqual([]);
  });

  it("see one thread at a time take a CPU offline", () => {
    const { hal, manager, step, up } = machine([]);
    up(1);
    const codes: unknown[] = [];
    const offline = (): void => {
      hal.on(2, () => {
        try {
          manager.takeCpuOffline(1);
        } catch (error) {
          codes.push((error as SmpError).code);
        }
      });
      expect(manager.state(1)).toBe(CpuState.Online);
    };
    manager.addHotplugStep({ ...step("a"), offline });
    manager.takeCpuOffline(1);
    expect(codes).toEqual(["SMP_CPU_STATE"]);
    expect(manager.state(1)).toBe(CpuState.Offline);
  });

  it("leave every CPU with all of them or none, whatever throws", () => {
    const places = fc.subarray(["a", "b", "c"].flatMap((name) => MEMBERS.map((member) => `${name}.${member}`)));
    const actions = fc.array(
      fc.record({ kind: fc.constantFrom("up", "down", "late", "die"), cpu: fc.integer({ min: 1, max: 2 }), places }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(actions, (steps) => {
        const { hal, manager, throwing, done, up } = machine(["a", "b", "c"]);
        for (const { kind, cpu, places: wrong } of steps) {
          throwing.clear();
          // What is undone must not throw here: then it would rightly be left half undone.
          for (const place of wrong)
            if (!place.endsWith("dead") && !(kind === "up" && place.endsWith("offline"))) throwing.add(place);
          if (kind === "die") for (const name of ["a", "b", "c"]) throwing.delete(`${name}.offline`);
          if (kind === "down") for (const name of ["a", "b", "c"]) throwing.delete(`${name}.online`);
          try {
            if (kind === "up") up(cpu);
            else if (kind === "down") manager.takeCpuOffline(cpu);
            else if (kind === "die") manager.reportDead(cpu);
            else hal.timeNs += manager.state(cpu) === CpuState.Initializing ? 2000 : 0;
            manager.pollStartup();
          } catch (error) {
            if (!(error instanceof SmpError)) throw error;
          }
          for (const one of [1, 2]) {
            const count = (member: Member): number => done.filter((line) => line.includes(`.${member} ${one}`)).length;
            expect(count("prepare") - count("dead")).toBe(manager.state(one) === CpuState.Online ? 3 : 0);
            expect(count("online") - count("offline")).toBe(manager.state(one) === CpuState.Online ? 3 : 0);
          }
        }
      }),
    );
  });
});

describe("CpuManager.reportDead", () => {
  it("takes an online CPU out with its steps undone, and fails one that was being started", () => {
    const { manager, done, up } = machine(["a"]);
    up(1);
    manager.bringCpuOnline(2);
    done.length = 0;
    manager.reportDead(1);
    manager.reportDead(2);
    manager.reportDead(2);
    expect(manager.state(1)).toBe(CpuState.Offline);
    expect(manager.state(2)).toBe(CpuState.Failed);
    expect(done).toEqual(["a.offline 1", "a.dead 1", "a.dead 2"]);
  });

  it("gives back a CPU that the dead one was taking offline", () => {
    const { hal, manager, step, up } = machine([]);
    up(1);
    up(2);
    manager.addHotplugStep({
      ...step("a"),
      offline: (cpu) => {
        // CPU 2 ends here, in the middle of taking CPU 1 offline.
        if (cpu === 1 && manager.state(2) === CpuState.Online) manager.reportDead(2);
      },
    });
    hal.on(2, () => manager.takeCpuOffline(1));
    expect(manager.state(2)).toBe(CpuState.Offline);
    expect(manager.state(1)).toBe(CpuState.Online);
    manager.takeCpuOffline(1);
    expect(manager.state(1)).toBe(CpuState.Offline);
  });
});
