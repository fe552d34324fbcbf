import type { MadtEntryHeader } from "./madt-x86.ts";

/**
 * Structure type 0x18: the interrupt controller of a RISC-V hart, and so a processor. `flags`: bit 0 enabled, bit 1 online capable. The last
 * three members came after ACPI 6.5.
 *
 * @public
 */
export interface MadtRintc extends MadtEntryHeader {
  readonly type: 24;
  readonly kind: "rintc";
  readonly version: number;
  readonly flags: number;
  readonly hartId: bigint;
  readonly acpiProcessorUid: number;
  /** Bits 24 to 31: id of the APLIC or PLIC; below, the context there. */
  readonly externalControllerId?: number;
  readonly imsicAddress?: bigint;
  /** Bytes. */
  readonly imsicSize?: number;
}

/**
 * Structure type 0x19: what all incoming-MSI controllers of a RISC-V machine have in common.
 *
 * @public
 */
export interface MadtImsic extends MadtEntryHeader {
  readonly type: 25;
  readonly kind: "imsic";
  readonly version: number;
  readonly flags: number;
  /** Interrupt identities at supervisor level. */
  readonly supervisorIds: number;
  /** And at guest level. */
  readonly guestIds: number;
  readonly guestIndexBits: number;
  readonly hartIndexBits: number;
  readonly groupIndexBits: number;
  readonly groupIndexShift: number;
}

/**
 * Structure type 0x1A: an advanced platform-level interrupt controller of a RISC-V machine.
 *
 * @public
 */
export interface MadtAplic extends MadtEntryHeader {
  readonly type: 26;
  readonly kind: "aplic";
  readonly version: number;
  readonly aplicId: number;
  readonly flags: number;
  readonly hardwareId: string;
  /** Interrupt delivery controls; 0 where it sends MSIs. */
  readonly deliveryControls: number;
  readonly sources: number;
  readonly gsiBase: number;
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

/**
 * Structure type 0x1B: a platform-level interrupt controller of a RISC-V machine.
 *
 * @public
 */
export interface MadtPlic extends MadtEntryHeader {
  readonly type: 27;
  readonly kind: "plic";
  readonly version: number;
  readonly plicId: number;
  readonly hardwareId: string;
  readonly sources: number;
  readonly maxPriority: number;
  readonly flags: number;
  /** Bytes. */
  readonly size: number;
  readonly address: bigint;
  readonly gsiBase: number;
}
