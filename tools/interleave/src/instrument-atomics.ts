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
  const places = new Places(recorder);
  const instrumented = {
    ...accesses(real, places),
    ...updates(real, places),
    ...waits(real, places, asyncWaits),
    pause(): void {
      if (recorder.active) recorder.relax();
    },
    isLockFree: (size: number): boolean => real.isLockFree(size),
  };
  Object.defineProperty(instrumented, Symbol.toStringTag, { value: "Atomics" });
  return instrumented as unknown as typeof Atomics;
}

/** Which elements are steps, and where they are. */
class Places {
  readonly recorder: Recorder;

  constructor(recorder: Recorder) {
    this.recorder = recorder;
  }

  /** Undefined: leave it to the real function, also when that is going to throw. */
  find(view: unknown, index: number): Tracked | undefined {
    if (!this.recorder.active) return undefined;
    const tracked = trackedView(view, this.recorder.memory);
    if (tracked === undefined || !(index >= 0 && index < tracked.raw.length)) return undefined;
    return FLOATS.has(tracked.raw.constructor) ? undefined : tracked;
  }

  /** {@link Places.find} for wait and notify, which exist for two types only. */
  findWaitable(view: unknown, index: number): Tracked | undefined {
    const tracked = this.find(view, index);
    return tracked !== undefined && WAITABLE.has(tracked.raw.constructor) ? tracked : undefined;
  }

  at(tracked: Tracked, index: number): number {
    return tracked.at + index * tracked.size;
  }

  name(tracked: Tracked, index: number): string {
    return this.recorder.tracing ? this.recorder.memory.describe(this.at(tracked, index), tracked.size) : "";
  }

  enter(operation: number, tracked: Tracked, index: number): void {
    this.recorder.enter(operation, this.at(tracked, index), tracked.size);
  }

  leave(operation: number, tracked: Tracked, index: number, flags: number, detail: string | undefined): void {
    this.recorder.leave(operation, this.at(tracked, index), tracked.size, flags, detail);
  }
}

/** The real constructors: this module is loaded before they are replaced. */
const FLOATS = new Set<unknown>([Float32Array, Float64Array, Uint8ClampedArray]);
const WAITABLE = new Set<unknown>([Int32Array, BigInt64Array]);

type Members = Record<string, (...args: never[]) => unknown>;

function accesses(real: typeof Atomics, places: Places): Members {
  const { recorder } = places;
  return {
    load(view: RawView, index: number): number {
      const tracked = places.find(view, index);
      if (tracked === undefined) return real.load(unwrap(view), index);
      places.enter(Operation.Load, tracked, index);
      const value = real.load(tracked.raw, index);
      const detail = recorder.tracing ? `load(${places.name(tracked, index)}) → ${value}` : undefined;
      places.leave(Operation.Load, tracked, index, 0, detail);
      return value;
    },

    store(view: RawView, index: number, value: number): number {
      const tracked = places.find(view, index);
      if (tracked === undefined) return real.store(unwrap(view), index, value);
      places.enter(Operation.Store, tracked, index);
      const before = real.load(tracked.raw, index);
      const stored = real.store(tracked.raw, index, value);
      const flags = real.load(tracked.raw, index) === before ? 0 : Flag.Changed;
      const detail = recorder.tracing ? `store(${places.name(tracked, index)}, ${value}) was ${before}` : undefined;
      places.leave(Operation.Store, tracked, index, flags, detail);
      return stored;
    },
  };
}

function updates(real: typeof Atomics, places: Places): Members {
  const { recorder } = places;
  const members: Members = {
    compareExchange(view: RawView, index: number, expected: number, replacement: number): number {
      const tracked = places.find(view, index);
      if (tracked === undefined) return real.compareExchange(unwrap(view), index, expected, replacement);
      places.enter(Operation.Update, tracked, index);
      const before = real.compareExchange(tracked.raw, index, expected, replacement);
      const changed = real.load(tracked.raw, index) !== before;
      const matched = changed || converted(tracked, expected) === before;
      const flags = (changed ? Flag.Changed : 0) | (matched ? 0 : Flag.ReadOnly);
      const detail = recorder.tracing
        ? `compareExchange(${places.name(tracked, index)}, ${expected}, ${replacement}) → ${before}${matched ? "" : " (failed)"}`
        : undefined;
      places.leave(Operation.Update, tracked, index, flags, detail);
      return before;
    },
  };
  for (const name of UPDATES) {
    const update = real[name];
    members[name] = (view: RawView, index: number, value: number): number => {
      const tracked = places.find(view, index);
      if (tracked === undefined) return update(unwrap(view), index, value);
      places.enter(Operation.Update, tracked, index);
      const before = update(tracked.raw, index, value);
      const flags = real.load(tracked.raw, index) === before ? 0 : Flag.Changed;
      const detail = recorder.tracing ? `${name}(${places.name(tracked, index)}, ${value}) → ${before}` : undefined;
      places.leave(Operation.Update, tracked, index, flags, detail);
      return before;
    };
  }
  return members;
}

function waits(real: typeof Atomics, places: Places, asyncWaits: AsyncWaits): Members {
  const { recorder } = places;
  const matcher = (tracked: Tracked, index: number, expected: number) => (): boolean =>
    real.load(tracked.raw, index) === converted(tracked, expected);
  return {
    wait(view: RawView, index: number, expected: number, timeout: number = Infinity): string {
      const tracked = places.findWaitable(view, index);
      if (tracked === undefined) {
        const isSleep = recorder.active && trackedView(view, recorder.memory) === undefined && timeout !== Infinity;
        if (!isSleep) return real.wait(unwrap(view), index, expected, timeout);
        // A wait on memory nobody else has is a sleep.
        recorder.relax();
        return "timed-out";
      }
      const detail = `wait(${places.name(tracked, index)}, ${expected})`;
      return recorder.wait(tracked, index, matcher(tracked, index, expected), timeoutOf(timeout), detail);
    },

    waitAsync(view: RawView, index: number, expected: number, timeout: number = Infinity): unknown {
      const tracked = places.findWaitable(view, index);
      if (tracked === undefined) {
        return (real as unknown as AsyncAtomics).waitAsync(unwrap(view), index, expected, timeout);
      }
      const detail = `waitAsync(${places.name(tracked, index)}, ${expected})`;
      const slot = recorder.joinList(tracked, index, matcher(tracked, index, expected), timeoutOf(timeout), detail);
      if (typeof slot === "string") return { async: false, value: slot };
      return { async: true, value: asyncWaits.add(slot) };
    },

    notify(view: RawView, index: number, count: number = Infinity): number {
      const tracked = places.findWaitable(view, index);
      if (tracked === undefined) return real.notify(unwrap(view), index, count);
      const detail = `notify(${places.name(tracked, index)}${count === Infinity ? "" : `, ${count}`})`;
      return recorder.notify(tracked, index, count, detail);
    },
  };
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

/** NaN waits for ever, as in ECMA-262 § 25.4.14. */
function timeoutOf(timeout: number): number {
  return Number.isNaN(timeout) ? Infinity : Math.max(timeout, 0);
}

/** Virtual clock of a thread, in nanoseconds: its own turns and the times nobody could go on. */
export function virtualNow(recorder: Recorder): number {
  const { board, thread } = recorder.scheduler;
  return (board.state(thread, State.OwnSteps) + board.state(thread, State.Time)) * 1000;
}
