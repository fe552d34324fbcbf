import type { Madt } from "../acpi/madt.ts";

/*
 * Where interrupts arrive (ACPI 6.5, sections 5.2.12.4 and 5.2.12.5). Flags of a structure ("MPS INTI flags", table 5.26):
 *
 *   polarity  bits 0 and 1   0 as the bus has it, 1 active high, 3 active low
 *   trigger   bits 2 and 3   0 as the bus has it, 1 edge, 3 level
 */
const ISA_BUS = 0;
const ACTIVE_LOW = 3;
const LEVEL = 3;
/** Interrupts of the ISA bus. */
const ISA_INTERRUPTS = 16;

/**
 * An interrupt line into an I/O APIC.
 *
 * @public
 */
export interface InterruptLine {
  /** Its number among all pins of all I/O APICs. */
  readonly gsi: number;
  readonly activeLow: boolean;
  readonly level: boolean;
}

/**
 * What the flags of an ACPI structure say of a line; where they leave it to the bus, what `bus` does.
 *
 * @public
 */
export function interruptLine(
  gsi: number,
  intiFlags: number,
  bus: { readonly activeLow: boolean; readonly level: boolean },
): InterruptLine {
  const polarity = intiFlags & 3;
  const trigger = (intiFlags >>> 2) & 3;
  return {
    gsi,
    activeLow: polarity === 0 ? bus.activeLow : polarity === ACTIVE_LOW,
    level: trigger === 0 ? bus.level : trigger === LEVEL,
  };
}

/**
 * Where the ISA interrupt `irq` (0 to 15) arrives: as an override of the MADT says, else at the global system interrupt of its
 * number, active high and edge-triggered. `undefined`: nowhere, because another interrupt has been put there (2, say, on
 * machines with the timer at 2).
 *
 * @public
 */
export function isaInterruptLine(madt: Madt, irq: number): InterruptLine | undefined {
  if (!Number.isInteger(irq) || irq < 0 || irq >= ISA_INTERRUPTS) return undefined;
  const isa = { activeLow: false, level: false };
  let taken = false;
  for (const entry of madt.entries) {
    if (entry.kind !== "interrupt-override" || entry.bus !== ISA_BUS) continue;
    if (entry.source === irq) return interruptLine(entry.gsi, entry.intiFlags, isa);
    if (entry.gsi === irq) taken = true;
  }
  return taken ? undefined : { gsi: irq, ...isa };
}
