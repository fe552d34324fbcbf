import { State } from "./board.ts";
import type { RawView, Tracked } from "./memory.ts";
import { Flag, Operation } from "./operation.ts";
import type { Recorder } from "./recorder.ts";
import { trackedView, unwrap } from "./tracked.ts";

/** The functions of Atomics that replace the value of a word by one computed from it. */
const UPDATES = ["add", "sub", "and", "or", "xor", "exchange"] as const;

/** Outstanding `waitAsync` promises of this thread, by slot. */
export interface AsyncWaits {
  add(slot: number): Promise<string>;
}

/** An `Atomics` whose operations on the tested memory are steps; on other memory, and between executions, the real one. */
export function instrumentAtomics(real: typeof Atomics, recorder: Recorder, asyncWaits: AsyncWaits): typeof Atomics {
  const find = (view: unknown, index: unknown): Tracked | undefined => {
    if (!recorder.active) return undefined;
    const tracked = trackedView(view, recorder.memory);
    // An index outside the view throws in the real function, before anything happens.
    return tracked !== undefined && (index as number) >= 0 && (index as number) < tracked.raw.length
      ? tracked
      : undefined;
  };
  const place = (tracked: Tracked, index: number): number => tracked.at + index * tracked.size;
  const name = (tracked: Tracked, index: number): string =>
    recorder.tracing ? recorder.memory.describe(place(tracked, index), tracked.size) : "";

  const instrumented = {
    load(view: RawView, index: number): number {
      const tracked = find(view, index);
      if (tracked === undefined) return real.load(unwrap(view), index);
      recorder.enter(Operation.Load, place(tracked, index), tracked.size);
      const value = real.load(tracked.raw, index);
      recorder.leave(
        Operation.Load,
        place(tracked, index),
        tracked.size,
        0,
        recorder.tracing ? `load(${name(tracked, index)}) → ${value}` : undefined,
      );
      return value;
    },

    store(view: RawView, index: number, value: number): number {
      const tracked = find(view, index);
      if (tracked === undefined) return real.store(unwrap(view), index, value);
      recorder.enter(Operation.Store, place(tracked, index), tracked.size);
      const before = real.load(tracked.raw, index);
      const stored = real.store(tracked.raw, index, value);
      const flags = real.load(tracked.raw, index) === before ? 0 : Flag.Changed;
      const detail = recorder.tracing ? `store(${name(tracked, index)}, ${value}) was ${before}` : undefined;
      recorder.leave(Operation.Store, place(tracked, index), tracked.size, flags, detail);
      return stored;
    },

    compareExchange(view: RawView, index: number, expected: number, replacement: number): number {
      const tracked = find(view, index);
      if (tracked === undefined) return real.compareExchange(unwrap(view), index, expected, replacement);
      recorder.enter(Operation.Update, place(tracked, index), tracked.size);
      const before = real.compareExchange(tracked.raw, index, expected, replacement);
      // The operands are converted to the element type first: only the element itself tells whether it matched.
      const changed = real.load(tracked.raw, index) !== before;
      const matched = changed || converted(tracked, expected) === before;
      const flags = (changed ? Flag.Changed : 0) | (matched ? 0 : Flag.ReadOnly);
      const detail = recorder.tracing
        ? `compareExchange(${name(tracked, index)}, ${expected}, ${replacement}) → ${before}${matched ? "" : " (failed)"}`
        : undefined;
      recorder.leave(Operation.Update, place(tracked, index), tracked.size, flags, detail);
      return before;
    },

    wait(view: RawView, index: number, expected: number, timeout: number = Infinity): string {
      const tracked = find(view, index);
      if (tracked === undefined) {
        if (!recorder.active || timeout === Infinity) return real.wait(unwrap(view), index, expected, timeout);
        // A wait on memory nobody else has is a sleep.
        recorder.relax();
        return "timed-out";
      }
      const matches = (): boolean => real.load(tracked.raw, index) === converted(tracked, expected);
      const detail = recorder.tracing ? `wait(${name(tracked, index)}, ${expected})` : "";
      return recorder.wait(tracked, index, matches, timeoutOf(timeout), detail);
    },

    waitAsync(view: RawView, index: number, expected: number, timeout: number = Infinity): unknown {
      const tracked = find(view, index);
      if (tracked === undefined)
        return (real as unknown as AsyncAtomics).waitAsync(unwrap(view), index, expected, timeout);
      let equal = false;
      const matches = (): boolean => (equal = real.load(tracked.raw, index) === converted(tracked, expected));
      const detail = recorder.tracing ? `waitAsync(${name(tracked, index)}, ${expected})` : "";
      const slot = recorder.waitAsync(tracked, index, matches, timeoutOf(timeout), detail);
      if (slot < 0) return { async: false, value: equal ? "timed-out" : "not-equal" };
      return { async: true, value: asyncWaits.add(slot) };
    },

    notify(view: RawView, index: number, count: number = Infinity): number {
      const tracked = find(view, index);
      if (tracked === undefined) return real.notify(unwrap(view), index, count);
      const detail = recorder.tracing ? `notify(${name(tracked, index)}${count === Infinity ? "" : `, ${count}`})` : "";
      return recorder.notify(tracked, index, count, detail);
    },

    pause(): void {
      if (recorder.active) recorder.relax();
    },

    isLockFree: (size: number): boolean => real.isLockFree(size),
  };

  for (const update of UPDATES) {
    const operate = real[update];
    (instrumented as unknown as Record<string, unknown>)[update] = (
      view: RawView,
      index: number,
      value: number,
    ): number => {
      const tracked = find(view, index);
      if (tracked === undefined) return operate(unwrap(view), index, value);
      recorder.enter(Operation.Update, place(tracked, index), tracked.size);
      const before = operate(tracked.raw, index, value);
      const flags = real.load(tracked.raw, index) === before ? 0 : Flag.Changed;
      const detail = recorder.tracing ? `${update}(${name(tracked, index)}, ${value}) → ${before}` : undefined;
      recorder.leave(Operation.Update, place(tracked, index), tracked.size, flags, detail);
      return before;
    };
  }
  Object.defineProperty(instrumented, Symbol.toStringTag, { value: "Atomics" });
  return instrumented as unknown as typeof Atomics;
}

interface AsyncAtomics {
  waitAsync(view: RawView, index: number, expected: number, timeout: number): unknown;
}

/** `value` as an element of the view: -1 in a Uint32Array is 4294967295. */
function converted(tracked: Tracked, value: number): number {
  const one = new (tracked.raw.constructor as Int32ArrayConstructor)(1);
  one[0] = value;
  return one[0];
}

/** NaN and undefined wait for ever, as in ECMA-262 § 25.4.14. */
function timeoutOf(timeout: number): number {
  return Number.isNaN(timeout) ? Infinity : Math.max(timeout, 0);
}

/** Virtual clock of a thread, in nanoseconds: its own turns and the times nobody could go on. */
export function virtualNow(recorder: Recorder): number {
  const { board, thread } = recorder.scheduler;
  return (board.state(thread, State.OwnSteps) + board.state(thread, State.Time)) * 1000;
}
