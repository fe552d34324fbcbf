import { CpuMask, type CpuId } from "@x/smp";
import { ThreadAttributes, type Preempt, type Scheduler } from "@x/preempt";
import type { Rcu } from "@x/rcu";
import { SimError } from "../errors.ts";
import type { ScenarioThread, ThreadStep } from "../experiment/scenario.ts";
import type { Machine } from "../machine/machine.ts";
import type { Translation } from "./translation.ts";

/** How often a thread that waits for a shootdown looks whether it is over. */
const SHOOTDOWN_POLL_NS = 200;
const PRIORITIES = { low: 0, normal: 1, high: 2, critical: 3 } as const;

/** Where a thread is in its program. */
interface Program {
  readonly steps: readonly ThreadStep[];
  /** Index of its group, which is its address space. */
  readonly group: number;
  /** Pages it works on. */
  readonly pages: number;
  at: number;
  /** What is left of the compute step under way. */
  remainingNs: number;
  /** In a read section of RCU: until the compute step under way is over. */
  reading: boolean;
  /** The shootdown it waits for, and when that began; -1: none. */
  ticket: number;
  ticketNs: number;
}

/** The parts of the kernel that threads run on. */
export interface ThreadParts {
  readonly machine: Machine;
  readonly scheduler: Scheduler;
  readonly preempt: Preempt;
  readonly rcu: Rcu;
  readonly translation: Translation;
}

/**
 * Threads as programs: compute, sleep, wait for a connection, over and over. A compute step can be cut by interrupts and
 * preempted; what is left of it goes on later, perhaps elsewhere. One in a read section of RCU is not preempted.
 */
export class ThreadPrograms {
  /** Connections that no waiting thread has taken, bounded: more than this many at once are one burst to a daemon. */
  #connections = 0;
  readonly #programs: (Program | undefined)[] = [undefined];
  readonly #waiting: number[] = [];
  readonly #machine: Machine;
  readonly #scheduler: Scheduler;
  readonly #preempt: Preempt;
  readonly #rcu: Rcu;
  readonly #timer: number;
  readonly #translation: Translation;

  /** `timer` is the id under which the supervisor passes timer expiries back to {@link ThreadPrograms.wake}. */
  constructor({ machine, scheduler, preempt, rcu, translation }: ThreadParts, timer: number) {
    this.#translation = translation;
    this.#machine = machine;
    this.#scheduler = scheduler;
    this.#preempt = preempt;
    this.#rcu = rcu;
    this.#timer = timer;
  }

  /** Create a scenario's threads; they become runnable at once. */
  start(threads: readonly ScenarioThread[], cpus: number, onStart: (thread: number, name: string) => void): number {
    let started = 0;
    for (const [group, thread] of threads.entries()) {
      const attributes = attributesOf(thread, cpus);
      for (let copy = 0; copy < thread.count; copy++) {
        const name = thread.count === 1 ? thread.name : `${thread.name}/${copy}`;
        const id = this.#scheduler.spawn(name, attributes);
        // An empty compute step stands before the first step, so that every program begins in `advance`.
        const { steps, pages } = thread;
        const at = steps.length - 1;
        this.#programs[id] = { steps, group, pages, at, remainingNs: 0, reading: false, ticket: -1, ticketNs: 0 };
        onStart(id, thread.name);
        this.#scheduler.wake(id);
        started++;
      }
    }
    return started;
  }

  /** A timer of a sleeping thread ran out. */
  wake(thread: number): void {
    this.#scheduler.wake(thread);
  }

  /** A connection came into being: wake a thread that waits for one. */
  connection(): void {
    const thread = this.#waiting.shift();
    if (thread === undefined) this.#connections = Math.min(this.#connections + 1, 1 << 16);
    else this.#scheduler.wake(thread);
  }

  /** The thread leaves its CPU with `leftNs` of its compute step. */
  save(thread: number, leftNs: number): void {
    const program = this.#programs[thread];
    if (program !== undefined) program.remainingNs = leftNs;
  }

  /** The thread is on `cpu`: let it compute what is left of its step. */
  resume(thread: number, cpu: CpuId): void {
    const program = this.#programs[thread];
    if (program === undefined) throw new SimError("SIM_NO_PROGRESS", `thread ${thread} has no program`);
    // It works on its pages again, which this CPU may not remember.
    this.#machine.setPhase(cpu, program.remainingNs + this.#translation.work(thread, program.pages));
  }

  /** The address space of a thread; -1 for none. */
  space(thread: number): number {
    return this.#programs[thread]?.group ?? -1;
  }

  /** The compute step of the running thread is over: take the next steps. True when the thread still computes. */
  advance(thread: number, cpu: CpuId): boolean {
    const program = this.#programs[thread];
    if (program === undefined) throw new SimError("SIM_NO_PROGRESS", `thread ${thread} has no program`);
    if (program.reading) this.#endReading(program);
    for (;;) {
      if (program.ticket >= 0 && !this.#isRemapped(program, cpu)) return true;
      program.at = (program.at + 1) % program.steps.length;
      const step = program.steps[program.at];
      if ("computeUs" in step || "readUs" in step) {
        if ("readUs" in step) this.#beginReading(program);
        program.remainingNs = ("readUs" in step ? step.readUs : step.computeUs) * 1000;
        this.#machine.setPhase(cpu, program.remainingNs + this.#translation.work(thread, program.pages));
        return true;
      }
      if ("remapPages" in step) {
        program.ticketNs = this.#machine.timeNs[cpu];
        program.ticket = this.#translation.unmap(program.group, thread, step.remapPages);
        continue;
      }
      program.remainingNs = 0;
      if ("sleepUs" in step) {
        this.#machine.startTimer(this.#machine.timeNs[cpu] + step.sleepUs * 1000, this.#timer, thread);
        return false;
      }
      if (this.#connections === 0) {
        this.#waiting.push(thread);
        return false;
      }
      this.#connections--;
    }
  }

  #beginReading(program: Program): void {
    this.#preempt.disable();
    this.#rcu.readLock();
    program.reading = true;
  }

  #endReading(program: Program): void {
    program.reading = false;
    this.#rcu.readUnlock();
    this.#preempt.enable();
  }

  /** Whether the shootdown that a thread waits for is over; if not, it spins on. */
  #isRemapped(program: Program, cpu: CpuId): boolean {
    if (!this.#translation.isOver(program.ticket, program.ticketNs)) {
      this.#machine.setPhase(cpu, SHOOTDOWN_POLL_NS);
      return false;
    }
    program.ticket = -1;
    return true;
  }
}

/** Priority and affinity of a group, on a machine of `cpus` CPUs. */
export function attributesOf(thread: ScenarioThread, cpus: number): ThreadAttributes {
  const attributes = new ThreadAttributes().withPriority(PRIORITIES[thread.priority]);
  if (thread.cpus === undefined) return attributes;
  return attributes.withAffinityMask(CpuMask.parseList(thread.cpus, cpus));
}
