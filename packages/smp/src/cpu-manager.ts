import type { Madt } from "./acpi/madt.ts";
import { madtProcessors } from "./acpi/madt-processors.ts";
import { CpuHotplugSteps, type CpuHotplugStep } from "./cpu-hotplug.ts";
import { CpuMask } from "./cpu-mask.ts";
import {
  CpuState,
  type CpuInfo,
  type CpuManagerAttachOptions,
  type CpuManagerHandle,
  type CpuObserver,
  type CpuPlatform,
} from "./cpu-state.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { soloHal } from "./solo-hal.ts";
import { SpinLocks } from "./locks/spin-locks.ts";

/*
 * A header word, then one record per possible CPU. The lock guards additions and the change to Initializing; every other
 * change is one compare-exchange, so that of two rivals (the started CPU and the timeout, say) exactly one wins.
 *
 *   header   count          CPUs known; written under the lock, after the record
 *   record   state          Atomics; bits 0-7 the CpuState, from bit 8 on who takes it offline at the moment: CPU + 1
 *            apic id        written once, before the count that covers it
 *            processor uid  written once, likewise
 *            enabled        Atomics
 *            started at ns  (double) written under the lock, before the state Initializing
 */
const HEADER_WORDS = 2;
const COUNT = 0;
const RECORD_WORDS = 6;
const STATE = 0;
const APIC_ID = 1;
const PROCESSOR_UID = 2;
const ENABLED = 3;
const STARTED_AT = 4;
const STATE_MASK = 0xff;
const LEAVING_SHIFT = 8;

/** Linux waits 10 s for a processor to answer (arch/x86/kernel/smpboot.c). */
const STARTUP_TIMEOUT_NS = 10e9;

/**
 * The CPUs of the machine and their states, in shared memory.
 *
 * Thread-safety: every method from any CPU. Adding CPUs and bringing them online or offline takes a lock; reading takes
 * none. Methods that name a CPU throw `SMP_INVALID_CPU` for one that is not known.
 *
 * @public
 */
export class CpuManager {
  readonly handle: CpuManagerHandle;
  readonly #hal: Hal;
  readonly #platform: CpuPlatform | undefined;
  readonly #observer: CpuObserver | undefined;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #lock: SpinLocks;
  readonly #steps: CpuHotplugSteps;
  /** This thread's index of the first `#indexed` CPUs. */
  readonly #byApicId: Map<number, CpuId> = new Map();
  #indexed = 0;

  private constructor(handle: CpuManagerHandle, options: CpuManagerAttachOptions) {
    this.handle = handle;
    this.#hal = options.hal;
    this.#platform = options.platform;
    this.#observer = options.observer;
    this.#steps = new CpuHotplugSteps((fault) => this.#observer?.onStepFault?.(fault));
    this.#words = new Int32Array(handle.memory);
    this.#doubles = new Float64Array(handle.memory);
    this.#lock = SpinLocks.attach(handle.lock, { hal: options.hal });
  }

  /**
   * @param options - without a `platform` whoever brings a CPU online starts it too. `startupTimeoutNs`: time a started CPU
   * has before it counts as failed, default 10 s.
   */
  static create(
    options: Partial<CpuManagerAttachOptions> & { readonly startupTimeoutNs?: number | undefined } = {},
  ): CpuManager {
    const { hal = soloHal(), startupTimeoutNs = STARTUP_TIMEOUT_NS, platform, observer } = options;
    const { possibleCpus } = hal;
    const memory = new SharedArrayBuffer((HEADER_WORDS + possibleCpus * RECORD_WORDS) * 4);
    const lock = SpinLocks.create({ name: "cpu-manager", hal }).handle;
    return new CpuManager({ possibleCpus, startupTimeoutNs, memory, lock }, { hal, platform, observer });
  }

  static attach(handle: CpuManagerHandle, options: CpuManagerAttachOptions): CpuManager {
    return new CpuManager(handle, options);
  }

