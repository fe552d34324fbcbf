import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Profiler, type ProfilerState, type SamplingConfig } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

function profilerWith(config: Partial<SamplingConfig> = {}, cpus = 1, maxDepth = 8) {
  const hal = new TestHal(cpus);
  const profiler = Profiler.create({ hal, config, maxDepth });
  const ids = ["main", "read", "hash", "idle"].map((name) => profiler.symbols.intern(name));
  const record = (names: number[], options: { cpu?: number; kernel?: boolean; weight?: number; time?: number } = {}) =>
    profiler.record(
      options.time ?? hal.nowNs,
      options.cpu ?? hal.cpu,
      7,
      options.kernel ?? false,
      Int32Array.from(names),
      names.length,
      options.weight ?? 1,
    );
  return { hal, profiler, ids, record };
}

const stateError = expect.objectContaining({ code: "PROFILING_STATE" });

describe("Profiler", () => {
  it("keeps samples only while running", () => {
    const { profiler, ids, record } = profilerWith();
    expect(record(ids)).toBe(false);
    profiler.start();
    expect(record(ids)).toBe(true);
    profiler.pause();
    expect(record(ids)).toBe(false);
    profiler.resume();
    expect(record(ids)).toBe(true);
    profiler.stop();
    expect(record(ids)).toBe(false);
    expect(profiler.stats().totalSamples).toBe(2);
    expect(profiler.lostSamples()).toBe(0);
  });

  it("follows its state machine and refuses every other change", () => {
    const allowed: Record<ProfilerState, Partial<Record<"start" | "stop" | "pause" | "resume", ProfilerState>>> = {
      stopped: { start: "running" },
      running: { stop: "stopped", pause: "paused" },
      paused: { start: "running", stop: "stopped", resume: "running" },
    };
    fc.assert(
      fc.property(fc.array(fc.constantFrom("start", "stop", "pause", "resume")), (changes) => {
        const { profiler } = profilerWith();
        for (const change of changes) {
          const next = allowed[profiler.state][change];
          const before = profiler.state;
          if (next) profiler[change]();
          else expect(() => profiler[change]()).toThrowError(stateError);
          expect(profiler.state).toBe(next ?? before);
        }
      }),
    );
  });

  it("forgets the last run on start and keeps it on stop", () => {
    const { profiler, ids, record } = profilerWith();
    profiler.start();
    record(ids);
    profiler.stop();
    expect(profiler.stats().totalSamples).toBe(1);
    profiler.start();
    expect(profiler.stats().totalSamples).toBe(0);
  });

  it("counts samples beyond maxSamples as lost, over all CPUs together", () => {
    const { hal, profiler, ids, record } = profilerWith({ maxSamples: 50 }, 3);
    profiler.start();
    for (let i = 0; i < 60; i++) {
      hal.cpu = i % 3;
      expect(record(ids)).toBe(i < 50);
    }
    const stats = profiler.stats();
    expect([stats.totalSamples, stats.lostSamples]).toEqual([50, 10]);
    expect(stats.perCpu.map(({ samples, lost }) => samples + lost)).toEqual([20, 20, 20]);
  });

  it("leaves out the modes that the configuration leaves out and counts them as filtered, not lost", () => {
    const { profiler, ids, record } = profilerWith({ includeKernel: false });
    profiler.start();
    expect([record(ids, { kernel: true }), record(ids)]).toEqual([false, true]);
    profiler.configure({ includeKernel: true, includeUser: false });
    expect([record(ids, { kernel: true }), record(ids)]).toEqual([true, false]);
    const stats = profiler.stats();
    expect([stats.kernelSamples, stats.userSamples, stats.filteredSamples, stats.lostSamples]).toEqual([1, 1, 2, 0]);
    expect([stats.kernelPercentage(), stats.userPercentage()]).toEqual([50, 50]);
    expect(profiler.state).toBe("running");
  });

  it("gives samples back as recorded, in the order of time, innermost functions kept of deep stacks", () => {
    const sample = fc.record({
      time: fc.integer({ min: 0, max: 1000 }),
      recorder: fc.integer({ min: 0, max: 3 }),
      cpu: fc.integer({ min: 0, max: 3 }),
      kernel: fc.boolean(),
      weight: fc.integer({ min: 1, max: 2 ** 40 }),
      names: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 120 }), (samples) => {
        const { hal, profiler, record } = profilerWith({}, 4);
        profiler.start();
        for (const { names, recorder, ...options } of samples) {
          hal.cpu = recorder;
          expect(record(names, options)).toBe(true);
        }
        const key = (value: unknown) => JSON.stringify(value);
        const kept = [...profiler.samples()];
        expect(kept.map(({ timeNs }) => timeNs)).toEqual(samples.map(({ time }) => time).sort((a, b) => a - b));
        const wanted = samples.map(({ time, cpu, kernel, weight, names }) =>
          key([time, cpu, kernel, weight, names.length > 8, names.slice(-8)]),
        );
        const got = kept.map((each) =>
          key([each.timeNs, each.cpu, each.kernelMode, each.weight, each.truncated, each.stack]),
        );
        expect(got.sort()).toEqual(wanted.sort());
      }),
    );
  });

  it("computes self and total per function, recursion counted once", () => {
    const { profiler, ids, record } = profilerWith();
    const [main, read, hash] = ids;
    profiler.start();
    record([main, read, main, read], { weight: 3 });
    record([main, hash], { kernel: true });
    record([main]);
    const stats = profiler.stats();
    const rows = stats.functions.map(({ name, self, total }) => [name, self, total]);
    expect(rows).toEqual([
      ["read", 3, 3],
      ["main", 1, 5],
      ["hash", 1, 1],
    ]);
    expect(stats.functions[0].percentage).toBe(60);
    expect([stats.totalSamples, stats.records, stats.kernelSamples]).toEqual([5, 3, 1]);
    expect(profiler.topHotspots(2)).toEqual([
      { symbol: read, name: "read", samples: 3 },
      { symbol: main, name: "main", samples: 1 },
    ]);
    expect(stats.topFunctions(1)).toHaveLength(1);
  });

  it("answers 0 percent, not NaN, without samples", () => {
    const stats = profilerWith().profiler.stats();
    expect([stats.kernelPercentage(), stats.userPercentage(), stats.functions.length]).toEqual([0, 0, 0]);
  });

  it("measures the time it ran without its pauses", () => {
    const { hal, profiler } = profilerWith();
    profiler.start();
    hal.nowNs += 100;
    profiler.pause();
    hal.nowNs += 1000;
    profiler.resume();
    hal.nowNs += 10;
    profiler.configure({ intervalNs: 5 });
    hal.nowNs += 1;
    expect(profiler.elapsedNs).toBe(111);
    profiler.stop();
    hal.nowNs += 50;
    expect(profiler.stats().elapsedNs).toBe(111);
  });

  it("takes a smaller maxSamples at run time but none beyond its memory", () => {
    const { profiler, ids, record } = profilerWith({ maxSamples: 10 });
    profiler.start();
    profiler.configure({ maxSamples: 2 });
    expect([record(ids), record(ids), record(ids)]).toEqual([true, true, false]);
    for (const config of [{ maxSamples: 11 }, { intervalNs: 0 }, { intervalNs: 1.5 }, { maxSamples: 0 }]) {
      expect(() => profiler.configure(config)).toThrowError(
        expect.objectContaining({ code: "PROFILING_INVALID_ARGUMENT" }),
      );
    }
    expect(profiler.config.maxSamples).toBe(2);
    profiler.reset();
    expect([profiler.state, profiler.lostSamples(), record(ids)]).toEqual(["running", 0, true]);
  });

  it("rejects samples of CPUs that cannot exist and depths beyond the stack", () => {
    const { profiler } = profilerWith();
    profiler.start();
    const stack = new Int32Array(2);
    for (const [cpu, depth, weight] of [
      [1, 1, 1],
      [-1, 1, 1],
      [0, 3, 1],
      [0, 1, 0],
    ]) {
      expect(() => profiler.record(0, cpu, 0, false, stack, depth, weight)).toThrowError(
        expect.objectContaining({ code: "PROFILING_INVALID_ARGUMENT" }),
      );
    }
  });

  it("tells its observer what happens, and lets it stop the profiler", () => {
    const seen: string[] = [];
    const profiler: Profiler = Profiler.create({
      config: { maxSamples: 1 },
      observer: {
        onSample: (cpu, timeNs, weight) => seen.push(`sample ${cpu} ${timeNs} ${weight}`),
        onLost: (cpu, weight) => {
          seen.push(`lost ${cpu} ${weight}`);
          profiler.stop();
        },
        onState: (state) => seen.push(state),
      },
    });
    profiler.start();
    const stack = Int32Array.of(1);
    profiler.record(5, 0, 0, false, stack, 1);
    profiler.record(6, 0, 0, false, stack, 1, 4);
    expect(seen).toEqual(["running", "sample 0 5 1", "lost 0 4", "stopped"]);
  });

  it("says which CPU hangs inside record, and goes on when it is released", () => {
    const { hal, profiler } = profilerWith({}, 2);
    profiler.start();
    new Int32Array(profiler.handle.recorders)[32] = 1;
    expect(() => profiler.stop()).toThrowError(expect.objectContaining({ code: "PROFILING_CPU_STUCK" }));
    expect(hal.nowNs).toBeGreaterThan(0);
    expect(profiler.state).toBe("running");
    profiler.releaseCpu(1);
    profiler.stop();
    expect(profiler.state).toBe("stopped");
  });
});
