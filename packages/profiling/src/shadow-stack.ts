import { type CpuId, type Hal, soloHal } from "@x/smp";
import { ProfilingError, requireInteger } from "./errors.ts";
import { paddedWords } from "./layout.ts";
import type { Profiler } from "./profiler.ts";

/*
 * One padded block per CPU:
 *
 *   [ depth | task | kernel mode | generation | next due (double) | - | - | symbol 0, outermost | symbol 1 | … | padding ]
 *
 * Everything is written by the block's CPU alone, with plain stores. `depth` counts on beyond the last stored function, so that
 * enter and leave stay balanced in a stack that is deeper than `maxDepth`.
 */
const DEPTH = 0;
const TASK = 1;
const KERNEL_MODE = 2;
const GENERATION = 3;
const NEXT_DUE = 2;
const SYMBOLS = 8;

/** Every 16th poll looks at shared memory whether another thread started, stopped or configured the profiler. */
const ATOMIC_POLL_MASK = 15;

const DEFAULT_MAX_DEPTH = 64;
const MAX_DEPTH_LIMIT = 1024;
/** Looks another CPU's stack is given to hold still. */
const SNAPSHOT_ATTEMPTS = 4;

/**
 * What joins a {@link ShadowStack} from another thread.
 *
 * @public
 */
export interface ShadowStackHandle {
  readonly possibleCpus: number;
  readonly maxDepth: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The call stack of every CPU, kept by the code itself: `enter` and `leave` around what should have a name. Samples are taken
 * from it, either by the CPU itself (`poll`, a pure function of the clock it is given) or by another thread (`sampleCpus`).
 *
 * Thread-safety: methods without a `cpu` act on the calling CPU's stack. Cost: `enter`, `leave` and a `poll` with nothing due are
 * a few loads and stores.
 *
 * @public
 */
export class ShadowStack {
  readonly handle: ShadowStackHandle;
  readonly #hal: Hal;
  readonly #profiler: Profiler | undefined;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #stride: number;
  readonly #maxDepth: number;
  readonly #stacks: Int32Array[];
  readonly #snapshot: Int32Array;
  readonly #check: Int32Array;
  #polls = 0;