  /**
   * Add the enabled processors of the MADT: the boot processor as CPU 0 (and online: it is the one that runs), the others
   * in the order of the table. Known APIC ids are skipped, so a second call adds nothing; where no more CPUs are possible,
   * the rest is ignored and the observer told.
   *
   * @param bspApicId - APIC id of the boot processor. Default: the first enabled one, as the specification has it
   * (ACPI 6.5, section 5.2.12.1).
   * @returns CPUs known now.
   */
  detectCpus(madt: Madt, bspApicId?: number): number {
    const enabled = madtProcessors(madt).filter((processor) => processor.enabled);
    const boot = bspApicId === undefined ? enabled[0] : enabled.find(({ apicId }) => apicId === bspApicId);
    if (boot === undefined) {
      const which =
        bspApicId === undefined ? "no processor" : `no processor with APIC id ${bspApicId}, the boot processor's,`;
      throw new SmpError("ACPI_NOT_FOUND", `${which} is enabled in the MADT`);
    }
    for (const processor of [boot, ...enabled]) {
      if (this.cpuByApicId(processor.apicId) >= 0) continue;
      if (this.cpuCount < this.handle.possibleCpus) this.addCpu(processor.apicId, processor.processorUid);
      else this.#observer?.onIgnored?.(processor.apicId);
    }
    this.bringCpuOnline(0);
    return this.cpuCount;
  }

