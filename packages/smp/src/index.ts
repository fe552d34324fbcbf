/**
 * CPUs, CPU sets, per-CPU memory, locks and inter-processor interrupts for JavaScript threads.
 *
 * @packageDocumentation
 */
export { CodedError, SmpError, type ErrorLocation, type SmpErrorCode } from "./errors.ts";
export { CACHE_LINE_BYTES, MAX_CPUS, PADDING_BYTES } from "./layout.ts";
export type { CpuId, Hal, WaitResult } from "./hal.ts";
export { soloHal } from "./solo-hal.ts";
export { WorkerHal, type WorkerHalHandle } from "./worker-hal.ts";
export { CpuMask } from "./cpu-mask.ts";
export { PerCpuData, type PerCpuDataHandle } from "./per-cpu-data.ts";
export { PerCpuCounters, type PerCpuCountersHandle } from "./per-cpu-counters.ts";
export { IpiMailbox, type IpiMailboxHandle } from "./ipi/mailbox.ts";
export { IpiType, type IpiHandler, type IpiObserver, type IpiTarget } from "./ipi/types.ts";
export * from "./locks/index.ts";
export { CpuManager } from "./cpu-manager.ts";
export type { CpuHotplugStep } from "./cpu-hotplug.ts";
export {
  CpuState,
  type CpuInfo,
  type CpuManagerAttachOptions,
  type CpuManagerHandle,
  type CpuObserver,
  type CpuPlatform,
} from "./cpu-state.ts";
export {
  ApicMsr,
  ApicRegister,
  apicCommand,
  x2apicMsr,
  type ApicDeliveryMode,
  type ApicShorthand,
} from "./apic/registers.ts";
export type { ApicBus, ApicCore, ApicMessage } from "./apic/bus.ts";
export type { ApicMode } from "./apic/apic-mode.ts";
export { logicalX2ApicId } from "./apic/destinations.ts";
export { ApicFabric, type EoiListener } from "./apic/fabric.ts";
export { SharedApicBus, type SharedApicBusHandle, type SharedApicBusOptions } from "./apic/shared-bus.ts";
export { interruptLine, isaInterruptLine, type InterruptLine } from "./apic/interrupt-lines.ts";
export { IoApic, IoApicRegister, redirectionEntry, type IoApicOptions } from "./apic/io-apic.ts";
export { LocalApic } from "./apic/local-apic.ts";
export type { ApicObserver, LocalApicOptions } from "./apic/local-apic-options.ts";
export { msiAddress, msiData } from "./apic/message-signalled.ts";
export { CallError } from "./ipi/call-error.ts";
export {
  CrossCalls,
  type CallTicket,
  type CrossCallsHandle,
  type CrossCallsOptions,
  type CrossFunction,
} from "./ipi/cross-calls.ts";
export {
  TlbShootdown,
  type TlbFlush,
  type TlbShootdownHandle,
  type TlbShootdownObserver,
  type TlbShootdownOptions,
  type TlbShootdownStatistics,
} from "./tlb/shootdown.ts";
export { PageSize, Tlb, type TlbGeometry, type TlbOptions } from "./tlb/tlb.ts";
export { TlbContexts } from "./tlb/contexts.ts";
export { TlbFlushBatch } from "./tlb/flush-batch.ts";
