import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NumaError, NumaMemoryPolicy, NumaTopology, type NumaNode } from "../../src/index.ts";

function node(id: number, distances: Record<number, number>, parts: Partial<NumaNode> = {}): NumaNode {
  return { id, cpus: [id], memory: [], memoryBytes: 4096, hasMemory: true, distances, ...parts };
}

function ofMatrix(matrix: readonly (readonly number[])[], parts: (id: number) => Partial<NumaNode> = () => ({})) {
  return new NumaTopology({
    nodes: matrix.map((row, id) => node(id, Object.fromEntries(row.entries()), parts(id))),
    cpus: [],
  });
}

describe("fallback order", () => {
  it("puts the node itself first and spreads ties as Linux 6.1 did on a machine with four equal nodes", () => {
    const matrix = [0, 1, 2, 3].map((from) => [0, 1, 2, 3].map((to) => (from === to ? 10 : 16)));
    expect(ofMatrix(matrix).fallback).toEqual({ 0: [0, 1, 2, 3], 1: [1, 2, 3, 0], 2: [2, 3, 0, 1], 3: [3, 0, 1, 2] });
  });

  it("prefers nodes without CPUs among equals and leaves out nodes without memory", () => {
    const matrix = [0, 1, 2, 3].map((from) => [0, 1, 2, 3].map((to) => (from === to ? 10 : 20)));
    const found = ofMatrix(matrix, (id) => (id === 3 ? { cpus: [] } : id === 1 ? { hasMemory: false } : {}));
    expect(found.fallback[0]).toEqual([0, 3, 2]);
    expect(found.fallback[1]).toEqual([3, 2, 0]);
    expect(found.fallback[3]).toEqual([3, 0, 2]);
  });

  it("balances who is put first when two nodes are equally near to several others", () => {
    const matrix = [
      [10, 40, 20, 20],
      [40, 10, 20, 20],
      [20, 20, 10, 40],
      [20, 20, 40, 10],
    ];
    const { fallback } = ofMatrix(matrix);
    expect([fallback[0][1], fallback[1][1]]).toEqual([2, 3]);
    expect([fallback[2][1], fallback[3][1]]).toEqual([0, 1]);
  });

  it("has every node with memory once and never goes back to a nearer one", () => {
    const rows = fc.integer({ min: 1, max: 8 }).chain((n) =>
      fc.tuple(
        fc.array(fc.array(fc.integer({ min: 11, max: 14 }), { minLength: n, maxLength: n }), {
          minLength: n,
          maxLength: n,
        }),
        fc.array(fc.boolean(), { minLength: n, maxLength: n }),
        fc.array(fc.boolean(), { minLength: n, maxLength: n }),
      ),
    );
    fc.assert(
      fc.property(rows, ([matrix, hasMemory, hasCpus]) => {
        for (const [i, row] of matrix.entries()) row[i] = 10;
        const found = ofMatrix(matrix, (id) => ({ hasMemory: hasMemory[id], cpus: hasCpus[id] ? [id] : [] }));
        const targets = [...hasMemory.keys()].filter((id) => hasMemory[id]);
        for (const from of matrix.keys()) {
          const list = found.fallback[from];
          expect([...list].sort((a, b) => a - b)).toEqual(targets);
          const far = list.map((to) => matrix[from][to]);
          expect(far).toEqual([...far].sort((a, b) => a - b));
        }
      }),
    );
  });

  it("is quick for as many nodes as there can be", () => {
    const found = NumaTopology.uniform({ nodes: 512, cpusPerNode: 1, bytesPerNode: 4096 });
    expect(found.fallback[511]).toHaveLength(512);
  });
});

describe("questions", () => {
  const found = ofMatrix([
    [10, 30, 20, 255],
    [30, 10, 30, 255],
    [20, 30, 10, 255],
    [255, 255, 255, 10],
  ]);

  it("finds the closest other node, the lowest among equals, itself when no other can be reached", () => {
    expect([0, 1, 2, 3].map((id) => found.closestNode(id))).toEqual([2, 0, 0, 3]);
  });

  it("throws for a node that is not there and answers -1 for a CPU that is not", () => {
    expect(() => found.distance(0, 9)).toThrow(NumaError);
    expect(() => found.distance(9, 0)).toThrow("no node 9");
    expect(() => found.closestNode(9)).toThrow(NumaError);
    expect(found.getNode(9)).toBeUndefined();
    expect(found.nodeForCpu(9)).toBe(-1);
  });

  it("refuses parts that cannot be", () => {
    expect(() => new NumaTopology({ nodes: [], cpus: [] })).toThrow(NumaError);
    expect(() => new NumaTopology({ nodes: [node(0, {}), node(0, {})], cpus: [] })).toThrow("node 0 is there twice");
    expect(() => new NumaTopology({ nodes: [node(-1, {})], cpus: [] })).toThrow(NumaError);
  });
});

describe("JSON", () => {
  it("goes there and back", () => {
    const found = NumaTopology.uniform({ nodes: 3, cpusPerNode: 2, bytesPerNode: 2 ** 34, remoteDistance: 21 });
    const json = JSON.parse(JSON.stringify(found)) as ReturnType<NumaTopology["toJSON"]>;
    expect(json.nodes[2].memory).toEqual([{ base: "0x800000000", size: "0x400000000", hotPluggable: false }]);
    const back = NumaTopology.fromJSON(json);
    expect(back.toJSON()).toEqual(found.toJSON());
    expect(back.nodeForCpu(5)).toBe(2);
    expect(back.isEnabled).toBe(true);
  });
});

describe("policies", () => {
  it("go round, by any id, and may come back to where they were", () => {
    const policy = NumaMemoryPolicy.interleave([70, 3, 3, 900]);
    expect([3, 69, 70, 900, -1].map((current) => policy.nextNode(current))).toEqual([70, 70, 900, 3, 3]);
    expect(NumaMemoryPolicy.interleave([5]).nextNode(5)).toBe(5);
    expect([1, 2, 3, 4].map(() => policy.takeTurn())).toEqual([3, 70, 900, 3]);
  });

  it("allow what they should", () => {
    expect(NumaMemoryPolicy.default().isNodeAllowed(500)).toBe(true);
    expect(NumaMemoryPolicy.preferred(2).isNodeAllowed(500)).toBe(true);
    const bind = NumaMemoryPolicy.bind([64, 2]);
    expect([2, 64, 3].map((id) => bind.isNodeAllowed(id))).toEqual([true, true, false]);
    expect(bind.nextNode(2)).toBe(-1);
    expect(NumaMemoryPolicy.preferred(6).preferredNode).toBe(6);
  });

  it("refuse to be about no node, or about none at all", () => {
    expect(() => NumaMemoryPolicy.bind([])).toThrow(NumaError);
    expect(() => NumaMemoryPolicy.interleave([-1])).toThrow(NumaError);
    expect(() => NumaMemoryPolicy.preferred(0.5)).toThrow(NumaError);
  });

  it("survive being plain data", () => {
    const policy = NumaMemoryPolicy.fromJSON(structuredClone(NumaMemoryPolicy.bind([4, 1]).toJSON()));
    expect(policy.kind).toBe("bind");
    expect(policy.nodes).toEqual([1, 4]);
  });
});
