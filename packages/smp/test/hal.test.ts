import { afterEach, describe, expect, it, vi } from "vitest";
import { CodedError, MAX_CPUS, SmpError, soloHal, WorkerHal } from "../src/index.ts";

const error = (code: string): object => expect.objectContaining({ code }) as object;

describe("soloHal", () => {
  it("is one machine with one CPU and a clock that does not go back", () => {
    const hal = soloHal();
    expect(soloHal()).toBe(hal);
    expect([hal.possibleCpus, hal.currentCpu()]).toEqual([1, 0]);
    const before = hal.now();
    hal.relax(1);
    hal.kick(0);
    expect(hal.now()).toBeGreaterThanOrEqual(before);
  });

  it("reports a wait for ever as the deadlock it is, and ends others", () => {
    const hal = soloHal();
    const words = new Int32Array(new SharedArrayBuffer(4));
    expect(() => hal.wait(words, 0, 0, Infinity)).toThrow(error("SMP_WOULD_DEADLOCK"));
    expect(hal.wait(words, 0, 1, Infinity)).toBe("not-equal");
    expect(hal.wait(words, 0, 0, 1000)).toBe("timed-out");
    expect(hal.wake(words, 0, 1)).toBe(0);
  });
});

describe("WorkerHal", () => {
  it("counts kicks and does not sleep through one that came first", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(structuredClone(first.handle), { cpu: 1 });
    const seen = second.kicks();
    first.kick(1);
    expect(second.kicks()).toBe(seen + 1);
    expect(second.waitForKick(seen, Infinity)).toBe("not-equal");
    await expect(second.waitForKickAsync(seen, Infinity)).resolves.toBe("not-equal");
    expect(second.waitForKick(second.kicks(), 1000)).toBe("timed-out");
    expect(first.kicks()).toBe(0);
  });

  it("is woken by a kick while its event loop goes on", async () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    const woken = second.waitForKickAsync(second.kicks(), 5e9);
    await new Promise((resolve) => setImmediate(resolve));
    first.kick(1);
    await expect(woken).resolves.toBe("ok");
  });

  it("has one clock on all CPUs, in steps of well under a microsecond", () => {
    const first = WorkerHal.create({ possibleCpus: 2 });
    const second = WorkerHal.attach(first.handle, { cpu: 1 });
    let before = first.now();
    let fineSteps = 0;
    for (let reading = 0; reading < 1000; reading++) {
      const now = (reading % 2 === 0 ? second : first).now();
      expect(Math.abs(now - before)).toBeLessThan(1e9);
      if (now % 256 !== 0) fineSteps++;
      before = now;
    }
    expect(fineSteps).toBeGreaterThan(0);
    expect(before).toBeLessThan(2 ** 53);
  });

  it("relaxes however long, and blocks and wakes on words", () => {
    const hal = WorkerHal.create({ possibleCpus: 1 });
    for (let spins = 0; spins < 300; spins++) hal.relax(spins);
    const words = new Int32Array(new SharedArrayBuffer(4));
    expect(hal.wait(words, 0, 1, Infinity)).toBe("not-equal");
    expect(hal.wait(words, 0, 0, 1000)).toBe("timed-out");
    expect(hal.wake(words, 0, 1)).toBe(0);
  });

  it("refuses CPUs and sizes that cannot be", () => {
    const { handle } = WorkerHal.create({ possibleCpus: 2 });
    for (const cpu of [-1, 2, 0.5]) expect(() => WorkerHal.attach(handle, { cpu })).toThrow(error("SMP_INVALID_CPU"));
    for (const possibleCpus of [0, MAX_CPUS + 1, 1.5]) {
      expect(() => WorkerHal.create({ possibleCpus })).toThrow(error("SMP_TOO_MANY_CPUS"));
    }
  });
});

describe("WorkerHal on a thread that must not block", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.resetModules();
  });

  it("relaxes without blocking, and says so where it would have to block", async () => {
    vi.spyOn(Atomics, "wait").mockImplementation(() => {
      throw new TypeError("Atomics.wait cannot be called in this context");
    });
    vi.resetModules();
    const fresh = await import("../src/index.ts");
    const hal = fresh.WorkerHal.create({ possibleCpus: 1 });
    for (let spins = 0; spins < 300; spins++) hal.relax(spins);
    expect(() => hal.waitForKick(0, 1000)).toThrow(error("SMP_CANNOT_BLOCK"));
    expect(() => hal.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)).toThrow(error("SMP_CANNOT_BLOCK"));
    await expect(hal.waitForKickAsync(hal.kicks(), 1000)).resolves.toBe("timed-out");
  });
});

describe("WorkerHal in an engine without Atomics.waitAsync", () => {
  it("rejects the asynchronous wait and keeps no sleeper", async () => {
    const hal = WorkerHal.create({ possibleCpus: 1 });
    const atomics = Atomics as unknown as { waitAsync: unknown };
    const { waitAsync } = atomics;
    atomics.waitAsync = undefined;
    try {
      await expect(hal.waitForKickAsync(hal.kicks(), 1000)).rejects.toEqual(error("SMP_CANNOT_BLOCK"));
    } finally {
      atomics.waitAsync = waitAsync;
    }
    expect(new Int32Array(hal.handle.memory)[1]).toBe(0);
  });
});

describe("SmpError", () => {
  it("has a code, a name, a place and a cause", () => {
    const cause = new Error("why");
    const failure = new SmpError("ACPI_TRUNCATED", "short", { file: "apic.dat", offset: 4 }, { cause });
    expect(failure).toBeInstanceOf(CodedError);
    expect(failure).toMatchObject({ code: "ACPI_TRUNCATED", name: "SmpError", message: "short", cause });
    expect(failure.location).toEqual({ file: "apic.dat", offset: 4 });
    expect(new SmpError("SMP_INVALID_CPU", "no").location).toEqual({});
  });
});
