import type { CpuId, Hal } from "@x/smp";
import { CallbackRing, type RcuFreeTarget, type RcuWork } from "./callback-ring.ts";
import { RcuError } from "./errors.ts";
import type { GracePeriods } from "./grace-periods.ts";
import type { RcuObserver } from "./observer.ts";
import { callSite } from "./section-sites.ts";
import { ended } from "./sequence.ts";

/** Offsets that go to a target at once. */
const BULK = 64;

export interface CallbacksOptions {
  readonly hal: Hal;
  readonly periods: GracePeriods;
  readonly observer: RcuObserver | undefined;
  readonly cpus: number;
  readonly capacity: number;
  /** Remember where each callback was queued. */
  readonly debug: boolean;
}

/** The rings of the CPUs that this thread plays, and running what is due in them. */
export class Callbacks {
  readonly #hal: Hal;
  readonly #periods: GracePeriods;
  readonly #observer: RcuObserver | undefined;
  readonly #capacity: number;
  readonly #debug: boolean;
  readonly #rings: (CallbackRing | undefined)[];
  readonly #bulk = new Int32Array(BULK);

  constructor(options: CallbacksOptions) {
    this.#hal = options.hal;
    this.#periods = options.periods;
    this.#observer = options.observer;
    this.#capacity = options.capacity;
    this.#debug = options.debug;
    this.#rings = Array.from({ length: options.cpus }, () => undefined);
  }

  /** Make the ring of `cpu`, so that nothing is allocated later. */
  ring(cpu: CpuId): CallbackRing {
    return (this.#rings[cpu] ??= new CallbackRing(this.#capacity, this.#debug));
  }

  pending(cpu: CpuId): number {
    return this.#rings[cpu]?.count ?? 0;
  }

  /** Whether something of `cpu` may run now. */
  due(cpu: CpuId): boolean {
    const ring = this.#rings[cpu];
    return ring !== undefined && ring.count !== 0 && ended(ring.oldest(), this.#periods.completed());
  }

  /** Queue on the calling CPU; false when its ring is full and stays so. */
  push(work: RcuWork, argument: number): boolean {
    const cpu = this.#hal.currentCpu();
    const ring = this.ring(cpu);
    if (ring.full) {
      this.#periods.advance();
      this.invoke(Infinity);
      if (ring.full) return false;
    }
    const shared = ring.count !== 0 && this.#periods.isNext(ring.newest());
    const sequence = shared ? ring.newest() : this.#periods.request();
    ring.push(work, argument, sequence, this.#debug ? callSite() : undefined);
    this.#periods.countQueued(cpu);
    return true;
  }

  /** Run at most `limit` of the calling CPU that are due, oldest first. Returns how many ran. */
  invoke(limit: number): number {
    const cpu = this.#hal.currentCpu();
    const ring = this.#rings[cpu];
    if (ring === undefined || ring.count === 0 || ring.running) return 0;
    if (!this.due(cpu)) {
      this.#periods.advance();
      if (!this.due(cpu)) return 0;
    }
    const most = Math.min(limit, ring.count);
    let ran = 0;
    ring.running = true;
    try {
      while (ran < most && ended(ring.oldest(), this.#periods.completed()))
        ran += this.#runOldest(cpu, ring, most - ran);
    } finally {
      ring.running = false;
    }
    return ran;
  }

  /** Run the oldest, and those behind it that go to the same target. They are gone and count as run even if they throw. */
  #runOldest(cpu: CpuId, ring: CallbackRing, most: number): number {
    const work = ring.oldestWork();
    const site = ring.oldestSite();
    let count = 1;
    let argument = NaN;
    try {
      if (typeof work === "function") {
        this.#observer?.onCallback?.(cpu);
        argument = ring.shift();
        work(argument);
      } else {
        count = this.#gather(cpu, ring, work, most);
        argument = this.#bulk[0];
        freeAll(work, this.#bulk, count);
      }
    } catch (cause) {
      this.#report(cpu, work, argument, site, cause);
    } finally {
      this.#periods.countInvoked(cpu, count);
    }
    return count;
  }

  #gather(cpu: CpuId, ring: CallbackRing, target: RcuFreeTarget, most: number): number {
    const limit = Math.min(most, BULK);
    const completed = this.#periods.completed();
    let count = 0;
    while (count < limit && ring.count !== 0 && ring.oldestWork() === target && ended(ring.oldest(), completed)) {
      this.#observer?.onCallback?.(cpu);
      this.#bulk[count++] = ring.shift();
    }
    return count;
  }

  #report(cpu: CpuId, work: RcuWork, argument: number, site: string | undefined, cause: unknown): void {
    const name = typeof work === "function" ? work.name || "(anonymous)" : "free";
    const queued = site === undefined ? "" : `, queued at ${site},`;
    const thrown = cause instanceof Error ? cause.message : String(cause);
    const message = `callback ${name}(${argument})${queued} threw on CPU ${cpu}: ${thrown}`;
    const error = new RcuError("RCU_CALLBACK_THREW", message, {}, { cause });
    if (this.#observer?.onCallbackError === undefined) throw error;
    this.#observer.onCallbackError(error, cpu);
  }
}

function freeAll(target: RcuFreeTarget, offsets: Int32Array, count: number): void {
  if (target.freeBulk !== undefined) target.freeBulk(offsets, count);
  else for (let index = 0; index < count; index++) target.free(offsets[index]);
}
