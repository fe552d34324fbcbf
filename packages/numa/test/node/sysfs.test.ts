import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { NumaError } from "../../src/index.ts";
import { readHostTopology, readSysfsTopology } from "../../src/node/index.ts";

const made: string[] = [];
afterEach(() => {
  for (const root of made.splice(0)) rmSync(root, { recursive: true, force: true });
});

/** A tree of files below sys/devices/system; a path that ends with a slash is a folder. */
function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "numa-sysfs-"));
  made.push(root);
  for (const [path, text] of Object.entries(files)) {
    const file = join(root, "sys/devices/system", path);
    mkdirSync(path.endsWith("/") ? file : dirname(file), { recursive: true });
    if (!path.endsWith("/")) writeFileSync(file, `${text}\n`);
  }
  return root;
}

const memory = (id: number, kib: number): string => `\nNode ${id} MemTotal:  ${kib} kB\nNode ${id} MemFree: 1 kB`;
const cpus = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, id) => [`cpu/cpu${id}/topology/core_id`, `${id}`]));

describe("sysfs", () => {
  it("keeps sparse ids and reads a row by the nodes that are there", () => {
    const found = readSysfsTopology(
      tree({
        ...cpus(4),
        "node/node0/cpumap": "3",
        "node/node0/meminfo": memory(0, 1024),
        "node/node0/distance": "10 15 20",
        "node/node4/cpumap": "0000000c",
        "node/node4/meminfo": memory(4, 2048),
        "node/node4/distance": "15 10 30",
        "node/node9/cpumap": "0",
        "node/node9/meminfo": memory(9, 4096),
        "node/node9/distance": "20 30 10",
      }),
    );
    expect(found.nodes.map(({ id, cpus, memoryBytes }) => [id, cpus, memoryBytes])).toEqual([
      [0, [0, 1], 2 ** 20],
      [4, [2, 3], 2 ** 21],
      [9, [], 2 ** 22],
    ]);
    expect(found.distance(4, 9)).toBe(30);
    expect(found.fallback).toEqual({ 0: [0, 4, 9], 4: [4, 0, 9], 9: [9, 0, 4] });
    expect(found.warnings).toEqual([]);
  });

  it("takes the columns of a row by the online list, the possible list, or by id when nodes are missing", () => {
    const files = (row: string, lists: Record<string, string>): string =>
      tree({ ...cpus(1), "node/node1/cpumap": "1", "node/node3/cpumap": "0", "node/node1/distance": row, ...lists });
    expect(readSysfsTopology(files("11 10 33", { "node/online": "0-1,3" })).distance(1, 3)).toBe(33);
    expect(
      readSysfsTopology(files("11 10 22 33", { "node/online": "1,3", "node/possible": "0-3" })).distance(1, 3),
    ).toBe(33);
    expect(readSysfsTopology(files("11 10 22 34 55", {})).distance(1, 3)).toBe(34);
  });

  it("takes 10 and 20 where the distance file is missing or no row of numbers", () => {
    const files = { ...cpus(2), "node/node0/cpumap": "1", "node/node1/cpumap": "2" };
    expect(readSysfsTopology(tree(files)).distance(0, 1)).toBe(20);
    const broken = readSysfsTopology(tree({ ...files, "node/node0/distance": "10 twenty" }));
    expect(broken.nodes[0].distances).toEqual({ 0: 10, 1: 20 });
    expect(broken.warnings.join()).toContain("distance");
  });

  it("leaves offline CPUs out of their node", () => {
    const found = readSysfsTopology(
      tree({ ...cpus(4), "cpu/cpu2/online": "0", "cpu/cpu3/online": "1", "node/node0/cpumap": "00000000,0000000f" }),
    );
    expect(found.nodes[0].cpus).toEqual([0, 1, 3]);
    expect(found.cpus[2]).toEqual({ id: 2, node: 0, online: false });
  });

  it("reads cpumap, else cpulist, else the links", () => {
    const of = (files: Record<string, string>): readonly number[] =>
      readSysfsTopology(tree({ ...cpus(40), ...files })).nodes[0].cpus;
    expect(of({ "node/node0/cpumap": "80,00000001", "node/node0/cpulist": "5" })).toEqual([0, 39]);
    expect(of({ "node/node0/cpumap": "zzz", "node/node0/cpulist": "5,7-8" })).toEqual([5, 7, 8]);
    expect(of({ "node/node0/cpulist": "5,7-8" })).toEqual([5, 7, 8]);
    expect(of({ "node/node0/cpu6/": "", "node/node0/cpu2/": "", "node/node0/power/": "" })).toEqual([2, 6]);
  });

  it("keeps nodes that overlap, with a warning, and gives a CPU to the first", () => {
    const found = readSysfsTopology(tree({ ...cpus(2), "node/node0/cpumap": "3", "node/node1/cpumap": "3" }));
    expect(found.nodes.map((node) => node.cpus)).toEqual([
      [0, 1],
      [0, 1],
    ]);
    expect(found.cpus.map((cpu) => cpu.node)).toEqual([0, 0]);
    expect(found.warnings.join()).toContain("overlap");
  });

  it("leaves a CPU that nobody claims on no node, with a warning", () => {
    const found = readSysfsTopology(tree({ ...cpus(2), "node/node0/cpumap": "1" }));
    expect(found.nodeForCpu(1)).toBe(-1);
    expect(found.warnings.join()).toContain("CPU 1");
  });

  it("counts a node of unknown size as one with memory, one of size 0 not", () => {
    const files = { ...cpus(1), "node/node0/cpumap": "1", "node/node1/cpumap": "0", "node/node2/cpumap": "0" };
    const found = readSysfsTopology(tree({ ...files, "node/node1/meminfo": memory(1, 0) }));
    expect(found.fallback[0]).toEqual([0, 2]);
    expect(found.fallback[1]).toEqual([2, 0]);
  });

  it("has one node 0 where the kernel knows no nodes", () => {
    const found = readSysfsTopology(
      tree({ ...cpus(3), "cpu/cpu1/online": "0", "cpu/cpufreq/": "", "cpu/online": "0,2" }),
    );
    expect(found.nodes).toMatchObject([{ id: 0, cpus: [0, 2], hasMemory: true }]);
    expect(found.warnings).toHaveLength(1);
  });

  it("refuses a root without CPUs and nodes, and a mask nobody understands", () => {
    expect(() => readSysfsTopology(tree({}))).toThrow(NumaError);
    expect(() => readSysfsTopology("/nonexistent")).toThrow(NumaError);
    expect(() => readSysfsTopology(tree({ ...cpus(1), "node/node0/cpumap": "xyz" }))).toThrow(NumaError);
  });

  it("gives a result or a typed error for any text in the files", () => {
    const text = fc.oneof(
      fc.constantFrom(
        "0-3",
        "f",
        "10 20",
        "1",
        "0",
        "",
        "0-999999",
        "ffffffff,ffffffff",
        "7-2",
        "Node 0 MemTotal: 5 kB",
      ),
      fc.string({ maxLength: 20 }),
    );
    const names = ["cpu/cpu0/online", "cpu/online", "node/online", "node/possible"];
    const ofNode = ["cpumap", "cpulist", "distance", "meminfo"].flatMap((file) => [
      `node/node0/${file}`,
      `node/node7/${file}`,
    ]);
    const files = fc.dictionary(fc.constantFrom(...names, ...ofNode), text, { noNullPrototype: true });
    fc.assert(
      fc.property(files, (texts) => {
        try {
          JSON.stringify(readSysfsTopology(tree(texts)));
        } catch (error) {
          expect(error).toBeInstanceOf(NumaError);
        }
      }),
      { numRuns: 60 },
    );
  });

  it.runIf(process.platform === "linux")("reads the host", () => {
    const found = readHostTopology();
    expect(found.nodeCount).toBeGreaterThan(0);
    expect(found.cpus.some((cpu) => cpu.online)).toBe(true);
  });
});
