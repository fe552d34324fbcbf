import { generalProtection } from "./apic-mode.ts";
import type { RegisterAccess } from "./register-access.ts";
import { ApicRegister, X2APIC_FIRST_MSR, X2APIC_MSRS, x2apicMsr } from "./registers.ts";

const COMMAND = x2apicMsr(ApicRegister.InterruptCommandLow);

/*
 * Which accesses to the model-specific registers 0x800 to 0x8ff are good, and which fault (Intel SDM volume 3A, sections 10.12.1.2
 * and 10.12.1.3).
 */
export class X2ApicMsrs {
  readonly #access: RegisterAccess;

  constructor(access: RegisterAccess) {
    this.#access = access;
  }

  /** The offset of the register that is read. */
  read(msr: number, inX2ApicMode: boolean): number {
    const offset = offsetOf(msr, inX2ApicMode, "RDMSR");
    if (!this.#access.canRead(offset)) throw generalProtection(`RDMSR ${hex(msr)}: the register cannot be read`);
    return offset;
  }

  /** The offset of the register that is written. */
  write(msr: number, low: number, high: number, inX2ApicMode: boolean): number {
    const offset = offsetOf(msr, inX2ApicMode, "WRMSR");
    if (!this.#access.canWrite(offset)) throw generalProtection(`WRMSR ${hex(msr)}: the register cannot be written`);
    const reserved = this.#access.reserved(offset, low);
    if (reserved !== 0) throw generalProtection(`WRMSR ${hex(msr)} sets reserved bits: ${hex(reserved)}`);
    if (high !== 0 && msr !== COMMAND) throw generalProtection(`WRMSR ${hex(msr)} sets bits above the lower 32`);
    return offset;
  }
}

function offsetOf(msr: number, inX2ApicMode: boolean, instruction: string): number {
  const index = msr - X2APIC_FIRST_MSR;
  const known = Number.isInteger(index) && index >= 0 && index < X2APIC_MSRS;
  if (!known) throw generalProtection(`${instruction} ${hex(msr)}: no register of a local APIC`);
  if (!inX2ApicMode) throw generalProtection(`${instruction} ${hex(msr)}: the APIC is not in x2APIC mode`);
  return index << 4;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
