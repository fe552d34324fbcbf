import { blockOn } from "./block-on.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal, WaitResult } from "./hal.ts";
import { MAX_CPUS, PADDING_BYTES } from "./layout.ts";

/*
 * One padded line per CPU:
 *
 *   word 0  kicks      any CPU, Atomics.add; the owner waits on it
 *   word 1  sleepers   the owner, Atomics: waits for a kick that have begun and not ended
 *
 * A sleeper announces itself and then compares `kicks`; who kicks adds to `kicks` and then looks for sleepers. One of the
 * two sees the other, so `notify` is only paid for where somebody may sleep.
 */
const STRIDE_WORDS = PADDING_BYTES / 4;
const KICKS = 0;
const SLEEPERS = 1;
/** The longest a blocked CPU goes without serving, where it has something to serve. */
const SERVE_INTERVAL_NS = 1e6;
/** Turns a spinning CPU makes before it gives its host core away for a moment. */
const SPINS_BEFORE_YIELD = 128;
const YIELD_MS = 0.05;
const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => undefined);
/** A private word nobody notifies: waiting on it is a short sleep. */
const nobody = new Int32Array(new SharedArrayBuffer(4));
const canBlock = canThisThreadBlock();
/** `process.hrtime` where there is one: Node.js, Deno, Bun. */
type HighResolutionTime = () => [seconds: number, nanoseconds: number];
const hrtime: HighResolutionTime | undefined = (globalThis as { process?: { hrtime?: HighResolutionTime } }).process
  ?.hrtime;
/** Readings of both clocks, of which the one with the least time between counts. */
const CLOCK_READINGS = 5;

/** What `Atomics.waitAsync` gives (ES2024, present in Node.js since 16). */
type WaitAsync = (
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
) => { readonly async: boolean; readonly value: WaitResult | Promise<WaitResult> };

/**
 * What `postMessage` carries to join a {@link WorkerHal} from another thread.
 *
 * @public
 */
export interface WorkerHalHandle {
  readonly possibleCpus: number;
  /** Second of the shared clock from which {@link WorkerHal.now} counts. */
  readonly originSecond: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The machine whose CPUs are JavaScript threads (worker threads, web workers). One instance per thread. Times of different
 * CPUs can be compared.
 *
 * @public
 */
export class WorkerHal implements Hal {
  readonly possibleCpus: number;
  readonly handle: WorkerHalHandle;
  readonly #cpu: CpuId;
  readonly #words: Int32Array;
  readonly #clockOffsetNs: number;
  #serve: (() => void) | undefined;

