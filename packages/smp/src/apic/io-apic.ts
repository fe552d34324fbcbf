import { SmpError } from "../errors.ts";
import { FROM_DEVICE, emptyMessage, type ApicBus } from "./bus.ts";
import { deviceDestination } from "./message-signalled.ts";
import { DELIVERY_MODES } from "./registers.ts";

/**
 * Offsets in the page of an I/O APIC, and the registers behind its window (82093AA data sheet, section 3.1 and 3.2).
 *
 * @public
 */
export const IoApicRegister = {
  /** Which register the window shows. */
  Select: 0x00,
  Window: 0x10,
  /** Write a vector: its level-triggered pins are done with. From version 0x20 on. */
  EndOfInterrupt: 0x40,
  /** Behind the window: the id in bits 24 to 27. */
  Id: 0x00,
  /** Behind the window: version in bits 0 to 7, highest pin in bits 16 to 23. */
  Version: 0x01,
  /** Behind the window: the arbitration id in bits 24 to 27. */
  Arbitration: 0x02,
  /** Behind the window: of pin n the low word at `Redirection + 2 n`, the high word above it. */
  Redirection: 0x10,
} as const;

/* Bits of the low word of a redirection entry (data sheet, section 3.2.4). */
const LOGICAL = 1 << 11;
const POLARITY_LOW = 1 << 13;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
/** Vector, delivery mode, destination mode, polarity, trigger, mask; delivery status and remote IRR are read-only. */
const WRITABLE_LOW = 0x1afff;
const DESTINATION = 0xff000000;
const EXTENDED_DESTINATION = 0xfe0000;
const ID_BITS = 0x0f000000;
/** Versions from here on have the register that ends an interrupt. */
const EOI_VERSION = 0x20;
const MAX_PINS = 240;

/**
 * The low word of a redirection entry.
 *
 * @param entry - `mode` defaults to fixed, everything else to false: edge-triggered, high active, physical, not masked.
 *
 * @public
 */
export function redirectionEntry(entry: {
  readonly vector: number;
  readonly mode?: "fixed" | "lowest-priority" | "smi" | "nmi" | "init" | "ext-int";
  readonly logical?: boolean;
  readonly level?: boolean;
  readonly activeLow?: boolean;
  readonly masked?: boolean;
}): number {
  const { vector, mode = "fixed", logical = false, level = false, activeLow = false, masked = false } = entry;
  const bits = (logical ? LOGICAL : 0) | (activeLow ? POLARITY_LOW : 0) | (level ? LEVEL : 0) | (masked ? MASKED : 0);
  return (vector & 0xff) | (DELIVERY_MODES.indexOf(mode) << 8) | bits;
}

/**
 * What an {@link IoApic} is made of.
 *
 * @public
 */
export interface IoApicOptions {
  /** 0 to 15, after power-up; software may write another. Default 0. */
  readonly id?: number | undefined;
  /** Interrupt pins, 1 to 240, default 24. */
  readonly pins?: number | undefined;
  /** Default 0x20. The 82093AA itself has 0x11, and no register that ends interrupts. */
  readonly version?: number | undefined;
  /** The high word's bits 17 to 23 are bits 8 to 14 of the destination. Default false: they are reserved. */
  readonly extendedDestinations?: boolean | undefined;
  /** Where messages go; connect the I/O APIC to it for the ends of interrupts. */
  readonly bus: ApicBus;
}

/**
 * An I/O APIC as its registers show it: pins that become messages by the redirection table (Intel 82093AA data sheet, order number
 * 290566). All entries are masked after power-up.
 *
 * - An edge on a masked pin is lost. A level on a masked pin has no effect until the mask is taken away.
 * - A level-triggered pin sends once and sets its remote IRR; when the interrupt has ended and the pin is still asserted, it
 *   sends again. A message counts as accepted when it is sent.
 * - Making an entry edge-triggered clears its remote IRR: the way to end an interrupt without the register of version 0x20.
 * - SMI, NMI, INIT and external interrupts are edges whatever the entry says.
 *
 * Thread-safety: none; it belongs to one thread. Cost: no call allocates.
 *
 * @public
 */
export class IoApic {
  readonly pins: number;
  readonly version: number;
  readonly #bus: ApicBus;
  readonly #extended: boolean;
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  /** Electrical level of each pin. */
  readonly #isHigh: Uint8Array;
  readonly #message = emptyMessage();
  #id: number;
  #arbitration: number;
  #selected = 0;

  /** Throws `SMP_INVALID_ARGUMENT` for a number that cannot be. */
  constructor(options: IoApicOptions) {
    const { id = 0, pins = 24, version = EOI_VERSION } = options;
    check(id, 0, 15, "an I/O APIC's id");
    check(pins, 1, MAX_PINS, "the number of pins");
    check(version, 0, 255, "a version");
    this.pins = pins;
    this.version = version;
    this.#bus = options.bus;
    this.#extended = options.extendedDestinations ?? false;
    this.#id = id << 24;
    this.#arbitration = this.#id;
    this.#low = new Int32Array(pins).fill(MASKED);
    this.#high = new Int32Array(pins);
    this.#isHigh = new Uint8Array(pins);
  }

