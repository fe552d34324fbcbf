import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collapse, formatPerfScript, formatProfile, parsePerfScript, Profiler } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

const INTERVAL_NS = 1000;

describe("formatPerfScript", () => {
  it("has the layout of perf script", () => {
    const profiler = Profiler.create({ hal: new TestHal(3), config: { intervalNs: INTERVAL_NS } });
    const main = profiler.symbols.intern("main", "/usr/bin/proxy");
    const read = profiler.symbols.intern("sys_read");
    profiler.start();
    profiler.record(1_234_567_891_234, 2, 42, true, Int32Array.of(main, read), 2, 3);
    expect(formatPerfScript(profiler, { taskName: (id) => `worker ${id}` })).toBe(
      [
        "worker 42    42 [002]  1234.567891:       3000 cpu-clock: ",
        "\tffffffff81000020 sys_read+0x0 ([kernel.kallsyms])",
        "\tffffffff81000010 main+0x0 (/usr/bin/proxy)",
        "",
        "",
      ].join("\n"),
    );
  });

  it("says, parsed and folded again, what the collapsed profile says", () => {
    const sample = fc.record({
      cpu: fc.integer({ min: 0, max: 2 }),
      task: fc.integer({ min: 0, max: 3 }),
      kernel: fc.boolean(),
      weight: fc.integer({ min: 1, max: 9 }),
      stack: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 20 }), (samples) => {
        const profiler = Profiler.create({ hal: new TestHal(3), config: { intervalNs: INTERVAL_NS } });
        for (const name of ["main", "a b", "poll::run", "x;y", "[idle]"]) profiler.symbols.intern(name);
        profiler.start();
        samples.forEach(({ cpu, task, kernel, weight, stack }, at) =>
          profiler.record(at * INTERVAL_NS, cpu, task, kernel, Int32Array.from(stack), stack.length, weight),
        );
        const taskName = (id: number) => `task${id}`;
        const parsed = parsePerfScript(formatPerfScript(profiler, { taskName }));
        expect(parsed.problems).toEqual([]);
        expect(parsed.samples.map(({ cpu, tid, timeNs }) => [cpu, tid, timeNs])).toEqual(
          samples.map(({ cpu, task }, at) => [cpu, task, at * INTERVAL_NS]),
        );
        const inSamples = collapse(parsed.samples).map((line) =>
          line.replace(/\d+$/, (period) => String(Number(period) / INTERVAL_NS)),
        );
        const folded = formatProfile(profiler, "collapsed", { taskName }).split("\n").filter(Boolean);
        expect(inSamples).toEqual(folded);
      }),
    );
  });
});
