import { type CpuId, type Hal, soloHal, SpinLocks, type SpinLocksHandle } from "@x/smp";
import { ProfilingError, requireInteger } from "./errors.ts";
import { collectStats, type ProfileStats } from "./profile-stats.ts";
import { Recorders } from "./recorders.ts";
import { type ProfileSample, SampleStore, type SampleStoreHandle } from "./sample-store.ts";
import { DEFAULT_SAMPLING_CONFIG, MAX_SAMPLES_LIMIT, requireConfig, type SamplingConfig } from "./sampling-config.ts";
import { SymbolTable, type SymbolTableHandle } from "./symbol-table.ts";

/*
 * control:  [ state | include flags | maxSamples | generation | interval (double) | running since (double) | ran for (double) ]
 *           state and generation by Atomics; the rest is written by the holder of `lock` while no CPU is inside `record`,
 *           and published by the stores to state and generation that follow, in this order: who sees a new generation
 *           sees its state. Generations count from 1.
 */
const STATE = 0;
const INCLUDE = 1;
const MAX_SAMPLES = 2;
const GENERATION = 3;
const INTERVAL = 2;
const RUNNING_SINCE = 3;
const RAN_FOR = 4;
const CONTROL_BYTES = 40;

/** How `record` ended. */
const NOT_RUNNING = 0;
const KEPT = 1;
const WAS_FILTERED = 2;
const WAS_LOST = 3;

const INCLUDE_KERNEL = 1;
const INCLUDE_USER = 2;

const DEFAULT_MAX_DEPTH = 64;
const MAX_DEPTH_LIMIT = 1024;

/**
 * What a profiler is doing.
 *
 * @public
 */
export type ProfilerState = "stopped" | "running" | "paused";

const STATES: readonly ProfilerState[] = ["stopped", "running", "paused"];
const STOPPED = 0;
const RUNNING = 1;
const PAUSED = 2;

/**
 * What happens to a profiler.
 *
 * @public
 */
export interface ProfilerObserver {
  /** A sample of `cpu` was kept. */
  onSample?(cpu: CpuId, timeNs: number, weight: number): void;
  /** A sample of `cpu` found the profiler full. */
  onLost?(cpu: CpuId, weight: number): void;
  /** The calling thread changed the state. */
  onState?(state: ProfilerState): void;
}

/**
 * What joins a {@link Profiler} from another thread.
 *
 * @public
 */
export interface ProfilerHandle {
  readonly control: SharedArrayBuffer;
  readonly recorders: SharedArrayBuffer;
  readonly store: SampleStoreHandle;
  readonly symbols: SymbolTableHandle;
  readonly lock: SpinLocksHandle;
}

/**
 * A sampling profiler: keeps call stacks that its callers take, in shared memory, bounded, with one writer per run of slots.
 *
 * `record` only keeps; it takes no decision about time. {@link ShadowStack} takes samples by the configured interval.
 *
 * Thread-safety: `record` from any CPU; state changes from any thread, one at a time, and each waits until no CPU is inside
 * `record`, so that what `stop` leaves behind is final. Cost of `record`: six atomic operations and the copy.
 *
 * @public
 */
export class Profiler {
  readonly handle: ProfilerHandle;
  readonly symbols: SymbolTable;
  readonly #hal: Hal;
  readonly #control: Int32Array;
  readonly #times: Float64Array;
  readonly #recorders: Recorders;
  readonly #store: SampleStore;
  readonly #lock: SpinLocks;
  readonly #possibleCpus: number;
  #knownGeneration = 0;
  readonly #observer: ProfilerObserver | undefined;

  private constructor(handle: ProfilerHandle, hal: Hal, symbols: SymbolTable, observer: ProfilerObserver | undefined) {
    this.handle = handle;
    this.symbols = symbols;
    this.#hal = hal;
    this.#control = new Int32Array(handle.control);
    this.#times = new Float64Array(handle.control);
    this.#recorders = new Recorders(handle.recorders, hal);
    this.#store = new SampleStore(handle.store);
    this.#lock = SpinLocks.attach(handle.lock, { hal });
    this.#possibleCpus = handle.store.possibleCpus;
    this.#observer = observer;
    this.#knownGeneration = Atomics.load(this.#control, GENERATION);
  }

