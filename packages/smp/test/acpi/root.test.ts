import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildAcpiTable,
  buildMadt,
  buildRsdp,
  buildRsdt,
  buildXsdt,
  findRsdp,
  loadAcpiTables,
  parseAcpiTable,
  parseRootTable,
  parseRsdp,
  SmpError,
} from "../../src/acpi/index.ts";
import { memoryOf } from "./helpers.ts";

const addresses64 = fc.bigInt({ min: 1n, max: 0xffffffffffffffffn });
const code = (expected: string): unknown => expect.objectContaining({ code: expected });

describe("parseRsdp", () => {
  it("reads the root pointer of ACPI 1.0", () => {
    const bytes = buildRsdp({ rsdtAddress: 0x1234, oemId: "BOCHS" });
    expect(bytes).toHaveLength(20);
    expect(parseRsdp(bytes)).toEqual({
      revision: 0,
      oemId: "BOCHS",
      rsdtAddress: 0x1234,
      xsdtAddress: 0n,
      length: 20,
      checksumOk: true,
      extendedChecksumOk: true,
    });
  });

  it("reads the root pointer since ACPI 2.0", () => {
    fc.assert(
      fc.property(addresses64, fc.integer({ min: 0, max: 0xffffffff }), (xsdtAddress, rsdtAddress) => {
        const rsdp = parseRsdp(buildRsdp({ xsdtAddress, rsdtAddress }));
        expect(rsdp).toMatchObject({ revision: 2, xsdtAddress, rsdtAddress, length: 36 });
        expect([rsdp.checksumOk, rsdp.extendedChecksumOk]).toEqual([true, true]);
      }),
    );
  });

  it("tells the two checksums apart", () => {
    const first = buildRsdp({ xsdtAddress: 0x1000n });
    first[16] ^= 1;
    expect(parseRsdp(first)).toMatchObject({ checksumOk: false, extendedChecksumOk: false });
    const extended = buildRsdp({ xsdtAddress: 0x1000n });
    extended[24] ^= 1;
    expect(parseRsdp(extended)).toMatchObject({ checksumOk: true, extendedChecksumOk: false });
  });

  it("refuses what is too short, has another signature or an impossible length", () => {
    const bytes = buildRsdp({ xsdtAddress: 0x1000n });
    expect(() => parseRsdp(bytes.subarray(0, 19))).toThrow(code("ACPI_TRUNCATED"));
    expect(() => parseRsdp(bytes.subarray(0, 35))).toThrow(code("ACPI_TRUNCATED"));
    expect(() => parseRsdp(new Uint8Array(36))).toThrow(code("ACPI_BAD_SIGNATURE"));
    bytes[20] = 35;
    expect(() => parseRsdp(bytes)).toThrow(code("ACPI_MALFORMED"));
    bytes[20] = 37;
    expect(() => parseRsdp(bytes)).toThrow(code("ACPI_TRUNCATED"));
  });
});

describe("findRsdp", () => {
  it("finds the pointer on its boundary and passes over one with a wrong checksum", () => {
    const area = new Uint8Array(256);
    const broken = buildRsdp({ rsdtAddress: 1 });
    broken[8] ^= 1;
    area.set(broken, 16);
    area.set(buildRsdp({ rsdtAddress: 2 }), 72);
    expect(findRsdp(area)).toBe(-1);
    area.set(buildRsdp({ rsdtAddress: 3 }), 128);
    expect(findRsdp(area)).toBe(128);
  });
});

describe("parseRootTable", () => {
  it("gives back the addresses of both kinds of table", () => {
    fc.assert(
      fc.property(fc.array(addresses64), (addresses) => {
        expect(parseRootTable(parseAcpiTable(buildXsdt(addresses)))).toEqual(addresses);
        const low = addresses.map((address) => Number(address & 0x7fffffffn) + 1);
        expect(parseRootTable(parseAcpiTable(buildRsdt(low)))).toEqual(low.map(BigInt));
      }),
    );
  });

  it("leaves out null pointers and a pointer cut off by the table's end", () => {
    const cut = buildXsdt([0x1000n, 0n, 0x2000n, 0x3000n]);
    const body = cut.subarray(36, cut.length - 4);
    expect(parseRootTable(parseAcpiTable(buildAcpiTable({ signature: "XSDT", revision: 1, body })))).toEqual([
      0x1000n,
      0x2000n,
    ]);
  });

  it("refuses another table", () => {
    expect(() => parseRootTable(parseAcpiTable(buildMadt({ entries: [] })))).toThrow(code("ACPI_BAD_SIGNATURE"));
  });
});

