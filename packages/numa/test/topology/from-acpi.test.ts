import { describe, expect, it } from "vitest";
import { MAX_NUMA_NODES, NumaTopology, parseSlit, parseSrat, topologyFromAcpi } from "../../src/index.ts";
import { initiator, madt, memory, processor, slit, srat, table, x2apic } from "../tables.ts";

const GIB = 2 ** 30;
const at = (gib: number, size = 1): { base: number; size: number } => ({ base: gib * GIB, size: size * GIB });

function topology(
  apicIds: readonly (number | { apicId: number; enabled: boolean })[],
  entries: readonly number[][],
  options: { readonly revision?: number; readonly matrix?: readonly (readonly number[])[] } = {},
): NumaTopology {
  return topologyFromAcpi({
    madt: madt(...apicIds),
    srat: parseSrat(srat(options.revision ?? 3, ...entries)),
    slit: options.matrix === undefined ? undefined : parseSlit(slit(options.matrix)),
  });
}

/** Single node with a warning that has this in it. */
function expectUnused(found: NumaTopology, reason: string): void {
  expect(found.nodes.map((node) => node.id)).toEqual([0]);
  expect(found.cpus.every((cpu) => cpu.node === 0)).toBe(true);
  expect(found.warnings.join("\n")).toContain("SRAT is not used");
  expect(found.warnings.join("\n")).toContain(reason);
}

describe("numbering of nodes", () => {
  it("goes by first appearance, processors before memory", () => {
    const found = topology(
      [1, 2],
      [
        memory({ domain: 9, ...at(0) }),
        processor({ domain: 7, apicId: 2 }),
        memory({ domain: 7, ...at(1) }),
        x2apic({ domain: 4, apicId: 1 }),
        memory({ domain: 4, ...at(2) }),
      ],
    );
    expect(found.nodes.map((node) => node.proximityDomain)).toEqual([7, 4, 9]);
    expect(found.cpus.map((cpu) => [cpu.apicId, cpu.node])).toEqual([
      [1, 1],
      [2, 0],
    ]);
    expect(found.nodes.map((node) => node.cpus)).toEqual([[1], [0], []]);
  });

  it("passes over entries that are not enabled or have no length", () => {
    const found = topology(
      [0],
      [
        processor({ domain: 5, apicId: 9, flags: 0 }),
        x2apic({ domain: 6, apicId: 8, flags: 0 }),
        processor({ domain: 1, apicId: 0 }),
        memory({ domain: 2, ...at(3), flags: 0 }),
        memory({ domain: 3, base: GIB, size: 0 }),
        memory({ domain: 1, ...at(0) }),
      ],
    );
    expect(found.nodes.map((node) => node.proximityDomain)).toEqual([1]);
  });

  it("masks memory domains to 8 bits in revision 1 and reads high bytes of processors in revision 2", () => {
    const entries = [processor({ domain: 0x101, apicId: 0 }), memory({ domain: 0xabcd01, ...at(0) })];
    expect(topology([0], entries, { revision: 1 }).nodes.map((node) => node.proximityDomain)).toEqual([1]);
    const two = [processor({ domain: 0x101, apicId: 0 }), memory({ domain: 0x101, ...at(0) })];
    expect(topology([0], two, { revision: 2 }).nodes.map((node) => node.proximityDomain)).toEqual([0x101]);
  });

  it("makes a node of a generic initiator's domain", () => {
    const found = topology(
      [0],
      [
        initiator({ domain: 3 }),
        initiator({ domain: 4, flags: 0 }),
        processor({ domain: 1, apicId: 0 }),
        memory({ domain: 1, ...at(0) }),
      ],
    );
    expect(found.nodes.map((node) => node.proximityDomain)).toEqual([3, 1]);
    expect(found.fallback).toEqual({ 0: [1], 1: [1] });
  });
});

describe("a SRAT Linux would not use", () => {
  const good = [processor({ domain: 0, apicId: 0 }), memory({ domain: 0, ...at(0) })];

  it("leaves one node 0 and a warning", () => {
    expectUnused(topology([0, 1], [...good, [1, 0, 0, 0]]), "offset");
    expectUnused(topology([0, 1], [...good, [0, 4, 0, 0]]), "needs 16");
    expectUnused(topology([0, 1], [processor({ domain: 0, apicId: 0 })]), "no memory");
    expectUnused(topology([0, 1], [...good, memory({ domain: MAX_NUMA_NODES, ...at(4) })]), "proximity domain 1024");
    expectUnused(topology([0, 1], [...good, processor({ domain: 5000, apicId: 1 })]), "proximity domain 5000");
  });

  it("is one without a body", () => {
    const found = topologyFromAcpi({ madt: madt(0), srat: parseSrat(table("SRAT", 3, [])) });
    expectUnused(found, "at least 48 bytes");
  });

  it("is one whose nodes overlap", () => {
    expectUnused(topology([0], [...good, memory({ domain: 1, base: GIB / 2, size: GIB })]), "overlaps");
    const hidden = [
      memory({ domain: 0, ...at(0, 8) }),
      memory({ domain: 0, ...at(1) }),
      memory({ domain: 1, ...at(7, 4) }),
    ];
    expectUnused(topology([0], hidden), "overlaps");
  });

  it("is none whose overlap is of one node, or beyond the memory that is there at boot", () => {
    const one = topology([0], [...good, memory({ domain: 0, base: GIB / 2, size: GIB })]);
    expect(one.nodes[0].memoryBytes).toBe(1.5 * GIB);
    expect(one.warnings).toHaveLength(1);
    const beyond = topology(
      [0],
      [
        ...good,
        memory({ domain: 0, ...at(8, 4), flags: 3 }),
        memory({ domain: 1, ...at(1) }),
        memory({ domain: 1, ...at(10, 4), flags: 3 }),
      ],
    );
    expect(beyond.nodeCount).toBe(2);
  });

  it("is none with two stray bytes at its end", () => {
    expect(topology([0], [...good, [0, 0]]).warnings).toEqual([]);
    expect(topology([0], [...good, [0]]).nodes[0].proximityDomain).toBe(0);
    expectUnused(topology([0], [...good, [0, 0, 0]]), "offset");
  });

  it("does not matter where there is none", () => {
    const found = topologyFromAcpi({ madt: madt(4, 5) });
    expect(found.nodes).toMatchObject([{ id: 0, cpus: [0, 1], hasMemory: true }]);
    expect(found.warnings).toEqual([]);
    expect(found.isEnabled).toBe(false);
    expect(found.fallback).toEqual({ 0: [0] });
  });
});