  /**
   * A stopped profiler. `config.maxSamples` sizes its memory: about `32 + 4 * maxDepth` bytes a sample. `maxDepth` (1 to 1024,
   * default 64) bounds the functions kept of a stack, innermost first. Throws `PROFILING_INVALID_ARGUMENT`.
   */
  static create(
    options: {
      readonly hal?: Hal;
      readonly config?: Partial<SamplingConfig>;
      readonly symbols?: SymbolTable;
      readonly maxDepth?: number;
      readonly observer?: ProfilerObserver | undefined;
    } = {},
  ): Profiler {
    const { hal = soloHal(), maxDepth = DEFAULT_MAX_DEPTH, observer } = options;
    const symbols = options.symbols ?? SymbolTable.create({ hal });
    const config = { ...DEFAULT_SAMPLING_CONFIG, ...options.config };
    requireInteger("maxDepth", maxDepth, 1, MAX_DEPTH_LIMIT);
    requireConfig(config, MAX_SAMPLES_LIMIT);
    const handle: ProfilerHandle = {
      control: new SharedArrayBuffer(CONTROL_BYTES),
      recorders: Recorders.allocate(hal.possibleCpus),
      store: SampleStore.allocate(hal.possibleCpus, config.maxSamples, maxDepth),
      symbols: symbols.handle,
      lock: SpinLocks.create({ name: "profiler", hal }).handle,
    };
    const profiler = new Profiler(handle, hal, symbols, observer);
    profiler.#writeConfig(config);
    profiler.#knownGeneration = Atomics.add(profiler.#control, GENERATION, 1) + 1;
    return profiler;
  }

  /** Join from another thread. `symbols` defaults to a table of its own over the same memory. */
  static attach(
    handle: ProfilerHandle,
    options: { readonly hal: Hal; readonly symbols?: SymbolTable; readonly observer?: ProfilerObserver | undefined },
  ): Profiler {
    const symbols = options.symbols ?? SymbolTable.attach(handle.symbols, { hal: options.hal });
    return new Profiler(handle, options.hal, symbols, options.observer);
  }

