import type { Madt } from "@x/smp/acpi";

/** An I/O APIC on the board. */
export interface IoApicPlace {
  readonly id: number;
  readonly address: number;
  /** Its first global system interrupt. */
  readonly gsiBase: number;
  readonly pins: number;
}

/** Pins where the next I/O APIC does not tell: those of the usual one of a chipset. */
const USUAL_PINS = 24;
const MOST_PINS = 240;

/** The I/O APICs that a MADT describes. It names their first interrupts only, so each has the pins up to the next one. */
export function ioApicPlaces(madt: Madt): IoApicPlace[] {
  const entries = madt.entries.filter((entry) => entry.kind === "io-apic").sort((a, b) => a.gsiBase - b.gsiBase);
  return entries.map(({ ioApicId, address, gsiBase }, at) => {
    const gap = at + 1 < entries.length ? entries[at + 1].gsiBase - gsiBase : USUAL_PINS;
    return { id: ioApicId & 15, address, gsiBase, pins: Math.min(Math.max(gap, 1), MOST_PINS) };
  });
}
