import type { Madt } from "./acpi/madt.ts";
import { madtProcessors } from "./acpi/madt-processors.ts";
import { CpuMask } from "./cpu-mask.ts";
import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { soloHal } from "./solo-hal.ts";
import { SpinLocks, type SpinLocksHandle } from "./locks/spin-locks.ts";

/*
 * A header word, then one record per possible CPU. The lock guards additions and the change to Initializing; every other
 * change is one compare-exchange, so that of two rivals (the started CPU and the timeout, say) exactly one wins.
 *
 *   header   count          CPUs known; written under the lock, after the record
 *   record   state          Atomics
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

/** Linux waits 10 s for a processor to answer (arch/x86/kernel/smpboot.c). */
const STARTUP_TIMEOUT_NS = 10e9;

/**
 * Life of a CPU: Offline → Initializing → Online or Failed; Online → Offline; Failed → Initializing again.
 *
 * @public
 */
export const CpuState = { Offline: 0, Initializing: 1, Online: 2, Failed: 3 } as const;

/**
 * A value of {@link (CpuState:variable)}.
 *
 * @public
 */
export type CpuState = (typeof CpuState)[keyof typeof CpuState];

/**
 * What is known of a CPU, at the moment of asking.
 *
 * @public
 */
export interface CpuInfo {
  readonly id: CpuId;
  /** Id of its local APIC. */
  readonly apicId: number;
  /** Names it in ACPI. */
  readonly processorUid: number;
  readonly state: CpuState;
  /** The boot processor: CPU 0. */
  readonly isBsp: boolean;
  /** May be brought online. */
  readonly enabled: boolean;
}

/**
 * How CPUs are started and stopped: INIT and start-up interrupts, worker threads.
 *
 * @public
 */
export interface CpuPlatform {
  /** Begin to start `cpu`, which calls {@link CpuManager.markOnline} when it runs. If this throws, the CPU has failed. */
  startCpu(cpu: CpuInfo): void;
  /** `cpu` has just gone offline: let it stop. */
  stopCpu?(cpu: CpuInfo): void;
}

/**
 * What happens to CPUs.
 *
 * @public
 */
export interface CpuObserver {
  onAdd?(cpu: CpuId, apicId: number): void;
  /** A processor of the MADT was left out: no more CPUs are possible. */
  onIgnored?(apicId: number): void;
  onState?(cpu: CpuId, from: CpuState, to: CpuState): void;
}

/**
 * What joins a {@link CpuManager} from another thread.
 *
 * @public
 */
export interface CpuManagerHandle {
  readonly possibleCpus: number;
  readonly startupTimeoutNs: number;
  readonly memory: SharedArrayBuffer;
  readonly lock: SpinLocksHandle;
}

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
  /** This thread's index of the first `#indexed` CPUs. */
  readonly #byApicId: Map<number, CpuId> = new Map();
  #indexed = 0;

  private constructor(handle: CpuManagerHandle, options: CpuManagerAttachOptions) {
    this.handle = handle;
    this.#hal = options.hal;
    this.#platform = options.platform;
    this.#observer = options.observer;
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
    return Atomics.load(this.#words, this.#record(id) + STATE) as CpuState;
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
   * Throws `SMP_CPU_STATE` for a disabled CPU.
   *
   * @returns the state now: Initializing, or Online.
   */
  bringCpuOnline(id: CpuId): CpuState {
    if (this.#beginStartup(id)) {
      if (id === 0) this.markOnline(0);
      else this.#start(id);
    }
    return this.state(id);
  }

  /**
   * Called by the started CPU itself when it is ready. Throws `SMP_CPU_STATE` if nobody waits for it, as after a timeout:
   * then it must stop again.
   */
  markOnline(id: CpuId): void {
    if (this.#move(id, CpuState.Initializing, CpuState.Online)) return;
    throw new SmpError("SMP_CPU_STATE", `CPU ${id} is not being started: it is ${stateName(this.state(id))}`);
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
   * Take `id` out of service, then tell the platform to stop it. Nothing happens to one that is offline. Throws
   * `SMP_CPU_STATE` for the boot processor and for a CPU that is being started.
   */
  takeCpuOffline(id: CpuId): void {
    if (id === 0) throw new SmpError("SMP_CPU_STATE", "the boot processor cannot be taken offline");
    if (this.#move(id, CpuState.Failed, CpuState.Offline)) return;
    if (this.#move(id, CpuState.Online, CpuState.Offline)) this.#platform?.stopCpu?.(this.getCpu(id));
    else if (this.state(id) === CpuState.Initializing) {
      throw new SmpError("SMP_CPU_STATE", `CPU ${id} is being started`);
    }
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
      this.#move(id, CpuState.Initializing, CpuState.Failed);
      throw error;
    }
  }

  #failIfLate(id: CpuId): boolean {
    if (this.state(id) !== CpuState.Initializing) return false;
    const waitedNs = this.#hal.now() - this.#doubles[(recordOf(id) + STARTED_AT) / 2];
    return waitedNs > this.handle.startupTimeoutNs && this.#move(id, CpuState.Initializing, CpuState.Failed);
  }

  #move(id: CpuId, from: CpuState, to: CpuState): boolean {
    if (Atomics.compareExchange(this.#words, this.#record(id) + STATE, from, to) !== from) return false;
    this.#observer?.onState?.(id, from, to);
    return true;
  }

  #record(id: CpuId): number {
    if (!Number.isInteger(id) || id < 0 || id >= this.cpuCount) {
      throw new SmpError("SMP_INVALID_CPU", `CPU ${id} is not one of the ${this.cpuCount} CPUs known`);
    }
    return recordOf(id);
  }
}

/**
 * What a thread brings along to a {@link CpuManager}.
 *
 * @public
 */
export interface CpuManagerAttachOptions {
  readonly hal: Hal;
  readonly platform?: CpuPlatform | undefined;
  readonly observer?: CpuObserver | undefined;
}

function recordOf(id: CpuId): number {
  return HEADER_WORDS + id * RECORD_WORDS;
}

function stateName(state: CpuState): string {
  return Object.keys(CpuState)[state];
}