  get state(): ProfilerState {
    return STATES[Atomics.load(this.#control, STATE)];
  }

  get config(): SamplingConfig {
    Atomics.load(this.#control, GENERATION);
    const include = this.#control[INCLUDE];
    return {
      intervalNs: this.#times[INTERVAL],
      maxSamples: this.#control[MAX_SAMPLES],
      includeKernel: (include & INCLUDE_KERNEL) !== 0,
      includeUser: (include & INCLUDE_USER) !== 0,
    };
  }

  /** Changes with every start, resume and configure: what depends on the interval looks here whether it is out of date. */
  get generation(): number {
    return (this.#knownGeneration = Atomics.load(this.#control, GENERATION));
  }

  /**
   * The generation without a look at shared memory: changes made through this object show at once, those of other threads after the
   * next read of `generation`.
   */
  get knownGeneration(): number {
    return this.#knownGeneration;
  }

  /** When the profiler was last started or resumed, by the clock of the thread that did it, in nanoseconds. */
  get runningSinceNs(): number {
    Atomics.load(this.#control, GENERATION);
    return this.#times[RUNNING_SINCE];
  }

  /** Time spent running in this run, pauses left out, in nanoseconds. */
  get elapsedNs(): number {
    const running = Atomics.load(this.#control, STATE) === RUNNING;
    return this.#times[RAN_FOR] + (running ? this.#hal.now() - this.#times[RUNNING_SINCE] : 0);
  }

  /** Forget the last run and begin a new one. Throws `PROFILING_STATE` while running. */
  start(): void {
    this.#change("start", [STOPPED, PAUSED], RUNNING, () => {
      this.#forget();
      this.#times[RUNNING_SINCE] = this.#hal.now();
    });
  }

  /** End the run; what it sampled stays until the next start. Throws `PROFILING_STATE` when stopped. */
  stop(): void {
    this.#change("stop", [RUNNING, PAUSED], STOPPED);
  }

  /** Keep nothing until `resume`. Throws `PROFILING_STATE` unless running. */
  pause(): void {
    this.#change("pause", [RUNNING], PAUSED);
  }

  /** Go on with a paused run. Throws `PROFILING_STATE` unless paused. */
  resume(): void {
    this.#change("resume", [PAUSED], RUNNING, () => {
      this.#times[RUNNING_SINCE] = this.#hal.now();
    });
  }

  /**
   * Change members of the configuration, in any state, at once for all threads. `maxSamples` can be at most what the profiler was
   * created with (`PROFILING_INVALID_ARGUMENT`).
   */
  configure(config: Partial<SamplingConfig>): void {
    this.#lock.lock();
    try {
      const next = { ...this.config, ...config };
      requireConfig(next, this.handle.store.capacity);
      this.#whileHalted(() => this.#writeConfig(next));
    } finally {
      this.#lock.unlock();
    }
  }

  /** Forget all samples and counts; the state stays. */
  reset(): void {
    this.#lock.lock();
    try {
      this.#whileHalted(() => this.#forget());
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Keep one sample of `cpu`. `stack` holds `depth` symbol ids, the outermost function first; `weight` (default 1) is how many
   * sampling instants it stands for. Returns false, without keeping it, when the profiler is not running, when the mode is left out by
   * the configuration (counted as filtered), or when it is full (counted as lost).
   */
  record(
    timeNs: number,
    cpu: CpuId,
    taskId: number,
    kernelMode: boolean,
    stack: Int32Array,
    depth: number,
    weight = 1,
  ): boolean {
    if (Atomics.load(this.#control, STATE) !== RUNNING) return false;
    if (!(cpu >= 0 && cpu < this.#possibleCpus && depth >= 0 && depth <= stack.length && weight > 0)) {
      const message = `a sample of CPU ${cpu} has ${depth} functions and weight ${weight}`;
      throw new ProfilingError("PROFILING_INVALID_ARGUMENT", message);
    }
    const writer = this.#hal.currentCpu();
    this.#recorders.enter(writer);
    const outcome =
      Atomics.load(this.#control, STATE) === RUNNING
        ? this.#keep(writer, timeNs, cpu, taskId, kernelMode, stack, depth, weight)
        : NOT_RUNNING;
    this.#recorders.leave(writer);
    if (outcome === KEPT) this.#observer?.onSample?.(cpu, timeNs, weight);
    else if (outcome === WAS_LOST) this.#observer?.onLost?.(cpu, weight);
    return outcome === KEPT;
  }

  /** Samples kept, in the order of their times. While running: those complete at this moment. */
  *samples(): IterableIterator<ProfileSample> {
    for (const slot of this.#store.order()) yield this.#store.read(slot);
  }

  /** Samples that found the profiler full, by weight: those `cpu` wanted to record, or all. */
  lostSamples(cpu?: CpuId): number {
    return this.#recorders.lost(cpu);
  }

  /** Samples left out because of their mode, by weight: those `cpu` wanted to record, or all. */
  filteredSamples(cpu?: CpuId): number {
    return this.#recorders.filtered(cpu);
  }

  /** A copy of everything that reports need; it does not change any more. */
  stats(): ProfileStats {
    return collectStats(this, this.#possibleCpus);
  }

  /** The `limit` functions most often on top of the stack; equal counts by ascending id. */
  topHotspots(limit: number): { symbol: number; name: string; samples: number }[] {
    return this.stats()
      .functions.filter((entry) => entry.self > 0)
      .slice(0, limit)
      .map(({ symbol, name, self }) => ({ symbol, name, samples: self }));
  }

  /** Take note that `cpu` is gone, died inside `record`, and nobody needs to wait for it (see `PROFILING_CPU_STUCK`). */
  releaseCpu(cpu: CpuId): void {
    requireInteger("a CPU", cpu, 0, this.#possibleCpus - 1);
    this.#recorders.leave(cpu);
  }

  #keep(
    writer: CpuId,
    timeNs: number,
    cpu: CpuId,
    taskId: number,
    kernelMode: boolean,
    stack: Int32Array,
    depth: number,
    weight: number,
  ): number {
    if ((this.#control[INCLUDE] & (kernelMode ? INCLUDE_KERNEL : INCLUDE_USER)) === 0) {
      this.#recorders.addFiltered(writer, weight);
      return WAS_FILTERED;
    }
    const limit = this.#control[MAX_SAMPLES];
    if (this.#store.append(writer, limit, timeNs, cpu, taskId, kernelMode, weight, stack, depth)) return KEPT;
    this.#recorders.addLost(writer, weight);
    return WAS_LOST;
  }

  #change(what: string, from: readonly number[], to: number, prepare?: () => void): void {
    this.#lock.lock();
    try {
      const state = Atomics.load(this.#control, STATE);
      if (!from.includes(state)) {
        throw new ProfilingError("PROFILING_STATE", `cannot ${what} a profiler that is ${STATES[state]}`);
      }
      if (state === RUNNING) this.#account();
      this.#halt(state);
      prepare?.();
      Atomics.store(this.#control, STATE, to);
      this.#knownGeneration = Atomics.add(this.#control, GENERATION, 1) + 1;
    } finally {
      this.#lock.unlock();
    }
    this.#observer?.onState?.(STATES[to]);
  }

  /** Holds the lock. */
  #whileHalted(work: () => void): void {
    const state = Atomics.load(this.#control, STATE);
    this.#halt(state);
    try {
      if (state === RUNNING) this.#account();
      work();
    } finally {
      Atomics.store(this.#control, STATE, state);
      this.#knownGeneration = Atomics.add(this.#control, GENERATION, 1) + 1;
    }
  }

  /** Holds the lock. Closes the account of the time spent running so far, and begins the next span now. */
  #account(): void {
    const now = this.#hal.now();
    this.#times[RAN_FOR] += now - this.#times[RUNNING_SINCE];
    this.#times[RUNNING_SINCE] = now;
  }

  /** Holds the lock. No CPU is inside `record` afterwards, and none gets in; `state` is the present one, kept on failure. */
  #halt(state: number): void {
    if (state === RUNNING) Atomics.store(this.#control, STATE, PAUSED);
    try {
      this.#recorders.drain();
    } catch (error) {
      Atomics.store(this.#control, STATE, state);
      throw error;
    }
  }

  /** Holds the lock; no CPU is inside. */
  #forget(): void {
    this.#store.clear();
    this.#times[RAN_FOR] = 0;
    this.#recorders.clearCounts();
  }

  #writeConfig(config: SamplingConfig): void {
    this.#control[INCLUDE] = (config.includeKernel ? INCLUDE_KERNEL : 0) | (config.includeUser ? INCLUDE_USER : 0);
    this.#control[MAX_SAMPLES] = config.maxSamples;
    this.#times[INTERVAL] = config.intervalNs;
  }
}
