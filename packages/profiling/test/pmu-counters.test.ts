import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { COUNTER_NAMES, CounterType, formatPerfStat, PmuCounters } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

const fed = { supported: Object.values(CounterType) };
const badArgument = expect.objectContaining({ code: "PROFILING_INVALID_ARGUMENT" });

describe("PmuCounters", () => {
  it("supports nothing without a source, and says so instead of counting zeros", () => {
    const counters = PmuCounters.create();
    expect(counters.availableCounters).toEqual([]);
    for (const type of Object.values(CounterType)) {
      expect(counters.isSupported(type)).toBe(false);
      expect(counters.enable(type)).toBe(false);
      expect(counters.read(type)).toBeUndefined();
      expect(counters.counter(type).enable()).toBe(false);
    }
  });

  it("counts what happens while enabled, per CPU, whatever the order of enable, disable, read and reset", () => {
    const action = fc.record({
      what: fc.constantFrom("count", "enable", "disable", "reset", "cpu"),
      type: fc.constantFrom(...Object.values(CounterType)),
      cpu: fc.integer({ min: 0, max: 2 }),
      all: fc.boolean(),
      events: fc.integer({ min: 0, max: 1e6 }),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), fc.boolean(), (actions, pulled) => {
        const hal = new TestHal(3);
        const source = new Float64Array(3 * 8).fill(7);
        const counters = PmuCounters.create({
          hal,
          source: pulled ? { ...fed, read: (cpu, type) => source[cpu * 8 + type] } : fed,
        });
        const model = Array.from({ length: 24 }, () => ({ enabled: false, value: 0 }));
        for (const { what, type, cpu, all, events } of actions) {
          const target = all ? undefined : cpu;
          const cells = model.filter((_, at) => at % 8 === type && (all || Math.floor(at / 8) === cpu));
          if (what === "cpu") hal.cpu = cpu;
          if (what === "count") {
            source[hal.cpu * 8 + type] += events;
            if (!pulled) counters.count(type, events);
            const cell = model[hal.cpu * 8 + type];
            if (cell.enabled) cell.value += events;
          }
          if (what === "enable") expect(counters.enable(type, target)).toBe(true);
          if (what === "disable") counters.disable(type, target);
          if (what === "reset") counters.reset(type, target);
          for (const cell of cells) {
            if (what === "enable") cell.enabled = true;
            if (what === "disable") cell.enabled = false;
            if (what === "reset") cell.value = 0;
          }
          expect(counters.read(type, target)).toBe(cells.reduce((sum, cell) => sum + cell.value, 0));
          expect(counters.isEnabled(type, target)).toBe(cells.every(({ enabled }) => enabled));
        }
      }),
    );
  });

  it("counts only the types its source counts", () => {
    const counters = PmuCounters.create({ source: { supported: [CounterType.PageFaults, CounterType.Cycles] } });
    expect(counters.availableCounters).toEqual([CounterType.Cycles, CounterType.PageFaults]);
    expect(counters.enable(CounterType.Branches)).toBe(false);
  });

  it("gives single counters as objects", () => {
    const counter = PmuCounters.create({ source: fed }).counter(CounterType.CacheMisses, 0);
    expect([counter.name, counter.isEnabled, counter.read()]).toEqual(["cache-misses", false, 0]);
    expect([counter.enable(), counter.isEnabled]).toEqual([true, true]);
    counter.disable();
    counter.reset();
    expect(counter.isEnabled).toBe(false);
  });

  it("is the same set of counters when attached", () => {
    const hal = new TestHal(2);
    const counters = PmuCounters.create({ hal, source: fed });
    const other = PmuCounters.attach(counters.handle, { hal });
    counters.enable(CounterType.Cycles);
    hal.cpu = 1;
    other.count(CounterType.Cycles, 5);
    expect([counters.read(CounterType.Cycles, 1), other.read(CounterType.Cycles)]).toEqual([5, 5]);
  });

  it("refuses types and CPUs that do not exist", () => {
    const counters = PmuCounters.create({ source: fed });
    expect(() => counters.read(8 as CounterType)).toThrowError(badArgument);
    expect(() => counters.read(0, 1)).toThrowError(badArgument);
    expect(() => PmuCounters.create({ source: { supported: [-1 as CounterType] } })).toThrowError(badArgument);
  });

  it("has one name per type", () => {
    expect(new Set(COUNTER_NAMES).size).toBe(Object.keys(CounterType).length);
  });
});

describe("formatPerfStat", () => {
  function measured() {
    const supported = [
      CounterType.Cycles,
      CounterType.Instructions,
      CounterType.CacheReferences,
      CounterType.CacheMisses,
    ];
    const counters = PmuCounters.create({ source: { supported } });
    for (const type of supported.slice(0, 2)) counters.enable(type);
    counters.count(CounterType.Cycles, 2_000_000);
    counters.count(CounterType.Instructions, 3_000_000);
    return counters;
  }
  const types = [CounterType.Cycles, CounterType.Instructions, CounterType.CacheMisses, CounterType.Branches];
  const options = { title: "replay", elapsedNs: 1_000_000, types };

  it("lays out text as perf stat does", () => {
    expect(formatPerfStat(measured(), "text", options)).toBe(
      [
        "",
        " Performance counter stats for 'replay':",
        "",
        "         2,000,000      cycles                           #    2.000 GHz",
        "         3,000,000      instructions                     #    1.500  insn per cycle",
        "     <not counted>      cache-misses",
        "   <not supported>      branches",
        "",
        "    0.001000000 seconds time elapsed",
        "",
      ].join("\n"),
    );
  });

  it("lays out CSV as perf stat -x, does", () => {
    expect(formatPerfStat(measured(), "csv", options)).toBe(
      [
        "2000000,,cycles,1000000,100.00,2.00,GHz",
        "3000000,,instructions,1000000,100.00,1.50,insn per cycle",
        "<not counted>,,cache-misses,0,0.00,,",
        "<not supported>,,branches,0,0.00,,",
        "",
      ].join("\n"),
    );
  });
});
