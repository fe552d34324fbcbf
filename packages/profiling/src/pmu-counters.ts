import { type CpuId, type Hal, soloHal } from "@x/smp";
import { ProfilingError, requireInteger } from "./errors.ts";
import { paddedWords } from "./layout.ts";

/**
 * What a performance counter counts.
 *
 * @public
 */
export const CounterType: {
  readonly Cycles: 0;
  readonly Instructions: 1;
  readonly CacheReferences: 2;
  readonly CacheMisses: 3;
  readonly Branches: 4;
  readonly BranchMisses: 5;
  readonly TlbMisses: 6;
  readonly PageFaults: 7;
} = {
  Cycles: 0,
  Instructions: 1,
  CacheReferences: 2,
  CacheMisses: 3,
  Branches: 4,
  BranchMisses: 5,
  TlbMisses: 6,
  PageFaults: 7,
};

/**
 * One of {@link (CounterType:variable)}.
 *
 * @public
 */
export type CounterType = (typeof CounterType)[keyof typeof CounterType];

/**
 * Names of the counter types, by type, as `perf` spells them.
 *
 * @public
 */
export const COUNTER_NAMES: readonly string[] = [
  "cycles",
  "instructions",
  "cache-references",
  "cache-misses",
  "branches",
  "branch-misses",
  "dTLB-load-misses",
  "page-faults",
];

const TYPES = COUNTER_NAMES.length;

/**
 * Where counts come from. JavaScript cannot reach the host's performance monitoring unit, so that on threads there is a source only
 * for what the program itself knows; an emulated machine knows everything.
 *
 * @public
 */
export interface CounterSource {
  /** The types this source counts. */
  readonly supported: readonly CounterType[];
  /**
   * Events of `type` on `cpu` since some fixed moment, never decreasing. A source without it is fed by {@link PmuCounters.count}.
   */
  read?(cpu: CpuId, type: CounterType): number;
}

/**
 * What joins {@link PmuCounters} from another thread.
 *
 * @public
 */
export interface PmuCountersHandle {
  readonly possibleCpus: number;
  /** One bit per supported {@link (CounterType:type)}. */
  readonly supportedMask: number;
  readonly events: SharedArrayBuffer;
  readonly windows: SharedArrayBuffer;
}

/*
 * events:   [ count of type 0 | … | type 7 | padding ]                               per CPU, doubles, written by that CPU alone
 * windows:  [ enabled 0…7 | counted before 0…7 | source when enabled 0…7 ]           per CPU, doubles, written by the controlling thread
 *
 * A counter shows what it counted in earlier windows, plus, while enabled, how far the source has come since.
 */
const EVENTS_STRIDE = paddedWords(TYPES * 2) / 2;
const WINDOWS_STRIDE = paddedWords(TYPES * 6) / 2;
const ENABLED = 0;
const BEFORE = TYPES;
const SINCE = 2 * TYPES;

/**
 * Performance counters of every CPU: the eight types of {@link (CounterType:variable)}, each enabled, disabled, read and reset by itself.
 *
 * Thread-safety: `count` adds to the calling CPU's events; `enable`, `disable` and `reset` from one controlling thread at a time;
 * `read` from any. Counts are doubles, exact to 2^53. Cost: `count` is one plain load and store, whether anything is enabled or not.
 *
 * @public
 */
export class PmuCounters {
  readonly handle: PmuCountersHandle;
  readonly #hal: Hal;
  readonly #source: CounterSource | undefined;
  readonly #events: Float64Array;
  readonly #windows: Float64Array;

  private constructor(handle: PmuCountersHandle, hal: Hal, source: CounterSource | undefined) {
    this.handle = handle;
    this.#hal = hal;
    this.#source = source;
    this.#events = new Float64Array(handle.events);
    this.#windows = new Float64Array(handle.windows);
  }

  /** Disabled counters. Without a `source` no type is supported. */
  static create(options: { readonly hal?: Hal; readonly source?: CounterSource | undefined } = {}): PmuCounters {
    const { hal = soloHal(), source } = options;
    let supportedMask = 0;
    for (const type of source?.supported ?? []) {
      requireType(type);
      supportedMask |= 1 << type;
    }
    const handle: PmuCountersHandle = {
      possibleCpus: hal.possibleCpus,
      supportedMask,
      events: new SharedArrayBuffer(hal.possibleCpus * EVENTS_STRIDE * 8),
      windows: new SharedArrayBuffer(hal.possibleCpus * WINDOWS_STRIDE * 8),
    };
    return new PmuCounters(handle, hal, source);
  }

  /** Join from another thread. A thread that reads counters of a source with `read` needs such a source too. */
  static attach(
    handle: PmuCountersHandle,
    options: { readonly hal: Hal; readonly source?: CounterSource | undefined },
  ): PmuCounters {
    return new PmuCounters(handle, options.hal, options.source);
  }

