import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CrossCalls, IpiMailbox, IpiType, TlbShootdown, type CallError, type CrossFunction } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;

/** Function 0 notes who called whom with what and returns it; function 1 does what `inside` says. */
const machine = (cpus: number, depth = 4) => {
  const hal = new SeveralCpus(cpus);
  const mailbox = IpiMailbox.create({ hal, depth });
  const arrived: [on: number, from: number, what: number][] = [];
  const state = { inside: (): void => undefined };
  const functions: CrossFunction[] = [
    (from, a) => {
      arrived.push([hal.cpu, from, a]);
      return a;
    },
    (_from, a) => {
      state.inside();
      return a;
    },
  ];
  const calls = CrossCalls.create({ hal, mailbox, functions });
  const serve = (cpu: number): number =>
    hal.on(cpu, () => mailbox.receive((_type, payload, from) => arrived.push([cpu, from, payload])));
  /** A call from CPU 0 to CPU 1 unless told otherwise, and its answer. */
  const call = (a: number, from = 0, to = 1, index = 0): number =>
    hal.on(from, () => {
      const ticket = calls.start(to, index, a);
      serve(to);
      return calls.finish(ticket);
    });
  /** Calls that come one after the other; the one after the second needs no list. */
  const accustom = (from = 0, to = 1): void => [1, 2].forEach((a) => void call(a, from, to));
  return { hal, mailbox, calls, functions, arrived, state, serve, call, accustom };
};
/** Whether the head of a CPU, behind which its list lies, is empty. */
const listed = (mailbox: IpiMailbox, cpu: number): boolean =>
  Atomics.load(new Int32Array(mailbox.handle.memory), cpu * 64) !== 0;

describe("A call whose slot its target looks at", () => {
  it("is not put into the list, is pending until it runs, kicks the target and is counted as any other", () => {
    const { hal, mailbox, calls, serve, accustom } = machine(2);
    accustom();
    hal.kicked.length = 0;
    const ticket = calls.start(1, 0, 3);
    expect(listed(mailbox, 1)).toBe(false);
    expect([mailbox.pending(1), mailbox.pending(0)]).toEqual([true, false]);
    expect(hal.kicked).toEqual([1]);
    expect(serve(1)).toBe(1);
    expect(mailbox.pending(1)).toBe(false);
    expect(calls.finish(ticket)).toBe(3);
    expect([mailbox.sent(0, IpiType.FunctionCall), mailbox.received(1, IpiType.FunctionCall)]).toEqual([3, 3]);
  });

  it("goes by the list while another such call of its CPU is under way", () => {
    const { mailbox, calls, arrived, serve, accustom } = machine(2);
    accustom();
    const tickets = [3, 4].map((a) => calls.start(1, 0, a));
    expect(listed(mailbox, 1)).toBe(true);
    serve(1);
    expect(tickets.map((ticket) => calls.finish(ticket))).toEqual([3, 4]);
    expect(arrived.map(([, , a]) => a)).toEqual([1, 2, 3, 4]);
  });

  it("runs once, also where its function looks at the mailbox, and what came behind it may run inside", () => {
    const { hal, mailbox, calls, arrived, state, serve, accustom } = machine(3);
    accustom();
    hal.on(2, () => calls.start(1, 0, 20));
    const ticket = calls.start(1, 1, 3);
    mailbox.send(1, IpiType.Generic, 4);
    let runs = 0;
    state.inside = () => {
      runs++;
      expect(mailbox.pending()).toBe(true);
      serve(1);
      expect(mailbox.pending()).toBe(false);
    };
    serve(1);
    expect([runs, calls.finish(ticket)]).toEqual([1, 3]);
    expect(arrived.slice(2)).toEqual([
      [1, 2, 20],
      [1, 0, 4],
    ]);
  });

  it("returns though its function takes the CPU offline, and the next is refused", () => {
    const { hal, mailbox, calls, state, serve, call, accustom } = machine(2);
    accustom();
    state.inside = () => mailbox.offline();
    expect(call(3, 0, 1, 1)).toBe(3);
    hal.onRelax = () => serve(1);
    expect(() => calls.call(1, 0, 4)).toThrow(error("SMP_CPU_OFFLINE"));
    mailbox.online(1);
    accustom();
    expect(call(5)).toBe(5);
  });

  it("runs when its CPU goes offline, and ends with its death", () => {
    const { hal, mailbox, calls, arrived, accustom } = machine(2);
    accustom();
    const ticket = calls.start(1, 0, 3);
    hal.on(1, () => mailbox.offline());
    expect(calls.finish(ticket)).toBe(3);
    mailbox.online(1);
    accustom();
    const lost = calls.start(1, 0, 4);
    mailbox.reportDead(1);
    expect(() => calls.finish(lost)).toThrow(error("SMP_CPU_DIED"));
    expect(mailbox.pending(1)).toBe(false);
    expect(arrived.map(([, , a]) => a)).toEqual([1, 2, 3, 1, 2]);
  });

  it("waits for interrupts, and for an object of its type", () => {
    const { hal, mailbox, calls, serve, accustom } = machine(2);
    accustom();
    mailbox.disable();
    const ticket = calls.start(1, 0, 3);
    expect(serve(1)).toBe(0);
    mailbox.enable();
    expect(serve(1)).toBe(1);
    expect(calls.finish(ticket)).toBe(3);
    const there = IpiMailbox.attach(mailbox.handle, { hal });
    const early = calls.start(1, 0, 4);
    expect(hal.on(1, () => there.receive())).toBe(0);
    expect(hal.on(1, () => there.pending())).toBe(true);
    const functions: CrossFunction[] = [(_from, a) => -a, () => undefined];
    hal.on(1, () => CrossCalls.attach(calls.handle, { hal, mailbox: there, functions }));
    expect(hal.on(1, () => there.receive())).toBe(1);
    expect(calls.finish(early)).toBe(-4);
  });

  it("throws there and here as any other", () => {
    const { state, call, accustom } = machine(2);
    accustom();
    state.inside = () => {
      throw new RangeError("planted");
    };
    for (let turn = 0; turn < 3; turn++) expect(() => call(3, 0, 1, 1)).toThrow(/planted/);
    expect(call(4)).toBe(4);
  });

  it("kicks its caller where that watches", () => {
    const { hal, mailbox, calls, serve, accustom } = machine(2);
    accustom();
    const ticket = calls.start(1, 0, 3);
    expect(mailbox.queues.watch(ticket)).toBe(true);
    expect(mailbox.queues.watch(ticket)).toBe(true);
    hal.kicked.length = 0;
    serve(1);
    expect(hal.kicked).toEqual([0]);
    expect(mailbox.queues.watch(ticket)).toBe(false);
    expect(calls.finish(ticket)).toBe(3);
  });

  it("may be one for each of several targets in turn, of several callers, and an invalidation", () => {
    const { hal, mailbox, arrived, call, accustom } = machine(3);
    const flushed: number[] = [];
    const shootdown = TlbShootdown.create({ hal, mailbox, flush: (_space, first) => flushed.push(first) });
    for (let turn = 0; turn < 4; turn++) {
      for (const [from, to] of [
        [0, 1],
        [0, 2],
        [2, 1],
      ]) {
        accustom(from, to);
        expect(call(10 * from + to, from, to)).toBe(10 * from + to);
      }
    }
    expect(arrived).toHaveLength(36);
    hal.on(1, () => shootdown.enter(0));
    for (const first of [5, 6, 7, 8]) {
      const ticket = shootdown.start(0, first, 1);
      hal.on(1, () => mailbox.receive());
      shootdown.finish(ticket);
    }
    expect(flushed).toEqual([5, 6, 7, 8]);
    expect(shootdown.statistics().requests).toBe(4);
  });
});

