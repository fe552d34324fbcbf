import { parseAcpiTable, type AcpiTable } from "@x/smp/acpi";

/** A table with a right length and checksum around these bytes. */
export function table(signature: string, revision: number, body: readonly number[]): AcpiTable {
  return parseAcpiTable(tableBytes(signature, revision, body), `${signature.toLowerCase()}.dat`);
}

export function tableBytes(signature: string, revision: number, body: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(36 + body.length);
  bytes.set(ascii(signature));
  new DataView(bytes.buffer).setUint32(4, bytes.length, true);
  bytes[8] = revision;
  bytes.set(ascii("OEM   TABLE   "), 10);
  bytes.set(body, 36);
  fixChecksum(bytes);
  return bytes;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function fixChecksum(bytes: Uint8Array): void {
  bytes[9] = 0;
  bytes[9] = -bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0) & 0xff;
}

/** `value` in `count` bytes, least significant first. */
export function le(value: number | bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
}

interface Entry {
  readonly domain: number;
  readonly flags?: number;
}

export const processor = ({ domain, apicId, flags = 1 }: Entry & { readonly apicId: number }): number[] => [
  0,
  16,
  domain & 0xff,
  apicId,
  ...le(flags, 4),
  7,
  ...le(domain >>> 8, 3),
  ...le(9, 4),
];

export const x2apic = ({ domain, apicId, flags = 1 }: Entry & { readonly apicId: number }): number[] => [
  2,
  24,
  0,
  0,
  ...le(domain, 4),
  ...le(apicId, 4),
  ...le(flags, 4),
  ...le(3, 4),
  ...le(0, 4),
];

interface Range {
  readonly base: number | bigint;
  readonly size: number | bigint;
}

export const memory = ({ domain, base, size, flags = 1 }: Entry & Range): number[] => [
  1,
  40,
  ...le(domain, 4),
  ...le(0, 2),
  ...le(base, 8),
  ...le(size, 8),
  ...le(0, 4),
  ...le(flags, 4),
  ...le(0, 8),
];

/** A processor of an Arm machine. */
export const gicc = ({ domain, uid, flags = 1 }: Entry & { readonly uid: number }): number[] => [
  3,
  18,
  ...le(domain, 4),
  ...le(uid, 4),
  ...le(flags, 4),
  ...le(0, 4),
];

/** An interrupt translation service of an Arm machine. */
export const gicIts = ({ domain, itsId }: Entry & { readonly itsId: number }): number[] => [
  4,
  12,
  ...le(domain, 4),
  ...le(0, 2),
  ...le(itsId, 4),
];

export const initiator = ({ domain, flags = 1 }: Entry): number[] => [
  5,
  32,
  0,
  1,
  ...le(domain, 4),
  ...le(0, 16),
  ...le(flags, 4),
  ...le(0, 4),
];

export function srat(revision: number, ...entries: readonly number[][]): AcpiTable {
  return table("SRAT", revision, [...le(1, 4), ...le(0, 8), ...entries.flat()]);
}

export function slit(matrix: readonly (readonly number[])[], localities = matrix.length): AcpiTable {
  return table("SLIT", 1, [...le(localities, 8), ...matrix.flat()]);
}

/** A MADT whose processors are these, as `parseMadt` gives it. */
export function madt(...apicIds: readonly (number | { readonly apicId: number; readonly enabled: boolean })[]): {
  entries: { type: number; apicId: number; flags: number }[];
} {
  return {
    entries: apicIds.map((id) =>
      typeof id === "number"
        ? { type: 0, apicId: id, flags: 1 }
        : { type: 0, apicId: id.apicId, flags: id.enabled ? 1 : 0 },
    ),
  };
}

/** The body of a MADT with these local APICs. */
export function madtBody(...apicIds: readonly number[]): number[] {
  return [...le(0xfee00000, 4), ...le(1, 4), ...apicIds.flatMap((apicId) => [0, 8, apicId, apicId, ...le(1, 4)])];
}

/** A HMAT locality structure with memory hierarchy 0. */
export function locality(options: {
  readonly dataType: number;
  readonly unit: number;
  readonly initiators: readonly number[];
  readonly targets: readonly number[];
  readonly raw: readonly number[];
}): number[] {
  const { dataType, unit, initiators, targets, raw } = options;
  const tail = [...[...initiators, ...targets].flatMap((pxm) => le(pxm, 4)), ...raw.flatMap((value) => le(value, 2))];
  const counts = [...le(initiators.length, 4), ...le(targets.length, 4), ...le(0, 4)];
  return [...le(1, 4), ...le(32 + tail.length, 4), 0, dataType, 0, 0, ...counts, ...le(unit, 8), ...tail];
}
