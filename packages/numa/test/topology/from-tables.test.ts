import { SmpError } from "@x/smp";
import { describe, expect, it } from "vitest";
import { NumaError, NumaTopology, topologyFromTables } from "../../src/index.ts";
import { buildMadt, parseAcpiTable } from "@x/smp/acpi";
import { gicc, gicIts, le, locality, madtBody, memory, processor, slit, srat, table } from "../tables.ts";

const apic = table("APIC", 3, madtBody(0, 4));
const entries = [0, 4].flatMap((apicId, domain) => [
  processor({ domain, apicId }),
  memory({ domain, base: domain * 2 ** 30, size: 2 ** 30 }),
]);

/** Two sockets of two Arm cores each, and one core that is not enabled; UIDs are not in the order of MPIDRs. */
function armTables() {
  const core = (uid: number, mpidr: bigint, flags = 1) =>
    ({
      type: 11,
      cpuInterfaceNumber: uid,
      acpiProcessorUid: uid,
      flags,
      parkingProtocolVersion: 0,
      performanceInterrupt: 23,
      parkedAddress: 0n,
      baseAddress: 0n,
      mpidr,
      efficiencyClass: 0,
    }) as const;
  const cores = [core(3, 0x0n), core(2, 0x100n), core(1, 0x100000000n), core(0, 0x100000100n), core(9, 0x200n, 0)];
  const service = { type: 15, flags: 0, translationId: 5, address: 0x8080000n } as const;
  return parseAcpiTable(buildMadt({ entries: [...cores, service] }), "apic.dat");
}

describe("an Arm machine's tables", () => {
  const memories = [1, 0].map((domain) => memory({ domain, base: domain * 2 ** 32, size: 2 ** 31 }));
  const cpus = [
    gicc({ domain: 1, uid: 0 }),
    gicc({ domain: 1, uid: 1 }),
    gicc({ domain: 0, uid: 2 }),
    gicc({ domain: 0, uid: 3 }),
  ];

  it("join the GICC structures of MADT and SRAT by the processor's UID", () => {
    const matrix = [
      [10, 20],
      [20, 10],
    ];
    const found = topologyFromTables([
      armTables(),
      srat(3, ...cpus, gicIts({ domain: 1, itsId: 5 }), ...memories),
      slit(matrix),
    ]);
    expect(found.warnings).toEqual([]);
    expect(found.cpus.map(({ apicId, node, online }) => [apicId, node, online])).toEqual([
      [0x0, 1, true],
      [0x100, 1, true],
      [0x1000000, 0, true],
      [0x1000100, 0, true],
      [0x200, 0, false],
    ]);
    expect(found.nodes.map(({ proximityDomain, cpus: of, memoryBytes }) => [proximityDomain, of, memoryBytes])).toEqual(
      [
        [1, [2, 3], 2 ** 31],
        [0, [0, 1], 2 ** 31],
      ],
    );
  });

  it("make no node of an interrupt translation service, nor of processors of other kinds or that are not enabled", () => {
    const others = [
      gicIts({ domain: 7, itsId: 5 }),
      processor({ domain: 8, apicId: 0 }),
      gicc({ domain: 9, uid: 9, flags: 0 }),
    ];
    const found = topologyFromTables([armTables(), srat(3, ...others, ...cpus, ...memories)]);
    expect(found.nodes.map((node) => node.proximityDomain)).toEqual([1, 0]);
    const missing = topologyFromTables([armTables(), srat(3, ...cpus.slice(1), ...memories)]);
    expect(missing.warnings).toEqual(["SRAT does not name CPU 3 (processor UID 0); it is put on node 1"]);
  });

  it("have no meaning on a machine with local APICs", () => {
    const found = topologyFromTables([apic, srat(3, gicc({ domain: 5, uid: 0 }), ...entries)]);
    expect(found.nodes.map((node) => node.proximityDomain)).toEqual([0, 1]);
  });
});

