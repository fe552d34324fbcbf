import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { buildMadt, parseAcpiTable, parseMadt, type MadtEntry } from "../../src/acpi/index.ts";

/** The disassembler's names of our members, by structure type, in the order of the structure. */
const LABELS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  0x00: { "Processor ID": "acpiProcessorId", "Local Apic ID": "apicId", Flags: "flags" },
  0x01: { "I/O Apic ID": "ioApicId", Address: "address", Interrupt: "gsiBase" },
  0x02: { Bus: "bus", Source: "source", Interrupt: "gsi", Flags: "intiFlags" },
  0x03: { Flags: "intiFlags", Interrupt: "gsi" },
  0x04: { "Processor ID": "acpiProcessorId", Flags: "intiFlags", "Interrupt Input LINT": "lint" },
  0x05: { "APIC Address": "address" },
  0x06: { "I/O Sapic ID": "ioApicId", "Interrupt Base": "gsiBase", Address: "address" },
  0x07: {
    "Processor ID": "acpiProcessorId",
    "Local Sapic ID": "localSapicId",
    "Local Sapic EID": "localSapicEid",
    Flags: "flags",
    "Processor UID": "acpiProcessorUid",
    "Processor UID String": "acpiProcessorUidText",
  },
  0x08: {
    Flags: "intiFlags",
    InterruptType: "interruptType",
    "Processor ID": "processorId",
    "Processor EID": "processorEid",
    "I/O Sapic Vector": "ioSapicVector",
    Interrupt: "gsi",
    "Flags 2": "flags",
  },
  0x09: { "Processor x2Apic ID": "x2apicId", Flags: "flags", "Processor UID": "acpiProcessorUid" },
  0x0a: { Flags: "intiFlags", "Processor UID": "acpiProcessorUid", "Interrupt Input LINT": "lint" },
  0x0b: {
    "CPU Interface Number": "cpuInterfaceNumber",
    "Processor UID": "acpiProcessorUid",
    Flags: "flags",
    "Parking Protocol Version": "parkingProtocolVersion",
    "Performance Interrupt": "performanceInterrupt",
    "Parked Address": "parkedAddress",
    "Base Address": "baseAddress",
    "Virtual GIC Base Address": "gicvAddress",
    "Hypervisor GIC Base Address": "gichAddress",
    "Virtual GIC Interrupt": "vgicMaintenanceInterrupt",
    "Redistributor Base Address": "gicrAddress",
    "ARM MPIDR": "mpidr",
    "Efficiency Class": "efficiencyClass",
    "SPE Overflow Interrupt": "speOverflowInterrupt",
    "TRBE Interrupt": "trbeInterrupt",
  },
  0x0c: {
    "Local GIC Hardware ID": "gicId",
    "Base Address": "address",
    "Interrupt Base": "gsiBase",
    Version: "gicVersion",
  },
  0x0d: {
    "MSI Frame ID": "msiFrameId",
    "Base Address": "address",
    Flags: "flags",
    "SPI Count": "spiCount",
    "SPI Base": "spiBase",
  },
  0x0e: { Flags: "flags", "Base Address": "address", Length: "discoveryLength" },
  0x0f: { Flags: "flags", "Translation ID": "translationId", "Base Address": "address" },
  0x10: { "Mailbox Version": "mailboxVersion", "Mailbox Address": "mailboxAddress", ResetVector: "resetVector" },
  0x11: { Version: "version", ProcessorId: "acpiProcessorUid", CoreId: "coreId", Flags: "flags" },
  0x12: { Version: "version", Address: "address", Size: "size", Cascade: "cascade", CascadeMap: "cascadeMap" },
  0x13: { Version: "version", Address: "address", Size: "size", Cascade: "cascade" },
  0x14: { Version: "version", Cascade: "cascade", Node: "node", NodeMap: "nodeMap" },
  0x15: { Version: "version", MsgAddress: "messageAddress", Start: "firstVector", Count: "vectorCount" },
  0x16: { Version: "version", Address: "address", Size: "size", Id: "hardwareId", GsiBase: "gsiBase" },
  0x17: { Version: "version", Address: "address", Size: "size", Cascade: "cascade" },
  0x18: {
    Version: "version",
    Flags: "flags",
    HartId: "hartId",
    Uid: "acpiProcessorUid",
    ExtIntcId: "externalControllerId",
    ImsicAddr: "imsicAddress",
    ImsicSize: "imsicSize",
  },
  0x19: {
    Version: "version",
    Flags: "flags",
    NumIds: "supervisorIds",
    NumGuestIds: "guestIds",
    GuestIndexBits: "guestIndexBits",
    HartIndexBits: "hartIndexBits",
    GroupIndexBits: "groupIndexBits",
    GroupIndexShift: "groupIndexShift",
  },
  0x1a: {
    Version: "version",
    Id: "aplicId",
    Flags: "flags",
    HwId: "hardwareId",
    NumIdcs: "deliveryControls",
    NumSources: "sources",
    GsiBase: "gsiBase",
    BaseAddr: "address",
    Size: "size",
  },
  0x1b: {
    Version: "version",
    Id: "plicId",
    HwId: "hardwareId",
    NumIrqs: "sources",
    MaxPrio: "maxPriority",
    Flags: "flags",
    Size: "size",
    BaseAddr: "address",
    GsiBase: "gsiBase",
  },
};

