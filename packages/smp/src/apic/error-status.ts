/*
 * What a local APIC has noted (Intel SDM volume 3A, section 10.5.3): errors gather until software writes the error status
 * register, which shows them and makes room for the next.
 */
export class ErrorStatus {
  /** Bits noted since the register was last written. */
  pending = 0;

  /** Whether `bit` is new: one that has not been shown yet interrupts no second time. */
  note(bit: number): boolean {
    const isNew = (this.pending & bit) === 0;
    this.pending |= bit;
    return isNew;
  }

  /** What the register shows from now on. */
  take(): number {
    const taken = this.pending;
    this.pending = 0;
    return taken;
  }
}