  /** Read at an offset of the page; elsewhere than at the select register and the window it is 0. */
  read(offset: number): number {
    if (offset === IoApicRegister.Select) return this.#selected;
    return offset === IoApicRegister.Window ? this.#readSelected() >>> 0 : 0;
  }

  /** Write at an offset of the page; what cannot be written is ignored. */
  write(offset: number, value: number): void {
    if (offset === IoApicRegister.Select) this.#selected = value & 0xff;
    else if (offset === IoApicRegister.Window) this.#writeSelected(value);
    else if (offset === IoApicRegister.EndOfInterrupt && this.version >= EOI_VERSION) this.endOfInterrupt(value & 0xff);
  }

  /** The electrical level of a pin is `high` now; low at first. Throws `SMP_INVALID_ARGUMENT` for a pin that is not there. */
  setPin(pin: number, high: boolean): void {
    check(pin, 0, this.pins - 1, "a pin");
    const wasAsserted = this.#isAsserted(pin);
    this.#isHigh[pin] = high ? 1 : 0;
    if (!this.#isAsserted(pin) || wasAsserted) return;
    if (this.#isLevel(pin)) this.#serveLevel(pin);
    else if ((this.#low[pin] & MASKED) === 0) this.#send(pin);
  }

  /** An interrupt has ended: pins that sent this vector and are still asserted send again. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < this.pins; pin++) {
      const low = this.#low[pin];
      if ((low & REMOTE_IRR) === 0 || (low & 0xff) !== vector) continue;
      this.#low[pin] = low & ~REMOTE_IRR;
      this.#serveLevel(pin);
    }
  }

  #readSelected(): number {
    switch (this.#selected) {
      case IoApicRegister.Id:
        return this.#id;
      case IoApicRegister.Version:
        return this.version | ((this.pins - 1) << 16);
      case IoApicRegister.Arbitration:
        return this.#arbitration;
      default: {
        const pin = this.#selectedPin();
        if (pin < 0) return 0;
        return (this.#selected & 1) === 0 ? this.#low[pin] : this.#high[pin];
      }
    }
  }

  #writeSelected(value: number): void {
    if (this.#selected === IoApicRegister.Id) {
      this.#id = value & ID_BITS;
      // Loaded whenever the id is (data sheet, section 3.2.3).
      this.#arbitration = this.#id;
      return;
    }
    const pin = this.#selectedPin();
    if (pin < 0) return;
    if ((this.#selected & 1) === 1)
      this.#high[pin] = value & (DESTINATION | (this.#extended ? EXTENDED_DESTINATION : 0));
    else this.#writeLow(pin, value);
  }

  #writeLow(pin: number, value: number): void {
    this.#low[pin] = (this.#low[pin] & ~WRITABLE_LOW) | (value & WRITABLE_LOW);
    if ((value & LEVEL) === 0) this.#low[pin] &= ~REMOTE_IRR;
    this.#serveLevel(pin);
  }

  /** The pin whose entry is selected, or -1. */
  #selectedPin(): number {
    const pin = (this.#selected - IoApicRegister.Redirection) >> 1;
    return pin < this.pins ? pin : -1;
  }

  #isAsserted(pin: number): boolean {
    return (this.#isHigh[pin] === 1) !== ((this.#low[pin] & POLARITY_LOW) !== 0);
  }

  /** Levels are for fixed and lowest-priority interrupts: delivery modes 0 and 1. */
  #isLevel(pin: number): boolean {
    return (this.#low[pin] & LEVEL) !== 0 && (this.#low[pin] & 0x600) === 0;
  }

  #serveLevel(pin: number): void {
    if (!this.#isLevel(pin) || !this.#isAsserted(pin) || (this.#low[pin] & (MASKED | REMOTE_IRR)) !== 0) return;
    // First, so that an interrupt which ends while it is being sent finds it.
    this.#low[pin] |= REMOTE_IRR;
    this.#send(pin);
  }

  #send(pin: number): void {
    const low = this.#low[pin];
    const high = this.#high[pin];
    const mode = DELIVERY_MODES[(low >>> 8) & 7];
    if (mode === undefined || mode === "startup") return;
    const message = this.#message;
    message.mode = mode;
    message.vector = low & 0xff;
    message.destination = deviceDestination(high >>> 24, (high >>> 17) & 0x7f);
    message.logical = (low & LOGICAL) !== 0;
    message.levelTriggered = this.#isLevel(pin);
    this.#bus.deliver(FROM_DEVICE, message);
  }
}

function check(value: number, least: number, most: number, what: string): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new SmpError("SMP_INVALID_ARGUMENT", `${value} is not ${what} from ${least} to ${most}`);
}
