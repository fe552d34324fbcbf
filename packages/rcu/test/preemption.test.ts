import { describe, expect, it } from "vitest";
import { Preempt, Scheduler, ThreadAttributes } from "@x/preempt";
import { expediteGracePeriod, quiescentOnSwitch, Rcu } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

function machine() {
  const hal = new ManyCpus(2);
  const rcu = Rcu.create({ hal });
  const preempt = Preempt.create({ hal });
  const scheduler = Scheduler.create({ hal, preempt, observer: quiescentOnSwitch(rcu) });
  for (const cpu of [0, 1]) {
    for (const name of ["a", "b"]) scheduler.wake(scheduler.spawn(name, new ThreadAttributes().withCpuAffinity(cpu)));
    hal.on(cpu, () => rcu.online());
  }
  return { hal, rcu, preempt, scheduler };
}

describe("RCU under a scheduler", () => {
  it("takes every switch as a quiescent state", () => {
    const { hal, rcu, scheduler } = machine();
    const cookie = rcu.startPoll();
    hal.on(0, () => scheduler.schedule(false));
    expect(rcu.poll(cookie)).toBe(false);
    hal.on(1, () => scheduler.schedule(false));
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("finds a switch inside a read section", () => {
    const { hal, rcu, scheduler } = machine();
    hal.on(1, () => rcu.readLock());
    expect(() => hal.on(1, () => scheduler.schedule(false))).toThrow(
      expect.objectContaining({ code: "RCU_IN_SECTION" }),
    );
  });

  it("can hurry the CPUs a grace period waits for", () => {
    const { hal, rcu, preempt, scheduler } = machine();
    for (const cpu of [0, 1]) hal.on(cpu, () => scheduler.schedule(false));
    hal.kicked.length = 0;
    expect(expediteGracePeriod(rcu, preempt)).toBe(0);
    rcu.startPoll();
    hal.on(0, () => rcu.quiescent());
    expect(expediteGracePeriod(rcu, preempt)).toBe(1);
    expect(preempt.needResched(0)).toBe(false);
    expect(preempt.needResched(1)).toBe(true);
    expect(hal.kicked).toEqual([1]);
  });
});
