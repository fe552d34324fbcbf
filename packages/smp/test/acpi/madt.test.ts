import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildAcpiTable,
  buildMadt,
  madtLocalApicAddress,
  madtProcessors,
  parseAcpiTable,
  parseMadt,
  SmpError,
  type MadtEntrySpec,
} from "../../src/acpi/index.ts";
import { madtOf, rawMadt } from "./helpers.ts";

const byte = fc.integer({ min: 0, max: 0xff });
const short = fc.integer({ min: 0, max: 0xffff });
const word = fc.integer({ min: 0, max: 0xffffffff });
const entrySpecs: fc.Arbitrary<MadtEntrySpec> = fc.oneof(
  fc.record({ type: fc.constant(0 as const), acpiProcessorId: byte, apicId: byte, flags: word }),
  fc.record({ type: fc.constant(1 as const), ioApicId: byte, address: word, gsiBase: word }),
  fc.record({ type: fc.constant(2 as const), bus: byte, source: byte, gsi: word, intiFlags: short }),
  fc.record({ type: fc.constant(3 as const), intiFlags: short, gsi: word }),
  fc.record({ type: fc.constant(4 as const), acpiProcessorId: byte, intiFlags: short, lint: byte }),
  fc.record({ type: fc.constant(5 as const), address: fc.maxSafeNat() }),
  fc.record({ type: fc.constant(9 as const), x2apicId: word, flags: word, acpiProcessorUid: word }),
  fc.record({ type: fc.constant(10 as const), intiFlags: short, acpiProcessorUid: word, lint: byte }),
);

describe("parseMadt", () => {
  it("gives back every structure that buildMadt was given", () => {
    fc.assert(
      fc.property(fc.array(entrySpecs), word, word, (entries, localApicAddress, flags) => {
        const table = parseAcpiTable(buildMadt({ entries, localApicAddress, flags }));
        expect(table.header.checksumOk).toBe(true);
        const madt = parseMadt(table);
        expect(madt).toMatchObject({ localApicAddress, flags, problems: [] });
        expect(madt.entries).toHaveLength(entries.length);
        expect(madt.entries).toMatchObject(entries);
      }),
    );
  });

  it("decodes the bytes of the specification's layouts", () => {
    const madt = rawMadt(
      [0, 8, 1, 2, 1, 0, 0, 0],
      [1, 12, 8, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0],
      [2, 10, 0, 9, 20, 0, 0, 0, 13, 0],
      [3, 8, 5, 0, 7, 0, 0, 0],
      [4, 6, 0xff, 5, 0, 1],
      [5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0],
      [9, 16, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0],
      [10, 12, 5, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
    );
    expect(madt.entries).toEqual([
      { type: 0, length: 8, kind: "local-apic", acpiProcessorId: 1, apicId: 2, flags: 1 },
      { type: 1, length: 12, kind: "io-apic", ioApicId: 8, address: 0xfec00000, gsiBase: 24 },
      { type: 2, length: 10, kind: "interrupt-override", bus: 0, source: 9, gsi: 20, intiFlags: 13 },
      { type: 3, length: 8, kind: "nmi-source", intiFlags: 5, gsi: 7 },
      { type: 4, length: 6, kind: "local-apic-nmi", acpiProcessorId: 0xff, intiFlags: 5, lint: 1 },
      { type: 5, length: 12, kind: "local-apic-address", address: 0x1fee00000 },
      { type: 9, length: 16, kind: "local-x2apic", x2apicId: 256, flags: 3, acpiProcessorUid: 7 },
      { type: 10, length: 12, kind: "local-x2apic-nmi", intiFlags: 5, acpiProcessorUid: 0xffffffff, lint: 1 },
    ]);
    expect(madtLocalApicAddress(madt)).toBe(0x1fee00000);
  });

  it("keeps a structure of unknown type with its bytes and goes on behind it", () => {
    const madt = rawMadt([0x7f, 4, 0xaa, 0xbb, 0, 8, 0, 3, 1, 0, 0, 0]);
    expect(madt.problems).toEqual([]);
    expect(madt.entries[0]).toEqual({
      type: 0x7f,
      length: 4,
      kind: "unknown",
      bytes: Uint8Array.of(0x7f, 4, 0xaa, 0xbb),
    });
    expect(madt.entries[1]).toMatchObject({ type: 0, apicId: 3 });
    expect(madtLocalApicAddress(madt)).toBe(0xfee00000);
  });

  it("builds unknown structures from their bytes", () => {
    const bytes = Uint8Array.of(0x80, 3, 9);
    expect(madtOf([{ kind: "unknown", bytes }]).entries).toEqual([{ type: 0x80, length: 3, kind: "unknown", bytes }]);
  });

  it("reports a structure that is too short for its type and goes on by its length", () => {
    const madt = rawMadt([0, 3, 1, 0, 8, 0, 3, 1, 0, 0, 0]);
    expect(madt.problems).toEqual([{ offset: 44, message: expect.stringContaining("3 bytes; 8 are needed") }]);
    expect(madt.entries).toMatchObject([{ type: 0, apicId: 3 }]);
  });

  it("decodes a structure that is longer than its type needs", () => {
    expect(rawMadt([4, 8, 1, 0, 0, 1, 0, 0]).entries).toMatchObject([{ type: 4, length: 8, lint: 1 }]);
  });

  it.each([
    ["of length 0", [0, 0, 1, 1], 44],
    ["of length 1", [0, 1], 44],
    ["that ends past the table", [0, 8, 0, 0, 1, 0, 0, 0, 4, 6, 0], 52],
    ["cut off behind its type", [0, 8, 0, 0, 1, 0, 0, 0, 4], 52],
  ])("stops at a structure %s and says where", (_what, structures, offset) => {
    const madt = rawMadt(structures);
    expect(madt.problems).toEqual([{ offset, message: expect.any(String) }]);
    expect(madt.entries).toHaveLength(offset === 52 ? 1 : 0);
  });

  it("reports an override address beyond 2^53 as a problem", () => {
    const madt = rawMadt([5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    expect(madt.problems).toHaveLength(1);
    expect(madt.entries).toEqual([]);
  });

  it("refuses other tables, and a MADT without its fixed part", () => {
    const body = new Uint8Array(4);
    const srat = parseAcpiTable(buildAcpiTable({ signature: "SRAT", revision: 3, body }));
    const short = parseAcpiTable(buildAcpiTable({ signature: "APIC", revision: 3, body }), "apic.dat");
    expect(() => parseMadt(srat)).toThrow(expect.objectContaining({ code: "ACPI_BAD_SIGNATURE" }));
    const malformed = { code: "ACPI_MALFORMED", location: { file: "apic.dat", offset: 40 } };
    expect(() => parseMadt(short)).toThrow(expect.objectContaining(malformed));
  });

  it("answers any damage to a table with a result or an SmpError, with every problem inside the table", () => {
    const good = buildMadt({
      entries: [
        { type: 0, acpiProcessorId: 0, apicId: 0, flags: 1 },
        { type: 1, ioApicId: 0, address: 0xfec00000, gsiBase: 0 },
        { type: 5, address: 0xfee00000 },
        { type: 9, x2apicId: 300, flags: 1, acpiProcessorUid: 300 },
        { type: 10, intiFlags: 5, acpiProcessorUid: 0xffffffff, lint: 1 },
      ],
    });
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), byte), { minLength: 1, maxLength: 8 });
    let decoded = 0;
    const property = fc.property(damage, fc.nat(good.length), (changes, keep) => {
      const bytes = good.slice(0, keep > good.length / 2 ? good.length : keep);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        const madt = parseMadt(parseAcpiTable(bytes));
        for (const problem of madt.problems) expect(problem.offset).toBeLessThan(bytes.length);
        for (const entry of madt.entries) expect(entry.length).toBeGreaterThanOrEqual(2);
        madtProcessors(madt);
        decoded++;
      } catch (error) {
        if (!(error instanceof SmpError)) throw error;
      }
    });
    fc.assert(property, { numRuns: 5000 });
    expect(decoded).toBeGreaterThan(1000);
  });
});

