/*
 * Registers and fields of the local APIC. Source of every number: Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)". Section numbers here and in the files
 * beside are those of the editions in which it is chapter 10 (up to 2022; 11 and 12 later, under the same titles): tables 10-1
 * "Local APIC Register Address Map" and 10-6 "Local APIC Register Address Map Supported by x2APIC".
 */

/**
 * Offsets of the local APIC's registers in its page (xAPIC mode). In x2APIC mode the register at `offset` is the MSR
 * {@link x2apicMsr}`(offset)`.
 *
 * @public
 */
export const ApicRegister = {
  Id: 0x20,
  Version: 0x30,
  TaskPriority: 0x80,
  /** xAPIC mode only. */
  ArbitrationPriority: 0x90,
  ProcessorPriority: 0xa0,
  EndOfInterrupt: 0xb0,
  /** xAPIC mode only; always 0. */
  RemoteRead: 0xc0,
  LogicalDestination: 0xd0,
  /** xAPIC mode only. */
  DestinationFormat: 0xe0,
  SpuriousVector: 0xf0,
  /** First of eight: bit `vector % 32` of register `vector / 32`. */
  InService: 0x100,
  /** First of eight. */
  TriggerMode: 0x180,
  /** First of eight. */
  InterruptRequest: 0x200,
  ErrorStatus: 0x280,
  LvtCmci: 0x2f0,
  /** In x2APIC mode all 64 bits of the command are this MSR. */
  InterruptCommandLow: 0x300,
  /** xAPIC mode only. */
  InterruptCommandHigh: 0x310,
  LvtTimer: 0x320,
  LvtThermal: 0x330,
  LvtPerformance: 0x340,
  LvtLint0: 0x350,
  LvtLint1: 0x360,
  LvtError: 0x370,
  InitialCount: 0x380,
  CurrentCount: 0x390,
  DivideConfiguration: 0x3e0,
  /** x2APIC mode only. */
  SelfIpi: 0x3f0,
} as const;

/**
 * Model-specific registers of a processor's APIC beside those of x2APIC mode.
 *
 * @public
 */
export const ApicMsr = {
  /** IA32_APIC_BASE: where the registers are, and the mode. */
  Base: 0x1b,
  /** IA32_TSC_DEADLINE. */
  TscDeadline: 0x6e0,
} as const;

/**
 * The model-specific register that in x2APIC mode has the place of the register at `offset` (table 10-6).
 *
 * @public
 */
export function x2apicMsr(offset: number): number {
  return X2APIC_FIRST_MSR + (offset >>> 4);
}

/** MSRs of x2APIC mode, all 256 that are set aside for it. */
export const X2APIC_FIRST_MSR: number = 0x800;
export const X2APIC_MSRS: number = 0x100;

/** Fields of IA32_APIC_BASE (section 10.4.4 and figure 10-26). */
export const BASE_BSP: number = 1 << 8;
export const BASE_EXTENDED: number = 1 << 10;
export const BASE_ENABLE: number = 1 << 11;
export const DEFAULT_BASE: number = 0xfee00000;
/** Physical addresses have at most 52 bits. */
export const BASE_HIGH_RESERVED: number = 0xfff00000;
export const BASE_LOW_RESERVED: number = 0x2ff;

/** Words of the register file: one per 16 bytes up to the last register. */
export const REGISTER_WORDS: number = 0x400 / 16;

export const SVR_ENABLE: number = 1 << 8;
export const SVR_SUPPRESS_EOI_BROADCAST: number = 1 << 12;
export const LVT_POLARITY_LOW: number = 1 << 13;
export const LVT_REMOTE_IRR: number = 1 << 14;
export const LVT_LEVEL: number = 1 << 15;
export const LVT_MASKED: number = 1 << 16;
export const LVT_TIMER_MODE_SHIFT: number = 17;

/** Bits of the error status register (section 10.5.3). */
export const ERROR_REDIRECTABLE_IPI: number = 1 << 4;
export const ERROR_SEND_ILLEGAL_VECTOR: number = 1 << 5;
export const ERROR_RECEIVE_ILLEGAL_VECTOR: number = 1 << 6;
export const ERROR_ILLEGAL_REGISTER: number = 1 << 7;

/** The first vector that is no exception: lower ones are illegal to send or receive (section 10.5.2). */
export const FIRST_LEGAL_VECTOR: number = 16;

export const ICR_LOGICAL: number = 1 << 11;
export const ICR_ASSERT: number = 1 << 14;
export const ICR_LEVEL: number = 1 << 15;
export const ICR_SHORTHAND_SHIFT: number = 18;

/** Version 0x15 with 7 local vectors and suppression of EOI broadcasts. */
export const VERSION: number = 0x15 | (6 << 16) | (1 << 24);

export const LVT_REGISTERS: readonly number[] = [
  ApicRegister.LvtCmci,
  ApicRegister.LvtTimer,
  ApicRegister.LvtThermal,
  ApicRegister.LvtPerformance,
  ApicRegister.LvtLint0,
  ApicRegister.LvtLint1,
  ApicRegister.LvtError,
];

/**
 * How an interrupt is delivered.
 *
 * @public
 */
export type ApicDeliveryMode = "fixed" | "lowest-priority" | "smi" | "nmi" | "init" | "startup" | "ext-int";

/** By the three bits of the delivery mode field; undefined: reserved. */
export const DELIVERY_MODES: readonly (ApicDeliveryMode | undefined)[] = [
  "fixed",
  "lowest-priority",
  "smi",
  undefined,
  "nmi",
  "init",
  "startup",
  "ext-int",
];

/**
 * Who is meant beside the destination field: 0 the field decides, 1 the sender alone, 2 all, 3 all but the sender.
 *
 * @public
 */
export type ApicShorthand = 0 | 1 | 2 | 3;

/**
 * The low word of the interrupt command register for an interrupt to be sent.
 *
 * @param command - `vector` defaults to 0, `shorthand` to 0, `logical` to false.
 *
 * @public
 */
export function apicCommand(command: {
  readonly mode: ApicDeliveryMode;
  readonly vector?: number;
  readonly shorthand?: ApicShorthand;
  readonly logical?: boolean;
}): number {
  const { mode, vector = 0, shorthand = 0, logical = false } = command;
  const bits = (DELIVERY_MODES.indexOf(mode) << 8) | ICR_ASSERT | (shorthand << ICR_SHORTHAND_SHIFT);
  return (vector & 0xff) | bits | (logical ? ICR_LOGICAL : 0);
}
