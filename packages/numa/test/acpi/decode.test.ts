import { CodedError } from "@x/smp";
import { parseAcpiTable } from "@x/smp/acpi";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NumaError, parseHmat, parseSlit, parseSrat, slitFault, topologyFromAcpi } from "../../src/index.ts";
import { initiator, le, madt, memory, processor, slit, srat, table, tableBytes, x2apic } from "../tables.ts";

describe("SRAT", () => {
  it("reads all four bytes of a processor's domain in revision 2 and one in revision 1", () => {
    const entry = processor({ domain: 0x01020304, apicId: 5 });
    expect(parseSrat(srat(2, entry)).entries[0]).toEqual({
      type: 0,
      length: 16,
      kind: "processor",
      proximityDomainLow: 4,
      proximityDomain: 0x01020304,
      apicId: 5,
      flags: 1,
      localSapicEid: 7,
      clockDomain: 9,
    });
    expect(parseSrat(srat(1, entry)).entries[0]).toMatchObject({ proximityDomainLow: 4, proximityDomain: 4 });
  });

  it("reads a domain above 2^31 as a positive number", () => {
    const entry = processor({ domain: 0xff000001, apicId: 0 });
    expect(parseSrat(srat(3, entry)).entries[0]).toMatchObject({ proximityDomain: 0xff000001 });
  });

  it("reads memory with 64-bit base and size", () => {
    const entry = memory({ domain: 3, base: 0xffff_ffff_f000n, size: 0x1_0000_0000n, flags: 3 });
    expect(parseSrat(srat(2, entry)).entries).toEqual([
      {
        type: 1,
        length: 40,
        kind: "memory",
        proximityDomain: 3,
        base: "0xfffffffff000",
        size: "0x100000000",
        flags: 3,
      },
    ]);
  });

  it("reads x2APIC processors and generic initiators", () => {
    const { entries, problems } = parseSrat(srat(3, x2apic({ domain: 2, apicId: 300 }), initiator({ domain: 6 })));
    expect(entries[0]).toEqual({
      type: 2,
      length: 24,
      kind: "x2apic",
      proximityDomain: 2,
      x2apicId: 300,
      flags: 1,
      clockDomain: 3,
    });
    expect(entries[1]).toMatchObject({ type: 5, kind: "generic-initiator", proximityDomain: 6, flags: 1 });
    expect(problems).toEqual([]);
  });

  it("reads processors of Arm machines", () => {
    const gicc = [3, 18, ...le(5, 4), ...le(77, 4), ...le(1, 4), ...le(2, 4)];
    const its = [4, 12, ...le(6, 4), ...le(0, 2), ...le(3, 4)];
    expect(parseSrat(srat(3, its)).entries).toEqual([
      { type: 4, length: 12, kind: "gic-its", proximityDomain: 6, itsId: 3 },
    ]);
    expect(parseSrat(srat(3, gicc)).entries).toEqual([
      { type: 3, length: 18, kind: "gicc", proximityDomain: 5, acpiProcessorUid: 77, flags: 1, clockDomain: 2 },
    ]);
  });

  it("keeps an unknown sub-table and goes on behind it", () => {
    const { entries, problems } = parseSrat(srat(3, [0x7f, 4, 1, 2], processor({ domain: 0, apicId: 1 })));
    expect(entries[0]).toEqual({ type: 0x7f, length: 4, kind: "other", bytes: [0x7f, 4, 1, 2] });
    expect(entries[1]).toMatchObject({ type: 0, apicId: 1 });
    expect(problems).toEqual([]);
  });

  it("tells a sub-table too short for its type, with the place", () => {
    const { problems } = parseSrat(srat(3, [0, 8, 0, 0, 1, 0, 0, 0]));
    expect(problems).toMatchObject([{ offset: 48 }]);
  });

  it("tells lengths of 0, lengths past the end and a table without a body", () => {
    expect(parseSrat(srat(3, [0, 0, 1, 1])).problems).toMatchObject([{ offset: 48 }]);
    expect(parseSrat(srat(3, [1, 40, 1, 1])).problems).toMatchObject([{ offset: 48 }]);
    expect(parseSrat(table("SRAT", 3, [])).problems).toMatchObject([{ offset: 36 }]);
  });

  it("refuses a table of another kind", () => {
    for (const parse of [parseSrat, parseSlit, parseHmat]) {
      expect(() => parse(table("APIC", 1, le(0, 64)))).toThrow(NumaError);
    }
  });
});

describe("SLIT", () => {
  it("reads rows in order", () => {
    expect(
      parseSlit(
        slit([
          [10, 21],
          [31, 10],
        ]),
      ),
    ).toEqual({
      localities: 2,
      matrix: [
        [10, 21],
        [31, 10],
      ],
      problems: [],
    });
  });

  it("tells a count that the table has no room for, however large", () => {
    for (const count of [3, 2 ** 32, 2n ** 63n]) {
      const parsed = parseSlit(table("SLIT", 1, [...le(count, 8), 10, 20, 20, 10]));
      expect(parsed).toMatchObject({ localities: 0, matrix: [], problems: [{ offset: 36 }] });
    }
    expect(parseSlit(table("SLIT", 1, [])).problems).toHaveLength(1);
  });

  it("is valid by Linux's rule: 10 on the diagonal, more elsewhere, asymmetric or unreachable if it likes", () => {
    const fault = (...matrix: number[][]): string => slitFault(parseSlit(slit(matrix)));
    expect(fault([10, 21], [31, 10])).toBe("");
    expect(fault([10, 255], [11, 10])).toBe("");
    expect(fault([10, 10], [20, 10])).toContain("from domain 0 to 1 is 10");
    expect(fault([10, 20], [9, 10])).toContain("from domain 1 to 0 is 9");
    expect(fault([10, 20], [20, 11])).toContain("from domain 1 to 1 is 11");
    expect(slitFault(parseSlit(slit([])))).not.toBe("");
  });
});

