import { virtualNow } from "./instrument-atomics.ts";
import { Operation } from "./operation.ts";
import type { Recorder } from "./recorder.ts";
import type { CheckContext, ScenarioHal, ThreadContext, WaitOutcome } from "./scenario.ts";

/** A failed `assert`. */
export class AssertionFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AssertionFailure";
  }
}

export function assertThat(condition: unknown, message = "assertion failed"): asserts condition {
  if (!(condition as boolean)) throw new AssertionFailure(message);
}

export function scenarioHal(cpu: number, possibleCpus: number, recorder?: Recorder): ScenarioHal {
  return {
    possibleCpus,
    currentCpu: () => cpu,
    now: () => (recorder?.active ? virtualNow(recorder) : 0),
    relax: () => {
      if (recorder?.active) recorder.relax();
    },
    kick: () => undefined,
    // The global Atomics: inside a thread it is the instrumented one.
    wait: (words, index, expected, timeoutNs): WaitOutcome => Atomics.wait(words, index, expected, timeoutNs / 1e6),
    wake: (words, index, count) => Atomics.notify(words, index, count),
  };
}

export function threadContext(recorder: Recorder, threads: number): ThreadContext {
  const { thread } = recorder.scheduler;
  const lifetime = (operation: number, buffer: SharedArrayBuffer, offset: number, bytes: number): void => {
    const region = recorder.memory.region(buffer);
    if (region !== undefined) recorder.lifetime(operation, region.base + offset, bytes);
  };
  return {
    id: thread,
    hal: scenarioHal(thread, threads, recorder),
    assert: assertThat,
    free: (buffer, offset, bytes) => lifetime(Operation.Free, buffer, offset, bytes),
    allocate: (buffer, offset, bytes) => lifetime(Operation.Allocate, buffer, offset, bytes),
    allocator: (run) => recorder.exempt(run),
  };
}

export function checkContext(threads: number): CheckContext {
  return { hal: scenarioHal(0, threads), assert: assertThat };
}