const FIELD = /^\[[0-9A-F]+h \d+ +[0-9A-F]+h\] +(.*?)(?: \(decoded below\))? : (.*)$/;

/** The structures of a disassembled MADT: the value of every field by its name, reserved ones left out. */
function disassembled(text: string): { type: number; fields: Map<string, string> }[] {
  const structures: { type: number; fields: Map<string, string> }[] = [];
  for (const line of text.split("\n")) {
    const match = FIELD.exec(line.trimEnd());
    if (!match) continue;
    const [, name, value] = match;
    if (name === "Subtable Type") structures.push({ type: Number.parseInt(value, 16), fields: new Map() });
    else if (structures.length > 0 && name !== "Reserved") {
      const { fields } = structures[structures.length - 1];
      fields.set(
        name === "Length" && !fields.has("Length (structure)") ? "Length (structure)" : unused(fields, name),
        value,
      );
    }
  }
  return structures;
}

const unused = (fields: Map<string, string>, name: string): string => (fields.has(name) ? `${name} 2` : name);

/** A member of ours as the disassembler prints one of as many digits. */
function printed(value: unknown, like: string): string {
  if (typeof value === "string" && like.startsWith('"')) return `"${value}"`;
  const hex = (number: number | bigint, digits: number): string =>
    number.toString(16).toUpperCase().padStart(digits, "0");
  if (typeof value === "string") return hex(littleEndian(value), like.length);
  if (Array.isArray(value)) {
    return value
      .toReversed()
      .map((each: number) => hex(each, like.length / value.length))
      .join("");
  }
  return hex(value as number | bigint, like.length);
}

const littleEndian = (text: string): bigint =>
  new TextEncoder().encode(text).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);

const fixture = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);

describe("parseMadt beside ACPICA's iasl", () => {
  const table = parseAcpiTable(new Uint8Array(readFileSync(fixture("every-structure.dat"))));
  const madt = parseMadt(table);
  const expected = disassembled(readFileSync(fixture("every-structure.dsl"), "utf8"));

  it("reads the same header, and all 28 structures without a problem", () => {
    expect(table.header).toMatchObject({ length: 622, revision: 7, checksumOk: true, oemId: "EVERY" });
    expect(table.header).toMatchObject({ oemTableId: "STRUCT", creatorId: "INTL", creatorRevision: 0x20260408 });
    expect(madt).toMatchObject({ localApicAddress: 0xea2ca9a3, flags: 1, problems: [] });
    expect(madt.entries.map(({ type }) => type)).toEqual(expected.map(({ type }) => type));
    expect(new Set(madt.entries.map(({ type }) => type)).size).toBe(0x1c);
  });

  it.each(expected.map((structure, at) => [structure.type.toString(16), structure, at] as const))(
    "reads every field of a structure of type 0x%s as it does",
    (_type, { type, fields }, at) => {
      const entry = madt.entries[at] as MadtEntry & Readonly<Record<string, unknown>>;
      expect(entry.length.toString(16).toUpperCase().padStart(2, "0")).toBe(fields.get("Length (structure)"));
      fields.delete("Length (structure)");
      const labels = LABELS[type];
      expect([...fields.keys()].sort()).toEqual(Object.keys(labels).sort());
      for (const [label, value] of fields) expect(printed(entry[labels[label]], value), label).toBe(value);
      expect(Object.keys(entry).sort()).toEqual(["type", "length", "kind", ...Object.values(labels)].sort());
    },
  );

  it("builds the same bytes of what it read", () => {
    const { localApicAddress, flags, entries } = madt;
    const { oemId, oemTableId, oemRevision, creatorId, creatorRevision, revision } = table.header;
    // An LPC PIC is built as in the specification, with a vector of two bytes; everything else as it was.
    const known = entries.filter((entry) => entry.kind !== "unknown" && entry.kind !== "lpc-pic");
    const ids = { oemId, oemTableId, oemRevision, creatorId, creatorRevision, revision };
    const built = parseMadt(parseAcpiTable(buildMadt({ ...ids, localApicAddress, flags, entries: known })));
    expect(built.entries).toEqual(known);
    expect(built.problems).toEqual([]);
  });
});
