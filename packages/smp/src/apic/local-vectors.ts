import {
  ApicRegister,
  DELIVERY_MODES,
  LVT_LEVEL,
  LVT_MASKED,
  LVT_POLARITY_LOW,
  LVT_REGISTERS,
  LVT_REMOTE_IRR,
  type ApicDeliveryMode,
} from "./registers.ts";

/** Takes a local interrupt; whether it was accepted. */
export type DeliverLocal = (mode: ApicDeliveryMode, vector: number, levelTriggered: boolean) => boolean;

const PINS = [ApicRegister.LvtLint0, ApicRegister.LvtLint1] as const;
/** What a local vector may ask for: no messages to processors (figure 10-8). */
const LOCAL_MODES: readonly (ApicDeliveryMode | undefined)[] = DELIVERY_MODES.map((mode) =>
  mode === "lowest-priority" || mode === "startup" ? undefined : mode,
);

/*
 * The local vector table and the two pins LINT0 and LINT1 (Intel SDM volume 3A, section 10.5.1). Its words lie in the register
 * file of the APIC.
 */
export class LocalVectors {
  readonly #registers: Uint32Array;
  readonly #deliver: DeliverLocal;
  /** Electrical level of the pins, bit by bit. */
  #pinsHigh = 0;

  constructor(registers: Uint32Array, deliver: DeliverLocal) {
    this.#registers = registers;
    this.#deliver = deliver;
  }

  /** While software has the APIC disabled every local vector is masked and stays so (section 10.4.7.2). */
  maskAll(): void {
    for (const lvt of LVT_REGISTERS) this.#registers[lvt >> 4] |= LVT_MASKED;
  }

  reset(): void {
    for (const lvt of LVT_REGISTERS) this.#registers[lvt >> 4] = LVT_MASKED;
  }

  /** After software has written an entry: a level that waits on a pin counts now; an edge that is over is lost. */
  written(lvt: number): void {
    const pin = PINS.indexOf(lvt as (typeof PINS)[number]);
    if (pin < 0) return;
    // An edge-triggered entry has nothing to wait for.
    if (!this.#isLevel(lvt)) this.#registers[lvt >> 4] &= ~LVT_REMOTE_IRR;
    this.#serveLevel(pin);
  }

  /** The source of `lvt` has an interrupt. */
  raise(lvt: number): boolean {
    const entry = this.#registers[lvt >> 4];
    const mode = LOCAL_MODES[(entry >>> 8) & 7];
    if ((entry & LVT_MASKED) !== 0 || mode === undefined) return false;
    // A performance counter's interrupt masks itself, so that the handler must ask for the next.
    if (lvt === ApicRegister.LvtPerformance) this.#registers[lvt >> 4] |= LVT_MASKED;
    return this.#deliver(mode, entry & 0xff, mode === "fixed" && (entry & LVT_LEVEL) !== 0);
  }

  /** The electrical level of LINT0 or LINT1 is `high` now. */
  setPin(pin: 0 | 1, high: boolean): void {
    const wasAsserted = this.#isAsserted(pin);
    this.#pinsHigh = high ? this.#pinsHigh | (1 << pin) : this.#pinsHigh & ~(1 << pin);
    if (!this.#isAsserted(pin) || wasAsserted) return;
    if (this.#isLevel(PINS[pin])) this.#serveLevel(pin);
    else this.raise(PINS[pin]);
  }

  /** Whether the pin is high, for a processor whose APIC is switched off and has the pins for itself. */
  isPinHigh(pin: 0 | 1): boolean {
    return (this.#pinsHigh & (1 << pin)) !== 0;
  }

  /** `vector` is done with: a level-triggered pin that is still asserted interrupts again. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < PINS.length; pin++) {
      const at = PINS[pin] >> 4;
      if ((this.#registers[at] & LVT_REMOTE_IRR) === 0 || (this.#registers[at] & 0xff) !== vector) continue;
      this.#registers[at] &= ~LVT_REMOTE_IRR;
      this.#serveLevel(pin);
    }
  }

  #serveLevel(pin: number): void {
    const lvt = PINS[pin];
    const entry = this.#registers[lvt >> 4];
    if (!this.#isLevel(lvt) || !this.#isAsserted(pin) || (entry & (LVT_MASKED | LVT_REMOTE_IRR)) !== 0) return;
    if (this.#deliver("fixed", entry & 0xff, true)) this.#registers[lvt >> 4] |= LVT_REMOTE_IRR;
  }

  #isAsserted(pin: number): boolean {
    const high = (this.#pinsHigh & (1 << pin)) !== 0;
    return high !== ((this.#registers[PINS[pin] >> 4] & LVT_POLARITY_LOW) !== 0);
  }

  /** The trigger mode counts for fixed interrupts, and not on LINT1, which knows no levels. */
  #isLevel(lvt: number): boolean {
    const entry = this.#registers[lvt >> 4];
    return lvt === ApicRegister.LvtLint0 && (entry & 0x700) === 0 && (entry & LVT_LEVEL) !== 0;
  }
}
