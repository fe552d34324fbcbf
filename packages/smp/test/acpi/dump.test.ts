import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildMadt, isAcpiDump, parseAcpiDump, parseAcpiTable, SmpError } from "../../src/acpi/index.ts";
import { dumpText } from "./helpers.ts";

const madt = buildMadt({ entries: [{ type: 0, acpiProcessorId: 0, apicId: 0, flags: 1 }] });

const failure = (text: string): SmpError => {
  try {
    parseAcpiDump(text, "dump.txt");
  } catch (error) {
    if (error instanceof SmpError) return error;
    throw error;
  }
  throw new Error("the dump was read");
};

describe("parseAcpiDump", () => {
  it("gives back the tables that a dump was written of, whatever they hold", () => {
    const tables = fc.array(
      fc.record({
        name: fc.constantFrom("APIC", "SSDT", "RSD PTR", "ASF!"),
        address: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        bytes: fc.uint8Array({ minLength: 1, maxLength: 200 }),
      }),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(tables, fc.constantFrom("\n", "\r\n"), (written, newLine) => {
        expect(parseAcpiDump(dumpText(written, newLine))).toEqual(written);
      }),
    );
  });

  it("reads what acpidump wrote long ago: short addresses, lower case, addresses unknown, mail around it", () => {
    const text = [
      "Hi, here is the dump @ last:",
      "",
      "RSDT @ 0x1ffec000",
      "  0000: 52 53 44 54 2c 00 00 00 01 0d 41 53 55 53 20 20  RSDT,.....ASUS  ",
      "  0010: 41 37 56 31 33 33 2d 43 31 30 30 30 4d 53 46 54  A7V133-C1000MSFT",
      "  0020: 31 30 31 31 80 c0 fe 1f 40 c0 fe 1f              1011....@...",
      "",
      "RSD PTR @ (nil)",
      "  0000: 52 53 44 20 50 54 52 20 88 41 53 55 53 20 20 00  RSD PTR .ASUS  .",
      "  0010: 00 c0 fe 1f                                      ....",
      "-- signature: 00 01",
    ].join("\n");
    const [root, pointer] = parseAcpiDump(text);
    expect(root).toMatchObject({ name: "RSDT", address: 0x1ffec000n });
    expect(parseAcpiTable(root.bytes).header).toMatchObject({ signature: "RSDT", length: 44, oemTableId: "A7V133-C" });
    expect(pointer).toMatchObject({ name: "RSD PTR", address: 0n });
    expect(pointer.bytes).toHaveLength(20);
  });

  it("is not misled by text beside the bytes that looks like bytes", () => {
    const bytes = new TextEncoder().encode(" 41 42 43 44 45 46 47");
    expect(parseAcpiDump(dumpText([{ name: "OEM1", address: 1n, bytes }]))[0].bytes).toEqual(bytes);
    const trimmed = "OEM1 @ 0x1\n  0000: 20 34 31  41 42\n";
    expect(parseAcpiDump(trimmed)[0].bytes).toEqual(Uint8Array.of(0x20, 0x34, 0x31));
  });

  it("says which line does not follow on the one before", () => {
    const lines = dumpText([{ name: "APIC", address: 0n, bytes: madt }]).split("\n");
    const error = failure([lines[0], lines[1], ...lines.slice(3)].join("\n"));
    expect(error).toMatchObject({ code: "ACPI_MALFORMED", location: { file: "dump.txt" } });
    expect(error.message).toContain("line 3");
    expect(error.message).toContain("offset 32");
  });

  it("refuses text without a table and tables without bytes", () => {
    for (const text of ["", "APIC\n", "0000: 00 01\n"]) expect(failure(text).code).toBe("ACPI_NOT_FOUND");
    expect(failure("APIC @ 0x10\n\n").code).toBe("ACPI_MALFORMED");
    expect(failure("APIC @ 0x10").code).toBe("ACPI_MALFORMED");
  });

  it("reads no table over 16 MiB", () => {
    const row = " 00".repeat(16);
    let text = "OEM1 @ 0x0\n";
    for (let at = 0; at <= 16 * 1024 * 1024; at += 16) text += `${at.toString(16)}:${row}\n`;
    expect(failure(text).message).toContain("16777216");
  });
});

describe("isAcpiDump", () => {
  it("tells a dump from a table", () => {
    const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
    expect(isAcpiDump(encode(dumpText([{ name: "APIC", address: 0n, bytes: madt }])))).toBe(true);
    expect(isAcpiDump(encode("APIC @ home\n"))).toBe(false);
    expect(isAcpiDump(madt)).toBe(false);
    expect(isAcpiDump(new Uint8Array())).toBe(false);
  });
});
