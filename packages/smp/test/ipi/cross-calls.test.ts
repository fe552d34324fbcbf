import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallError, CpuMask, CrossCalls, IpiMailbox, IpiType, WorkerHal, type CrossFunction } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const DOUBLE = 0;
const RECORD = 1;
const FAIL = 2;
const error = (code: string): object => expect.objectContaining({ code }) as object;

function machine(cpus: number, depth = 8) {
  const hal = new SeveralCpus(cpus);
  const calls: number[][] = [];
  const functions: CrossFunction[] = [
    (_from, a) => a * 2,
    (from, a, b, c) => void calls.push([hal.currentCpu(), from, a, b, c]),
    function explode() {
      throw new RangeError("in the function");
    },
  ];
  const mailbox = IpiMailbox.create({ hal, depth });
  const cross = CrossCalls.create({ hal, mailbox, functions });
  const serve = (cpu: number): number => hal.on(cpu, () => mailbox.receive());
  const inUse = (): number => {
    // As many slots as can be started are free.
    const tickets: number[] = [];
    for (let t = cross.tryStart(hal.cpu, DOUBLE); t !== 0; t = cross.tryStart(hal.cpu, DOUBLE)) tickets.push(t);
    for (const ticket of tickets) cross.finish(ticket);
    return depth - tickets.length;
  };
  return { hal, calls, functions, mailbox, cross, serve, inUse, all: new CpuMask(cpus).fill() };
}

