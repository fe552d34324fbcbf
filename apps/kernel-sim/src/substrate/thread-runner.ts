import type { CpuId } from "@x/smp";
import { SLOT, type Core } from "./core.ts";
import type { CpuClock } from "./cpu-clock.ts";
import { Next, type Programs } from "./programs.ts";
import type { KernelSymbols } from "../kernel/symbols.ts";
import { THREAD_PAGES } from "../kernel/translation.ts";

/** The longest a thread computes before the CPU looks at everything else. */
const SLICE_NS = 50_000;
/** Rounds of arithmetic between two looks at the clock, the preemption point and the receive queues: about a microsecond. */
const ROUNDS = 512;

export interface ThreadRunnerOptions {
  readonly core: Core;
  readonly cpu: CpuId;
  readonly clock: CpuClock;
  readonly programs: Programs;
  readonly symbols: KernelSymbols;
  /** Symbol of each group of threads. */
  readonly groupSymbols: readonly number[];
  /** Something more urgent than threads waits. */
  readonly interrupted: () => boolean;
}

/** Runs scheduled threads on one CPU, cooperatively: compute steps burn the host's time in slices. */
export class ThreadRunner {
  readonly #o: ThreadRunnerOptions;
  /** Threads that this CPU put to sleep, and when to wake them; in no order. They wake wherever the scheduler wants. */
  readonly #sleepers: { readonly thread: number; readonly wakeNs: number }[] = [];
  #nextWakeNs = Infinity;
  #state = 1;
  /** The address space this CPU has entered last; -1: none. */
  #space = -1;

  constructor(options: ThreadRunnerOptions) {
    this.#o = options;
  }

  /** When the first sleeper is due; Infinity: nobody sleeps. */
  get nextWakeNs(): number {
    return this.#nextWakeNs;
  }

  /** Wake the sleepers that are due. */
  wake(nowNs: number): void {
    if (nowNs < this.#nextWakeNs) return;
    this.#nextWakeNs = Infinity;
    for (let index = this.#sleepers.length - 1; index >= 0; index--) {
      const { thread, wakeNs } = this.#sleepers[index];
      if (wakeNs > nowNs) {
        this.#nextWakeNs = Math.min(this.#nextWakeNs, wakeNs);
        continue;
      }
      this.#sleepers[index] = this.#sleepers[this.#sleepers.length - 1];
      this.#sleepers.pop();
      this.#o.core.scheduler.wake(thread);
    }
  }

  /** Let the scheduler choose; the bottom of the CPU's stack is the thread it runs, none while it idles. */
  schedule(voluntary: boolean): void {
    const { core, cpu, clock, programs, symbols, groupSymbols } = this.#o;
    const { scheduler, stack, rcu, counters } = core;
    const previous = scheduler.current(cpu);
    clock.sample();
    stack.enterOn(cpu, symbols.schedule);
    const next = scheduler.schedule(voluntary);
    rcu.quiescent();
    clock.sample();
    stack.unwind(0);
    if (next !== 0) stack.enterOn(cpu, groupSymbols[programs.group(next)]);
    stack.setContext(next, true);
    if (next === previous) return;
    counters.addOn(cpu, SLOT.switches, 1);
    this.#switchSpace(next === 0 ? -1 : programs.group(next));
  }

  /** Let the running thread go on, for a slice at most; `yielding`: only until something more urgent waits. */
  run(yielding: boolean): void {
    const { core, cpu, clock, programs } = this.#o;
    const { scheduler, stack } = core;
    const thread = scheduler.current(cpu);
    if (programs.leftNs(thread) === 0 && !this.#nextStep(thread)) return;
    stack.setContext(thread, false);
    const startNs = clock.enter("user");
    const asked = this.#burn(startNs + Math.min(SLICE_NS, programs.leftNs(thread)), yielding);
    const elapsedNs = clock.enter("system") - startNs;
    stack.setContext(thread, true);
    programs.spend(thread, elapsedNs);
    scheduler.account(elapsedNs);
    if (asked) this.schedule(false);
  }

  /** Whether the thread computes now; else another one has been scheduled. */
  #nextStep(thread: number): boolean {
    const { programs } = this.#o;
    let next = programs.advance(thread);
    for (; next === Next.Remap; next = programs.advance(thread)) this.#remap(thread);
    if (next === Next.Compute) return true;
    if (next === Next.Sleep) {
      this.#sleepers.push({ thread, wakeNs: programs.wakeNs });
      this.#nextWakeNs = Math.min(this.#nextWakeNs, programs.wakeNs);
    }
    this.schedule(true);
    return false;
  }

  /** Returns when every CPU has forgotten the pages. */
  #remap(thread: number): void {
    const { core, programs } = this.#o;
    const startNs = core.hal.now();
    core.shootdown.invalidate(programs.group(thread), thread * THREAD_PAGES, programs.remapPages);
    core.shootdownLatency.record(Math.round(core.hal.now() - startNs));
  }

  /** Enter the address space of the thread that runs now; an idle CPU keeps the one it had, and is not interrupted for it. */
  #switchSpace(space: number): void {
    const { shootdown } = this.#o.core;
    if (space < 0) {
      if (this.#space >= 0) shootdown.lazy();
      return;
    }
    if (space !== this.#space) {
      if (this.#space >= 0) shootdown.leave(this.#space);
      shootdown.enter(space);
      this.#space = space;
    }
    if (shootdown.isLazy(this.#o.cpu)) shootdown.resume();
  }

  /** Compute until `endNs`, or until something else is asked for. True when that is a reschedule. */
  #burn(endNs: number, yielding: boolean): boolean {
    const { core, interrupted } = this.#o;
    const { hal, preempt } = core;
    for (;;) {
      this.#compute();
      if (preempt.check()) return true;
      if (hal.now() >= endNs || (yielding && interrupted())) return false;
    }
  }

  /** Marsaglia's xorshift: arithmetic that no compiler can leave out, because the next round needs it. */
  #compute(): void {
    let state = this.#state;
    for (let round = 0; round < ROUNDS; round++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    this.#state = state;
  }
}
