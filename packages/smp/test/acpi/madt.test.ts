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
const long = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const entrySpecs: fc.Arbitrary<MadtEntrySpec> = fc.oneof(
  fc.record({ type: fc.constant(0 as const), acpiProcessorId: byte, apicId: byte, flags: word }),
  fc.record({ type: fc.constant(1 as const), ioApicId: byte, address: word, gsiBase: word }),
  fc.record({ type: fc.constant(2 as const), bus: byte, source: byte, gsi: word, intiFlags: short }),
  fc.record({ type: fc.constant(3 as const), intiFlags: short, gsi: word }),
  fc.record({ type: fc.constant(4 as const), acpiProcessorId: byte, intiFlags: short, lint: byte }),
  fc.record({ type: fc.constant(5 as const), address: long }),
  fc.record({ type: fc.constant(9 as const), x2apicId: word, flags: word, acpiProcessorUid: word }),
  fc.record({ type: fc.constant(10 as const), intiFlags: short, acpiProcessorUid: word, lint: byte }),
  fc.record({
    type: fc.constant(7 as const),
    acpiProcessorId: byte,
    localSapicId: byte,
    localSapicEid: byte,
    flags: word,
    acpiProcessorUid: word,
    acpiProcessorUidText: fc.stringMatching(/^\\[A-Z0-9._]{0,200}$/),
  }),
  fc.record({
    type: fc.constant(24 as const),
    version: byte,
    flags: word,
    hartId: long,
    acpiProcessorUid: word,
    externalControllerId: word,
    imsicAddress: long,
    imsicSize: word,
  }),
  fc.record({
    type: fc.constant(18 as const),
    version: byte,
    address: long,
    size: short,
    cascade: fc.array(byte, { minLength: 2, maxLength: 2 }),
    cascadeMap: fc.array(word, { minLength: 2, maxLength: 2 }),
  }),
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
      { type: 5, length: 12, kind: "local-apic-address", address: 0x1fee00000n },
      { type: 9, length: 16, kind: "local-x2apic", x2apicId: 256, flags: 3, acpiProcessorUid: 7 },
      { type: 10, length: 12, kind: "local-x2apic-nmi", intiFlags: 5, acpiProcessorUid: 0xffffffff, lint: 1 },
    ]);
    expect(madtLocalApicAddress(madt)).toBe(0x1fee00000n);
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
    expect(madtLocalApicAddress(madt)).toBe(0xfee00000n);
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

  it("keeps all 64 bits of an address", () => {
    expect(rawMadt([5, 12, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff]).entries).toMatchObject([{ address: 0xff00000000000001n }]);
  });

  it("decodes what a structure of an older revision has, and leaves out what came later", () => {
    const gicc = (length: number): number[] => [11, length, ...Array.from({ length: length - 2 }, (_, at) => at + 2)];
    const madt = rawMadt(gicc(40), gicc(76), gicc(80), gicc(82), gicc(39));
    expect(madt.problems).toEqual([{ offset: 44 + 278, message: expect.stringContaining("39 bytes; 40 are needed") }]);
    const [first, second, third, fourth] = madt.entries;
    expect(first).toMatchObject({ baseAddress: 0x2726252423222120n });
    expect(first).not.toHaveProperty("gicvAddress");
    expect(second).toMatchObject({ mpidr: 0x4b4a494847464544n });
    expect(second).not.toHaveProperty("efficiencyClass");
    expect(third).toMatchObject({ efficiencyClass: 0x4c, speOverflowInterrupt: 0x4f4e });
    expect(third).not.toHaveProperty("trbeInterrupt");
    expect(fourth).toMatchObject({ trbeInterrupt: 0x5150 });
    const lpc = [1, ...Array.from({ length: 10 }, () => 0), 7];
    const cascades = rawMadt([23, 14, ...lpc], [23, 15, ...lpc, 1]).entries;
    expect(cascades).toMatchObject([{ cascade: 7 }, { cascade: 0x107 }]);
  });

  it("reads the text of a uid up to its NUL", () => {
    const fixed = [3, 4, 5, 0, 0, 0, 1, 0, 0, 0];
    const entries = rawMadt(
      [7, 12, ...fixed],
      [7, 16, ...fixed, 9, 0, 0, 0],
      [7, 20, ...fixed, 9, 0, 0, 0, 0x43, 0x30, 0, 0x31],
    ).entries;
    expect(entries[0]).toEqual({
      type: 7,
      length: 12,
      kind: "local-sapic",
      acpiProcessorId: 3,
      localSapicId: 4,
      localSapicEid: 5,
      flags: 1,
    });
    expect(entries[1]).toMatchObject({ acpiProcessorUid: 9 });
    expect(entries[2]).toMatchObject({ acpiProcessorUidText: "C0" });
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
        { type: 5, address: 0xfee00000n },
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

  it("lists the processors of every architecture", () => {
    const gicc = {
      type: 11,
      cpuInterfaceNumber: 5,
      acpiProcessorUid: 1,
      flags: 1,
      parkingProtocolVersion: 0,
      performanceInterrupt: 0,
      parkedAddress: 0n,
      baseAddress: 0n,
    } as const;
    const rintc = { type: 24, version: 1, flags: 2, acpiProcessorUid: 8 } as const;
    const madt = madtOf([
      gicc,
      { ...gicc, mpidr: 0x1281000203n, flags: 8, acpiProcessorUid: 2 },
      { type: 17, version: 1, acpiProcessorUid: 3, coreId: 9, flags: 0 },
      { ...rintc, hartId: 0xffffffffn },
      { ...rintc, hartId: 0x100000000n },
      { type: 7, acpiProcessorId: 4, localSapicId: 0xa, localSapicEid: 0xb, flags: 1, acpiProcessorUid: 6 },
      { type: 7, acpiProcessorId: 7, localSapicId: 0xc, localSapicEid: 0, flags: 1 },
    ]);
    expect(madtProcessors(madt)).toEqual([
      { apicId: 5, processorUid: 1, enabled: true, onlineCapable: false },
      { apicId: 0x12000203, processorUid: 2, enabled: false, onlineCapable: true },
      { apicId: 9, processorUid: 3, enabled: false, onlineCapable: false },
      { apicId: 0xffffffff, processorUid: 8, enabled: false, onlineCapable: true },
      { apicId: 0xa0b, processorUid: 6, enabled: true, onlineCapable: false },
      { apicId: 0xc00, processorUid: 7, enabled: true, onlineCapable: false },
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