describe("CrossCalls", () => {
  it("returns what the function returned on the CPU that was called", () => {
    const { hal, cross, serve, inUse } = machine(2);
    hal.onRelax = () => serve(1);
    expect(cross.call(1, DOUBLE, 2 ** 40 + 0.5)).toBe(2 ** 41 + 1);
    expect(cross.call(0, DOUBLE, 21)).toBe(42);
    expect(cross.call(1, RECORD)).toBeNaN();
    expect(inUse()).toBe(0);
  });

  it("runs the function once on each target, on the calling CPU at once, and is over with the last", () => {
    const { calls, cross, serve, all, inUse } = machine(3);
    const ticket = cross.startMany(all, RECORD, 7, 8, 9);
    expect(calls).toEqual([[0, 0, 7, 8, 9]]);
    serve(2);
    expect(cross.poll(ticket)).toBe(false);
    expect(() => cross.finish(ticket)).toThrow(error("SMP_CPU_STATE"));
    serve(1);
    expect(cross.poll(ticket)).toBe(true);
    expect(calls.map(([on]) => on)).toEqual([0, 2, 1]);
    cross.finish(ticket);
    expect(inUse()).toBe(0);
  });

  it("calls all that are online, all others, those for which a condition holds, or any one", () => {
    const { hal, calls, mailbox, cross, serve, all } = machine(4);
    hal.onRelax = () => [1, 3].forEach(serve);
    hal.on(2, () => mailbox.offline());
    const called = (call: () => number): number[] => {
      calls.length = 0;
      return [call(), ...calls.map(([on]) => on).sort((x, y) => x - y)];
    };
    expect(called(() => cross.callMany("all", RECORD))).toEqual([3, 0, 1, 3]);
    expect(called(() => cross.callMany("all-except-self", RECORD))).toEqual([2, 1, 3]);
    expect(called(() => cross.callMany(new CpuMask(4), RECORD))).toEqual([0]);
    expect(called(() => cross.callIf(all, (cpu) => cpu > 0, RECORD))).toEqual([2, 1, 3]);
    expect(called(() => cross.callAny(all, RECORD))).toEqual([NaN, 0]);
    expect(called(() => cross.callAny(CpuMask.of(4, [2, 3]), RECORD))).toEqual([NaN, 3]);
    expect(() => cross.callAny(CpuMask.of(4, [2]), RECORD)).toThrow(error("SMP_CPU_OFFLINE"));
  });

  it("has several calls of a CPU under way, and collapses none of them", () => {
    const { hal, calls, cross, serve } = machine(2);
    const tickets = [1, 2, 3].map((a) => cross.start(1, RECORD, a));
    expect(hal.kicked).toEqual([1]);
    serve(1);
    expect(calls.map(([, , a]) => a)).toEqual([1, 2, 3]);
    for (const ticket of tickets) cross.finish(ticket);
  });

  it("sends a bulk with one kick and brings every result back, also of more than there are slots", () => {
    const { hal, cross, serve, inUse } = machine(2, 8);
    hal.onRelax = () => serve(1);
    const results = new Float64Array(20);
    cross.callBulk(
      1,
      DOUBLE,
      Array.from({ length: 8 }, (_, i) => i),
      results,
    );
    expect(hal.kicked).toEqual([1]);
    const many = Float64Array.from({ length: 20 }, (_, i) => i + 0.5);
    cross.callBulk(1, DOUBLE, many, results);
    expect([...results]).toEqual([...many].map((a) => a * 2));
    cross.callBulk(0, DOUBLE, many, results.fill(0));
    expect([...results]).toEqual([...many].map((a) => a * 2));
    expect(inUse()).toBe(0);
  });

  it("runs each call of a bulk once, in order, in however many parts it is sent", () => {
    for (const cpu of [0, 1]) {
      const { hal, calls, cross, serve } = machine(2, 64);
      hal.onRelax = () => serve(1);
      cross.callBulk(
        cpu,
        RECORD,
        Array.from({ length: 50 }, (_, i) => i),
        [],
      );
      expect(calls.map(([on, , a]) => [on, a])).toEqual(Array.from({ length: 50 }, (_, i) => [cpu, i]));
    }
  });

  it("waits for a slot where all are in use, serving its own mailbox, and tells who never finishes calls", () => {
    const { hal, calls, cross, serve } = machine(2, 2);
    hal.onRelax = () => serve(1);
    const ticket = cross.start(1, RECORD, 1);
    cross.post(1, RECORD, 2);
    expect(cross.tryStart(1, RECORD, 3)).toBe(0);
    const second = cross.start(1, RECORD, 3);
    expect(calls.map(([, , a]) => a)).toEqual([1, 2]);
    serve(1);
    expect(() => cross.start(1, RECORD)).toThrow(error("SMP_CPU_STATE"));
    cross.finish(ticket);
    cross.finish(second);
    expect(cross.call(1, DOUBLE, 4)).toBe(8);
  });

  it("does not hang when two CPUs call each other", () => {
    const { hal, calls, cross, serve } = machine(2);
    const ticket = hal.on(1, () => cross.start(0, RECORD, 10));
    hal.onRelax = () => serve(1);
    cross.call(1, RECORD, 20);
    expect(hal.on(1, () => cross.poll(ticket))).toBe(true);
    expect(calls.map(([on, from, a]) => [on, from, a]).sort(([x], [y]) => x - y)).toEqual([
      [0, 1, 10],
      [1, 0, 20],
    ]);
  });

  it("lets a function call back the CPU that called it, and so on", () => {
    const hal = new SeveralCpus(2);
    const mailbox = IpiMailbox.create({ hal });
    const depth = (from: number, a: number): number => (a === 0 ? 0 : 1 + calls.call(from, 0, a - 1));
    const calls: CrossCalls = CrossCalls.create({ hal, mailbox, functions: [depth] });
    hal.onRelax = () => hal.on(1 - hal.cpu, () => mailbox.receive());
    expect(calls.call(1, 0, 12)).toBe(12);
  });

  it("tells the caller who threw what and where, and the CPU that was called goes on", () => {
    const { hal, cross, serve, inUse } = machine(3);
    hal.onRelax = () => [1, 2].forEach(serve);
    const failed = (call: () => unknown): CallError => {
      try {
        call();
      } catch (thrown) {
        return thrown as CallError;
      }
      throw new Error("nothing was thrown");
    };
    const one = failed(() => cross.call(1, FAIL));
    expect(one).toBeInstanceOf(CallError);
    expect(one).toMatchObject({ code: "SMP_CALL_FAILED", cpu: 1, functionIndex: FAIL, others: [] });
    expect(one.message).toMatch(
      /^function 2 \(explode\) threw on CPU 1: RangeError: in the function \(at .*cross-calls\.test\.ts:\d+/,
    );
    expect(one.remoteStack).toContain("RangeError: in the function\n");
    const both = failed(() => cross.callMany("all-except-self", FAIL));
    expect([both, ...both.others].map(({ cpu }) => cpu).sort((x, y) => x - y)).toEqual([1, 2]);
    expect(failed(() => cross.callBulk(1, FAIL, [1, 2, 3], []))).toMatchObject({ cpu: 1 });
    expect(inUse()).toBe(0);
    expect(cross.call(1, DOUBLE, 1)).toBe(2);
  });

  it("keeps the texts of the last eight failures of a CPU, and says so of older ones", () => {
    const { cross, serve } = machine(2, 16);
    const tickets = Array.from({ length: 9 }, () => cross.start(1, FAIL));
    serve(1);
    const text = (ticket: number): string => {
      try {
        return String(cross.finish(ticket));
      } catch (thrown) {
        return (thrown as Error).message;
      }
    };
    const texts = tickets.map(text);
    expect(texts[0]).toContain("overwritten by later failures");
    for (const later of texts.slice(1)) expect(later).toContain("in the function");
  });

  it("throws what a posted function throws where the mailbox is looked at, and frees its slot", () => {
    const { calls, cross, serve, inUse } = machine(2);
    expect(cross.post(1, RECORD, 1)).toBe(true);
    expect(cross.post(1, FAIL)).toBe(true);
    expect(() => serve(1)).toThrow("in the function");
    expect(calls).toEqual([[1, 0, 1, 0, 0]]);
    expect(inUse()).toBe(0);
  });

  it("ends a call to a CPU that is offline, or dies before the function has run, or while it runs", () => {
    const { hal, calls, mailbox, cross, serve, inUse } = machine(3);
    const dead = [cross.start(1, RECORD, 1), cross.start(1, RECORD, 2)];
    const alive = cross.startMany(CpuMask.of(3, [1, 2]), RECORD, 3);
    const kicks = hal.kicked.length;
    mailbox.reportDead(1);
    serve(2);
    for (const ticket of dead) expect(() => cross.finish(ticket)).toThrow(error("SMP_CPU_DIED"));
    expect(cross.poll(alive)).toBe(true);
    expect(() => cross.finish(alive)).toThrow(error("SMP_CPU_DIED"));
    expect(calls).toEqual([[2, 0, 3, 0, 0]]);
    expect(hal.kicked.length).toBeGreaterThanOrEqual(kicks);
    for (const call of [() => cross.call(1, RECORD), () => cross.callMany(CpuMask.of(3, [1]), RECORD)]) {
      expect(call).toThrow(error("SMP_CPU_OFFLINE"));
    }
    expect(() => cross.callBulk(1, DOUBLE, [1, 2], [])).toThrow(error("SMP_CPU_OFFLINE"));
    expect(cross.post(1, RECORD)).toBe(false);
    expect(inUse()).toBe(0);
  });

  it("runs what a CPU was asked before it goes offline", () => {
    const { hal, calls, mailbox, cross } = machine(2);
    const ticket = cross.start(1, RECORD, 1);
    hal.on(1, () => mailbox.offline());
    expect(calls).toHaveLength(1);
    cross.finish(ticket);
    expect(() => cross.call(1, RECORD)).toThrow(error("SMP_CPU_OFFLINE"));
    hal.on(1, () => mailbox.online());
    hal.onRelax = () => hal.on(1, () => mailbox.receive());
    expect(cross.call(1, DOUBLE, 3)).toBe(6);
  });

  it("gives up waiting after a time, and the call goes on", () => {
    const { hal, cross, serve } = machine(2);
    hal.onRelax = () => (hal.timeNs += 100);
    const ticket = cross.start(1, DOUBLE, 4);
    expect(cross.wait(ticket, 1000)).toBe(false);
    serve(1);
    expect(cross.wait(ticket, 0)).toBe(true);
    expect(cross.finish(ticket)).toBe(8);
  });

  it("leaves messages alone while it waits", () => {
    const { hal, mailbox, cross, serve } = machine(2);
    hal.onRelax = () => serve(1);
    hal.on(1, () => mailbox.send(0, IpiType.Generic, 5));
    expect(cross.call(1, DOUBLE, 1)).toBe(2);
    const payloads: number[] = [];
    mailbox.receive((_type, payload) => payloads.push(payload));
    expect(payloads).toEqual([5]);
  });

  it("refuses functions and CPUs that are not there, other lists, and a second object on one mailbox", () => {
    const { hal, cross, mailbox, functions } = machine(2);
    for (const index of [-1, 3, 0.5]) expect(() => cross.start(1, index)).toThrow(error("SMP_INVALID_ARGUMENT"));
    for (const cpu of [-1, 2, 0.5]) expect(() => cross.start(cpu, 0)).toThrow(error("SMP_INVALID_CPU"));
    expect(() => cross.startMany(new CpuMask(3), DOUBLE)).toThrow(error("SMP_INVALID_ARGUMENT"));
    const other = IpiMailbox.attach(mailbox.handle, { hal });
    expect(() => CrossCalls.attach(cross.handle, { hal, mailbox: other, functions: [] })).toThrow(
      error("SMP_INVALID_ARGUMENT"),
    );
    expect(() => CrossCalls.attach(cross.handle, { hal, mailbox, functions })).toThrow(error("SMP_CPU_STATE"));
  });

  it("is one on both sides of an attach", () => {
    const { hal, cross, mailbox, functions, calls } = machine(2);
    const other = IpiMailbox.attach(structuredClone(mailbox.handle), { hal });
    CrossCalls.attach(structuredClone(cross.handle), { hal, mailbox: other, functions });
    const ticket = cross.start(1, RECORD, 3);
    hal.on(1, () => other.receive());
    expect(calls).toEqual([[1, 0, 3, 0, 0]]);
    cross.finish(ticket);
  });
});

describe("CrossCalls with nothing set up", () => {
  it("calls, in bulk too, on the one CPU there is", async () => {
    const mailbox = IpiMailbox.create();
    const calls = CrossCalls.create({ mailbox, functions: [(from, a, b, c) => from + a + b + c] });
    expect(calls.call(0, 0, 1, 2, 3)).toBe(6);
    expect(calls.callMany("all", 0)).toBe(1);
    expect(calls.callMany("all-except-self", 0)).toBe(0);
    await expect(calls.callAsync(0, 0, 4)).resolves.toBe(4);
  });
});

describe("CrossCalls among CPUs that come, go and die", () => {
  const step = fc.record({
    on: fc.integer({ min: 0, max: 2 }),
    to: fc.integer({ min: 0, max: 2 }),
    what: fc.constantFrom("start", "start", "start", "many", "serve", "serve", "finish", "offline", "die", "online"),
  });

  it("ends every call once, with its result or the reason, and gives every slot back", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { hal, mailbox, cross, serve } = machine(3, 8);
        /** Calls under way by the CPU that made them, and what they must return. */
        const open: { by: number; ticket: number; expected: number }[] = [];
        const finish = (by: number, ticket: number, expected: number): void => {
          try {
            const result = hal.on(by, () => cross.finish(ticket));
            expect(result).toBe(expected);
          } catch (error) {
            expect(["SMP_CPU_DIED", "SMP_CPU_OFFLINE"]).toContain((error as CallError).code);
          }
        };
        let number = 0;
        for (const { on, to, what } of steps) {
          if (what === "serve") serve(on);
          else if (what === "online") mailbox.online(on);
          else if (what === "offline") hal.on(on, () => mailbox.offline());
          else if (what === "die") {
            // What a dead CPU had called, it does not ask for any more.
            mailbox.reportDead(on);
            for (let at = open.length - 1; at >= 0; at--) if (open[at].by === on) open.splice(at, 1);
          } else if (what === "finish") {
            const at = open.findIndex(({ by, ticket }) => by === on && cross.poll(ticket));
            if (at >= 0) for (const { by, ticket, expected } of open.splice(at, 1)) finish(by, ticket, expected);
          } else {
            if (!mailbox.isOnline(on)) continue;
            const a = ++number;
            const ticket =
              what === "start"
                ? hal.on(on, () => cross.tryStart(to, DOUBLE, a))
                : hal.on(on, () => cross.post(to, DOUBLE, a) && 0);
            if (typeof ticket === "number" && ticket !== 0) open.push({ by: on, ticket, expected: a * 2 });
          }
        }
        for (const cpu of [0, 1, 2]) mailbox.online(cpu);
        for (const cpu of [0, 1, 2, 0, 1, 2]) serve(cpu);
        for (const { by, ticket, expected } of open) {
          expect(cross.poll(ticket)).toBe(true);
          finish(by, ticket, expected);
        }
        for (const cpu of [0, 1, 2]) {
          const tickets = Array.from({ length: 9 }, () => hal.on(cpu, () => cross.tryStart(cpu, DOUBLE)));
          expect(tickets.map((ticket) => ticket !== 0)).toEqual([...Array.from({ length: 8 }, () => true), false]);
        }
      }),
    );
  });
});