describe("a machine's tables", () => {
  it("are found by signature, whatever else is among them", () => {
    const others = [table("FACP", 3, [1, 2]), table("WSMT", 1, [])];
    const found = topologyFromTables([
      ...others,
      slit([
        [10, 21],
        [21, 10],
      ]),
      srat(3, ...entries),
      apic,
    ]);
    expect(found.nodes.map((node) => [node.cpus, node.memoryBytes])).toEqual([
      [[0], 2 ** 30],
      [[1], 2 ** 30],
    ]);
    expect(found.distance(0, 1)).toBe(21);
    expect(found.warnings).toEqual([]);
  });

  it("with two of a kind use the first, and a wrong checksum is used, with a warning each", () => {
    const bad = srat(3, ...entries);
    const twice = { ...bad, header: { ...bad.header, checksumOk: false } };
    const found = topologyFromTables([apic, twice, srat(3)]);
    expect(found.nodeCount).toBe(2);
    expect(found.warnings).toHaveLength(2);
  });

  it("need a MADT that can be read", () => {
    expect(() => topologyFromTables([srat(3, ...entries)])).toThrow(NumaError);
    expect(() => topologyFromTables([table("APIC", 3, [])])).toThrow(SmpError);
  });

  it("tell what is wrong inside the MADT and go on", () => {
    const cut = table("APIC", 3, [...madtBody(0), 0, 0]);
    expect(topologyFromTables([cut]).warnings.join()).toContain("MADT: at offset");
  });
});

describe("HMAT", () => {
  const pairs = { initiators: [0, 1, 9], targets: [0, 1] };
  const hmat = (revision: number, ...structures: number[][]): ReturnType<typeof table> =>
    table("HMAT", revision, [...le(0, 4), ...structures.flat()]);

  it("gives latencies in nanoseconds and bandwidths in MB/s between nodes", () => {
    const latency = locality({ ...pairs, dataType: 0, unit: 1000, raw: [80, 140, 145, 0xffff, 1, 1] });
    const write = locality({ ...pairs, dataType: 2, unit: 500, raw: [100, 0, 0, 0, 0, 0] });
    const bandwidth = locality({ ...pairs, dataType: 4, unit: 1024, raw: [20, 0, 0, 10, 0, 0] });
    const found = topologyFromTables([apic, srat(3, ...entries), hmat(2, latency, write, bandwidth)]);
    expect(found.accessOf(0, 0)).toEqual({
      initiator: 0,
      target: 0,
      readLatencyNs: 80,
      writeLatencyNs: 50,
      readBandwidthMBps: 20480,
    });
    expect(found.accessOf(1, 0)).toMatchObject({ readLatencyNs: 145, writeLatencyNs: 145 });
    expect(found.accessOf(1, 1)).toEqual({ initiator: 1, target: 1, readBandwidthMBps: 10240 });
    expect(found.accessOf(9, 0)).toBeUndefined();
    expect(NumaTopology.fromJSON(found.toJSON()).access).toEqual(found.access);
  });

  it("of revision 1 counts in tenths", () => {
    const latency = locality({ ...pairs, dataType: 1, unit: 100, raw: [8, 0, 0, 0, 0, 0] });
    const found = topologyFromTables([apic, srat(3, ...entries), hmat(1, latency)]);
    expect(found.access).toEqual([{ initiator: 0, target: 0, readLatencyNs: 80 }]);
  });

  it("leaves out caches in front of the memory, and tells what is wrong", () => {
    const cached = locality({ ...pairs, dataType: 0, unit: 1000, raw: [1, 1, 1, 1, 1, 1] });
    cached[8] = 1;
    const found = topologyFromTables([apic, srat(3, ...entries), hmat(2, cached, [1, 2, 3])]);
    expect(found.access).toEqual([]);
    expect(found.warnings.join()).toContain("HMAT: at offset");
  });
});
