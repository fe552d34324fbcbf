import { CrossCalls, IpiMailbox } from "@x/smp";
import { describe, expect, it } from "vitest";
import { askByCall, quiescentCall, quiescentWhileBlocked, Rcu, type RcuError, type RcuFlavour } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

const inSection = (where: RegExp): object =>
  expect.objectContaining({ code: "RCU_IN_SECTION", message: expect.stringMatching(where) as string });

describe("a callback that throws", () => {
  it("is reported with its name, argument and CPU, and those behind it run on", () => {
    const errors: [RcuError, number][] = [];
    const rcu = Rcu.create({ observer: { onCallbackError: (error, cpu) => errors.push([error, cpu]) } });
    let ran = 0;
    const cause = new Error("planted");
    rcu.call(function release() {
      throw cause;
    }, 4096);
    rcu.call(() => ran++, 0);
    rcu.quiescent();
    expect(ran).toBe(1);
    expect(errors.length).toBe(1);
    const [[error, cpu]] = errors;
    expect(cpu).toBe(0);
    expect(error).toMatchObject({ code: "RCU_CALLBACK_THREW", cause });
    expect(error.message).toBe("callback release(4096) threw on CPU 0: planted");
  });

  it("is reported in debug mode with the place where it was queued", () => {
    const rcu = Rcu.create({ debug: true });
    rcu.call(() => {
      throw new Error("planted");
    }, 1);
    expect(() => rcu.quiescent()).toThrow(/queued at .*diagnosis\.test\.ts:\d+:\d+\)?, threw on CPU 0: planted/);
  });

  it("counts as run, so that a barrier does not wait for it", () => {
    const rcu = Rcu.create();
    rcu.free({ free: () => { throw new Error("planted"); } }, 8); // prettier-ignore
    const marks = rcu.startBarrier();
    expect(() => rcu.quiescent()).toThrow("callback free(8) threw on CPU 0: planted");
    expect(rcu.pollBarrier(marks)).toBe(true);
  });
});

describe("a stall", () => {
  it("names the CPU, and in debug mode the place where its section began", () => {
    const told: (string | number | undefined)[] = [];
    const hal = new ManyCpus(2);
    const observer = { onStall: (cpu: number, _ns: number, where?: string) => told.push(cpu, where) };
    const rcu = Rcu.create({ hal, debug: true, stallTimeoutNs: 1e6, flavour: "memory-barrier", observer });
    hal.on(1, () => rcu.readLock());
    const cookie = rcu.startPoll();
    hal.timeNs = 2e6;
    expect(rcu.poll(cookie)).toBe(false);
    expect(told).toEqual([1, expect.stringMatching(/diagnosis\.test\.ts:\d+:\d+/)]);
    hal.on(1, () => rcu.readUnlock());
    expect(rcu.poll(cookie)).toBe(true);
  });
});

describe.each(["qsbr", "memory-barrier"] satisfies RcuFlavour[])("a reader of flavour %s that blocks", (flavour) => {
  it("inside a section is found, with the place in debug mode", () => {
    const rcu = Rcu.create({ flavour, debug: true });
    const hal = quiescentWhileBlocked(rcu);
    const word = new Int32Array(new SharedArrayBuffer(4));
    rcu.readLock();
    const here = /CPU 0 is inside a read section that began at .*diagnosis\.test\.ts:\d+:\d+\)?: it must not block/;
    expect(() => hal.wait(word, 0, 0, 1000)).toThrow(inSection(here));
    rcu.readUnlock();
    expect(hal.wait(word, 0, 0, 1000)).toBe("timed-out");
  });
});

describe("a CPU that blocks outside of sections", () => {
  it("holds up no grace period meanwhile, and is online again after", () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    rcu.online();
    let endedMeanwhile = false;
    const cookie = rcu.startPoll();
    hal.wait = () => {
      endedMeanwhile = hal.on(1, () => rcu.poll(cookie));
      return "ok";
    };
    expect(quiescentWhileBlocked(rcu).wait(new Int32Array(1), 0, 0, Infinity)).toBe("ok");
    expect(endedMeanwhile).toBe(true);
    expect(rcu.isOnline()).toBe(true);
    rcu.offline();
    quiescentWhileBlocked(rcu).wait(new Int32Array(1), 0, 0, Infinity);
    expect(rcu.isOnline()).toBe(false);
  });
});

describe("a grace period hurried by interrupts", () => {
  function machine(sectionsAreMarked: boolean) {
    const hal = new ManyCpus(3);
    const rcu = Rcu.create({ hal });
    const mailbox = IpiMailbox.create({ hal });
    const calls = CrossCalls.create({ mailbox, functions: [quiescentCall(rcu, sectionsAreMarked)] });
    for (const cpu of [0, 1, 2]) hal.on(cpu, () => rcu.online());
    return { hal, rcu, ask: askByCall(calls, 0), take: (cpu: number) => hal.on(cpu, () => mailbox.receive()) };
  }

  it("ends as soon as those it waits for have taken theirs, and asks nobody else", () => {
    const { hal, rcu, ask, take } = machine(true);
    const cookie = rcu.startPoll();
    hal.on(2, () => rcu.quiescent());
    hal.kicked.length = 0;
    expect(rcu.expedite(ask)).toBe(1);
    expect(hal.kicked).toEqual([1]);
    rcu.quiescent();
    expect(rcu.poll(cookie)).toBe(false);
    take(1);
    expect(rcu.poll(cookie)).toBe(true);
    expect(rcu.stats().expedited).toBe(1);
  });

  it("waits for the end of a section that the interrupt falls into, and no longer", () => {
    const { hal, rcu, ask, take } = machine(true);
    hal.on(1, () => rcu.readLock());
    const cookie = rcu.startPoll();
    rcu.expedite(ask);
    take(1);
    take(2);
    rcu.quiescent();
    expect(rcu.poll(cookie)).toBe(false);
    hal.on(1, () => rcu.readUnlock());
    expect(rcu.poll(cookie)).toBe(true);
  });

  it("takes no interrupt for a quiescent state where sections are not marked", () => {
    const { hal, rcu, ask, take } = machine(false);
    const cookie = rcu.startPoll();
    rcu.expedite(ask);
    [1, 2].forEach(take);
    rcu.quiescent();
    expect(rcu.poll(cookie)).toBe(false);
    [1, 2].forEach((cpu) => hal.on(cpu, () => rcu.quiescent()));
    expect(rcu.poll(cookie)).toBe(true);
  });
});