describe("Calls and messages of CPUs that are used to each other, come, go and die", () => {
  const step = fc.record({
    on: fc.integer({ min: 0, max: 2 }),
    to: fc.integer({ min: 0, max: 2 }),
    what: fc.constantFrom("calls", "calls", "start", "start", "send", "serve", "finish", "offline", "die", "online"),
  });

  it("arrive once and in the order in which a CPU sent them to another", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { hal, mailbox, calls, arrived, serve } = machine(3, 8);
        const open: { by: number; to: number; ticket: number; expected: number }[] = [];
        const sent: [on: number, from: number, what: number][] = [];
        let number = 0;
        const finish = (at: number): void => {
          for (const { by, ticket, expected } of open.splice(at, 1)) {
            try {
              expect(hal.on(by, () => calls.finish(ticket))).toBe(expected);
            } catch (thrown) {
              expect(["SMP_CPU_DIED", "SMP_CPU_OFFLINE"]).toContain((thrown as CallError).code);
            }
          }
        };
        const start = (by: number, to: number): void => {
          const ticket = hal.on(by, () => calls.tryStart(to, 0, ++number));
          if (ticket === 0) return;
          open.push({ by, to, ticket, expected: number });
          if (by !== to) sent.push([to, by, number]);
        };
        const finishAll = (): void => {
          for (let at = open.length - 1; at >= 0; at--) if (calls.poll(open[at].ticket)) finish(at);
        };
        for (const { on, to, what } of steps) {
          if (what === "serve") serve(on);
          else if (what === "online") mailbox.online(on);
          else if (what === "offline")
            hal.on(on, () => mailbox.offline((_t, payload, from) => arrived.push([on, from, payload])));
          else if (what === "finish") finishAll();
          else if (what === "die") {
            mailbox.reportDead(on);
            for (let at = open.length - 1; at >= 0; at--) if (open[at].by === on) open.splice(at, 1);
          } else if (!mailbox.isOnline(on)) continue;
          else if (what === "send") {
            if (hal.on(on, () => mailbox.send(to, IpiType.Generic, ++number)) > 0) sent.push([to, on, number]);
          } else {
            for (let turn = what === "calls" ? 3 : 0; turn > 0; turn--) {
              start(on, to);
              serve(to);
              finishAll();
            }
            start(on, to);
          }
        }
        for (const cpu of [0, 1, 2]) mailbox.online(cpu);
        for (const cpu of [0, 1, 2, 0, 1, 2]) serve(cpu);
        finishAll();
        expect(open).toEqual([]);
        const keys = arrived.map(([, , what]) => what);
        expect(new Set(keys).size).toBe(keys.length);
        for (const on of [0, 1, 2]) {
          for (const from of [0, 1, 2]) {
            if (on === from) continue;
            const between = (list: typeof sent): number[] =>
              list.filter(([to, by]) => to === on && by === from).map(([, , what]) => what);
            const got = between(arrived);
            expect(got).toEqual(between(sent).filter((what) => got.includes(what)));
          }
        }
      }),
    );
  });
});
