import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IpiMailbox, IpiType, TlbFlushBatch, TlbShootdown, WorkerHal } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;

/** A machine whose CPUs remember what they have read of a table, by space and key; the shootdown must make them forget. */
function machine(cpus: number, options: { depth?: number; spaces?: number; ceiling?: number } = {}) {
  const hal = new SeveralCpus(cpus);
  const remembered = Array.from({ length: cpus }, () => new Map<string, number>());
  const mailbox = IpiMailbox.create({ hal, depth: options.depth ?? 8 });
  const flushes: number[][] = [];
  const shootdown = TlbShootdown.create({
    hal,
    mailbox,
    spaces: options.spaces,
    ceiling: options.ceiling,
    flush(space, first, count, stride): void {
      flushes.push([hal.cpu, space, first, count, stride]);
      for (const key of remembered[hal.cpu].keys()) {
        const [of, item] = key.split(":").map(Number);
        const hit = item >= first && item < first + count;
        if ((space === -1 || of === space) && (count === Infinity || hit)) remembered[hal.cpu].delete(key);
      }
    },
  });
  const serve = (cpu: number): number => hal.on(cpu, () => mailbox.receive());
  return { hal, mailbox, shootdown, remembered, flushes, serve };
}

describe("TlbShootdown", () => {
  it("is over when the last CPU that uses the space has forgotten, not before", () => {
    const { hal, shootdown, flushes, serve } = machine(4);
    for (const cpu of [0, 1, 2]) hal.on(cpu, () => shootdown.enter(5));
    const ticket = shootdown.start(5, 100, 2);
    expect(flushes).toEqual([[0, 5, 100, 2, 1]]);
    serve(1);
    expect(shootdown.poll(ticket)).toBe(false);
    expect(() => shootdown.finish(ticket)).toThrow(error("SMP_CPU_STATE"));
    serve(2);
    expect(shootdown.poll(ticket)).toBe(true);
    shootdown.finish(ticket);
    expect(serve(3)).toBe(0);
    expect(flushes.map(([cpu]) => cpu)).toEqual([0, 1, 2]);
    expect(shootdown.statistics(0)).toMatchObject({ shootdowns: 1, requests: 2, flushes: 1 });
    expect(shootdown.statistics()).toMatchObject({ flushes: 3, fullFlushes: 0 });
  });

  it("counts as told only whom a request reached: a CPU that went offline has none", () => {
    const { hal, mailbox, shootdown, serve } = machine(3);
    for (const cpu of [0, 1, 2]) hal.on(cpu, () => shootdown.enter(5));
    hal.on(2, () => mailbox.offline());
    const ticket = shootdown.start(5);
    serve(1);
    expect(shootdown.poll(ticket)).toBe(true);
    shootdown.finish(ticket);
    expect(shootdown.statistics(0).requests).toBe(1);
    expect(mailbox.sent(0, IpiType.TlbFlush)).toBe(1);
  });

  it("forgets the whole space above the ceiling, and counts by the stride", () => {
    const { shootdown, flushes } = machine(1);
    shootdown.enter(0);
    shootdown.invalidate(0, 7, 33);
    shootdown.invalidate(0, 7, 34);
    shootdown.invalidate(0, 512, 512 * 33, 512);
    shootdown.invalidate(0);
    expect(flushes.map(([, , first, count, stride]) => [first, count, stride])).toEqual([
      [7, 33, 1],
      [0, Infinity, 1],
      [512, 512 * 33, 512],
      [0, Infinity, 1],
    ]);
  });

  it("makes one shootdown of what was gathered", () => {
    const { hal, shootdown, flushes, serve } = machine(2, { ceiling: 8 });
    hal.on(1, () => shootdown.enter(0));
    hal.onRelax = () => serve(1);
    const batch = new TlbFlushBatch(shootdown, 0);
    batch.flush();
    expect(shootdown.statistics(0).shootdowns).toBe(0);
    batch.add(5).add(3, 2).add(9).flush();
    batch.add(1024, 512, 512).add(2048, 512, 512).flush();
    batch.add(1).add(100).flush();
    expect(batch.isEmpty).toBe(true);
    expect(flushes.map(([, , ...range]) => range)).toEqual([
      [3, 7, 1],
      [1024, 1536, 512],
      [0, Infinity, 1],
    ]);
  });

  it("carries pages beyond 32 bits", () => {
    const { hal, shootdown, flushes, serve } = machine(2, { ceiling: Infinity });
    hal.on(1, () => shootdown.enter(3));
    shootdown.start(3, 2 ** 40 + 3, 2 ** 34, 2 ** 18);
    serve(1);
    expect(flushes).toEqual([[1, 3, 2 ** 40 + 3, 2 ** 34, 2 ** 18]]);
  });

  it("makes one whole flush of several that a CPU is behind, and answers them all", () => {
    const { hal, shootdown, flushes, serve } = machine(2);
    hal.on(1, () => shootdown.enter(0));
    const tickets = [1, 2, 3].map((page) => shootdown.start(0, page, 1));
    serve(1);
    for (const ticket of tickets) shootdown.finish(ticket);
    expect(flushes).toEqual([[1, 0, 0, Infinity, 1]]);
    expect(shootdown.statistics(1)).toMatchObject({ flushes: 1, fullFlushes: 1, alreadyDone: 2 });
  });

  it("does not interrupt a CPU that is lazy or has left, which forgets when it uses the space again", () => {
    const { hal, shootdown, flushes, serve } = machine(3);
    hal.on(1, () => shootdown.enter(2));
    hal.on(1, () => shootdown.lazy());
    hal.on(2, () => shootdown.enter(2));
    hal.on(2, () => shootdown.leave(2));
    shootdown.invalidate(2, 5, 1);
    expect([serve(1), serve(2), flushes.length]).toEqual([0, 0, 0]);
    expect([shootdown.isLazy(1), shootdown.isUser(2, 1), shootdown.isUser(2, 2)]).toEqual([true, true, false]);
    hal.on(1, () => shootdown.resume());
    hal.on(2, () => shootdown.enter(2));
    expect(flushes).toEqual([
      [1, 2, 0, Infinity, 1],
      [2, 2, 0, Infinity, 1],
    ]);
    hal.on(2, () => shootdown.leave(2));
    hal.on(2, () => shootdown.enter(2));
    expect(flushes).toHaveLength(2);
    expect(shootdown.statistics(0)).toMatchObject({ skippedLazy: 1, requests: 0 });
  });

  it("tells lazy CPUs too of what all share, and no CPU that is offline", () => {
    const { hal, mailbox, shootdown, flushes, serve } = machine(3);
    hal.on(1, () => shootdown.lazy());
    hal.on(2, () => mailbox.offline());
    hal.onRelax = () => serve(1);
    shootdown.invalidateGlobal(9, 1);
    expect(flushes).toEqual([
      [0, -1, 9, 1, 1],
      [1, -1, 9, 1, 1],
    ]);
  });

  it("waits for no CPU that dies or is offline", () => {
    const { hal, mailbox, shootdown } = machine(3);
    for (const cpu of [1, 2]) hal.on(cpu, () => shootdown.enter(0));
    hal.on(2, () => mailbox.offline());
    hal.onRelax = () => mailbox.reportDead(1);
    shootdown.invalidate(0, 1, 1);
    expect(hal.relaxed).toBe(1);
  });

  it("serves its mailbox where all slots are in use, and does not hang when two CPUs shoot at each other", () => {
    const { hal, shootdown, serve } = machine(3, { depth: 2 });
    for (const cpu of [0, 1, 2]) hal.on(cpu, () => shootdown.enter(0));
    const ticket = hal.on(1, () => shootdown.start(0, 1, 1));
    hal.onRelax = () => [1, 2].forEach(serve);
    shootdown.invalidate(0, 2, 1);
    serve(0);
    expect(hal.on(1, () => shootdown.poll(ticket))).toBe(true);
    for (let round = 0; round < 3; round++) shootdown.invalidate(0, round, 1);
  });

  it("never leaves a CPU with what was invalidated, whatever CPUs enter, leave, sleep and read in between", () => {
    const cpus = 3;
    const spaces = 2;
    const keys = 3;
    const step = fc.record({
      on: fc.integer({ min: 0, max: cpus - 1 }),
      space: fc.integer({ min: 0, max: spaces - 1 }),
      key: fc.integer({ min: 0, max: keys - 1 }),
      count: fc.integer({ min: 1, max: 3 }),
      what: fc.constantFrom("enter", "leave", "lazy", "resume", "read", "read", "write", "serve"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { hal, shootdown, remembered, serve } = machine(cpus, { spaces, ceiling: 2 });
        const table = new Map<string, number>();
        for (const { on, space, key, count, what } of steps) {
          const usable = shootdown.isUser(space, on) && !shootdown.isLazy(on);
          if (what === "serve") serve(on);
          else if (what === "read" && usable) {
            const name = `${space}:${key}`;
            const value = table.get(name) ?? 0;
            // What a CPU remembers while it may use the space is what the table says, because every write waits.
            expect(remembered[on].get(name) ?? value).toBe(value);
            remembered[on].set(name, value);
          } else if (what === "write") {
            for (let of = key; of < key + count; of++) {
              table.set(`${space}:${of}`, (table.get(`${space}:${of}`) ?? 0) + 1);
            }
            hal.onRelax = () => [0, 1, 2].filter((cpu) => cpu !== on).forEach(serve);
            hal.on(on, () => shootdown.invalidate(space, key, count));
          } else if (what === "lazy" || what === "resume") hal.on(on, () => shootdown[what]());
          else if (what === "enter" || what === "leave") hal.on(on, () => shootdown[what](space));
        }
      }),
    );
  });

  it("needs nothing set up on one CPU", () => {
    const forgotten: number[] = [];
    const shootdown = TlbShootdown.create({
      mailbox: IpiMailbox.create(),
      flush: (_space, key) => forgotten.push(key),
    });
    shootdown.invalidate(0, 1, 1);
    shootdown.enter(0);
    shootdown.invalidate(0, 2, 1);
    expect(forgotten).toEqual([0, 2]);
  });

  it("is one on both sides of an attach, and tells its observer", () => {
    const { hal, mailbox, shootdown } = machine(2);
    const events: unknown[][] = [];
    const other = IpiMailbox.attach(structuredClone(mailbox.handle), { hal });
    const there = TlbShootdown.attach(structuredClone(shootdown.handle), {
      hal,
      mailbox: other,
      flush: () => undefined,
      observer: { onStart: (...e) => events.push(["start", ...e]), onFlush: (...e) => events.push(["flush", ...e]) },
    });
    hal.on(1, () => there.enter(4));
    hal.on(1, () => there.start(4, 0, 1));
    const ticket = shootdown.start(4, 1, 1);
    hal.on(1, () => other.receive());
    expect(shootdown.poll(ticket)).toBe(true);
    expect(shootdown.generation(4)).toBe(2);
    expect(events).toEqual([
      ["start", 1, 4, 0],
      ["flush", 1, 4, false],
      ["flush", 1, 4, false],
    ]);
  });

  it("refuses spaces that are not there and sizes that cannot be", () => {
    const { hal, shootdown } = machine(2);
    for (const space of [-1, 64, 0.5]) expect(() => shootdown.enter(space)).toThrow(error("SMP_INVALID_ARGUMENT"));
    for (const sizes of [{ spaces: 0 }, { spaces: 1.5 }, { ceiling: -1 }, { ceiling: Number.NaN }]) {
      const mailbox = IpiMailbox.create({ hal });
      expect(() => TlbShootdown.create({ hal, mailbox, flush: () => undefined, ...sizes })).toThrow(
        error("SMP_INVALID_ARGUMENT"),
      );
    }
  });

  it("waits beside an event loop", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    const mailbox = IpiMailbox.create({ hal: first });
    const other = IpiMailbox.attach(mailbox.handle, { hal: second });
    const flushed: number[] = [];
    const here = TlbShootdown.create({ hal: first, mailbox, flush: () => undefined });
    const there = TlbShootdown.attach(here.handle, { hal: second, mailbox: other, flush: (_s, k) => flushed.push(k) });
    there.enter(0);
    const listening = other.listen();
    await here.invalidateAsync(0, 7, 1);
    await here.invalidateGlobalAsync(9, 1);
    const batch = new TlbFlushBatch(here, 0).add(3).add(5);
    const flush = batch.flushAsync();
    expect(batch.isEmpty).toBe(true);
    await flush;
    await batch.flushAsync();
    listening[Symbol.dispose]();
    expect(flushed).toEqual([7, 9, 3]);
  });
});