describe("loadAcpiTables", () => {
  const madt = buildMadt({ entries: [{ type: 0, acpiProcessorId: 0, apicId: 0, flags: 1 }] });
  const custom = buildAcpiTable({ signature: "TEST", revision: 1, body: Uint8Array.of(1, 2, 3) });
  const rsdpAddress = 0xe0000n;
  const machine = (root: bigint, more: [bigint, Uint8Array][] = []): Map<bigint, Uint8Array> =>
    new Map([
      [rsdpAddress, buildRsdp({ xsdtAddress: root, rsdtAddress: 0x500 })],
      [0x500n, buildRsdt([0x2000])],
      [0x400n, buildXsdt([0x1000n, 0x2000n])],
      [0x1000n, madt],
      [0x2000n, custom],
      ...more,
    ]);

  it("follows the XSDT, each table by its own length", () => {
    const tables = loadAcpiTables({ rsdpAddress, read: memoryOf(machine(0x400n)) });
    expect(tables.map(({ header }) => header.signature)).toEqual(["APIC", "TEST"]);
    expect(tables.map(({ bytes }) => bytes)).toEqual([madt, custom]);
    expect(tables.every(({ header }) => header.checksumOk)).toBe(true);
  });

  it("follows the RSDT where there is no XSDT", () => {
    const tables = loadAcpiTables({ rsdpAddress, read: memoryOf(machine(0n)) });
    expect(tables.map(({ header }) => header.signature)).toEqual(["TEST"]);
    const old = machine(0x400n, [[rsdpAddress, buildRsdp({ rsdtAddress: 0x500 })]]);
    expect(loadAcpiTables({ rsdpAddress, read: memoryOf(old) })).toHaveLength(1);
  });

  it("throws at a table it cannot use, or tells it and goes on", () => {
    const read = memoryOf(machine(0x400n, [[0x1000n, madt.subarray(0, 40)]]));
    expect(() => loadAcpiTables({ rsdpAddress, read })).toThrow(code("ACPI_TRUNCATED"));
    const problems: SmpError[] = [];
    const tables = loadAcpiTables({ rsdpAddress, read, onProblem: (problem) => problems.push(problem) });
    expect(tables.map(({ header }) => header.signature)).toEqual(["TEST"]);
    expect(problems).toMatchObject([{ code: "ACPI_TRUNCATED", location: { file: "table at 0x1000" } }]);
  });

  it("does not try to read a table of absurd length", () => {
    const huge = madt.slice();
    huge.fill(0xff, 4, 8);
    const read = memoryOf(machine(0x400n, [[0x1000n, huge]]));
    expect(() => loadAcpiTables({ rsdpAddress, read })).toThrow(code("ACPI_MALFORMED"));
  });

  it("refuses a root pointer with a wrong checksum, none at all, or one that names no table", () => {
    const wrong = buildRsdp({ xsdtAddress: 0x400n });
    wrong[9] ^= 1;
    const at = (bytes: Uint8Array) => memoryOf(machine(0x400n, [[rsdpAddress, bytes]]));
    expect(() => loadAcpiTables({ rsdpAddress, read: at(wrong) })).toThrow(code("ACPI_MALFORMED"));
    expect(() => loadAcpiTables({ rsdpAddress, read: at(new Uint8Array(36)) })).toThrow(code("ACPI_BAD_SIGNATURE"));
    expect(() => loadAcpiTables({ rsdpAddress, read: at(buildRsdp({ xsdtAddress: 0n })) })).toThrow(
      code("ACPI_NOT_FOUND"),
    );
    expect(() => loadAcpiTables({ rsdpAddress: 1n, read: at(wrong) })).toThrow(code("ACPI_TRUNCATED"));
  });

  it("answers any damage to root pointer and tables with tables or an SmpError", () => {
    const image = machine(0x400n);
    const places = [...image.keys()];
    const damage = fc.array(fc.tuple(fc.constantFrom(...places), fc.nat(60), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    const property = fc.property(damage, (changes) => {
      const bytes = new Map([...image].map(([address, content]) => [address, content.slice()]));
      for (const [address, at, value] of changes) {
        const content = bytes.get(address);
        if (content && at < content.length) content[at] = value;
      }
      try {
        const tables = loadAcpiTables({ rsdpAddress, read: memoryOf(bytes) });
        for (const table of tables) expect(table.bytes).toHaveLength(table.header.length);
      } catch (error) {
        if (!(error instanceof SmpError)) throw error;
      }
    });
    fc.assert(property, { numRuns: 3000 });
  });
});