describe("madtProcessors", () => {
  it("lists processors of both kinds in the order of the table with their flags", () => {
    const madt = madtOf([
      { type: 9, x2apicId: 300, flags: 1, acpiProcessorUid: 30 },
      { type: 1, ioApicId: 0, address: 0xfec00000, gsiBase: 0 },
      { type: 0, acpiProcessorId: 1, apicId: 4, flags: 2 },
      { type: 0, acpiProcessorId: 2, apicId: 6, flags: 3 },
      { type: 0, acpiProcessorId: 3, apicId: 8, flags: 0 },
    ]);
    expect(madtProcessors(madt)).toEqual([
      { apicId: 300, processorUid: 30, enabled: true, onlineCapable: false },
      { apicId: 4, processorUid: 1, enabled: false, onlineCapable: true },
      { apicId: 6, processorUid: 2, enabled: true, onlineCapable: false },
      { apicId: 8, processorUid: 3, enabled: false, onlineCapable: false },
    ]);
  });

  it("leaves out broadcast ids and counts equal ids once, the enabled structure first", () => {
    const madt = madtOf([
      { type: 0, acpiProcessorId: 9, apicId: 0, flags: 0 },
      { type: 0, acpiProcessorId: 0, apicId: 2, flags: 1 },
      { type: 0, acpiProcessorId: 1, apicId: 0, flags: 1 },
      { type: 0, acpiProcessorId: 8, apicId: 0, flags: 1 },
      { type: 0, acpiProcessorId: 7, apicId: 0xff, flags: 1 },
      { type: 9, x2apicId: 0xffffffff, flags: 1, acpiProcessorUid: 7 },
      { type: 9, x2apicId: 0xff, flags: 1, acpiProcessorUid: 5 },
    ]);
    expect(madtProcessors(madt).map(({ apicId, processorUid }) => [apicId, processorUid])).toEqual([
      [2, 0],
      [0, 1],
      [0xff, 5],
    ]);
  });
});
