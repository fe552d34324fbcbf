import { describe, expect, it } from "vitest";
import { CpuMask, IpiMailbox, IpiType, TlbShootdown } from "../src/index.ts";
import { SeveralCpus } from "./several-cpus.ts";

/** A machine whose CPUs cache translations; the shootdown must drop them. */
function machine(cpus: number, depth = 8) {
  const hal = new SeveralCpus(cpus);
  const tlbs = Array.from({ length: cpus }, () => new Set([100, 101, 102, 200]));
  const mailbox = IpiMailbox.create({ hal, depth });
  const flush = (_addressSpace: number, firstPage: number, pages: number): void => {
    for (let page = firstPage; page < firstPage + pages; page++) tlbs[hal.currentCpu()].delete(page);
  };
  const shootdown = TlbShootdown.create({ hal, mailbox, flush });
  const serve = (cpu: number): number =>
    hal.on(cpu, () =>
      mailbox.receive((type, payload) => {
        if (type === IpiType.TlbFlush) shootdown.serve(payload);
      }),
    );
  return { hal, tlbs, mailbox, shootdown, serve, all: new CpuMask(cpus).fill() };
}

describe("TlbShootdown", () => {
  it("is over when the last target has flushed, not before", () => {
    const { tlbs, shootdown, serve, all } = machine(3);
    shootdown.begin(all, 1, 100, 2);
    expect(tlbs.map((tlb) => tlb.size)).toEqual([2, 4, 4]);
    expect(shootdown.poll()).toBe(false);
    serve(1);
    expect(shootdown.poll()).toBe(false);
    serve(2);
    expect(shootdown.poll()).toBe(true);
    for (const tlb of tlbs) expect([...tlb]).toEqual([102, 200]);
    expect([0, 1, 2].map((cpu) => shootdown.flushes(cpu))).toEqual([1, 1, 1]);
    expect([0, 1].map((cpu) => shootdown.shootdowns(cpu))).toEqual([1, 0]);
  });

  it("leaves CPUs that are no target alone", () => {
    const { tlbs, shootdown, serve } = machine(3);
    shootdown.begin(CpuMask.of(3, [2]), 1, 200, 1);
    serve(1);
    serve(2);
    expect(shootdown.poll()).toBe(true);
    expect(tlbs.map((tlb) => tlb.has(200))).toEqual([true, true, false]);
  });

  it("carries address space and pages beyond 32 bits", () => {
    const seen: number[][] = [];
    const hal = new SeveralCpus(2);
    const mailbox = IpiMailbox.create({ hal });
    const shootdown = TlbShootdown.create({ hal, mailbox, flush: (...request) => seen.push(request) });
    shootdown.begin(CpuMask.of(2, [1]), 7, 2 ** 40 + 3, 0x7fffffff);
    hal.on(1, () => mailbox.receive((_type, initiator) => shootdown.serve(initiator)));
    expect(seen).toEqual([[7, 2 ** 40 + 3, 0x7fffffff]]);
  });

  it("tells a target whose mailbox was full later", () => {
    const { mailbox, shootdown, serve, all } = machine(2, 2);
    while (mailbox.send(1, IpiType.Reschedule, 0));
    shootdown.begin(all, 1, 100, 1);
    expect(serve(1)).toBe(2);
    expect(shootdown.poll()).toBe(false);
    expect(serve(1)).toBe(1);
    expect(shootdown.poll()).toBe(true);
  });

  it("does not hang when two CPUs shoot at each other", () => {
    const { hal, tlbs, shootdown, serve, all } = machine(2);
    hal.on(1, () => shootdown.begin(all, 1, 100, 1));
    hal.onRelax = () => serve(1);
    shootdown.run(all, 1, 101, 1, () => serve(0));
    serve(0);
    expect(hal.on(1, () => shootdown.poll())).toBe(true);
    for (const tlb of tlbs) expect([...tlb]).toEqual([102, 200]);
  });

  it("refuses a second shootdown of a CPU while one is under way", () => {
    const { hal, shootdown, serve, all } = machine(3);
    shootdown.begin(all, 1, 100, 1);
    expect(() => shootdown.begin(all, 1, 101, 1)).toThrow(expect.objectContaining({ code: "SMP_CPU_STATE" }));
    hal.on(1, () => shootdown.begin(all, 1, 102, 1));
    for (const cpu of [0, 1, 2]) serve(cpu);
    expect(shootdown.poll()).toBe(true);
    expect(hal.on(1, () => shootdown.poll())).toBe(true);
  });

  it("is one on both sides of an attach", () => {
    const { hal, mailbox, shootdown, all } = machine(2);
    const seen: number[][] = [];
    const flush = (...request: number[]): number => seen.push(request);
    const other = TlbShootdown.attach(structuredClone(shootdown.handle), { hal, mailbox, flush });
    shootdown.begin(all, 3, 100, 1);
    hal.on(1, () => mailbox.receive((_type, initiator) => other.serve(initiator)));
    expect(seen).toEqual([[3, 100, 1]]);
    expect(shootdown.poll()).toBe(true);
  });
});
