import { describe, expect, it } from "vitest";
import { asciiAt, buildAcpiTable, parseAcpiTable, walkSubtables } from "../../src/acpi/index.ts";

const table = buildAcpiTable({
  signature: "TEST",
  revision: 7,
  oemId: "OEM",
  oemTableId: "TABLE",
  oemRevision: 0xdeadbeef,
  creatorId: "MAKE",
  creatorRevision: 3,
  body: Uint8Array.of(0xaa, 2, 0xbb, 3, 0),
});

describe("parseAcpiTable", () => {
  it("reads every member of the header", () => {
    expect(parseAcpiTable(table, "test.dat")).toEqual({
      header: {
        signature: "TEST",
        length: 41,
        revision: 7,
        checksumOk: true,
        oemId: "OEM",
        oemTableId: "TABLE",
        oemRevision: 0xdeadbeef,
        creatorId: "MAKE",
        creatorRevision: 3,
      },
      bytes: table,
      source: "test.dat",
    });
  });

  it("notices a change of any single byte by the checksum", () => {
    for (let at = 8; at < table.length; at++) {
      const changed = table.slice();
      changed[at] ^= 0x10;
      expect(parseAcpiTable(changed).header.checksumOk).toBe(false);
    }
  });

  it("leaves bytes behind the header's length out", () => {
    const longer = new Uint8Array(table.length + 9);
    longer.set(table);
    expect(parseAcpiTable(longer).bytes).toEqual(table);
  });

  it("says where a table ends too early", () => {
    const at = (length: number) => ({ code: "ACPI_TRUNCATED", location: { file: "t.dat", offset: length } });
    expect(() => parseAcpiTable(table.subarray(0, 35), "t.dat")).toThrow(expect.objectContaining(at(35)));
    expect(() => parseAcpiTable(table.subarray(0, 40), "t.dat")).toThrow(expect.objectContaining(at(40)));
    const impossible = table.slice();
    impossible[4] = 35;
    expect(() => parseAcpiTable(impossible)).toThrow(expect.objectContaining({ code: "ACPI_MALFORMED" }));
  });
});

describe("buildAcpiTable", () => {
  it("refuses a signature that is not 4 characters", () => {
    const body = new Uint8Array();
    for (const signature of ["", "ABC", "ABCDE"]) {
      expect(() => buildAcpiTable({ signature, revision: 1, body })).toThrow(
        expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }),
      );
    }
  });
});

describe("walkSubtables", () => {
  it("visits each by its length and collects what the visitor finds wrong", () => {
    const seen: number[][] = [];
    const problems = walkSubtables(parseAcpiTable(table), 36, (type, length, offset) => {
      seen.push([type, length, offset]);
      return type === 0xaa ? "wrong" : undefined;
    });
    expect(seen).toEqual([
      [0xaa, 2, 36],
      [0xbb, 3, 38],
    ]);
    expect(problems).toEqual([{ offset: 36, message: "wrong" }]);
  });
});

describe("asciiAt", () => {
  it("cuts trailing blanks and NULs and replaces what cannot be printed", () => {
    const bytes = Uint8Array.of(0x41, 0x00, 0x42, 0xff, 0x20, 0x00);
    expect(asciiAt(bytes, 0, 6)).toBe("A?B?");
  });
});
