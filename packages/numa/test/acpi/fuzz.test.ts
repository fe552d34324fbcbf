import { parseAcpiTable, SmpError, type AcpiTable } from "@x/smp/acpi";
import { describe, expect, it } from "vitest";
import { NumaError, parseHmat, parseSlit, parseSrat, slitFault, topologyFromTables } from "../../src/index.ts";
import { gicIts, initiator, le, locality, madtBody, memory, processor, tableBytes, x2apic } from "../tables.ts";
import { damagedTable, Dice } from "./damage.ts";

/**
 * Every decoder is given damaged tables and answers with a result or a typed error. ACPI_FUZZ_TABLES=1000000 damages a million of each
 * kind, ACPI_FUZZ_SEED=n others than the usual ones; the default is short. What fails names its seed and number.
 */
const TABLES = Number(process.env["ACPI_FUZZ_TABLES"] ?? 4000);
const SEED = Number(process.env["ACPI_FUZZ_SEED"] ?? 20261125);
/** A million tables take minutes, on a busy machine more. */
const TIMEOUT_MS = 30_000 + TABLES;

const gicc = [3, 18, ...le(1, 4), ...le(7, 4), ...le(1, 4), ...le(0, 4)];
const proximity = [...le(0, 4), ...le(40, 4), ...le(1, 2), ...le(0, 2), ...le(0, 4), ...le(1, 4), ...le(0, 20)];
const cache = [...le(2, 4), ...le(32, 4), ...le(1, 4), ...le(0, 4), ...le(1 << 20, 8), ...le(0x401211, 4), ...le(0, 4)];

const MADT = tableBytes("APIC", 3, madtBody(0, 1, 2, 300 & 0xff));
const SRAT = tableBytes("SRAT", 3, [
  ...le(1, 12),
  ...processor({ domain: 0, apicId: 0 }),
  ...processor({ domain: 1, apicId: 1 }),
  ...x2apic({ domain: 0x12345, apicId: 2 }),
  ...memory({ domain: 0, base: 0, size: 1 << 20 }),
  ...memory({ domain: 1, base: 1n << 40n, size: 1n << 32n, flags: 3 }),
  ...initiator({ domain: 2 }),
  ...gicc,
  ...gicIts({ domain: 1, itsId: 3 }),
]);
const SLIT = tableBytes("SLIT", 1, [...le(3, 8), 10, 20, 30, 20, 10, 20, 30, 20, 10]);
const HMAT = tableBytes("HMAT", 2, [
  ...le(0, 4),
  ...proximity,
  ...locality({ dataType: 0, unit: 100, initiators: [0, 1], targets: [0, 1, 2], raw: [1, 2, 3, 4, 5, 6] }),
  ...cache,
]);

/** Calls `decode` with what `input` makes, `TABLES` times; returns how many gave a result. */
function fuzz<Input>(input: (dice: Dice) => Input, decode: (input: Input) => void): number {
  let results = 0;
  for (let number = 0; number < TABLES; number++) {
    const dice = new Dice(Math.imul(SEED + number, 0x9e3779b1));
    try {
      decode(input(dice));
      results++;
    } catch (error) {
      if (error instanceof SmpError || error instanceof NumaError) continue;
      throw new Error(`ACPI_FUZZ_SEED=${SEED}, table ${number}`, { cause: error });
    }
  }
  return results;
}

/** Plain checks: `expect` would take most of the time of a million tables. */
function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

function checkProblems({ bytes }: AcpiTable, problems: readonly { readonly offset: number }[]): void {
  for (const { offset } of problems) assert(offset >= 36 && offset <= bytes.length, "a problem lies outside the table");
}

describe(`${TABLES} damaged tables each, seed ${SEED}`, { timeout: TIMEOUT_MS }, () => {
  it("as a SRAT", () => {
    const decode = (bytes: Uint8Array): void => {
      const table = parseAcpiTable(bytes);
      const { entries, problems } = parseSrat(table);
      checkProblems(table, problems);
      assert(entries.reduce((sum, { length }) => sum + length, 0) <= bytes.length, "entries longer than the table");
    };
    expect(fuzz((dice) => damagedTable(SRAT, dice), decode)).toBeGreaterThan(TABLES / 3);
  });

  it("as a SLIT", () => {
    const decode = (bytes: Uint8Array): void => {
      const table = parseAcpiTable(bytes);
      const slit = parseSlit(table);
      checkProblems(table, slit.problems);
      assert(slit.matrix.length === slit.localities, "the matrix has not as many rows as localities");
      assert(
        slit.matrix.every((row) => row.length === slit.localities),
        "the matrix is not square",
      );
      slitFault(slit);
    };
    expect(fuzz((dice) => damagedTable(SLIT, dice), decode)).toBeGreaterThan(TABLES / 3);
  });

  it("as a HMAT", () => {
    const decode = (bytes: Uint8Array): void => {
      const table = parseAcpiTable(bytes);
      const { entries, problems } = parseHmat(table);
      checkProblems(table, problems);
      assert(entries.reduce((sum, { length }) => sum + length, 0) <= bytes.length, "entries longer than the table");
      for (const entry of entries) {
        if (entry.kind !== "locality") continue;
        assert(entry.raw.length === entry.initiators.length * entry.targets.length, "the matrix is not complete");
      }
    };
    expect(fuzz((dice) => damagedTable(HMAT, dice), decode)).toBeGreaterThan(TABLES / 3);
  });

  it("as the tables of a machine, one of which is damaged", () => {
    const sound = [MADT, SRAT, SLIT, HMAT];
    const decode = (machine: readonly Uint8Array[]): void => {
      const topology = topologyFromTables(machine.map((bytes) => parseAcpiTable(bytes)));
      const ids = new Set(topology.nodes.map(({ id }) => id));
      assert(ids.size === topology.nodeCount && ids.size > 0, "there is no node, or one is listed twice");
      for (const { node } of topology.cpus) assert(ids.has(node), "a CPU is on no node");
      for (const from of ids) for (const to of ids) assert(topology.distance(from, to) >= 10, "a distance is below 10");
    };
    const input = (dice: Dice): readonly Uint8Array[] => {
      const wrong = dice.roll(sound.length);
      return sound.map((bytes, at) => (at === wrong ? damagedTable(bytes, dice) : bytes));
    };
    expect(fuzz(input, decode)).toBeGreaterThan(TABLES / 3);
  });
});
