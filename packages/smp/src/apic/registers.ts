/*
 * Registers and fields of the local APIC. Source of every number: Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 3A, chapter "Advanced Programmable Interrupt Controller" (tables "Local APIC Register Address Map",
 * figures "Local Vector Table", "Interrupt Command Register", "Divide Configuration Register").
 */

/**
 * Offsets of the local APIC's registers in its page (Intel SDM volume 3A, "Local APIC Register Address Map").
 *
 * @public
 */
export const ApicRegister = {
  Id: 0x20,
  Version: 0x30,
  TaskPriority: 0x80,
  ProcessorPriority: 0xa0,
  EndOfInterrupt: 0xb0,
  LogicalDestination: 0xd0,
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
  InterruptCommandLow: 0x300,
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
} as const;

/** Words of the register file: one per 16 bytes up to the last register. */
export const REGISTER_WORDS: number = 0x400 / 16;

export const SVR_ENABLE: number = 1 << 8;
export const LVT_MASKED: number = 1 << 16;
export const LVT_PERIODIC: number = 1 << 17;
const LVT_MODE = 0x7 << 8;

export const ERROR_SEND_ILLEGAL_VECTOR: number = 1 << 5;
export const ERROR_RECEIVE_ILLEGAL_VECTOR: number = 1 << 6;
export const ERROR_ILLEGAL_REGISTER: number = 1 << 7;

/** The first vector that is no exception: lower ones are illegal to send or receive. */
export const FIRST_LEGAL_VECTOR: number = 16;

export const ICR_LOGICAL: number = 1 << 11;
export const ICR_ASSERT: number = 1 << 14;
export const ICR_LEVEL: number = 1 << 15;
export const ICR_SHORTHAND_SHIFT: number = 18;
/** Vector, delivery mode, destination mode, level, trigger, shorthand; the delivery status reads as 0: always sent at once. */
const ICR_WRITABLE = 0xcffff & ~(1 << 12) & ~(1 << 13);

/** Version 0x14 with 7 local vectors. */
export const VERSION: number = 0x14 | (6 << 16);

export const LVT_REGISTERS: readonly number[] = [
  ApicRegister.LvtCmci,
  ApicRegister.LvtTimer,
  ApicRegister.LvtThermal,
  ApicRegister.LvtPerformance,
  ApicRegister.LvtLint0,
  ApicRegister.LvtLint1,
  ApicRegister.LvtError,
];

/** Which bits of a register a write changes; a register that is not listed cannot be written. */
export const WRITABLE_BITS: Readonly<Record<number, number>> = {
  [ApicRegister.TaskPriority]: 0xff,
  [ApicRegister.EndOfInterrupt]: 0,
  [ApicRegister.LogicalDestination]: 0xff000000,
  [ApicRegister.DestinationFormat]: 0xf0000000,
  [ApicRegister.SpuriousVector]: 0x11ff,
  [ApicRegister.ErrorStatus]: 0,
  [ApicRegister.LvtCmci]: 0xff | LVT_MODE | LVT_MASKED,
  [ApicRegister.InterruptCommandLow]: ICR_WRITABLE,
  [ApicRegister.InterruptCommandHigh]: 0xffffffff,
  [ApicRegister.LvtTimer]: 0xff | LVT_MASKED | LVT_PERIODIC,
  [ApicRegister.LvtThermal]: 0xff | LVT_MODE | LVT_MASKED,
  [ApicRegister.LvtPerformance]: 0xff | LVT_MODE | LVT_MASKED,
  [ApicRegister.LvtLint0]: 0xff | LVT_MODE | LVT_MASKED | (1 << 13) | (1 << 15),
  [ApicRegister.LvtLint1]: 0xff | LVT_MODE | LVT_MASKED | (1 << 13) | (1 << 15),
  [ApicRegister.LvtError]: 0xff | LVT_MASKED,
  [ApicRegister.InitialCount]: 0xffffffff,
  [ApicRegister.DivideConfiguration]: 0xb,
};

/**
 * How an interrupt is delivered.
 *
 * @public
 */
export type ApicDeliveryMode = "fixed" | "lowest-priority" | "smi" | "nmi" | "init" | "startup";

/** By the three bits of the delivery mode field; undefined: reserved. */
export const DELIVERY_MODES: readonly (ApicDeliveryMode | undefined)[] = [
  "fixed",
  "lowest-priority",
  "smi",
  undefined,
  "nmi",
  "init",
  "startup",
  undefined,
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
