import { describe, expect, it } from "vitest";
import { interruptLine, isaInterruptLine } from "../../src/index.ts";
import { buildMadt, parseAcpiTable, parseMadt, type MadtEntrySpec } from "../../src/acpi/index.ts";

const madtOf = (entries: readonly MadtEntrySpec[]) =>
  parseMadt(parseAcpiTable(buildMadt({ localApicAddress: 0xfee00000, flags: 1, entries }), "test"));

const PC = madtOf([
  { type: 1, ioApicId: 8, address: 0xfec00000, gsiBase: 0 },
  { type: 2, bus: 0, source: 0, gsi: 2, intiFlags: 0 },
  { type: 2, bus: 0, source: 9, gsi: 9, intiFlags: 0xd },
  { type: 2, bus: 0, source: 11, gsi: 20, intiFlags: 0xf },
  { type: 2, bus: 1, source: 5, gsi: 7, intiFlags: 0 },
]);

describe("isaInterruptLine", () => {
  it("follows overrides, and is the identity, active high and edge-triggered elsewhere", () => {
    expect(isaInterruptLine(PC, 0)).toEqual({ gsi: 2, activeLow: false, level: false });
    expect(isaInterruptLine(PC, 4)).toEqual({ gsi: 4, activeLow: false, level: false });
    expect(isaInterruptLine(PC, 9)).toEqual({ gsi: 9, activeLow: false, level: true });
    expect(isaInterruptLine(PC, 11)).toEqual({ gsi: 20, activeLow: true, level: true });
  });

  it("is nowhere for an interrupt whose place another has taken", () => {
    expect(isaInterruptLine(PC, 2)).toBeUndefined();
  });

  it("minds the ISA bus only, and its sixteen interrupts", () => {
    expect(isaInterruptLine(PC, 5)?.gsi).toBe(5);
    expect(isaInterruptLine(PC, 7)?.gsi).toBe(7);
    for (const irq of [-1, 16, 1.5]) expect(isaInterruptLine(PC, irq)).toBeUndefined();
  });
});

describe("interruptLine", () => {
  it("leaves to the bus what the flags leave to it", () => {
    const pci = { activeLow: true, level: true };
    expect(interruptLine(16, 0, pci)).toEqual({ gsi: 16, ...pci });
    expect(interruptLine(16, 0x5, pci)).toEqual({ gsi: 16, activeLow: false, level: false });
    expect(interruptLine(16, 0xc, { activeLow: false, level: false })).toEqual({
      gsi: 16,
      activeLow: false,
      level: true,
    });
  });
});
