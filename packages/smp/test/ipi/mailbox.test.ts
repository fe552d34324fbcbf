import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { CpuMask, CrossCalls, IpiMailbox, IpiType, WorkerHal, type IpiObserver } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const machine = (cpus: number, depth = 4, observer?: IpiObserver) => {
  const hal = new SeveralCpus(cpus);
  return { hal, mailbox: IpiMailbox.create({ hal, depth, observer }) };
};
type Message = readonly [type: number, payload: number, from: number];
const drain = (mailbox: IpiMailbox): Message[] => {
  const messages: Message[] = [];
  while (mailbox.receive((...message) => messages.push(message)) > 0);
  return messages;
};
const error = (code: string): object => expect.objectContaining({ code }) as object;

describe("IpiMailbox", () => {
  it("delivers type, payload and sender in the order of sending", () => {
    const { hal, mailbox } = machine(3);
    hal.on(1, () => mailbox.send(0, IpiType.TlbFlush, -1));
    hal.on(2, () => mailbox.send(0, IpiType.FunctionCall, 0x7fffffff));
    mailbox.send(0, IpiType.Generic);
    expect(drain(mailbox)).toEqual([
      [2, -1, 1],
      [3, 0x7fffffff, 2],
      [0, 0, 0],
    ]);
    expect(drain(mailbox)).toEqual([]);
  });

  it("makes one of the reschedule interrupts a CPU has not seen, and of halts, whoever sent them", () => {
    const coalesced: number[][] = [];
    const { hal, mailbox } = machine(3, 2, { onCoalesced: (...event) => coalesced.push(event) });
    for (const from of [1, 2, 1]) expect(hal.on(from, () => mailbox.send(0, IpiType.Reschedule, 7))).toBe(1);
    hal.on(2, () => mailbox.send(0, IpiType.Halt));
    expect(hal.kicked).toEqual([0]);
    expect(mailbox.halted).toBe(false);
    expect(drain(mailbox)).toEqual([
      [IpiType.Reschedule, 0, -1],
      [IpiType.Halt, 0, -1],
    ]);
    expect(mailbox.halted).toBe(true);
    expect(coalesced).toEqual([
      [2, 0, IpiType.Reschedule],
      [1, 0, IpiType.Reschedule],
    ]);
    expect([1, 2].map((cpu) => mailbox.sent(cpu, IpiType.Reschedule))).toEqual([1, 0]);
    hal.on(1, () => mailbox.send(0, IpiType.Reschedule));
    expect(drain(mailbox)).toHaveLength(1);
  });

  it("kicks the target once for each change from empty to not empty", () => {
    const { hal, mailbox } = machine(2);
    mailbox.send(1, IpiType.Generic);
    mailbox.send(1, IpiType.Reschedule);
    mailbox.send(1, IpiType.TlbFlush);
    expect(hal.kicked).toEqual([1]);
    expect(mailbox.pending(1)).toBe(true);
    expect(mailbox.pending()).toBe(false);
    hal.on(1, () => drain(mailbox));
    expect(mailbox.pending(1)).toBe(false);
    mailbox.send(1, IpiType.Reschedule);
    expect(hal.kicked).toEqual([1, 1]);
  });

  it("notifies nobody who is awake, and a sleeper once for a bulk", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    const mailbox = IpiMailbox.create({ hal: first });
    const there = IpiMailbox.attach(mailbox.handle, { hal: second });
    const notify = vi.spyOn(Atomics, "notify");
    try {
      for (let payload = 0; payload < 64; payload++) mailbox.send(1, IpiType.Generic, payload);
      expect(drain(there)).toHaveLength(64);
      expect(notify).not.toHaveBeenCalled();
      const woken = second.waitForKickAsync(second.kicks(), 5e9);
      for (let payload = 0; payload < 64; payload++) mailbox.send(1, IpiType.Generic, payload);
      expect(notify).toHaveBeenCalledTimes(1);
      await expect(woken).resolves.toBe("ok");
      expect(drain(there)).toHaveLength(64);
    } finally {
      notify.mockRestore();
    }
  });

  it("tells a sender whose slots are all in use, counts it and sends again once there is room", () => {
    const refused: number[][] = [];
    const { hal, mailbox } = machine(3, 2, { onRefused: (from, to, type) => refused.push([from, to, type]) });
    expect([1, 2, 3].map((payload) => mailbox.send(1, IpiType.Generic, payload))).toEqual([1, 1, 0]);
    expect(mailbox.send(2, IpiType.Generic)).toBe(0);
    expect([1, 2].map((cpu) => mailbox.refused(cpu))).toEqual([1, 1]);
    expect(refused).toEqual([
      [0, 1, 0],
      [0, 2, 0],
    ]);
    expect(mailbox.send(1, IpiType.Reschedule)).toBe(1);
    expect(hal.on(2, () => mailbox.send(1, IpiType.Generic, 9))).toBe(1);
    expect(hal.on(1, () => drain(mailbox)).map(([, payload]) => payload)).toEqual([0, 1, 2, 9]);
    expect(mailbox.send(1, IpiType.Generic, 4)).toBe(1);
    expect(mailbox.refused(1)).toBe(1);
  });

  it("agrees with queues and flags under any sequence of sends and receives on any CPUs", () => {
    const cpus = 3;
    const depth = 4;
    const cpu = fc.integer({ min: 0, max: cpus - 1 });
    const type = fc.integer({ min: 0, max: 4 });
    const step = fc.record({ on: cpu, to: fc.option(cpu), type, payload: fc.integer() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { hal, mailbox } = machine(cpus, depth);
        const queues: Message[][] = Array.from({ length: cpus }, () => []);
        const flags: Set<number>[] = Array.from({ length: cpus }, () => new Set());
        const total = (count: (cpu: number, type: IpiType) => number): number =>
          [0, 1, 2].flatMap((id) => ([0, 1, 2, 3, 4] as const).map((of) => count(id, of))).reduce((a, b) => a + b);
        let sent = 0;
        let received = 0;
        for (const { on, to, type: kind, payload } of steps) {
          if (to === null) {
            const expected = [
              ...[...flags[on]].sort((x, y) => x - y).map((flag) => [flag, 0, -1] as const),
              ...queues[on].splice(0),
            ];
            flags[on].clear();
            expect(hal.on(on, () => drain(mailbox))).toEqual(expected);
            received += expected.length;
            continue;
          }
          const room = queues.flat().filter(([, , from]) => from === on).length < depth;
          const flag = kind === IpiType.Reschedule || kind === IpiType.Halt;
          expect(hal.on(on, () => mailbox.send(to, kind as IpiType, payload))).toBe(flag || room ? 1 : 0);
          if (flag && flags[to].has(kind)) continue;
          if (flag) flags[to].add(kind);
          else if (room) queues[to].push([kind, payload, on]);
          if (flag || room) sent++;
          expect(mailbox.pending(to)).toBe(flags[to].size + queues[to].length > 0);
        }
        expect(total((id, of) => mailbox.sent(id, of))).toBe(sent);
        expect(total((id, of) => mailbox.received(id, of))).toBe(received);
      }),
    );
  });

  it("reaches the CPUs of a mask, all others, or all, and says how many", () => {
    const { hal, mailbox } = machine(4, 8);
    expect(mailbox.send(CpuMask.of(4, [1, 3]), IpiType.TlbFlush, 7)).toBe(2);
    expect(mailbox.send("all-except-self", IpiType.TlbFlush, 8)).toBe(3);
    hal.on(2, () => mailbox.offline());
    expect(mailbox.send("all", IpiType.Generic, 9)).toBe(3);
    const payloads = [0, 1, 2, 3].map((cpu) => hal.on(cpu, () => drain(mailbox)).map(([, payload]) => payload));
    expect(payloads).toEqual([[9], [7, 8, 9], [8], [7, 8, 9]]);
    expect(mailbox.sent(0, IpiType.TlbFlush)).toBe(5);
    expect([0, 1, 2, 3].map((cpu) => mailbox.refused(cpu))).toEqual([0, 0, 0, 0]);
  });

  it("lets a handler receive and send to its own CPU without losing or repeating a message", () => {
    const { mailbox } = machine(1, 4);
    for (const payload of [1, 2, 3]) mailbox.send(0, IpiType.Generic, payload);
    const seen: number[] = [];
    expect(mailbox.inInterrupt()).toBe(false);
    const taken = mailbox.receive((_type, payload) => {
      expect(mailbox.inInterrupt()).toBe(true);
      seen.push(payload);
      if (payload === 1) mailbox.send(0, IpiType.Generic, 4);
      if (payload === 1) mailbox.receive((_inner, other) => seen.push(other));
    });
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(taken).toBe(1);
    expect(mailbox.pending()).toBe(false);
  });

  it("takes at most a mailbox full at a time and kicks the CPU for the rest", () => {
    const { hal, mailbox } = machine(1, 4);
    mailbox.send(0, IpiType.Generic, 0);
    hal.kicked.length = 0;
    expect(mailbox.receive(() => mailbox.send(0, IpiType.Generic, 0))).toBe(4);
    expect(mailbox.pending()).toBe(true);
    expect(hal.kicked.length).toBeGreaterThan(0);
    expect(drain(mailbox)).toHaveLength(1);
  });

  it("keeps what is behind a message or flag whose handler throws, and kicks for it", () => {
    const { hal, mailbox } = machine(1, 4);
    mailbox.send(0, IpiType.Reschedule);
    mailbox.send(0, IpiType.Halt);
    mailbox.send(0, IpiType.Generic, 1);
    mailbox.send(0, IpiType.Generic, 2);
    const kicks = hal.kicked.length;
    const fail = (): never => {
      throw new Error("handler");
    };
    for (let thrown = 0; thrown < 3; thrown++) {
      expect(() => mailbox.receive(fail)).toThrow("handler");
      expect(mailbox.pending()).toBe(true);
    }
    expect(hal.kicked).toHaveLength(kicks + 3);
    expect(drain(mailbox)).toEqual([[0, 2, 0]]);
  });

  it("gives each type to its handler, and keeps what has none, in order, for whoever takes the rest", () => {
    const { mailbox } = machine(1, 8);
    const flushes: number[] = [];
    mailbox.on(IpiType.TlbFlush, (_type, payload) => flushes.push(payload));
    for (const payload of [1, 2]) mailbox.send(0, IpiType.Generic, payload);
    mailbox.send(0, IpiType.TlbFlush, 3);
    expect(mailbox.receive()).toBe(1);
    expect(mailbox.receive()).toBe(0);
    expect(flushes).toEqual([3]);
    expect(mailbox.pending()).toBe(true);
    mailbox.send(0, IpiType.Generic, 4);
    mailbox.send(0, IpiType.TlbFlush, 5);
    expect(drain(mailbox).map(([, payload]) => payload)).toEqual([1, 2, 4]);
    expect(flushes).toEqual([3, 5]);
    mailbox.send(0, IpiType.Generic, 6);
    mailbox.receive();
    const late: number[] = [];
    mailbox.on(IpiType.Generic, (_type, payload) => late.push(payload)).receive();
    expect(late).toEqual([6]);
    expect(mailbox.pending()).toBe(false);
  });

  it("handles nothing while interrupts are disabled, however often", () => {
    const { mailbox } = machine(1);
    mailbox.send(0, IpiType.Generic);
    expect(mailbox.interruptsEnabled()).toBe(true);
    mailbox.disable();
    mailbox.disable();
    expect(mailbox.interruptsEnabled()).toBe(false);
    expect(drain(mailbox)).toEqual([]);
    mailbox.enable();
    expect(drain(mailbox)).toEqual([]);
    mailbox.enable();
    expect(drain(mailbox)).toHaveLength(1);
    expect(() => mailbox.enable()).toThrow(error("SMP_CPU_STATE"));
  });

  it("lets a CPU go offline: it handles what it has, takes nothing more, and comes back empty", () => {
    const { hal, mailbox } = machine(2);
    for (const payload of [1, 2]) mailbox.send(1, IpiType.Generic, payload);
    mailbox.send(1, IpiType.Halt);
    const seen: number[] = [];
    hal.on(1, () => mailbox.offline((_type, payload) => seen.push(payload)));
    expect(seen).toEqual([0, 1, 2]);
    expect(mailbox.isOnline(1)).toBe(false);
    expect(mailbox.send(1, IpiType.Generic)).toBe(0);
    expect(mailbox.send(1, IpiType.Reschedule)).toBe(0);
    expect(mailbox.refused(1)).toBe(2);
    expect(hal.on(1, () => mailbox.halted)).toBe(true);
    mailbox.online(1);
    expect(hal.on(1, () => [mailbox.halted, mailbox.pending()])).toEqual([false, false]);
    expect(mailbox.send(1, IpiType.Generic, 3)).toBe(1);
    expect(hal.on(1, () => drain(mailbox))).toEqual([[0, 3, 0]]);
  });

  it("can begin with every CPU offline", () => {
    const hal = new SeveralCpus(3);
    const mailbox = IpiMailbox.create({ hal, startOffline: true });
    expect(mailbox.send("all", IpiType.Generic)).toBe(0);
    expect(mailbox.send(1, IpiType.Generic)).toBe(0);
    for (const cpu of [0, 2]) mailbox.online(cpu);
    expect(mailbox.send("all", IpiType.Generic)).toBe(2);
    expect([0, 1, 2].map((cpu) => mailbox.isOnline(cpu))).toEqual([true, false, true]);
  });

  it("gives back every slot a dead CPU had, sent or taken, and kicks whoever it may not have kicked any more", () => {
    const { hal, mailbox } = machine(3, 2);
    mailbox.send(1, IpiType.Generic, 1);
    mailbox.send(1, IpiType.Generic, 2);
    hal.on(1, () => mailbox.receive());
    hal.on(1, () => mailbox.send(2, IpiType.Generic, 3));
    hal.kicked.length = 0;
    mailbox.reportDead(1);
    expect(hal.kicked).toEqual([2]);
    expect(mailbox.refused(1)).toBe(2);
    expect([1, 2].map((payload) => mailbox.send(2, IpiType.Generic, payload))).toEqual([1, 1]);
    expect(hal.on(2, () => drain(mailbox)).map(([, payload]) => payload)).toEqual([3, 1, 2]);
    mailbox.online(1);
    expect(hal.on(1, () => drain(mailbox))).toEqual([]);
    expect([4, 5].map((payload) => hal.on(1, () => mailbox.send(0, IpiType.Generic, payload)))).toEqual([1, 1]);
  });

  it("tells an observer of each message sent and received", () => {
    const events: unknown[] = [];
    const { hal, mailbox } = machine(2, 4, {
      onSend: (...event) => events.push(["send", ...event]),
      onReceive: (...event) => events.push(["receive", ...event]),
    });
    mailbox.send(1, IpiType.Generic);
    mailbox.send(1, IpiType.Halt);
    hal.on(1, () => drain(mailbox));
    expect(events).toEqual([
      ["send", 0, 1, IpiType.Generic],
      ["send", 0, 1, IpiType.Halt],
      ["receive", 1, -1, IpiType.Halt],
      ["receive", 1, 0, IpiType.Generic],
    ]);
  });

  it("is one mailbox on both sides of an attach", () => {
    const { hal, mailbox } = machine(2);
    const other = IpiMailbox.attach(structuredClone(mailbox.handle), { hal });
    mailbox.send(1, IpiType.Generic, 5);
    expect(hal.on(1, () => drain(other))).toEqual([[0, 5, 0]]);
    expect(other.depth).toBe(4);
    expect(mailbox.received(1, IpiType.Generic)).toBe(1);
  });

  it("throws for CPUs, masks and types that do not exist, and for impossible depths", () => {
    const { mailbox } = machine(2);
    for (const cpu of [-1, 2, 9999, 0.5]) {
      for (const call of [() => mailbox.send(cpu, IpiType.Generic), () => mailbox.reportDead(cpu)]) {
        expect(call).toThrow(error("SMP_INVALID_CPU"));
      }
    }
    expect(() => mailbox.send(CpuMask.of(3, [2]), IpiType.Generic)).toThrow(error("SMP_INVALID_CPU"));
    expect(() => mailbox.send(0, 5 as IpiType)).toThrow(error("SMP_INVALID_ARGUMENT"));
    expect(() => mailbox.sent(0, -1 as IpiType)).toThrow(error("SMP_INVALID_ARGUMENT"));
    for (const depth of [0, 1, 3, 1.5, 131072]) {
      expect(() => IpiMailbox.create({ depth })).toThrow(error("SMP_INVALID_ARGUMENT"));
    }
  });

  it("says where a machine cannot sleep", () => {
    const { mailbox } = machine(1);
    expect(() => mailbox.wait()).toThrow(error("SMP_CANNOT_BLOCK"));
    expect(() => mailbox.listen()).toThrow(error("SMP_CANNOT_BLOCK"));
  });

  it("keeps working when its slots have been used 2^16 times and more", () => {
    const { hal, mailbox } = machine(2, 2);
    const calls = CrossCalls.create({ hal, mailbox, functions: [(_from, a) => -a] });
    let wrong = 0;
    for (let round = 0; round < 2 ** 17 + 5; round++) {
      mailbox.send(1, IpiType.Generic, round);
      const ticket = calls.start(1, 0, round);
      hal.cpu = 1;
      mailbox.receive((_type, payload) => (wrong += Number(payload !== round)));
      hal.cpu = 0;
      wrong += Number(calls.finish(ticket) !== -round);
    }
    expect(wrong).toBe(0);
  });
});
