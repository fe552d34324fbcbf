import { ApicRegister, REGISTER_WORDS } from "./registers.ts";

/*
 * What can be done to which register in which mode: tables 10-1 and 10-6, and for the bits the registers' figures. In xAPIC
 * mode bits that cannot be written are ignored; in x2APIC mode setting a reserved one is a general-protection fault (section
 * 10.12.1.3), except for those that are read-only.
 */
const R = 1;
const W = 2;
const RW = R | W;
const NONE = 0;

const LVT = 0x100ff;
const LVT_MODE = 0x700;
const LVT_PIN = (1 << 13) | (1 << 15);
const LVT_STATUS = 1 << 12;
const REMOTE_IRR = 1 << 14;
/** Vector, delivery mode, destination mode, level, trigger, shorthand. */
const ICR = 0xcffff & ~(1 << 12) & ~(1 << 13);
const TIMER_MODES = 3 << 17;
const PERIODIC = 1 << 17;

/** Register, access in xAPIC mode, in x2APIC mode, bits that a write changes, bits that it may set in vain. */
const REGISTERS: readonly (readonly [number, number, number, number, number])[] = [
  [ApicRegister.Id, R, R, 0, 0],
  [ApicRegister.Version, R, R, 0, 0],
  [ApicRegister.TaskPriority, RW, RW, 0xff, 0],
  [ApicRegister.ArbitrationPriority, R, NONE, 0, 0],
  [ApicRegister.ProcessorPriority, R, R, 0, 0],
  [ApicRegister.EndOfInterrupt, W, W, 0, 0],
  [ApicRegister.RemoteRead, R, NONE, 0, 0],
  [ApicRegister.LogicalDestination, RW, R, 0xff000000, 0],
  [ApicRegister.DestinationFormat, RW, NONE, 0xf0000000, 0],
  [ApicRegister.SpuriousVector, RW, RW, 0x11ff, 0],
  ...vectorSet(ApicRegister.InService),
  ...vectorSet(ApicRegister.TriggerMode),
  ...vectorSet(ApicRegister.InterruptRequest),
  [ApicRegister.ErrorStatus, RW, RW, 0, 0],
  [ApicRegister.LvtCmci, RW, RW, LVT | LVT_MODE, LVT_STATUS],
  [ApicRegister.InterruptCommandLow, RW, RW, ICR, 1 << 12],
  [ApicRegister.InterruptCommandHigh, RW, NONE, 0xffffffff, 0],
  [ApicRegister.LvtTimer, RW, RW, LVT | TIMER_MODES, LVT_STATUS],
  [ApicRegister.LvtThermal, RW, RW, LVT | LVT_MODE, LVT_STATUS],
  [ApicRegister.LvtPerformance, RW, RW, LVT | LVT_MODE, LVT_STATUS],
  [ApicRegister.LvtLint0, RW, RW, LVT | LVT_MODE | LVT_PIN, LVT_STATUS | REMOTE_IRR],
  [ApicRegister.LvtLint1, RW, RW, LVT | LVT_MODE | LVT_PIN, LVT_STATUS | REMOTE_IRR],
  [ApicRegister.LvtError, RW, RW, LVT, LVT_STATUS],
  [ApicRegister.InitialCount, RW, RW, 0xffffffff, 0],
  [ApicRegister.CurrentCount, R, R, 0, 0],
  [ApicRegister.DivideConfiguration, RW, RW, 0xb, 0],
  [ApicRegister.SelfIpi, NONE, W, 0xff, 0],
];

function vectorSet(first: number): [number, number, number, number, number][] {
  return Array.from({ length: 8 }, (_, word) => [first + word * 16, R, R, 0, 0]);
}

/** Registers are looked up by their offset / 16. */
export class RegisterAccess {
  readonly #access = new Uint8Array(REGISTER_WORDS);
  readonly #writable = new Int32Array(REGISTER_WORDS);
  readonly #tolerated = new Int32Array(REGISTER_WORDS);

  /** @param tscDeadline - the timer has the TSC-deadline mode. */
  constructor(x2apic: boolean, tscDeadline: boolean) {
    for (const [offset, xapicAccess, x2apicAccess, writable, tolerated] of REGISTERS) {
      this.#access[offset >> 4] = x2apic ? x2apicAccess : xapicAccess;
      this.#writable[offset >> 4] = writable;
      this.#tolerated[offset >> 4] = writable | tolerated;
    }
    if (tscDeadline) return;
    this.#writable[ApicRegister.LvtTimer >> 4] = LVT | PERIODIC;
    this.#tolerated[ApicRegister.LvtTimer >> 4] = LVT | PERIODIC | LVT_STATUS;
  }

  /** Whether there is such a register at all. Offsets are multiples of 16 (section 10.4.1). */
  exists(offset: number): boolean {
    return offset % 16 === 0 && (this.#access[offset / 16] ?? NONE) !== NONE;
  }

  canRead(offset: number): boolean {
    return (this.#access[offset >>> 4] & R) !== 0;
  }

  canWrite(offset: number): boolean {
    return (this.#access[offset >>> 4] & W) !== 0;
  }

  writable(offset: number): number {
    return this.#writable[offset >>> 4];
  }

  /** Bits of `value` that must not be set. */
  reserved(offset: number, value: number): number {
    return (value & ~this.#tolerated[offset >>> 4]) >>> 0;
  }
}
