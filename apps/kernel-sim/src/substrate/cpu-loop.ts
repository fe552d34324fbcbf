import { IpiType, type CpuId, type WorkerHal } from "@x/smp";
import { SLOT, type Core } from "./core.ts";
import type { CpuClock } from "./cpu-clock.ts";
import type { KernelSymbols } from "../kernel/symbols.ts";
import type { Proxy } from "./proxy.ts";
import type { ReceivePath } from "./receive-path.ts";
import type { ThreadRunner } from "./thread-runner.ts";

/** Payload of the generic interrupt that says: the traffic begins. */
export const BEGIN = 1;
/** The longest sleep of an idle CPU; a kick ends it at once. */
const IDLE_NS = 100e6;
/** Packets go before threads for this long in a row (Linux: MAX_SOFTIRQ_TIME); then threads get a slice. */
const SOFTIRQ_NS = 2e6;
/** Ticks of CPU 0 between two sweeps for connections that timed out, and connections of one sweep. */
const EXPIRE_TICKS = 16;
const EXPIRE_BATCH = 64;

export interface CpuLoopOptions {
  readonly hal: WorkerHal;
  readonly core: Core;
  readonly cpu: CpuId;
  readonly clock: CpuClock;
  readonly proxy: Proxy;
  readonly receive: ReceivePath;
  readonly runner: ThreadRunner;
  readonly symbols: KernelSymbols;
  readonly tickNs: number;
}

/**
 * What a CPU does all day, most urgent first: interrupts, ticks and timers, received packets, threads, sleep. Threads get a
 * slice now and then even while packets keep coming, or a saturated CPU would starve them. A CPU that sleeps is out of the way of grace periods and gets no ticks; it wakes for packets, interrupts and timers.
 */
export class CpuLoop {
  readonly #o: CpuLoopOptions;
  #halted = false;
  #polling = false;
  #lastTickNs = 0;
  /** When threads, if there were any, had their last turn. */
  #threadsNs = 0;

  constructor(options: CpuLoopOptions) {
    this.#o = options;
    // A reschedule interrupt needs nothing here: its flag is looked at on every turn.
    options.core.ipis
      .on(IpiType.Halt, () => (this.#halted = true))
      .on(IpiType.Generic, (_type, payload) => {
        if (payload === BEGIN) options.clock.begin();
      });
  }

  /** Run until another CPU says halt. */
  run(): void {
    const { core, cpu, clock, receive, hal } = this.#o;
    core.rcu.online();
    core.scheduler.activate(cpu);
    this.#lastTickNs = hal.now();
    while (!this.#halted) this.#turn();
    receive.finish();
    clock.enter("system");
    core.rcu.offline();
    core.ipis.offline();
  }

  #turn(): void {
    const { hal, core, cpu, runner } = this.#o;
    const kicks = hal.kicks();
    if (core.ipis.pending()) this.#interrupt();
    const nowNs = hal.now();
    if (nowNs - this.#lastTickNs >= this.#o.tickNs) this.#tick(nowNs);
    runner.wake(nowNs);
    const received = this.#receive();
    if (received && nowNs - this.#threadsNs < SOFTIRQ_NS) return;
    const { scheduler, preempt } = core;
    const idles = scheduler.current(cpu) === 0;
    if (preempt.shouldReschedule() || (idles && scheduler.queued(cpu) > 0)) runner.schedule(false);
    if (scheduler.current(cpu) !== 0) runner.run(!received);
    else if (!received && !this.#halted && scheduler.balance(cpu) === 0) this.#sleep(kicks);
    this.#threadsNs = hal.now();
    core.rcu.quiescent();
  }

  #interrupt(): void {
    const { core, clock, cpu, symbols } = this.#o;
    clock.enter("hardirq");
    core.stack.enterOn(cpu, symbols.callFunction);
    core.ipis.receive();
    clock.enter("system");
    core.stack.leaveOn(cpu);
  }

  /** Time is charged to threads as they run; the tick only looks whether the slice is used up. */
  #tick(nowNs: number): void {
    const { core, clock, cpu, symbols, proxy } = this.#o;
    this.#lastTickNs = nowNs;
    clock.enter("hardirq");
    core.stack.enterOn(cpu, symbols.timer);
    core.counters.addOn(cpu, SLOT.ticks, 1);
    core.scheduler.tick(0);
    if (cpu === 0 && core.counters.read(0, SLOT.ticks) % EXPIRE_TICKS === 0) {
      proxy.dataplane.expire(nowNs, EXPIRE_BATCH);
    }
    clock.enter("system");
    core.stack.leaveOn(cpu);
  }

  /** Whether packets were processed. The first pass after one that found nothing stands for the card's interrupt. */
  #receive(): boolean {
    const { core, clock, cpu, receive, symbols } = this.#o;
    if (!receive.pending) {
      this.#polling = false;
      return false;
    }
    if (!this.#polling) core.counters.addOn(cpu, SLOT.interrupts, 1);
    this.#polling = true;
    clock.enter("softirq");
    core.stack.enterOn(cpu, symbols.netRx);
    receive.poll();
    clock.enter("system");
    core.stack.leaveOn(cpu);
    core.rcu.quiescent();
    return true;
  }

  #sleep(kicks: number): void {
    const { hal, core, clock, runner, tickNs } = this.#o;
    const nowNs = clock.enter("idle");
    const longestNs = core.rcu.pendingCallbacks() > 0 ? tickNs : IDLE_NS;
    core.rcu.offline();
    hal.waitForKick(kicks, Math.max(0, Math.min(longestNs, runner.nextWakeNs - nowNs)));
    core.rcu.online();
    clock.enter("system");
  }
}