  /**
   * Add one CPU, offline. The first is the boot processor. Throws `SMP_TOO_MANY_CPUS` and, for an APIC id that is known,
   * `SMP_INVALID_ARGUMENT`.
   */
  addCpu(apicId: number, processorUid?: number): CpuId {
    this.#lock.lock();
    let id: CpuId;
    try {
      id = this.cpuCount;
      if (this.cpuByApicId(apicId) >= 0)
        throw new SmpError("SMP_INVALID_ARGUMENT", `APIC id ${apicId} has a CPU already`);
      if (id === this.handle.possibleCpus) {
        throw new SmpError("SMP_TOO_MANY_CPUS", `no more than ${this.handle.possibleCpus} CPUs are possible`);
      }
      const record = recordOf(id);
      this.#words[record + APIC_ID] = apicId;
      this.#words[record + PROCESSOR_UID] = processorUid ?? id;
      this.#words[record + ENABLED] = 1;
      Atomics.store(this.#words, COUNT, id + 1);
    } finally {
      this.#lock.unlock();
    }
    this.#observer?.onAdd?.(id, apicId);
    return id;
  }

  /** CPUs known. */
  get cpuCount(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /** CPUs online. Cost: one load per CPU known. */
  get onlineCount(): number {
    let online = 0;
    for (let id = 0; id < this.cpuCount; id++) if (this.state(id) === CpuState.Online) online++;
    return online;
  }

  getCpu(id: CpuId): CpuInfo {
    const record = this.#record(id);
    return {
      id,
      apicId: this.#words[record + APIC_ID] >>> 0,
      processorUid: this.#words[record + PROCESSOR_UID] >>> 0,
      state: this.state(id),
      isBsp: id === 0,
      enabled: Atomics.load(this.#words, record + ENABLED) === 1,
    };
  }

  /** The CPU with this APIC id, or -1. Cost: one look-up in a map of this thread. */
  cpuByApicId(apicId: number): CpuId {
    for (const count = this.cpuCount; this.#indexed < count; this.#indexed++) {
      this.#byApicId.set(this.#words[recordOf(this.#indexed) + APIC_ID] >>> 0, this.#indexed);
    }
    return this.#byApicId.get(apicId) ?? -1;
  }

  state(id: CpuId): CpuState {
    return (Atomics.load(this.#words, this.#record(id) + STATE) & STATE_MASK) as CpuState;
  }

  /**
   * Have `step` done for every CPU that comes from now on, and undone when it goes; at once for those that are online, on the
   * calling thread (`invoke`, default true). If it throws for one of these it is undone for the others and not registered.
   *
   * Steps belong to this thread's manager: `prepare` and `dead` are done by the thread that brings a CPU online and takes it
   * offline, `online` by the CPU itself in {@link CpuManager.markOnline}, `offline` by whoever calls {@link CpuManager.takeCpuOffline}.
   * Threads that take different parts each register what is theirs.
   *
   * @returns what takes the step away again; with `invoke`, it is undone for every CPU online.
   */
  addHotplugStep(step: CpuHotplugStep, options: { readonly invoke?: boolean } = {}): Disposable {
    const affected = (): CpuId[] => ((options.invoke ?? true) ? [...this.onlineMask()] : []);
    this.#steps.add(step, affected());
    return { [Symbol.dispose]: () => this.#steps.remove(step, affected()) };
  }

  /**
   * Forbid or allow to bring `id` online (as the kernel parameters `maxcpus` and `nosmt` do); one that is online stays so.
   * Throws `SMP_CPU_STATE` for the boot processor.
   */
  setEnabled(id: CpuId, enabled: boolean): void {
    if (id === 0) throw new SmpError("SMP_CPU_STATE", "the boot processor is always enabled");
    Atomics.store(this.#words, this.#record(id) + ENABLED, enabled ? 1 : 0);
  }

  /**
   * Begin to start `id` if it is offline or has failed; the boot processor is online at once. Follow with
   * {@link CpuManager.waitCpuOnline} on threads, or poll {@link CpuManager.state} and {@link CpuManager.pollStartup}.
   * Throws `SMP_CPU_STATE` for a disabled CPU, and `SMP_HOTPLUG_FAILED` where a step's `prepare` throws: then all is as before.
   *
   * @returns the state now: Initializing, or Online.
   */
  bringCpuOnline(id: CpuId): CpuState {
    if (this.#beginStartup(id)) {
      try {
        this.#steps.up("prepare", id);
      } catch (error) {
        this.#move(id, CpuState.Initializing, CpuState.Offline);
        throw error;
      }
      if (id === 0) this.markOnline(0);
      else this.#start(id);
    }
    return this.state(id);
  }

  /**
   * Called by the started CPU itself when it is ready. Throws `SMP_CPU_STATE` if nobody waits for it, as after a timeout, and
   * `SMP_HOTPLUG_FAILED` where a step's `online` throws: then it has failed. In both cases it must stop again.
   */
  markOnline(id: CpuId): void {
    if (this.state(id) !== CpuState.Initializing) throw this.#notStarted(id);
    try {
      this.#steps.up("online", id);
    } catch (error) {
      this.#fail(id);
      throw error;
    }
    if (this.#move(id, CpuState.Initializing, CpuState.Online)) return;
    this.#steps.down("online", id);
    throw this.#notStarted(id);
  }

  /** Give up CPUs that were started longer than the timeout ago; returns how many failed now. */
  pollStartup(): number {
    let failed = 0;
    for (let id = 0; id < this.cpuCount; id++) if (this.#failIfLate(id)) failed++;
    return failed;
  }

  /** Spin until `id` is no longer Initializing, at most the startup timeout. */
  waitCpuOnline(id: CpuId): CpuState {
    for (let spins = 1; this.state(id) === CpuState.Initializing; spins++) {
      if (!this.#failIfLate(id)) this.#hal.relax(spins);
    }
    return this.state(id);
  }

  /**
   * Take `id` out of service: undo the steps' `online`, tell the platform to stop it, undo their `prepare`. Nothing happens to one
   * that is offline. Throws `SMP_CPU_STATE` for the boot processor, for a CPU that is being started, and for one that another thread
   * is taking offline; `SMP_HOTPLUG_FAILED` where a step refuses in `offline`: then all is as before.
   *
   * What a step's `offline` must do on the CPU itself it can do where the CPU itself calls this, by a cross call for instance.
   */
  takeCpuOffline(id: CpuId): void {
    if (id === 0) throw new SmpError("SMP_CPU_STATE", "the boot processor cannot be taken offline");
    if (this.#move(id, CpuState.Failed, CpuState.Offline) || this.state(id) === CpuState.Offline) return;
    const leaving = CpuState.Online | ((this.#hal.currentCpu() + 1) << LEAVING_SHIFT);
    const word = this.#record(id) + STATE;
    if (Atomics.compareExchange(this.#words, word, CpuState.Online, leaving) !== CpuState.Online) {
      const what = this.state(id) === CpuState.Initializing ? "started" : "taken offline";
      throw new SmpError("SMP_CPU_STATE", `CPU ${id} is being ${what}`);
    }
    try {
      this.#steps.leave(id);
    } catch (error) {
      Atomics.compareExchange(this.#words, word, leaving, CpuState.Online);
      throw error;
    }
    // Lost only to `reportDead`, which has done the rest.
    if (!this.#move(id, leaving, CpuState.Offline)) return;
    this.#platform?.stopCpu?.(this.getCpu(id));
    this.#steps.down("prepare", id);
  }

  /**
   * The thread of `id` has ended, wherever it was: an online CPU is offline, one that was being started has failed, the lock it held is
   * free, and a CPU that it was taking offline is online, without the steps that had been undone for it. Steps are undone by this thread, and none can refuse.
   * Call it once, from one thread.
   */
  reportDead(id: CpuId): void {
    const word = this.#record(id) + STATE;
    this.#lock.releaseDeadOwner(id);
    for (let other = 0; other < this.cpuCount; other++) {
      const left = CpuState.Online | ((id + 1) << LEAVING_SHIFT);
      Atomics.compareExchange(this.#words, recordOf(other) + STATE, left, CpuState.Online);
    }
    if (this.#fail(id)) return;
    const seen = Atomics.load(this.#words, word);
    if ((seen & STATE_MASK) !== CpuState.Online || !this.#move(id, seen, CpuState.Offline)) return;
    this.#steps.down("online", id);
    this.#steps.down("prepare", id);
  }

  /**
   * The CPUs that are online.
   *
   * @param into - filled in place of a new mask; its size must be the possible CPUs'.
   */
  onlineMask(into: CpuMask = new CpuMask(this.handle.possibleCpus)): CpuMask {
    into.clear();
    for (let id = 0; id < this.cpuCount; id++) if (this.state(id) === CpuState.Online) into.add(id);
    return into;
  }

  /** Whether this call took `id` to Initializing. */
  #beginStartup(id: CpuId): boolean {
    const record = this.#record(id);
    if (Atomics.load(this.#words, record + ENABLED) === 0) {
      throw new SmpError("SMP_CPU_STATE", `CPU ${id} is disabled`);
    }
    this.#lock.lock();
    let from: CpuState;
    try {
      from = this.state(id);
      if (from === CpuState.Initializing || from === CpuState.Online) return false;
      this.#doubles[(record + STARTED_AT) / 2] = this.#hal.now();
      Atomics.store(this.#words, record + STATE, CpuState.Initializing);
    } finally {
      this.#lock.unlock();
    }
    this.#observer?.onState?.(id, from, CpuState.Initializing);
    return true;
  }

  #start(id: CpuId): void {
    try {
      this.#platform?.startCpu(this.getCpu(id));
    } catch (error) {
      this.#fail(id);
      throw error;
    }
  }

  #failIfLate(id: CpuId): boolean {
    if (this.state(id) !== CpuState.Initializing) return false;
    const waitedNs = this.#hal.now() - this.#doubles[(recordOf(id) + STARTED_AT) / 2];
    return waitedNs > this.handle.startupTimeoutNs && this.#fail(id);
  }

  /** Whether this call made a CPU that was being started a failed one. */
  #fail(id: CpuId): boolean {
    if (!this.#move(id, CpuState.Initializing, CpuState.Failed)) return false;
    this.#steps.down("prepare", id);
    return true;
  }

  #notStarted(id: CpuId): SmpError {
    return new SmpError("SMP_CPU_STATE", `CPU ${id} is not being started: it is ${stateName(this.state(id))}`);
  }

  #move(id: CpuId, from: number, to: CpuState): boolean {
    if (Atomics.compareExchange(this.#words, this.#record(id) + STATE, from, to) !== from) return false;
    this.#observer?.onState?.(id, (from & STATE_MASK) as CpuState, to);
    return true;
  }

  #record(id: CpuId): number {
    if (!Number.isInteger(id) || id < 0 || id >= this.cpuCount) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${id} is not one of the ${this.cpuCount} CPUs known`);
    }
    return recordOf(id);
  }
}

function recordOf(id: CpuId): number {
  return HEADER_WORDS + id * RECORD_WORDS;
}

function stateName(state: CpuState): string {
  return Object.keys(CpuState)[state];
}
