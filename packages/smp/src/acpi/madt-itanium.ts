import type { MadtEntryHeader } from "./madt-x86.ts";

/**
 * Structure type 6: an I/O SAPIC; where an I/O APIC has the same id, this one counts.
 *
 * @public
 */
export interface MadtIoSapic extends MadtEntryHeader {
  readonly type: 6;
  readonly kind: "io-sapic";
  readonly ioApicId: number;
  readonly gsiBase: number;
  readonly address: bigint;
}

/**
 * Structure type 7: a processor and its local SAPIC. `flags`: bit 0 enabled. The uid, as a number or as text, came with ACPI 3.0.
 *
 * @public
 */
export interface MadtLocalSapic extends MadtEntryHeader {
  readonly type: 7;
  readonly kind: "local-sapic";
  readonly acpiProcessorId: number;
  readonly localSapicId: number;
  readonly localSapicEid: number;
  readonly flags: number;
  readonly acpiProcessorUid?: number;
  readonly acpiProcessorUidText?: string;
}

/**
 * Structure type 8: an interrupt of the platform. `interruptType`: 1 PMI, 2 INIT, 3 corrected platform error.
 *
 * @public
 */
export interface MadtPlatformInterruptSource extends MadtEntryHeader {
  readonly type: 8;
  readonly kind: "platform-interrupt-source";
  readonly intiFlags: number;
  readonly interruptType: number;
  readonly processorId: number;
  readonly processorEid: number;
  readonly ioSapicVector: number;
  readonly gsi: number;
  /** Bit 0: the processor is given by hand (ACPI 6.5, table 5.34). */
  readonly flags: number;
}
