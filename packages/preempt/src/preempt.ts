import { PerCpuData, soloHal, type CpuId, type Hal, type PerCpuDataHandle } from "@x/smp";
import { PreemptError } from "./errors.ts";
import { StatsWords, type PreemptStats } from "./preempt-stats.ts";

const DEFAULT_CHECK_INTERVAL = 16;
const MAX_CHECK_INTERVAL = 1 << 16;

/**
 * What happens to preemption. Each callback runs on the CPU that caused the event.
 *
 * @public
 */
export interface PreemptObserver {
  /** `cpu` was asked to reschedule, and had not been asked already. */
  onNeedResched?(cpu: CpuId, from: CpuId): void;
  /** `cpu` acts on the request, `latencyNs` after it. */
  onReschedule?(cpu: CpuId, latencyNs: number): void;
  /** The latency of a request exceeded `latencyLimitNs`. */
  onLatencyLimit?(cpu: CpuId, latencyNs: number): void;
  /** With `traceSections`: preemption on `cpu` was disabled for `durationNs`. */
  onSection?(cpu: CpuId, durationNs: number): void;
}

/**
 * What one thread may pass to {@link Preempt.create} and {@link Preempt.attach}.
 *
 * @public
 */
export interface PreemptJoin {
  readonly observer?: PreemptObserver | undefined;
  /** The scheduler's entry: called on the CPU that must reschedule, with `need_resched` cleared already. */
  readonly onReschedule?: ((cpu: CpuId) => void) | undefined;
}

/**
 * Options of {@link Preempt.create}.
 *
 * @public
 */
export interface PreemptOptions extends PreemptJoin {
  readonly hal?: Hal;
  /** Where the nesting counts and flags live; made when left out. */
  readonly perCpu?: PerCpuData | undefined;
  /**
   * `check` looks at the shared flag once in this many calls, 1 to 65536, default 16, so that most cost no atomic load.
   * A request made through this object (on any CPU it serves) is seen by the very next call whatever the interval.
   */
  readonly checkInterval?: number;
  /** Latency above which `onLatencyLimit` is told. Default Infinity. */
  readonly latencyLimitNs?: number;
  /** Measure every preempt-disabled section: two clock readings per outermost section. Default false. */
  readonly traceSections?: boolean;
}

/**
 * What joins a {@link Preempt} from another thread.
 *
 * @public
 */
export interface PreemptHandle {
  readonly perCpu: PerCpuDataHandle;
  readonly checkInterval: number;
  readonly latencyLimitNs: number;
  readonly traceSections: boolean;
  readonly memory: SharedArrayBuffer;
}

/**
 * Preemption of cooperative code: sections that must not be preempted, points where it may be, and the flag by which
 * any CPU asks another to reschedule.
 *
 * Every count is per CPU. One object per thread; it may serve several CPUs when one thread plays them in turn.
 * Thread-safety: methods without a `cpu` act on the calling CPU; `setNeedResched` may come from anywhere.
 *
 * @public
 */
export class Preempt {
  /** What another thread attaches with: plain data and shared memory. */
  readonly handle: PreemptHandle;
  /** The machine this thread attached with. */
  readonly hal: Hal;
  /** The per-CPU words that hold counts and flags. */
  readonly perCpu: PerCpuData;
  readonly #stats: StatsWords;
  readonly #observer: PreemptObserver | undefined;
  /** Calls of `check` until the next look at the flag, by CPU. Private to the thread. */
  readonly #countdown: Int32Array;
  readonly #checkInterval: number;
  readonly #traceSections: boolean;
  readonly #guard: Disposable = { [Symbol.dispose]: () => this.enable() };
  #onReschedule: ((cpu: CpuId) => void) | undefined;

  private constructor(handle: PreemptHandle, hal: Hal, perCpu: PerCpuData, join: PreemptJoin) {
    this.handle = handle;
    this.hal = hal;
    this.perCpu = perCpu;
    this.#stats = new StatsWords(handle.memory);
    this.#observer = join.observer;
    this.#onReschedule = join.onReschedule;
    this.#countdown = new Int32Array(handle.perCpu.possibleCpus);
    this.#checkInterval = handle.checkInterval;
    this.#traceSections = handle.traceSections;
  }

  /** Make the shared part. Throws `PREEMPT_INVALID_ARGUMENT` for options out of range. */
  static create(options: PreemptOptions = {}): Preempt {
    const { hal = soloHal(), checkInterval = DEFAULT_CHECK_INTERVAL, latencyLimitNs = Infinity } = options;
    if (!Number.isInteger(checkInterval) || checkInterval < 1 || checkInterval > MAX_CHECK_INTERVAL) {
      throw new PreemptError(
        "PREEMPT_INVALID_ARGUMENT",
        `checkInterval is ${checkInterval}; 1 to ${MAX_CHECK_INTERVAL} are possible`,
      );
    }
    const perCpu = options.perCpu ?? PerCpuData.create({ hal });
    const memory = new SharedArrayBuffer(StatsWords.bytes(hal.possibleCpus));
    const traceSections = options.traceSections ?? false;
    const handle = { perCpu: perCpu.handle, checkInterval, latencyLimitNs, traceSections, memory };
    return new Preempt(handle, hal, perCpu, options);
  }

  /** Join from another thread. */
  static attach(handle: PreemptHandle, options: PreemptJoin & { readonly hal: Hal }): Preempt {
    return new Preempt(handle, options.hal, PerCpuData.attach(handle.perCpu, { hal: options.hal }), options);
  }

