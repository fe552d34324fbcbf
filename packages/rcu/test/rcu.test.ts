import { describe, expect, it } from "vitest";
import { Rcu, type RcuObserver } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

function machine(
  cpus: number,
  options: { observer?: RcuObserver; callbackCapacity?: number; flavour?: "memory-barrier" } = {},
) {
  const hal = new ManyCpus(cpus);
  const rcu = Rcu.create({ hal, stallTimeoutNs: 1_000_000, ...options });
  for (let cpu = 0; cpu < cpus; cpu++) hal.on(cpu, () => rcu.online());
  return { hal, rcu, quiescent: (cpu: number) => hal.on(cpu, () => rcu.quiescent()) };
}

describe("a lone CPU", () => {
  it("is online from the start and ends a grace period by one quiescent state", () => {
    const rcu = Rcu.create();
    const cookie = rcu.startPoll();
    expect(rcu.isOnline()).toBe(true);
    expect(rcu.poll(cookie)).toBe(false);
    rcu.quiescent();
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("runs callbacks of two overlapping grace periods in one quiescent state, in order", () => {
    const rcu = Rcu.create();
    const ran: number[] = [];
    rcu.call((n) => ran.push(n), 1);
    rcu.call((n) => ran.push(n), 2);
    expect(ran).toEqual([]);
    rcu.quiescent();
    expect(ran).toEqual([1, 2]);
    expect(rcu.stats()).toMatchObject({
      callbacksQueued: 2,
      callbacksInvoked: 2,
      callbacksPending: 0,
      gracePeriods: 2,
    });
  });

  it("synchronizes by turns, and blocking while it is offline itself", async () => {
    const rcu = Rcu.create();
    await rcu.synchronize();
    rcu.synchronizeBlocking();
    expect(rcu.stats().gracePeriods).toBe(2);
    expect(rcu.isOnline()).toBe(true);
  });

  it("waits in barrier for every callback queued before", async () => {
    const rcu = Rcu.create();
    let ran = 0;
    for (let i = 0; i < 100; i++) rcu.call(() => ran++, 0);
    await rcu.barrier();
    expect(ran).toBe(100);
  });
});

describe("a grace period", () => {
  it("waits for every CPU that was online at its start", () => {
    const { rcu, quiescent } = machine(3);
    const cookie = rcu.startPoll();
    quiescent(0);
    quiescent(2);
    expect(rcu.poll(cookie)).toBe(false);
    const holdouts: number[] = [];
    expect(rcu.holdouts((cpu) => holdouts.push(cpu))).toBe(1);
    expect(holdouts).toEqual([1]);
    quiescent(1);
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("counts going offline as passing, and does not wait for who comes online later", () => {
    const { hal, rcu, quiescent } = machine(3);
    hal.on(2, () => rcu.offline());
    const cookie = rcu.startPoll();
    hal.on(2, () => rcu.online());
    hal.on(1, () => rcu.offline());
    expect(rcu.poll(cookie)).toBe(false);
    quiescent(0);
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("that already runs is not enough for a new request", () => {
    const { rcu, quiescent } = machine(2);
    const first = rcu.startPoll();
    quiescent(0);
    const second = rcu.startPoll();
    quiescent(1);
    expect(rcu.poll(first)).toBe(true);
    expect(rcu.poll(second)).toBe(false);
    quiescent(0);
    expect(rcu.poll(second)).toBe(true);
  });

  it("is shared by all who ask before it begins", () => {
    const { rcu, quiescent } = machine(2);
    rcu.startPoll();
    for (let i = 0; i < 10; i++) rcu.startPoll();
    for (let turn = 0; turn < 4; turn++) [0, 1].forEach(quiescent);
    expect(rcu.stats().gracePeriods).toBe(2);
  });

  it("is not begun when nobody asks", () => {
    const { rcu, quiescent } = machine(2);
    for (let turn = 0; turn < 10; turn++) [0, 1].forEach(quiescent);
    expect(rcu.stats().gracePeriods).toBe(0);
  });

  it("is seen and driven through an attached object as through the first", () => {
    const { hal, rcu } = machine(2);
    const other = Rcu.attach(structuredClone(rcu.handle), { hal });
    expect(other.handle).not.toBe(rcu.handle);
    const same = Rcu.attach(rcu.handle, { hal });
    const cookie = rcu.startPoll();
    hal.on(0, () => same.quiescent());
    hal.on(1, () => same.quiescent());
    expect(rcu.poll(cookie)).toBe(true);
  });
});

describe("misuse", () => {
  it("of quiescent states inside a read section throws RCU_IN_SECTION", async () => {
    const rcu = Rcu.create();
    rcu.readLock();
    rcu.readLock();
    rcu.readUnlock();
    const inSection = expect.objectContaining({ code: "RCU_IN_SECTION" });
    expect(() => rcu.quiescent()).toThrow(inSection);
    expect(() => rcu.offline()).toThrow(inSection);
    expect(() => rcu.synchronizeBlocking()).toThrow(inSection);
    await expect(rcu.synchronize()).rejects.toThrow(inSection);
    rcu.readUnlock();
    rcu.quiescent();
  });

  it("is an unlock too many, a read on an offline CPU, a bad option", () => {
    const rcu = Rcu.create();
    expect(() => rcu.readUnlock()).toThrow(expect.objectContaining({ code: "RCU_NOT_IN_SECTION" }));
    rcu.offline();
    expect(() => rcu.readLock()).toThrow(expect.objectContaining({ code: "RCU_OFFLINE" }));
    for (const options of [
      { callbackCapacity: 3 },
      { callbackCapacity: 1 },
      { stallTimeoutNs: 0 },
      { stallTimeoutNs: NaN },
      { callbackLimit: -1 },
    ]) {
      expect(() => Rcu.create(options)).toThrow(expect.objectContaining({ code: "RCU_INVALID_ARGUMENT" }));
    }
  });

  it("does not make an offline CPU a reader when it calls quiescent", () => {
    const { hal, rcu, quiescent } = machine(2);
    hal.on(1, () => rcu.offline());
    quiescent(1);
    expect(rcu.isOnline(1)).toBe(false);
    const cookie = rcu.startPoll();
    quiescent(0);
    expect(rcu.poll(cookie)).toBe(true);
  });
});

describe("callbacks", () => {
  it("run on the CPU that queued them, after its own and everybody's quiescent state", () => {
    const { hal, rcu, quiescent } = machine(2);
    const ranOn: number[] = [];
    hal.on(1, () => rcu.call(() => ranOn.push(hal.cpu), 0));
    quiescent(1);
    quiescent(0);
    expect(ranOn).toEqual([]);
    quiescent(1);
    expect(ranOn).toEqual([1]);
  });

  it("run at most as many as the limit, oldest first", () => {
    const rcu = Rcu.create();
    const ran: number[] = [];
    for (let i = 0; i < 5; i++) rcu.call((n) => ran.push(n), i);
    rcu.readLock();
    rcu.readUnlock();
    const cookie = rcu.startPoll();
    rcu.offline();
    expect(rcu.poll(cookie)).toBe(true);
    expect(rcu.invokeCallbacks(2)).toBe(2);
    expect(rcu.invokeCallbacks()).toBe(3);
    expect(ran).toEqual([0, 1, 2, 3, 4]);
  });

  it("run in quiescent only as many as callbackLimit allows", () => {
    const rcu = Rcu.create({ callbackLimit: 2 });
    let ran = 0;
    for (let i = 0; i < 5; i++) rcu.call(() => ran++, i);
    rcu.quiescent();
    expect(ran).toBe(2);
    rcu.quiescent();
    expect(ran).toBe(4);
    const never = Rcu.create({ callbackLimit: 0 });
    never.call(() => ran++, 0);
    never.quiescent();
    expect(ran).toBe(4);
    expect(never.invokeCallbacks()).toBe(1);
  });

  it("may queue themselves again without running twice in one go", () => {
    const rcu = Rcu.create();
    let ran = 0;
    const again = (): void => {
      ran++;
      rcu.call(again, 0);
    };
    rcu.call(again, 0);
    for (let turn = 1; turn <= 5; turn++) {
      rcu.quiescent();
      expect(ran).toBe(turn);
    }
  });

  it("that throw are gone, and the others still run", () => {
    const rcu = Rcu.create();
    let ran = 0;
    rcu.call(() => {
      throw new Error("planted");
    }, 0);
    rcu.call(() => ran++, 0);
    expect(() => rcu.quiescent()).toThrow("planted");
    rcu.quiescent();
    expect(ran).toBe(1);
    expect(rcu.stats().callbacksPending).toBe(0);
  });

  it("beyond the ring throw RCU_CALLBACKS_FULL, and none is lost or run early", () => {
    const { hal, rcu, quiescent } = machine(2, { callbackCapacity: 4 });
    const ran: number[] = [];
    for (let i = 0; i < 4; i++) rcu.call((n) => ran.push(n), i);
    expect(rcu.tryCall(() => ran.push(-1), 0)).toBe(false);
    expect(() => rcu.call(() => ran.push(-1), 0)).toThrow(expect.objectContaining({ code: "RCU_CALLBACKS_FULL" }));
    expect(ran).toEqual([]);
    hal.on(1, () => rcu.offline());
    quiescent(0);
    rcu.call((n) => ran.push(n), 4);
    quiescent(0);
    expect(ran).toEqual([0, 1, 2, 3, 4]);
  });

  it("of a dead CPU are given up, so that neither grace periods nor barriers hang", () => {
    const { hal, rcu, quiescent } = machine(3);
    hal.on(1, () => {
      rcu.call(() => undefined, 0);
      rcu.call(() => undefined, 0);
    });
    const cookie = rcu.startPoll();
    const marks = rcu.startBarrier();
    [0, 2, 0, 2].forEach(quiescent);
    expect(rcu.poll(cookie)).toBe(false);
    expect(rcu.reportDead(1)).toBe(2);
    [0, 2, 0, 2].forEach(quiescent);
    expect(rcu.poll(cookie)).toBe(true);
    expect(rcu.pollBarrier(marks)).toBe(true);
  });
});

describe("the observer", () => {
  it("is told periods, quiescent states and callbacks in order", () => {
    const told: string[] = [];
    const observer: RcuObserver = {
      onGracePeriodStart: (sequence) => told.push(`start ${sequence}`),
      onGracePeriodEnd: (sequence, durationNs) => told.push(`end ${sequence} ${durationNs}`),
      onQuiescentState: (cpu) => told.push(`quiescent ${cpu}`),
      onCallback: (cpu) => told.push(`callback ${cpu}`),
    };
    const { hal, rcu, quiescent } = machine(2, { observer });
    rcu.call(() => undefined, 0);
    hal.timeNs = 500;
    quiescent(1);
    quiescent(1);
    quiescent(0);
    expect(told).toEqual(["start 1", "quiescent 1", "quiescent 0", "end 1 500", "callback 0"]);
    expect(rcu.stats().longestGracePeriodNs).toBe(500);
  });

  it("is told the CPUs of a stalled grace period once per time-out", () => {
    const stalls: [number, number][] = [];
    const { hal, rcu, quiescent } = machine(3, { observer: { onStall: (cpu, ns) => stalls.push([cpu, ns]) } });
    const cookie = rcu.startPoll();
    quiescent(0);
    hal.timeNs = 900_000;
    rcu.poll(cookie);
    expect(stalls).toEqual([]);
    hal.timeNs = 1_024_000;
    rcu.poll(cookie);
    rcu.poll(cookie);
    expect(stalls).toEqual([
      [1, 1_024_000],
      [2, 1_024_000],
    ]);
    hal.timeNs = 2_048_000;
    rcu.poll(cookie);
    expect(stalls.length).toBe(4);
    expect(rcu.stats().stalls).toBe(2);
  });
});

describe("flavour memory-barrier", () => {
  it("waits exactly for the sections that began before, and needs no announcement", () => {
    const { hal, rcu } = machine(2, { flavour: "memory-barrier" });
    hal.on(1, () => {
      rcu.readLock();
      rcu.readLock();
      rcu.readUnlock();
    });
    const cookie = rcu.startPoll();
    expect(rcu.poll(cookie)).toBe(false);
    rcu.readLock();
    hal.on(1, () => rcu.readUnlock());
    expect(rcu.poll(cookie)).toBe(true);
    rcu.readUnlock();
  });
});