  /** Whether `type` can be counted at all. */
  isSupported(type: CounterType): boolean {
    requireType(type);
    return ((this.handle.supportedMask >>> type) & 1) === 1;
  }

  /** The types that can be counted, ascending. */
  get availableCounters(): CounterType[] {
    return Object.values(CounterType).filter((type) => this.isSupported(type));
  }

  /** Events of `type` happened on the calling CPU: for machines that feed their counters. */
  count(type: CounterType, events: number): void {
    this.#events[this.#hal.currentCpu() * EVENTS_STRIDE + type] += events;
  }

  /** Count `type` from now on, on `cpu` or on all; what is enabled stays so. False when the type is not supported. */
  enable(type: CounterType, cpu?: CpuId): boolean {
    if (!this.isSupported(type)) return false;
    this.#forEach(cpu, (each, at) => {
      if (this.#windows[at + ENABLED + type] === 1) return;
      this.#windows[at + ENABLED + type] = 1;
      this.#windows[at + SINCE + type] = this.#raw(each, type);
    });
    return true;
  }

  /** Stop counting `type`, on `cpu` or on all; the count stays. */
  disable(type: CounterType, cpu?: CpuId): void {
    requireType(type);
    this.#forEach(cpu, (each, at) => {
      this.#windows[at + BEFORE + type] = this.#value(each, type, at);
      this.#windows[at + ENABLED + type] = 0;
    });
  }

  /** Whether `type` is being counted on `cpu`, or on all. */
  isEnabled(type: CounterType, cpu?: CpuId): boolean {
    requireType(type);
    let isEnabled = true;
    this.#forEach(cpu, (_, at) => {
      isEnabled &&= this.#windows[at + ENABLED + type] === 1;
    });
    return isEnabled;
  }

  /** The count of `type` on `cpu`, or over all; undefined when the type is not supported. */
  read(type: CounterType, cpu?: CpuId): number | undefined {
    if (!this.isSupported(type)) return undefined;
    let total = 0;
    this.#forEach(cpu, (each, at) => {
      total += this.#value(each, type, at);
    });
    return total;
  }

  /** Set the count of `type` to 0, on `cpu` or on all; what is enabled goes on counting. */
  reset(type: CounterType, cpu?: CpuId): void {
    requireType(type);
    this.#forEach(cpu, (each, at) => {
      this.#windows[at + BEFORE + type] = 0;
      this.#windows[at + SINCE + type] = this.#raw(each, type);
    });
  }

  /** One counter as an object. */
  counter(type: CounterType, cpu?: CpuId): PerformanceCounter {
    return new PerformanceCounter(this, type, cpu);
  }

  #value(cpu: CpuId, type: CounterType, at: number): number {
    const before = this.#windows[at + BEFORE + type];
    const isEnabled = this.#windows[at + ENABLED + type] === 1;
    return isEnabled ? before + this.#raw(cpu, type) - this.#windows[at + SINCE + type] : before;
  }

  #raw(cpu: CpuId, type: CounterType): number {
    return this.#source?.read?.(cpu, type) ?? this.#events[cpu * EVENTS_STRIDE + type];
  }

  #forEach(cpu: CpuId | undefined, visit: (cpu: CpuId, at: number) => void): void {
    if (cpu !== undefined) {
      requireInteger("a CPU", cpu, 0, this.handle.possibleCpus - 1);
      visit(cpu, cpu * WINDOWS_STRIDE);
      return;
    }
    for (let each = 0; each < this.handle.possibleCpus; each++) visit(each, each * WINDOWS_STRIDE);
  }
}

/**
 * One counter of {@link PmuCounters}: a type, on one CPU or on all.
 *
 * @public
 */
export class PerformanceCounter {
  readonly type: CounterType;
  readonly cpu: CpuId | undefined;
  readonly #counters: PmuCounters;

  constructor(counters: PmuCounters, type: CounterType, cpu?: CpuId) {
    requireType(type);
    this.type = type;
    this.cpu = cpu;
    this.#counters = counters;
  }

  /** As `perf` spells it. */
  get name(): string {
    return COUNTER_NAMES[this.type];
  }

  get isEnabled(): boolean {
    return this.#counters.isEnabled(this.type, this.cpu);
  }

  /** False when the type is not supported here. */
  enable(): boolean {
    return this.#counters.enable(this.type, this.cpu);
  }

  disable(): void {
    this.#counters.disable(this.type, this.cpu);
  }

  /** Undefined when the type is not supported here. */
  read(): number | undefined {
    return this.#counters.read(this.type, this.cpu);
  }

  reset(): void {
    this.#counters.reset(this.type, this.cpu);
  }
}

function requireType(type: number): void {
  if (Number.isInteger(type) && type >= 0 && type < TYPES) return;
  throw new ProfilingError("PROFILING_INVALID_ARGUMENT", `counter types are 0 to ${TYPES - 1}, not ${type}`);
}