  private constructor(handle: ShadowStackHandle, hal: Hal, profiler: Profiler | undefined) {
    this.handle = handle;
    this.#hal = hal;
    this.#profiler = profiler;
    this.#words = new Int32Array(handle.memory);
    this.#times = new Float64Array(handle.memory);
    this.#stride = this.#words.length / handle.possibleCpus;
    this.#maxDepth = handle.maxDepth;
    this.#stacks = Array.from({ length: handle.possibleCpus }, (_, cpu) => {
      const from = cpu * this.#stride + SYMBOLS;
      return this.#words.subarray(from, from + handle.maxDepth);
    });
    this.#snapshot = new Int32Array(handle.maxDepth);
    this.#check = new Int32Array(handle.maxDepth);
  }

  /** Empty stacks that store up to `maxDepth` functions (1 to 1024, default 64). Samples go to `profiler`. */
  static create(
    options: { readonly hal?: Hal; readonly profiler?: Profiler | undefined; readonly maxDepth?: number } = {},
  ): ShadowStack {
    const { hal = soloHal(), profiler, maxDepth = DEFAULT_MAX_DEPTH } = options;
    requireInteger("maxDepth", maxDepth, 1, MAX_DEPTH_LIMIT);
    const memory = new SharedArrayBuffer(hal.possibleCpus * paddedWords(SYMBOLS + maxDepth) * 4);
    return new ShadowStack({ possibleCpus: hal.possibleCpus, maxDepth, memory }, hal, profiler);
  }

  static attach(
    handle: ShadowStackHandle,
    options: { readonly hal: Hal; readonly profiler?: Profiler | undefined },
  ): ShadowStack {
    return new ShadowStack(handle, options.hal, options.profiler);
  }

  /** A function begins. */
  enter(symbol: number): void {
    this.enterOn(this.#hal.currentCpu(), symbol);
  }

  /** The innermost function ends. Throws `PROFILING_STACK_UNDERFLOW` on an empty stack. */
  leave(): void {
    this.leaveOn(this.#hal.currentCpu());
  }

  /** {@link ShadowStack.enter} for a caller that knows which CPU it runs on. */
  enterOn(cpu: CpuId, symbol: number): void {
    const base = cpu * this.#stride;
    const depth = this.#words[base + DEPTH];
    if (depth < this.#maxDepth) this.#words[base + SYMBOLS + depth] = symbol;
    this.#words[base + DEPTH] = depth + 1;
  }

  /** {@link ShadowStack.leave} for a caller that knows which CPU it runs on. */
  leaveOn(cpu: CpuId): void {
    const base = cpu * this.#stride;
    const depth = this.#words[base + DEPTH];
    if (depth === 0) {
      throw new ProfilingError("PROFILING_STACK_UNDERFLOW", `CPU ${cpu} left a function it had not entered`);
    }
    this.#words[base + DEPTH] = depth - 1;
  }

  /** Functions entered and not left on `cpu`. */
  depth(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.#words[cpu * this.#stride + DEPTH];
  }

  /** Leave functions until `depth` are left, as after an exception. Throws `PROFILING_STACK_UNDERFLOW` if there are fewer. */
  unwind(depth: number): void {
    const at = this.#hal.currentCpu() * this.#stride + DEPTH;
    if (!(depth >= 0 && depth <= this.#words[at])) {
      throw new ProfilingError("PROFILING_STACK_UNDERFLOW", `a stack of ${this.#words[at]} cannot unwind to ${depth}`);
    }
    this.#words[at] = depth;
  }

  /** Call `work` as the function `symbol`; it is left again when `work` throws. */
  run<T>(symbol: number, work: () => T): T {
    const depth = this.depth();
    this.enter(symbol);
    try {
      return work();
    } finally {
      this.unwind(depth);
    }
  }

  /** Which task the calling CPU runs, and in which mode: goes into its samples. */
  setContext(taskId: number, kernelMode: boolean): void {
    const base = this.#hal.currentCpu() * this.#stride;
    this.#words[base + TASK] = taskId;
    this.#words[base + KERNEL_MODE] = kernelMode ? 1 : 0;
  }

  /** Copy the calling CPU's stack, outermost first, as a task is switched out. Returns its depth, for `restore`. */
  save(out: Int32Array): number {
    const cpu = this.#hal.currentCpu();
    const depth = this.depth(cpu);
    const stored = Math.min(depth, this.#maxDepth, out.length);
    const stack = this.#stacks[cpu];
    for (let frame = 0; frame < stored; frame++) out[frame] = stack[frame];
    return depth;
  }

  /** Put back what `save` copied, as its task is switched in; depth 0 is the empty stack of a new task. */
  restore(from: Int32Array, depth: number): void {
    const cpu = this.#hal.currentCpu();
    const stored = Math.min(depth, this.#maxDepth, from.length);
    const stack = this.#stacks[cpu];
    for (let frame = 0; frame < stored; frame++) stack[frame] = from[frame];
    this.#words[cpu * this.#stride + DEPTH] = depth;
  }

  /**
   * Take the samples that are due at `nowNs` on the calling CPU. Sampling instants are the multiples of the profiler's interval, so
   * that samples are a pure function of the clock; when several have passed since the last call, one record stands for all of
   * them. Call it before the stack changes: the time since the last call belongs to the function that is on top now.
   * A start or configuration by another thread is noticed within 16 calls, one through the same profiler object at once.
   * Returns the instants that were due, 0 in most calls.
   */
  poll(nowNs: number): number {
    const profiler = this.#profiler;
    if (profiler === undefined) return 0;
    const cpu = this.#hal.currentCpu();
    const base = cpu * this.#stride;
    const generation = (++this.#polls & ATOMIC_POLL_MASK) === 0 ? profiler.generation : profiler.knownGeneration;
    if (this.#words[base + GENERATION] !== generation) this.#synchronise(profiler, base, generation);
    return nowNs < this.#times[(base >> 1) + NEXT_DUE] ? 0 : this.#sampleDue(profiler, cpu, nowNs);
  }

  /**
   * Sample the stacks of all other CPUs that are in some function, now: for a thread that wakes up once per interval and looks at
   * the others, which pay nothing. A stack that does not hold still for a look is taken as it was seen last; each of its
   * elements is a function the CPU was in. Returns the samples kept.
   */
  sampleCpus(nowNs: number): number {
    const own = this.#hal.currentCpu();
    let kept = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (cpu === own) continue;
      const depth = this.#look(cpu);
      if (depth > 0 && this.#record(nowNs, cpu, this.#snapshot, depth, 1)) kept++;
    }
    return kept;
  }

  /** The profiler was started, stopped or configured since the last look. */
  #synchronise(profiler: Profiler, base: number, generation: number): void {
    const first = nextInstant(profiler.runningSinceNs, profiler.config.intervalNs);
    this.#words[base + GENERATION] = generation;
    this.#times[(base >> 1) + NEXT_DUE] = profiler.state === "running" ? first : Infinity;
  }

  #sampleDue(profiler: Profiler, cpu: CpuId, nowNs: number): number {
    const { intervalNs } = profiler.config;
    const due = ((cpu * this.#stride) >> 1) + NEXT_DUE;
    const instants = Math.floor((nowNs - this.#times[due]) / intervalNs) + 1;
    const last = this.#times[due] + (instants - 1) * intervalNs;
    this.#times[due] = last + intervalNs;
    this.#record(last, cpu, this.#stacks[cpu], Math.min(this.depth(cpu), this.#maxDepth), instants);
    return instants;
  }

  #record(timeNs: number, cpu: CpuId, stack: Int32Array, depth: number, weight: number): boolean {
    const base = cpu * this.#stride;
    const isKernel = this.#words[base + KERNEL_MODE] === 1;
    return this.#profiler?.record(timeNs, cpu, this.#words[base + TASK], isKernel, stack, depth, weight) ?? false;
  }

  /** Copies the stack of `cpu`, until two looks in a row agree; returns its depth. */
  #look(cpu: CpuId): number {
    let depth = this.#copy(cpu, this.#snapshot);
    for (let attempt = 1; attempt < SNAPSHOT_ATTEMPTS; attempt++) {
      const again = this.#copy(cpu, this.#check);
      if (again === depth && isPrefixEqual(this.#snapshot, this.#check, depth)) return depth;
      this.#snapshot.set(this.#check);
      depth = again;
    }
    return depth;
  }

  #copy(cpu: CpuId, out: Int32Array): number {
    const depth = Math.min(Atomics.load(this.#words, cpu * this.#stride + DEPTH), this.#maxDepth);
    const stack = this.#stacks[cpu];
    for (let frame = 0; frame < depth; frame++) out[frame] = stack[frame];
    return depth;
  }
}

function nextInstant(nowNs: number, intervalNs: number): number {
  return (Math.floor(nowNs / intervalNs) + 1) * intervalNs;
}

function isPrefixEqual(a: Int32Array, b: Int32Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}
