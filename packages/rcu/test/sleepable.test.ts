import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rcu, type RcuFlavour } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

const notInSection = expect.objectContaining({ code: "RCU_NOT_IN_SECTION" });

function machine(cpus: number) {
  const hal = new ManyCpus(cpus);
  return { hal, rcu: Rcu.create({ hal, flavour: "sleepable" }) };
}

describe("flavour sleepable", () => {
  it("lets sections of one CPU overlap and end in any order, and waits for each that began before", () => {
    const { rcu } = machine(1);
    const first = rcu.readLock();
    const second = rcu.readLock();
    const cookie = rcu.startPoll();
    rcu.readUnlock(first);
    expect(rcu.poll(cookie)).toBe(false);
    expect(rcu.inSection()).toBe(true);
    rcu.readUnlock(second);
    expect(rcu.poll(cookie)).toBe(true);
    expect(rcu.inSection()).toBe(false);
  });

  it("is not held up by sections that begin later, however many there are", () => {
    const { hal, rcu } = machine(2);
    const old = hal.on(1, () => rcu.readLock());
    const cookie = rcu.startPoll();
    const open = Array.from({ length: 1000 }, (_, i) => hal.on(i % 2, () => rcu.readLock()));
    hal.on(1, () => rcu.readUnlock(old));
    expect(rcu.poll(cookie)).toBe(true);
    for (const section of open) rcu.readUnlock(section);
    expect(hal.on(0, () => rcu.inSection()) || hal.on(1, () => rcu.inSection())).toBe(false);
  });

  it("lets a section end on another CPU than it began on", () => {
    const { hal, rcu } = machine(2);
    const section = hal.on(0, () => rcu.readLock());
    const cookie = hal.on(1, () => rcu.startPoll());
    hal.on(1, () => rcu.readUnlock(section));
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("waits in turns for an asynchronous reader that sleeps inside its section", async () => {
    const rcu = Rcu.create({ flavour: "sleepable" });
    const order: string[] = [];
    const reader = (async (): Promise<void> => {
      using section = rcu.read();
      void section;
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      order.push("read");
    })();
    await rcu.synchronize();
    order.push("grace period");
    await reader;
    expect(order).toEqual(["read", "grace period"]);
  });

  it("refuses to end a section that is not open, and a guard twice", () => {
    const { rcu } = machine(1);
    const section = rcu.read();
    section[Symbol.dispose]();
    expect(() => section[Symbol.dispose]()).toThrow(notInSection);
    for (const bad of [0, -1, 1, 2, 1.5, 1000, Number.NaN]) expect(() => rcu.readUnlock(bad)).toThrow(notInSection);
    expect(() => rcu.readUnlock()).toThrow(notInSection);
  });

  it("refuses to block a thread for its own section, or to go offline in it", () => {
    const { rcu } = machine(1);
    const section = rcu.readLock();
    const inSection = expect.objectContaining({ code: "RCU_IN_SECTION" });
    expect(() => rcu.synchronizeBlocking()).toThrow(inSection);
    expect(() => rcu.offline()).toThrow(inSection);
    rcu.quiescent();
    rcu.readUnlock(section);
    rcu.offline();
  });

  it("forgets the sections of a dead CPU", () => {
    const { hal, rcu } = machine(2);
    hal.on(1, () => rcu.readLock());
    const cookie = rcu.startPoll();
    expect(rcu.poll(cookie)).toBe(false);
    rcu.reportDead(1);
    expect(rcu.poll(cookie)).toBe(true);
  });
});

const act = fc.record({
  kind: fc.constantFrom("open", "open", "close", "close", "request", "advance", "call", "quiescent"),
  cpu: fc.nat(2),
  at: fc.nat(20),
});

describe.each(["memory-barrier", "sleepable"] satisfies RcuFlavour[])(
  "any history of sections, flavour %s",
  (flavour) => {
    it("ends no grace period before the sections that were open have ended, and ends all at last", () => {
      fc.assert(
        fc.property(fc.array(act, { maxLength: 150 }), (acts) => {
          const hal = new ManyCpus(3);
          const rcu = Rcu.create({ hal, flavour, callbackCapacity: 256 });
          let nextId = 0;
          const open: { id: number; cpu: number; section: number }[] = [];
          const requests: { cookie: number; waitsFor: Set<number> }[] = [];
          let early = 0;
          const ids = (): Set<number> => new Set(open.map(({ id }) => id));
          const close = (index: number): void => {
            const [{ id, cpu, section }] = open.splice(index, 1);
            for (const { waitsFor } of requests) waitsFor.delete(id);
            closed.add(id);
            hal.on(cpu, () => rcu.readUnlock(section));
          };
          const closed = new Set<number>();
          /** In flavour memory-barrier the sections of a CPU nest: the last one opened there is the one that ends. */
          const closable = (at: number): number => {
            const index = at % open.length;
            if (flavour === "sleepable") return index;
            return open.findLastIndex(({ cpu }) => cpu === open[index].cpu);
          };
          for (const { kind, cpu, at } of acts) {
            hal.cpu = cpu;
            if (kind === "open") open.push({ id: nextId++, cpu, section: rcu.readLock() });
            else if (kind === "close" && open.length > 0) close(closable(at));
            else if (kind === "request") requests.push({ cookie: rcu.startPoll(), waitsFor: ids() });
            else if (kind === "advance") rcu.advance();
            else if (kind === "call") {
              const before = ids();
              rcu.call(() => {
                for (const id of before) if (!closed.has(id)) early++;
              }, 0);
            } else if (kind === "quiescent" && (flavour === "sleepable" || !rcu.inSection())) rcu.quiescent();
            for (const { cookie, waitsFor } of requests) if (rcu.poll(cookie)) expect([...waitsFor]).toEqual([]);
          }
          expect(early).toBe(0);
          while (open.length > 0) close(closable(0));
          for (let turn = 0; turn < 3; turn++) for (hal.cpu = 0; hal.cpu < 3; hal.cpu++) rcu.quiescent();
          hal.cpu = 0;
          for (const { cookie } of requests) expect(rcu.poll(cookie)).toBe(true);
          expect(early).toBe(0);
          expect(rcu.stats().callbacksPending).toBe(0);
        }),
      );
    });
  },
);