describe("CrossCalls beside an event loop", () => {
  it("resolves and rejects, with many under way, and serves this CPU meanwhile", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    const functions: CrossFunction[] = [
      (_from, a) => a + 1,
      () => {
        throw new Error("refused");
      },
    ];
    const mailboxes = [IpiMailbox.create({ hal: first })];
    mailboxes.push(IpiMailbox.attach(mailboxes[0].handle, { hal: second }));
    const here = CrossCalls.create({ hal: first, mailbox: mailboxes[0], functions });
    const there = CrossCalls.attach(here.handle, { hal: second, mailbox: mailboxes[1], functions });
    const listening = mailboxes[1].listen();
    const answers = await Promise.all([1, 2, 3].map((a) => here.callAsync(1, 0, a)));
    expect(answers).toEqual([2, 3, 4]);
    await expect(here.callAsync(1, 1)).rejects.toEqual(error("SMP_CALL_FAILED"));
    await expect(here.callManyAsync("all", 0)).resolves.toBe(2);
    // CPU 0 listens only while it waits: both call each other.
    await expect(Promise.all([here.callAsync(1, 0, 5), there.callAsync(0, 0, 6)])).resolves.toEqual([6, 7]);
    const dying = here.callAsync(1, 0, 1);
    listening[Symbol.dispose]();
    mailboxes[0].reportDead(1);
    await expect(dying).rejects.toBeInstanceOf(CallError);
  });

  it("rejects in an engine that has no Atomics.waitAsync", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const mailbox = IpiMailbox.create({ hal });
    const calls = CrossCalls.create({ mailbox, functions: [() => 1] });
    const atomics = Atomics as unknown as { waitAsync: unknown };
    const { waitAsync } = atomics;
    atomics.waitAsync = undefined;
    try {
      await expect(calls.callAsync(1, 0)).rejects.toEqual(error("SMP_CANNOT_BLOCK"));
      await expect(calls.callAsync(0, 0)).resolves.toBe(1);
    } finally {
      atomics.waitAsync = waitAsync;
    }
  });

  it("throws what a handler throws from the event loop, and goes on", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    const mailbox = IpiMailbox.create({ hal: first });
    const there = IpiMailbox.attach(mailbox.handle, { hal: second });
    const seen: number[] = [];
    there.on(IpiType.Generic, (_type, payload) => {
      seen.push(payload);
      if (payload === 1) throw new Error("from the event loop");
    });
    const thrown: unknown[] = [];
    const before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (what) => thrown.push(what));
    const listening = there.listen();
    try {
      for (const payload of [1, 2]) mailbox.send(1, IpiType.Generic, payload);
      while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    } finally {
      listening[Symbol.dispose]();
      process.removeAllListeners("uncaughtException");
      for (const listener of before) process.on("uncaughtException", listener);
    }
    expect(seen).toEqual([1, 2]);
    expect(thrown).toMatchObject([{ message: "from the event loop" }]);
  });
});
