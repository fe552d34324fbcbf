import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Profiler, ShadowStack } from "../src/index.ts";
import { TestHal } from "./virtual-hal.ts";

function tracer(intervalNs = 100, cpus = 1, maxDepth = 4) {
  const hal = new TestHal(cpus);
  const profiler = Profiler.create({ hal, config: { intervalNs } });
  const stack = ShadowStack.create({ hal, profiler, maxDepth });
  return { hal, profiler, stack, symbol: (name: string) => profiler.symbols.intern(name) };
}

const underflow = expect.objectContaining({ code: "PROFILING_STACK_UNDERFLOW" });

describe("ShadowStack", () => {
  it("gives every sampling instant to the stack that was there when the clock passed it", () => {
    const step = fc.record({
      action: fc.constantFrom("enter", "leave", "stay"),
      symbol: fc.integer({ min: 1, max: 3 }),
      ns: fc.integer({ min: 0, max: 450 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { hal, profiler, stack } = tracer(100);
        const model = new Map<string, number>();
        const names: number[] = [];
        profiler.start();
        for (const { action, symbol, ns } of steps) {
          if (action === "enter" && names.length < 4) {
            names.push(symbol);
            stack.enter(symbol);
          }
          if (action === "leave" && names.length > 0) {
            names.pop();
            stack.leave();
          }
          const before = Math.floor(hal.nowNs / 100);
          hal.nowNs += ns;
          const due = Math.floor(hal.nowNs / 100) - before;
          expect(stack.poll(hal.nowNs)).toBe(due);
          if (due > 0) model.set(names.join(), (model.get(names.join()) ?? 0) + due);
        }
        const sampled = new Map<string, number>();
        for (const { stack: ids, weight, timeNs } of profiler.samples()) {
          expect(timeNs % 100).toBe(0);
          sampled.set(ids.join(), (sampled.get(ids.join()) ?? 0) + weight);
        }
        expect(sampled).toEqual(model);
      }),
    );
  });

  it("samples nothing before the start, in pauses and after the stop, and follows a new interval at once", () => {
    const { hal, profiler, stack, symbol } = tracer(100);
    stack.enter(symbol("main"));
    const pollAt = (nowNs: number) => stack.poll((hal.nowNs = nowNs));
    expect(pollAt(1000)).toBe(0);
    profiler.start();
    expect([pollAt(1099), pollAt(1100)]).toEqual([0, 1]);
    profiler.pause();
    expect(pollAt(5000)).toBe(0);
    profiler.resume();
    expect(pollAt(5099)).toBe(0);
    profiler.configure({ intervalNs: 10 });
    expect([pollAt(5109), pollAt(5125)]).toEqual([1, 2]);
    profiler.stop();
    expect(pollAt(9000)).toBe(0);
    expect(profiler.stats().totalSamples).toBe(4);
  });

  it("notices within 16 polls what another thread does to the profiler", () => {
    const { hal, profiler, stack } = tracer(100);
    const elsewhere = Profiler.attach(profiler.handle, { hal });
    const pollsUntil = (done: () => boolean) => {
      let polls = 0;
      while (!done() && polls < 100) {
        polls++;
        stack.poll((hal.nowNs += 100));
      }
      return polls;
    };
    elsewhere.start();
    expect(pollsUntil(() => profiler.stats().records > 0)).toBeLessThanOrEqual(16);
    elsewhere.configure({ intervalNs: 10 });
    expect(pollsUntil(() => [...profiler.samples()].some(({ weight }) => weight > 1))).toBeLessThanOrEqual(16);
  });

  it("stays balanced when it is deeper than it stores", () => {
    const { hal, profiler, stack, symbol } = tracer(100, 1, 2);
    profiler.start();
    for (const name of ["a", "b", "c"]) stack.enter(symbol(name));
    stack.poll((hal.nowNs = 100));
    expect(stack.depth()).toBe(3);
    for (let i = 0; i < 3; i++) stack.leave();
    expect(stack.depth()).toBe(0);
    expect(profiler.stats().stacks.map(({ names }) => names)).toEqual([["a", "b"]]);
    expect(() => stack.leave()).toThrowError(underflow);
  });

  it("unwinds to a depth, and runs a function that throws", () => {
    const { stack } = tracer();
    const depth = stack.depth();
    stack.enter(1);
    stack.enter(2);
    stack.unwind(depth);
    expect(stack.depth()).toBe(0);
    expect(() => stack.unwind(1)).toThrowError(underflow);
    expect(() =>
      stack.run(3, () => {
        stack.enter(4);
        throw new Error("inside");
      }),
    ).toThrowError("inside");
    expect(stack.depth()).toBe(0);
    expect(stack.run(3, () => stack.depth())).toBe(1);
  });

  it("moves a task's stack from CPU to CPU, with its task and mode", () => {
    const { hal, profiler, stack } = tracer(100, 2);
    profiler.start();
    const saved = new Int32Array(4);
    stack.enter(1);
    stack.enter(2);
    const depth = stack.save(saved);
    stack.restore(saved, 0);
    expect(stack.depth()).toBe(0);
    hal.cpu = 1;
    stack.restore(saved, depth);
    stack.setContext(9, true);
    stack.poll((hal.nowNs = 100));
    expect([...profiler.samples()]).toMatchObject([{ cpu: 1, taskId: 9, kernelMode: true, stack: [1, 2] }]);
  });

  it("samples the other CPUs, those in no function left out", () => {
    const { hal, profiler, stack } = tracer(100, 3);
    profiler.start();
    stack.enterOn(1, 1);
    stack.enterOn(1, 2);
    stack.enterOn(0, 3);
    expect(stack.sampleCpus(50)).toBe(1);
    hal.cpu = 2;
    expect(stack.sampleCpus(60)).toBe(2);
    expect([...profiler.samples()].map(({ cpu, stack: ids }) => [cpu, ids])).toEqual([
      [1, [1, 2]],
      [0, [3]],
      [1, [1, 2]],
    ]);
  });

  it("costs nothing and takes nothing without a profiler", () => {
    const stack = ShadowStack.create();
    stack.enter(1);
    expect(stack.poll(1e9)).toBe(0);
    expect(stack.sampleCpus(1e9)).toBe(0);
  });
});
