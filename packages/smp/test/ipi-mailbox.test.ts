import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CpuMask, IpiMailbox, IpiType, type IpiObserver } from "../src/index.ts";
import { SeveralCpus } from "./several-cpus.ts";

const machine = (cpus: number, depth = 4, observer?: IpiObserver) => {
  const hal = new SeveralCpus(cpus);
  return { hal, mailbox: IpiMailbox.create({ hal, depth, observer }) };
};
type Message = readonly [type: number, payload: number, from: number];
const drain = (mailbox: IpiMailbox): Message[] => {
  const messages: Message[] = [];
  mailbox.receive((...message) => messages.push(message));
  return messages;
};

describe("IpiMailbox", () => {
  it("delivers type, payload and sender in the order of sending", () => {
    const { hal, mailbox } = machine(3);
    hal.on(1, () => mailbox.send(0, IpiType.Reschedule, -1));
    hal.on(2, () => mailbox.send(0, IpiType.FunctionCall, 0x7fffffff));
    mailbox.send(0, IpiType.Generic, 0);
    expect(drain(mailbox)).toEqual([
      [1, -1, 1],
      [3, 0x7fffffff, 2],
      [0, 0, 0],
    ]);
    expect(drain(mailbox)).toEqual([]);
  });

  it("kicks the target once for each change from empty to not empty", () => {
    const { hal, mailbox } = machine(2);
    mailbox.send(1, IpiType.Reschedule, 0);
    mailbox.send(1, IpiType.Reschedule, 0);
    expect(hal.kicked).toEqual([1]);
    expect(mailbox.pending(1)).toBe(true);
    expect(mailbox.pending()).toBe(false);
    hal.on(1, () => drain(mailbox));
    expect(mailbox.pending(1)).toBe(false);
    mailbox.send(1, IpiType.Reschedule, 0);
    expect(hal.kicked).toEqual([1, 1]);
  });

  it("tells the sender when the mailbox is full, counts it and takes messages again once there is room", () => {
    const full: number[][] = [];
    const { hal, mailbox } = machine(2, 2, { onFull: (from, to, type) => full.push([from, to, type]) });
    expect([1, 2, 3].map((payload) => mailbox.send(1, IpiType.Generic, payload))).toEqual([true, true, false]);
    expect(mailbox.dropped(1)).toBe(1);
    expect(full).toEqual([[0, 1, 0]]);
    expect(hal.on(1, () => drain(mailbox)).map(([, payload]) => payload)).toEqual([1, 2]);
    expect(mailbox.send(1, IpiType.Generic, 4)).toBe(true);
    expect(mailbox.dropped(1)).toBe(1);
  });

  it("agrees with bounded queues under any sequence of sends and receives on any CPUs", () => {
    const cpus = 3;
    const depth = 4;
    const cpu = fc.integer({ min: 0, max: cpus - 1 });
    const step = fc.record({
      on: cpu,
      to: fc.option(cpu),
      type: fc.integer({ min: 0, max: 4 }),
      payload: fc.integer(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { hal, mailbox } = machine(cpus, depth);
        const queues: Message[][] = Array.from({ length: cpus }, () => []);
        let sent = 0;
        let received = 0;
        for (const { on, to, type, payload } of steps) {
          if (to === null) {
            const messages = hal.on(on, () => drain(mailbox));
            expect(messages).toEqual(queues[on].splice(0));
            received += messages.length;
            continue;
          }
          const room = queues[to].length < depth;
          expect(hal.on(on, () => mailbox.send(to, type as IpiType, payload))).toBe(room);
          if (room) queues[to].push([type, payload, on]);
          if (room) sent++;
          expect(mailbox.pending(to)).toBe(true);
        }
        const types = [0, 1, 2, 3, 4] as const;
        const total = (count: (cpu: number, type: IpiType) => number): number =>
          [0, 1, 2].flatMap((id) => types.map((type) => count(id, type))).reduce((a, b) => a + b);
        expect(total((id, type) => mailbox.sent(id, type))).toBe(sent);
        expect(total((id, type) => mailbox.received(id, type))).toBe(received);
        expect(sent - received).toBe(queues.flat().length);
      }),
    );
  });

  it("reaches the CPUs of a mask, all others, or all, and says how many", () => {
    const { hal, mailbox } = machine(4, 2);
    expect(mailbox.sendMask(CpuMask.of(4, [1, 3]), IpiType.TlbFlush, 7)).toBe(2);
    expect(mailbox.broadcast(IpiType.TlbFlush, 8)).toBe(3);
    expect(mailbox.broadcast(IpiType.Halt, 9, true)).toBe(2);
    const payloads = [0, 1, 2, 3].map((cpu) => hal.on(cpu, () => drain(mailbox)).map(([, payload]) => payload));
    expect(payloads).toEqual([[9], [7, 8], [8, 9], [7, 8]]);
    expect(mailbox.sent(0, IpiType.TlbFlush)).toBe(5);
    expect([1, 2, 3].map((cpu) => mailbox.received(cpu, IpiType.TlbFlush))).toEqual([2, 1, 2]);
    expect([0, 1, 2, 3].map((cpu) => mailbox.dropped(cpu))).toEqual([0, 1, 0, 1]);
  });

  it("lets a handler receive and send to its own CPU without losing or repeating a message", () => {
    const { mailbox } = machine(1, 4);
    for (const payload of [1, 2, 3]) mailbox.send(0, IpiType.Generic, payload);
    const seen: number[] = [];
    const taken = mailbox.receive((_type, payload) => {
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

  it("keeps the messages behind one whose handler throws, and kicks for them", () => {
    const { hal, mailbox } = machine(1, 4);
    mailbox.send(0, IpiType.Generic, 1);
    mailbox.send(0, IpiType.Generic, 2);
    const kicks = hal.kicked.length;
    const fail = (): never => {
      throw new Error("handler");
    };
    expect(() => mailbox.receive(fail)).toThrow("handler");
    expect(mailbox.pending()).toBe(true);
    expect(hal.kicked).toHaveLength(kicks + 1);
    expect(drain(mailbox)).toEqual([[0, 2, 0]]);
  });

  it("tells an observer of each message sent and received", () => {
    const events: unknown[] = [];
    const { hal, mailbox } = machine(2, 4, {
      onSend: (...event) => events.push(["send", ...event]),
      onReceive: (...event) => events.push(["receive", ...event]),
    });
    mailbox.send(1, IpiType.Halt, 0);
    hal.on(1, () => drain(mailbox));
    expect(events).toEqual([
      ["send", 0, 1, IpiType.Halt],
      ["receive", 1, 0, IpiType.Halt],
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

  it("throws for CPUs and types that do not exist, and for impossible depths", () => {
    const { mailbox } = machine(2);
    for (const cpu of [-1, 2, 9999, 0.5]) {
      expect(() => mailbox.send(cpu, IpiType.Generic, 0)).toThrow(expect.objectContaining({ code: "SMP_INVALID_CPU" }));
    }
    const invalid = expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" });
    expect(() => mailbox.send(0, 5 as IpiType, 0)).toThrow(invalid);
    expect(() => mailbox.sent(0, -1 as IpiType)).toThrow(invalid);
    for (const depth of [0, 1, 3, 1.5, 131072]) expect(() => IpiMailbox.create({ depth })).toThrow(invalid);
  });

  it("keeps working when its positions pass 2^31", () => {
    const { hal, mailbox } = machine(1, 2);
    const words = new Int32Array(mailbox.handle.memory);
    // Planted: the state after 2^31 - 2 messages, tail at word 0, head on the second padded line, slots on the third.
    words[0] = 0x7ffffffe;
    words[32] = 0x7ffffffe;
    words[64] = 0x7ffffffe;
    words[68] = 0x7fffffff;
    for (let round = 0; round < 5; round++) {
      expect(mailbox.send(0, IpiType.Generic, round)).toBe(true);
      expect(mailbox.send(0, IpiType.Generic, ~round)).toBe(true);
      expect(mailbox.send(0, IpiType.Generic, 0)).toBe(false);
      expect(hal.on(0, () => drain(mailbox)).map(([, payload]) => payload)).toEqual([round, ~round]);
    }
  });
});