describe("HMAT", () => {
  const locality = (unit: number | bigint, dataType: number): number[] => [
    ...le(1, 2),
    ...le(0, 2),
    ...le(32 + 4 * 3 + 2 * 2, 4),
    0,
    dataType,
    0,
    0,
    ...le(1, 4),
    ...le(2, 4),
    ...le(0, 4),
    ...le(unit, 8),
    ...le(4, 4),
    ...le(7, 4),
    ...le(9, 4),
    ...le(50, 2),
    ...le(0xffff, 2),
  ];
  const hmat = (...structures: number[][]): ReturnType<typeof parseHmat> =>
    parseHmat(table("HMAT", 2, [...le(0, 4), ...structures.flat()]));

  it("multiplies raw values by the base unit", () => {
    expect(hmat(locality(100, 0)).entries).toEqual([
      {
        type: 1,
        length: 48,
        kind: "locality",
        flags: 0,
        dataType: 0,
        entryBaseUnit: 100,
        initiators: [4],
        targets: [7, 9],
        raw: [50, 0xffff],
        matrix: [[5000, 6553500]],
      },
    ]);
  });

  it("reads proximity and cache structures", () => {
    const proximity = [...le(0, 4), ...le(40, 4), ...le(1, 2), ...le(0, 2), ...le(3, 4), ...le(5, 4), ...le(0, 20)];
    const cache = [
      ...le(2, 4),
      ...le(32, 4),
      ...le(5, 4),
      ...le(0, 4),
      ...le(2 ** 34, 8),
      ...le(0x00402112, 4),
      ...le(0, 2),
      ...le(0, 2),
    ];
    expect(hmat(proximity, cache).entries).toEqual([
      { type: 0, length: 40, kind: "proximity", flags: 1, initiatorPxm: 3, memoryPxm: 5 },
      {
        type: 2,
        length: 32,
        kind: "memory-side-cache",
        memoryPxm: 5,
        cacheSize: 2 ** 34,
        attributes: 0x00402112,
        totalLevels: 2,
        level: 1,
        associativity: 1,
        writePolicy: 2,
        lineSize: 64,
        smbiosHandles: 0,
      },
    ]);
  });

  it("tells counts that the structure has no room for", () => {
    const bad = locality(1, 0);
    bad.splice(12, 8, ...le(0xffffffff, 4), ...le(0xffffffff, 4));
    const { problems, entries } = hmat(bad, locality(1, 3));
    expect(problems).toMatchObject([{ offset: 40 }]);
    expect(entries.map((entry) => entry.kind)).toEqual(["other", "locality"]);
  });

  it("tells structures too short for their type, keeps unknown ones, and a table without a body", () => {
    const { entries, problems } = hmat(
      [0, 1, 2].flatMap((type) => [...le(type, 4), ...le(8, 4)]),
      [...le(9, 4), ...le(8, 4)],
    );
    expect(problems.map((problem) => problem.offset)).toEqual([40, 48, 56]);
    expect(entries.map((entry) => [entry.type, entry.kind])).toEqual([0, 1, 2, 9].map((type) => [type, "other"]));
    expect(parseHmat(table("HMAT", 2, [])).problems).toMatchObject([{ offset: 36 }]);
  });

  it("stops at a length that leads nowhere", () => {
    expect(hmat([...le(1, 4), ...le(0, 4)]).problems).toMatchObject([{ offset: 40 }]);
    expect(hmat([...le(1, 4), ...le(99, 4)]).problems).toMatchObject([{ offset: 40 }]);
    expect(hmat([1, 0, 0]).problems).toMatchObject([{ offset: 40 }]);
  });
});

describe("damaged tables", () => {
  const seeds = [
    tableBytes("SRAT", 3, [
      ...le(1, 12),
      ...processor({ domain: 1, apicId: 2 }),
      ...memory({ domain: 1, base: 0, size: 9 }),
    ]),
    tableBytes("SLIT", 1, [...le(2, 8), 10, 20, 20, 10]),
    tableBytes("HMAT", 2, [
      ...le(0, 4),
      ...le(1, 4),
      ...le(40, 4),
      ...le(0, 4),
      ...le(1, 4),
      ...le(1, 4),
      ...le(0, 20),
    ]),
  ];

  it("give a result or a typed error, never another exception", () => {
    const edits = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
    fc.assert(
      fc.property(fc.constantFrom(...seeds), edits, fc.nat(130), (seed, changes, cut) => {
        const bytes = seed.slice(0, Math.max(0, seed.length - (cut > 100 ? cut - 100 : 0)));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          const parsed = parseAcpiTable(bytes);
          const decoded = [parseSrat, parseSlit, parseHmat].map((parse) => {
            try {
              return parse(parsed);
            } catch (error) {
              expect(error).toBeInstanceOf(NumaError);
              return undefined;
            }
          });
          const [srat, slit] = decoded as [ReturnType<typeof parseSrat>?, ReturnType<typeof parseSlit>?];
          const topology = topologyFromAcpi({ madt: madt(0, 1, 2), srat, slit });
          expect(JSON.parse(JSON.stringify(topology))).toMatchObject({ nodes: expect.any(Array) });
        } catch (error) {
          expect(error).toBeInstanceOf(CodedError);
        }
      }),
      { numRuns: 400 },
    );
  });
});
