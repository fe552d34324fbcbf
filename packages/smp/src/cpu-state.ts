import type { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import type { SpinLocksHandle } from "./locks/spin-locks.ts";

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
  /** Begin to start `cpu`, which calls `CpuManager.markOnline` when it runs. If this throws, the CPU has failed. */
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
  /** A step threw where it was undone and nothing could be refused: `SMP_HOTPLUG_FAILED` with the cause. */
  onStepFault?(fault: SmpError): void;
}

/**
 * What joins a `CpuManager` from another thread.
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
 * What a thread brings along to a `CpuManager`.
 *
 * @public
 */
export interface CpuManagerAttachOptions {
  readonly hal: Hal;
  readonly platform?: CpuPlatform | undefined;
  readonly observer?: CpuObserver | undefined;
}