describe("CPUs", () => {
  it("are the MADT's: boot processor first, enabled ones in order, then the disabled; once each", () => {
    const found = topologyFromAcpi({
      madt: {
        entries: [
          { type: 1 },
          { type: 0, apicId: 6, flags: 1 },
          { type: 0, apicId: 7, flags: 0 },
          { type: 0, apicId: 0xff, flags: 1 },
          { type: 9, x2apicId: 300, flags: 1 },
          { type: 9, x2apicId: 6, flags: 1 },
          { type: 9, x2apicId: 0xffffffff, flags: 1 },
          { type: 0, apicId: 2, flags: 3 },
        ],
      },
      bspApicId: 2,
    });
    expect(found.cpus.map(({ id, apicId, online }) => [id, apicId, online])).toEqual([
      [0, 2, true],
      [1, 6, true],
      [2, 300, true],
      [3, 7, false],
    ]);
    expect(found.nodes[0].cpus).toEqual([0, 1, 2]);
  });

  it("that the SRAT does not name go round robin, with a warning for those that are online", () => {
    const entries = [0, 1].flatMap((d) => [processor({ domain: d, apicId: d }), memory({ domain: d, ...at(d) })]);
    const found = topology([0, 1, 2, 3, { apicId: 4, enabled: false }], entries);
    expect(found.cpus.map((cpu) => cpu.node)).toEqual([0, 1, 0, 1, 0]);
    expect(found.warnings).toHaveLength(2);
  });

  it("that are disabled keep the node the SRAT gives and are in no node's list", () => {
    const entries = [0, 1].flatMap((d) => [processor({ domain: d, apicId: d }), memory({ domain: d, ...at(d) })]);
    const found = topology([0, { apicId: 1, enabled: false }], entries);
    expect(found.cpus[1]).toEqual({ id: 1, apicId: 1, node: 1, online: false });
    expect(found.nodes.map((node) => node.cpus)).toEqual([[0], []]);
  });
});

describe("distances", () => {
  const entries = [2, 0].flatMap((d) => [processor({ domain: d, apicId: d }), memory({ domain: d, ...at(d) })]);

  it("are the SLIT's between the domains that became nodes", () => {
    const found = topology([0, 2], entries, {
      matrix: [
        [10, 99, 31],
        [99, 10, 99],
        [41, 99, 10],
      ],
    });
    expect(found.nodes.map((node) => node.distances)).toEqual([
      { 0: 10, 1: 41 },
      { 0: 31, 1: 10 },
    ]);
    expect(found.distance(0, 1)).toBe(41);
  });

  it("are 10 and 20 without a SLIT, for a domain it leaves out, and with an invalid one", () => {
    const flat = [
      { 0: 10, 1: 20 },
      { 0: 20, 1: 10 },
    ];
    expect(topology([0], entries).nodes.map((node) => node.distances)).toEqual(flat);
    expect(
      topology([0], entries, {
        matrix: [
          [10, 44],
          [44, 10],
        ],
      }).nodes.map((node) => node.distances),
    ).toEqual(flat);
    const invalid = topology([0], entries, {
      matrix: [
        [10, 9, 30],
        [30, 10, 30],
        [30, 30, 10],
      ],
    });
    expect(invalid.nodes.map((node) => node.distances)).toEqual(flat);
    expect(invalid.warnings.join()).toContain("SLIT is not used");
  });
});

describe("memory", () => {
  it("is listed with hot-pluggable ranges and counted without", () => {
    const found = topology(
      [0],
      [
        memory({ domain: 0, ...at(0, 2) }),
        memory({ domain: 0, ...at(4), flags: 3 }),
        memory({ domain: 1, ...at(6), flags: 3 }),
      ],
    );
    expect(found.nodes.map((node) => node.memoryBytes)).toEqual([2 * GIB, 0]);
    expect(found.toJSON().nodes[0].memory).toEqual([
      { base: "0x0", size: "0x80000000", hotPluggable: false },
      { base: "0x100000000", size: "0x40000000", hotPluggable: true },
    ]);
    expect(found.fallback).toEqual({ 0: [0], 1: [0] });
  });

  it("that would wrap round 64 bits is ignored with a warning", () => {
    const found = topology(
      [0],
      [memory({ domain: 0, ...at(0) }), memory({ domain: 0, base: 2n ** 64n - 4096n, size: 8192 })],
    );
    expect(found.nodes[0].memoryBytes).toBe(GIB);
    expect(found.warnings.join()).toContain("64 bits");
  });
});
