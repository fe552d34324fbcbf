/**
 * How a wait on a shared word ended.
 *
 * @public
 */
export type WaitOutcome = "ok" | "not-equal" | "timed-out";

/**
 * The machine that a thread of a scenario runs on; it has the shape of `Hal` of `@x/smp`.
 *
 * @public
 */
export interface ScenarioHal {
  /** Number of threads of the scenario. */
  readonly possibleCpus: number;
  /** Index of the calling thread. */
  currentCpu(): number;
  /** Virtual nanoseconds; they pass with the thread's own steps, and when nobody can go on. */
  now(): number;
  /** Yield until another thread changes something that was read since the last `relax`. */
  relax(spins: number): void;
  /** Nothing: a thread that polls its mailbox is always about to look. */
  kick(cpu: number): void;
  /** `Atomics.wait`, modelled. */
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitOutcome;
  /** `Atomics.notify`, modelled. */
  wake(words: Int32Array, index: number, count: number): number;
}

/**
 * What a thread function is given beside the shared memory.
 *
 * @public
 */
export interface ThreadContext {
  /** Index of this thread, from 0. */
  readonly id: number;
  readonly hal: ScenarioHal;
  /** Fails the execution unless `condition` holds. */
  assert(condition: unknown, message?: string): asserts condition;
  /** From here on `bytes` bytes at `offset` are freed: touching them is reported until they are allocated again. */
  free(buffer: SharedArrayBuffer, offset: number, bytes: number): void;
  /** From here on these bytes are valid again. */
  allocate(buffer: SharedArrayBuffer, offset: number, bytes: number): void;
  /** Runs the allocator itself, which may touch freed memory (its free lists live there). */
  allocator<T>(run: () => T): T;
}

/**
 * What `check` and `setup` are given.
 *
 * @public
 */
export interface CheckContext {
  /** The machine as CPU 0 sees it; nothing is scheduled here. */
  readonly hal: ScenarioHal;
  assert(condition: unknown, message?: string): asserts condition;
}

/**
 * A part of the shared memory.
 *
 * @public
 */
export interface MemoryRange {
  readonly buffer: SharedArrayBuffer;
  /** Default 0. */
  readonly byteOffset?: number;
  /** Default: to the end of the buffer. */
  readonly byteLength?: number;
}

/**
 * A test: some shared memory, two to eight threads that use it, and what must hold in the end.
 *
 * Every thread runs in a worker of its own and is called anew in each execution, with the memory as `setup` left it.
 * A thread must behave the same when it reads the same: no real clock, no real randomness, no state kept from the last
 * execution. A scenario is exported by an ES module (`export default`, or by name).
 *
 * @public
 */
export interface Scenario<Shared = unknown, Result = unknown> {
  readonly name?: string;
  /** Makes the shared memory, once. Returns plain data: handles with `SharedArrayBuffer`s in them. */
  setup(context: CheckContext): Shared | Promise<Shared>;
  readonly threads: readonly ((shared: Shared, context: ThreadContext) => Result | Promise<Result>)[];
  /** Called after every complete execution; throws if the final state is wrong. `results[i]` is what thread i returned. */
  check?(shared: Shared, results: Result[], context: CheckContext): void;
  /** A short text for the final state, counted in the report. Default: the results as JSON. */
  outcome?(shared: Shared, results: Result[]): string;
  /** Memory whose plain accesses race on purpose; they become steps and are not reported. */
  racy?(shared: Shared): Iterable<MemoryRange>;
}

/**
 * Gives a scenario its types; returns it as it is.
 *
 * @public
 */
export function scenario<Shared, Result>(definition: Scenario<Shared, Result>): Scenario<Shared, Result> {
  return definition;
}