  private constructor(handle: WorkerHalHandle, cpu: CpuId) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= handle.possibleCpus) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${handle.possibleCpus} possible CPUs`);
    }
    this.handle = handle;
    this.possibleCpus = handle.possibleCpus;
    this.#cpu = cpu;
    this.#words = new Int32Array(handle.memory);
    this.#clockOffsetNs = sharedClockOffsetNs(handle.originSecond);
  }

  /** Make the shared part; the caller becomes `cpu` (0 unless told otherwise). */
  static create(options: { readonly possibleCpus: number; readonly cpu?: CpuId }): WorkerHal {
    const { possibleCpus, cpu = 0 } = options;
    if (!Number.isInteger(possibleCpus) || possibleCpus < 1 || possibleCpus > MAX_CPUS) {
      throw new SmpError("SMP_TOO_MANY_CPUS", `possibleCpus is ${possibleCpus}; 1 to ${MAX_CPUS} are possible`);
    }
    const memory = new SharedArrayBuffer(possibleCpus * PADDING_BYTES);
    return new WorkerHal({ possibleCpus, originSecond: sharedClockSecond(), memory }, cpu);
  }

  /** Join from another thread as `cpu`. A CPU must be attached by one thread at a time. */
  static attach(handle: WorkerHalHandle, options: { readonly cpu: CpuId }): WorkerHal {
    return new WorkerHal(handle, options.cpu);
  }

  currentCpu(): CpuId {
    return this.#cpu;
  }

  now(): number {
    return performance.now() * 1e6 + this.#clockOffsetNs;
  }

  relax(spins: number): void {
    if (this.#serve !== undefined) this.#serve();
    if ((spins + 1) % SPINS_BEFORE_YIELD !== 0 || !canBlock) pause();
    else Atomics.wait(nobody, 0, 0, YIELD_MS);
  }

  kick(cpu: CpuId): void {
    const at = cpu * STRIDE_WORDS;
    Atomics.add(this.#words, at + KICKS, 1);
    if (Atomics.load(this.#words, at + SLEEPERS) !== 0) Atomics.notify(this.#words, at + KICKS);
  }

  /** Kicks this CPU has received so far; read it before looking for work, then pass it to {@link WorkerHal.waitForKick}. */
  kicks(): number {
    return Atomics.load(this.#words, this.#cpu * STRIDE_WORDS + KICKS);
  }

  /** Sleep until a kick newer than `seen` arrives, at most `timeoutNs`. Throws `SMP_CANNOT_BLOCK` where that cannot be. */
  waitForKick(seen: number, timeoutNs: number): WaitResult {
    const at = this.#cpu * STRIDE_WORDS;
    Atomics.add(this.#words, at + SLEEPERS, 1);
    try {
      return blockOn(this.#words, at + KICKS, seen, timeoutNs);
    } finally {
      Atomics.sub(this.#words, at + SLEEPERS, 1);
    }
  }

  /**
   * As {@link WorkerHal.waitForKick}, while the thread's event loop goes on. Rejects with `SMP_CANNOT_BLOCK` where the engine
   * has no `Atomics.waitAsync`.
   */
  async waitForKickAsync(seen: number, timeoutNs: number): Promise<WaitResult> {
    const { waitAsync } = Atomics as unknown as { waitAsync?: WaitAsync };
    if (waitAsync === undefined) throw new SmpError("SMP_CANNOT_BLOCK", "this engine has no Atomics.waitAsync");
    const at = this.#cpu * STRIDE_WORDS;
    Atomics.add(this.#words, at + SLEEPERS, 1);
    try {
      return await waitAsync(this.#words, at + KICKS, seen, timeoutNs / 1e6).value;
    } finally {
      Atomics.sub(this.#words, at + SLEEPERS, 1);
    }
  }

  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
    if (this.#serve === undefined) return blockOn(words, index, expected, timeoutNs);
    // A kick does not end a wait on another word, so the wait is cut into pieces, with a look at the mailbox after each.
    for (let leftNs = timeoutNs; ; leftNs -= SERVE_INTERVAL_NS) {
      this.#serve();
      const result = blockOn(words, index, expected, Math.min(leftNs, SERVE_INTERVAL_NS));
      if (result !== "timed-out" || leftNs <= SERVE_INTERVAL_NS) return result;
    }
  }

  serveWhileWaiting(serve: (() => void) | undefined): void {
    this.#serve = serve;
  }

  wake(words: Int32Array, index: number, count: number): number {
    return Atomics.notify(words, index, count);
  }
}

/** `Atomics.wait` throws on threads that must not block (a browser's main thread), whatever the word holds. */
function canThisThreadBlock(): boolean {
  try {
    Atomics.wait(nobody, 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** The second in which the clock that all threads share stands now: the origin of the times they exchange. */
function sharedClockSecond(): number {
  return Math.floor(sharedSeconds()[0]);
}

/**
 * What to add to `performance.now() * 1e6`, whose origin is each thread's own, to get nanoseconds since `originSecond` of
 * the clock that all threads share. Found once per thread, because the shared clock is slow to read: in Node.js right to
 * well under a microsecond, in browsers as right as `performance.timeOrigin`.
 */
function sharedClockOffsetNs(originSecond: number): number {
  let bestGapNs = Infinity;
  let offsetNs = 0;
  for (let attempt = 0; attempt < CLOCK_READINGS; attempt++) {
    const beforeNs = performance.now() * 1e6;
    const [seconds, nanoseconds] = sharedSeconds();
    const gapNs = performance.now() * 1e6 - beforeNs;
    if (gapNs >= bestGapNs) continue;
    bestGapNs = gapNs;
    offsetNs = (seconds - originSecond) * 1e9 + nanoseconds - (beforeNs + gapNs / 2);
  }
  return offsetNs;
}

function sharedSeconds(): [seconds: number, nanoseconds: number] {
  return hrtime?.() ?? [(performance.timeOrigin + performance.now()) / 1e3, 0];
}
