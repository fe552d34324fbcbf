import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  asciiAt,
  buildRsdp,
  buildRsdt,
  buildXsdt,
  findRsdp,
  isAcpiDump,
  loadAcpiTables,
  madtLocalApicAddress,
  madtProcessors,
  parseAcpiDump,
  parseAcpiTable,
  parseMadt,
  parseRootTable,
  parseRsdp,
  SmpError,
  type AcpiTable,
} from "../../src/acpi/index.ts";
import { CpuManager, CpuMask } from "../../src/index.ts";
import { damaged, damagedTable, Dice } from "./damage.ts";
import { dumpText, memoryOf } from "./helpers.ts";

/**
 * Every parser of the package is given damaged input and answers with a result or an `SmpError`. ACPI_FUZZ_TABLES=1000000 damages a
 * million inputs of each kind, ACPI_FUZZ_SEED=n others than the usual ones; the default is short. What fails names its seed and
 * number, and fails again with them.
 */
const TABLES = Number(process.env["ACPI_FUZZ_TABLES"] ?? 4000);
const SEED = Number(process.env["ACPI_FUZZ_SEED"] ?? 20261125);
/** A million inputs take minutes, on a busy machine more. */
const TIMEOUT_MS = 30_000 + TABLES;

const everyStructure = new Uint8Array(readFileSync(new URL("fixtures/every-structure.dat", import.meta.url)));

/** Calls `parse` with what `input` makes, `TABLES` times; returns how many gave a result. */
function fuzz<Input>(input: (dice: Dice) => Input, parse: (input: Input) => void): number {
  let results = 0;
  for (let number = 0; number < TABLES; number++) {
    const dice = new Dice(Math.imul(SEED + number, 0x9e3779b1));
    try {
      parse(input(dice));
      results++;
    } catch (error) {
      if (error instanceof SmpError) continue;
      throw new Error(`ACPI_FUZZ_SEED=${SEED}, input ${number}`, { cause: error });
    }
  }
  return results;
}

/** Plain checks: `expect` would take most of the time of a million inputs. */
function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

function checkMadt(table: AcpiTable): void {
  const madt = parseMadt(table);
  const decoded = madt.entries.reduce((sum, { length }) => sum + length, 0);
  assert(decoded <= table.bytes.length - 44, "the structures are longer than the table");
  assert(
    madt.entries.every(({ length }) => length >= 2),
    "a structure is impossibly short",
  );
  for (const { offset } of madt.problems)
    assert(offset >= 44 && offset <= table.bytes.length, "a problem lies outside");
  const processors = madtProcessors(madt);
  assert(new Set(processors.map(({ apicId }) => apicId)).size === processors.length, "two processors have one id");
  assert(madtLocalApicAddress(madt) >= 0n, "the address is negative");
}

describe(`${TABLES} damaged inputs each, seed ${SEED}`, { timeout: TIMEOUT_MS }, () => {
  it("as a MADT", () => {
    const results = fuzz(
      (dice) => damagedTable(everyStructure, dice),
      (bytes) => checkMadt(parseAcpiTable(bytes)),
    );
    expect(results).toBeGreaterThan(TABLES / 3);
  });

  it("as the processors of a machine", () => {
    // A tenth as many: a manager makes memory for its CPUs.
    let detected = 0;
    const results = fuzz(
      (dice) => (dice.roll(10) === 0 ? damagedTable(everyStructure, dice) : undefined),
      (bytes) => {
        if (bytes === undefined) return;
        const manager = CpuManager.create();
        manager.detectCpus(parseMadt(parseAcpiTable(bytes)));
        assert(manager.cpuCount === 1 && manager.onlineCount === 1, "the boot processor is not alone");
        detected++;
      },
    );
    expect(results).toBeGreaterThan(TABLES / 2);
    expect(detected).toBeGreaterThan(TABLES / 50);
  });

  it("as a root pointer, and as memory with one in it", () => {
    const pointers = [buildRsdp({ rsdtAddress: 0x1000 }), buildRsdp({ xsdtAddress: 1n << 40n })];
    const results = fuzz(
      (dice) => damaged(pointers[dice.roll(2)], dice),
      (bytes) => {
        const at = findRsdp(bytes);
        assert(at === -1 || at + 20 <= bytes.length, "a root pointer is found outside");
        const { length } = parseRsdp(bytes);
        assert(length <= bytes.length, "the root pointer is longer than its bytes");
      },
    );
    expect(results).toBeGreaterThan(TABLES / 10);
  });

  it("as physical memory with all tables in it", () => {
    const addresses = [0x2000n, 0x3000n, 0n, 0xffffffffffffffffn];
    const contents: readonly (readonly [bigint, Uint8Array])[] = [
      [0x100n, buildRsdp({ xsdtAddress: 0x1000n, rsdtAddress: 0x1800 })],
      [0x1000n, buildXsdt(addresses)],
      [0x1800n, buildRsdt([0x2000, 0x3000])],
      [0x2000n, everyStructure],
      [0x3000n, buildXsdt([])],
    ];
    let told = 0;
    const results = fuzz(
      (dice) => {
        const wrong = dice.roll(contents.length);
        const memory = new Map(contents);
        memory.set(contents[wrong][0], damagedTable(contents[wrong][1], dice));
        return memory;
      },
      (memory) => {
        const onProblem = (): void => void told++;
        for (const table of loadAcpiTables({ rsdpAddress: 0x100n, read: memoryOf(memory), onProblem })) {
          assert(table.bytes.length === table.header.length, "a table is not as long as it says");
          if (table.header.signature === "XSDT") assert(parseRootTable(table).length * 8 <= table.bytes.length, "long");
        }
      },
    );
    expect(results).toBeGreaterThan(TABLES / 3);
    expect(told).toBeGreaterThan(TABLES / 3);
  });

  it("as the text of a dump", () => {
    const written = dumpText([
      { name: "APIC", address: 0x7ffe0000n, bytes: everyStructure.subarray(0, 100) },
      { name: "RSD PTR", address: 0xf5a00n, bytes: buildRsdp({ rsdtAddress: 0x1000 }) },
    ]);
    const text = new TextEncoder().encode(written);
    const results = fuzz(
      (dice) => damaged(text, dice),
      (bytes) => {
        isAcpiDump(bytes);
        for (const table of parseAcpiDump(new TextDecoder("latin1").decode(bytes))) {
          assert(table.bytes.length > 0 && table.bytes.length < bytes.length, "a table has too few bytes or too many");
          asciiAt(table.bytes, 0, 4);
        }
      },
    );
    expect(results).toBeGreaterThan(TABLES / 10);
  });

  it("as the text of a CPU mask", () => {
    const texts = ["0-3,8,10-20:2/5,N", "all:1/4 40-N:3", "ff,00000000,12345678", "0xffffffffffffffff"];
    const encoded = texts.map((text) => new TextEncoder().encode(text));
    const results = fuzz(
      (dice) => {
        const which = dice.roll(encoded.length);
        return { hex: which > 1, text: new TextDecoder("latin1").decode(damaged(encoded[which], dice)) };
      },
      ({ hex, text }) => {
        const mask = hex ? CpuMask.parseHex(text, 100) : CpuMask.parseList(text, 100);
        assert(mask.last() < 100, "a CPU lies outside the mask");
        assert(CpuMask.parseList(mask.toList(), 100).equals(mask), "the list reads as another mask");
        assert(CpuMask.parseHex(mask.toHex(), 100).equals(mask), "the number reads as another mask");
      },
    );
    expect(results).toBeGreaterThan(TABLES / 20);
  });
});
