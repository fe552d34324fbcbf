/**
 * What every structure of the MADT has.
 *
 * @public
 */
export interface MadtEntryHeader {
  /** Bytes of the structure as the table says them. */
  readonly length: number;
}

/**
 * Structure type 0: a processor and its local APIC. `flags`: bit 0 enabled, bit 1 online capable.
 *
 * @public
 */
export interface MadtLocalApic extends MadtEntryHeader {
  readonly type: 0;
  readonly kind: "local-apic";
  readonly acpiProcessorId: number;
  readonly apicId: number;
  readonly flags: number;
}

/**
 * Structure type 1: an I/O APIC. `gsiBase` is its first global system interrupt.
 *
 * @public
 */
export interface MadtIoApic extends MadtEntryHeader {
  readonly type: 1;
  readonly kind: "io-apic";
  readonly ioApicId: number;
  readonly address: number;
  readonly gsiBase: number;
}

/**
 * Structure type 2: an ISA interrupt `source` that arrives as global system interrupt `gsi`.
 *
 * @public
 */
export interface MadtInterruptOverride extends MadtEntryHeader {
  readonly type: 2;
  readonly kind: "interrupt-override";
  readonly bus: number;
  readonly source: number;
  readonly gsi: number;
  readonly intiFlags: number;
}

/**
 * Structure type 3: a global system interrupt that is non-maskable.
 *
 * @public
 */
export interface MadtNmiSource extends MadtEntryHeader {
  readonly type: 3;
  readonly kind: "nmi-source";
  readonly intiFlags: number;
  readonly gsi: number;
}

/**
 * Structure type 4: the local interrupt input (LINT 0 or 1) that NMI is wired to; processor 0xff means all.
 *
 * @public
 */
export interface MadtLocalApicNmi extends MadtEntryHeader {
  readonly type: 4;
  readonly kind: "local-apic-nmi";
  readonly acpiProcessorId: number;
  readonly intiFlags: number;
  readonly lint: number;
}

/**
 * Structure type 5: the 64-bit address that replaces the table's `localApicAddress`.
 *
 * @public
 */
export interface MadtLocalApicAddress extends MadtEntryHeader {
  readonly type: 5;
  readonly kind: "local-apic-address";
  readonly address: bigint;
}

/**
 * Structure type 9: a processor and its x2APIC. `flags` as in type 0.
 *
 * @public
 */
export interface MadtLocalX2Apic extends MadtEntryHeader {
  readonly type: 9;
  readonly kind: "local-x2apic";
  readonly x2apicId: number;
  readonly flags: number;
  readonly acpiProcessorUid: number;
}

/**
 * Structure type 10: as type 4, for x2APIC processors; uid 0xffffffff means all.
 *
 * @public
 */
export interface MadtLocalX2ApicNmi extends MadtEntryHeader {
  readonly type: 10;
  readonly kind: "local-x2apic-nmi";
  readonly intiFlags: number;
  readonly acpiProcessorUid: number;
  readonly lint: number;
}

/**
 * Structure type 0x10: the mailbox through which processors are started where INIT and start-up messages do not reach them (ACPI 6.5, section
 * 5.2.12.19). `resetVector` came with mailbox version 1.
 *
 * @public
 */
export interface MadtMultiprocessorWakeup extends MadtEntryHeader {
  readonly type: 16;
  readonly kind: "multiprocessor-wakeup";
  readonly mailboxVersion: number;
  readonly mailboxAddress: bigint;
  readonly resetVector?: bigint;
}