  /** Set what {@link PreemptJoin.onReschedule} is: for a scheduler that is made after this object. */
  setRescheduler(onReschedule: ((cpu: CpuId) => void) | undefined): void {
    this.#onReschedule = onReschedule;
  }

  /** Enter a section that is not preempted; sections nest, up to 255 deep. Cost: one plain store. */
  disable(): void {
    this.perCpu.preemptDisable();
    if (this.#traceSections && this.perCpu.preemptCount() === 1) {
      this.#stats.openSection(this.hal.currentCpu(), this.hal.now());
    }
  }

  /** Leave the section. The outermost one reschedules if that was asked for meanwhile. Throws `SMP_PREEMPT_UNDERFLOW`. */
  enable(): void {
    if (this.#traceSections && this.perCpu.preemptCount() === 1) this.#closeSection();
    if (this.perCpu.preemptEnable() === 0 && this.perCpu.needResched()) this.#reschedule();
  }

  /** {@link Preempt.enable} that leaves a reschedule to the next check point, as where one follows anyway. */
  enableNoResched(): void {
    if (this.#traceSections && this.perCpu.preemptCount() === 1) this.#closeSection();
    this.perCpu.preemptEnable();
  }

  /** Depth of preempt-disabled sections of the calling CPU. */
  count(): number {
    return this.perCpu.preemptCount();
  }

  /** In no such section and in no interrupt. */
  preemptible(): boolean {
    return this.perCpu.preemptible();
  }

  /** `using guard = preempt.guard()`: not preempted to the end of the block. Allocates nothing. */
  guard(): Disposable {
    this.disable();
    return this.#guard;
  }

  /**
   * A preemption point, to be called in every loop that may take long: reschedules if that was asked for and is allowed,
   * and says whether it did. A request by another thread is seen within `checkInterval` calls. Cost: a private counter.
   */
  check(): boolean {
    const cpu = this.hal.currentCpu();
    if (--this.#countdown[cpu] > 0) return false;
    return this.#look(cpu);
  }

  /** A reschedule is asked for and allowed now. One atomic load. */
  shouldReschedule(): boolean {
    return this.perCpu.preemptible() && this.perCpu.needResched();
  }

  /** A reschedule of `cpu` (default: the calling one) is asked for. */
  needResched(cpu: CpuId = this.hal.currentCpu()): boolean {
    return this.perCpu.needResched(cpu);
  }

  /** Ask `cpu` to reschedule, and kick it if it is another one. Returns false if it was asked already. */
  setNeedResched(cpu: CpuId = this.hal.currentCpu()): boolean {
    if (!this.markNeedResched(cpu)) return false;
    if (cpu !== this.hal.currentCpu()) this.hal.kick(cpu);
    return true;
  }

  /** {@link Preempt.setNeedResched} without the kick, for callers who tell the CPU by an interrupt of their own. */
  markNeedResched(cpu: CpuId): boolean {
    this.#countdown[cpu] = 0;
    if (this.perCpu.needResched(cpu)) return false;
    this.#stats.setRequested(cpu, this.hal.now());
    if (!this.perCpu.setNeedResched(cpu)) return false;
    this.#observer?.onNeedResched?.(cpu, this.hal.currentCpu());
    return true;
  }

  /** The scheduler takes up the request, if there is one: clears it and records its latency. */
  clearNeedResched(): void {
    if (!this.perCpu.needResched()) return;
    const cpu = this.hal.currentCpu();
    this.perCpu.clearNeedResched();
    const latencyNs = Math.max(0, this.hal.now() - this.#stats.requested(cpu));
    this.recordLatency(latencyNs);
    this.#observer?.onReschedule?.(cpu, latencyNs);
  }

  /** Count a switch the running thread asked for. */
  recordVoluntary(): void {
    this.#stats.addSwitch(this.hal.currentCpu(), true);
  }

  /** Count a switch the running thread suffered. */
  recordInvoluntary(): void {
    this.#stats.addSwitch(this.hal.currentCpu(), false);
  }

  /** Record how long a request waited. {@link Preempt.clearNeedResched} does it for every request. */
  recordLatency(latencyNs: number): void {
    if (!(latencyNs >= 0))
      throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `a latency of ${latencyNs} ns is impossible`);
    const cpu = this.hal.currentCpu();
    this.#stats.addLatency(cpu, latencyNs);
    if (latencyNs > this.handle.latencyLimitNs) this.#observer?.onLatencyLimit?.(cpu, latencyNs);
  }

  /** Of one CPU, or of all. Values of other threads may be a moment old. */
  stats(cpu?: CpuId): PreemptStats {
    return this.#stats.read(cpu);
  }

  /** Set all statistics to 0. Only while no other thread counts. */
  resetStats(): void {
    this.#stats.reset();
  }

  #look(cpu: CpuId): boolean {
    if (!this.perCpu.needResched(cpu)) {
      this.#countdown[cpu] = this.#checkInterval;
      return false;
    }
    if (!this.perCpu.preemptible()) return false;
    this.#reschedule();
    return true;
  }

  #reschedule(): void {
    this.clearNeedResched();
    this.#onReschedule?.(this.hal.currentCpu());
  }

  #closeSection(): void {
    const cpu = this.hal.currentCpu();
    const durationNs = this.#stats.closeSection(cpu, this.hal.now());
    this.#observer?.onSection?.(cpu, durationNs);
  }
}
