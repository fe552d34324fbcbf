import type { CpuId, Hal } from "@x/smp";
import type { Scheduler } from "@x/preempt";
import { SimError } from "../errors.ts";
import type { ScenarioThread, ThreadStep } from "../experiment/scenario.ts";
import { attributesOf } from "../kernel/threads.ts";

/*
 * Where each thread is in its program, in shared memory because threads migrate:
 *
 *   words    [ connections | waiters | group of thread 1 … | step of thread 1 … | waiting flag of thread 1 … ]
 *   doubles  [ nanoseconds left of the compute step of thread 1 … ]
 *
 * connections, waiters, flags: Atomics, any CPU. Group, step and time left: plain, by the CPU that runs the thread; the run
 * queue's lock, under which it leaves one CPU and enters another, orders them.
 *
 * Waiting for a connection: who waits raises its flag, blocks, and then looks at `connections`; who brings a connection adds
 * to `connections` and then looks for a flag. One of the two sees the other, and whoever lowers the flag wakes the thread.
 */
const CONNECTIONS = 0;
const WAITERS = 1;
const HEADER = 2;
/** More connections than this at once are one burst to whoever waits for them. */
const MOST_CONNECTIONS = 1 << 16;

/** What joins {@link Programs} from another thread. */
export interface ProgramsHandle {
  readonly maxThreads: number;
  readonly words: SharedArrayBuffer;
  readonly doubles: SharedArrayBuffer;
  readonly groups: readonly ScenarioThread[];
}

/** What a thread does next. */
export const Next = { Compute: 0, Sleep: 1, Wait: 2, Remap: 3 } as const;
export type Next = (typeof Next)[keyof typeof Next];

/** The programs of a scenario's threads: compute, sleep, wait for a connection, over and over. */
export class Programs {
  readonly handle: ProgramsHandle;
  readonly #words: Int32Array;
  readonly #leftNs: Float64Array;
  readonly #steps: readonly (readonly ThreadStep[])[];
  readonly #scheduler: Scheduler;
  readonly #hal: Hal;
  readonly #threads: number;
  #wakeNs = 0;
  #remapPages = 0;

  constructor(handle: ProgramsHandle, scheduler: Scheduler, hal: Hal) {
    this.handle = handle;
    this.#words = new Int32Array(handle.words);
    this.#leftNs = new Float64Array(handle.doubles);
    this.#steps = handle.groups.map(({ steps }) => steps);
    this.#scheduler = scheduler;
    this.#hal = hal;
    this.#threads = handle.groups.reduce((sum, group) => sum + group.count, 0);
  }

  static create(groups: readonly ScenarioThread[], scheduler: Scheduler, hal: Hal): Programs {
    const { maxThreads } = scheduler.handle;
    const words = new SharedArrayBuffer((HEADER + 3 * (maxThreads + 1)) * 4);
    const doubles = new SharedArrayBuffer((maxThreads + 1) * 8);
    return new Programs({ maxThreads, words, doubles, groups }, scheduler, hal);
  }

  /** Make the threads; those that have a CPU to run on become runnable at once. `cpus`: how many the machine has. */
  start(cpus: number): number {
    this.handle.groups.forEach((group, index) => {
      const attributes = attributesOf(group, cpus);
      for (let copy = 0; copy < group.count; copy++) {
        const name = group.count === 1 ? group.name : `${group.name}/${copy}`;
        const thread = this.#scheduler.spawn(name, attributes);
        this.#words[this.#group(thread)] = index;
        // Before the first step: every program begins in `advance`.
        this.#words[this.#step(thread)] = group.steps.length - 1;
        this.#scheduler.wake(thread);
      }
    });
    return this.#threads;
  }

  /** The group a thread was made from: its index in the scenario. */
  group(thread: number): number {
    return this.#words[this.#group(thread)];
  }

  /** Nanoseconds that the running thread's compute step has left. */
  leftNs(thread: number): number {
    return this.#leftNs[thread];
  }

  /** The thread has computed. */
  spend(thread: number, elapsedNs: number): void {
    this.#leftNs[thread] = Math.max(0, this.#leftNs[thread] - elapsedNs);
  }

  /** When the thread that `advance` last sent to sleep is to be woken. */
  get wakeNs(): number {
    return this.#wakeNs;
  }

  /** How many pages the thread that `advance` last told to remap is to. */
  get remapPages(): number {
    return this.#remapPages;
  }

  /**
   * The compute step of the running thread is over: take the next steps. On `Sleep` and `Wait` the thread is blocked, and the
   * caller must schedule; on `Remap` it must have the pages forgotten, and advance again.
   */
  advance(thread: number): Next {
    const steps = this.#steps[this.group(thread)];
    if (steps === undefined) throw new SimError("SIM_NO_PROGRESS", `thread ${thread} has no program`);
    for (;;) {
      const at = (this.#words[this.#step(thread)] + 1) % steps.length;
      const step = steps[at];
      if ("awaitConnection" in step) {
        if (this.#takeConnection()) this.#words[this.#step(thread)] = at;
        else if (this.#wait(thread)) return Next.Wait;
        continue;
      }
      this.#words[this.#step(thread)] = at;
      if ("computeUs" in step) {
        this.#leftNs[thread] = step.computeUs * 1000;
        return Next.Compute;
      }
      if ("remapPages" in step) {
        this.#remapPages = step.remapPages;
        return Next.Remap;
      }
      if ("readUs" in step) throw new SimError("SIM_SCENARIO", "a read section on a real thread");
      this.#wakeNs = this.#hal.now() + step.sleepUs * 1000;
      this.#scheduler.block();
      return Next.Sleep;
    }
  }

  /** A connection came into being: wake a thread that waits for one. From any CPU. */
  connection(_cpu: CpuId): void {
    const words = this.#words;
    if (Atomics.load(words, CONNECTIONS) < MOST_CONNECTIONS) Atomics.add(words, CONNECTIONS, 1);
    if (Atomics.load(words, WAITERS) === 0) return;
    for (let thread = 1; thread <= this.#threads; thread++) {
      if (!this.#lowerFlag(thread)) continue;
      this.#scheduler.wake(thread);
      return;
    }
  }

  #takeConnection(): boolean {
    for (let count = Atomics.load(this.#words, CONNECTIONS); count > 0;) {
      const seen = Atomics.compareExchange(this.#words, CONNECTIONS, count, count - 1);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  /** Block the running thread; false when a connection came meanwhile and it runs on. */
  #wait(thread: number): boolean {
    Atomics.add(this.#words, WAITERS, 1);
    Atomics.store(this.#words, this.#flag(thread), 1);
    this.#scheduler.block();
    if (Atomics.load(this.#words, CONNECTIONS) === 0 || !this.#lowerFlag(thread)) return true;
    this.#scheduler.wake(thread);
    return false;
  }

  #lowerFlag(thread: number): boolean {
    if (Atomics.load(this.#words, this.#flag(thread)) === 0) return false;
    if (Atomics.compareExchange(this.#words, this.#flag(thread), 1, 0) === 0) return false;
    Atomics.sub(this.#words, WAITERS, 1);
    return true;
  }

  #group(thread: number): number {
    return HEADER + thread;
  }

  #step(thread: number): number {
    return HEADER + this.handle.maxThreads + 1 + thread;
  }

  #flag(thread: number): number {
    return HEADER + 2 * (this.handle.maxThreads + 1) + thread;
  }
}
