import fc from "fast-check";
import { expect, test } from "vitest";
import { CoherentMemory } from "../src/machine/coherent-memory.ts";
import { DEFAULT_COSTS as costs } from "../src/machine/cost-table.ts";

/** Four CPUs on two nodes; node 1's memory begins at 1 MiB. */
function machine(cacheLines = 1024, clocks = new Float64Array(4)): CoherentMemory {
  const memory = new CoherentMemory({
    cpus: 4,
    lines: (2 * 2 ** 20) / 64,
    nodeOfCpu: Int32Array.of(0, 0, 1, 1),
    distances: Float64Array.of(10, 21, 21, 10),
    nodes: 2,
    cacheLines,
    clocks,
    costs,
  });
  memory.setHome(0, 2 ** 20, 0);
  memory.setHome(2 ** 20, 2 ** 20, 1);
  return memory;
}
test("a first touch costs DRAM by distance, the second a cache hit", () => {
  const memory = machine();
  expect(memory.touch(0, 64, false)).toBe(costs.dramNs);
  expect(memory.touch(0, 64, false)).toBe(costs.cacheHitNs);
  expect(memory.touch(0, 2 ** 20, false)).toBe(Math.round((costs.dramNs * 21) / 10));
  expect(memory.localAccesses[0]).toBe(1);
  expect(memory.remoteAccesses[0]).toBe(1);
});

test("a line another CPU has modified is transferred, from another node dearer than from the same", () => {
  const memory = machine();
  memory.touch(0, 64, true);
  expect(memory.touch(1, 64, false)).toBe(costs.cacheTransferNs);
  memory.touch(0, 128, true);
  expect(memory.touch(2, 128, false)).toBe(Math.round((costs.cacheTransferNs * 21) / 10));
});

test("a write invalidates every copy: false sharing ping-pongs, private lines do not", () => {
  const memory = machine();
  let shared = 0;
  let apart = 0;
  for (let turn = 1; turn <= 100; turn++) {
    shared += memory.touch(0, 4096, true) + memory.touch(1, 4096, true);
    apart += memory.touch(0, 8192, true) + memory.touch(1, 8192 + 128, true);
  }
  expect(shared).toBeGreaterThan(apart * 10);
});

test("a line that is being transferred makes the next one wait", () => {
  const clocks = Float64Array.of(0, 1000, 1020, 0);
  const memory = machine(1024, clocks);
  memory.touch(0, 64, true);
  const first = memory.touch(1, 64, true);
  expect(memory.touch(2, 64, true)).toBe(first - 20 + (costs.cacheTransferNs * 21) / 10);
  expect(memory.contendedNs[2]).toBe(first - 20);
});

test("what a device writes is in its node's last-level cache and in nobody else's", () => {
  const memory = machine();
  memory.touch(2, 64, false);
  memory.deviceWrite(0, 64, 64);
  expect(memory.touch(0, 64, false)).toBe(costs.lastLevelHitNs);
  expect(memory.touch(2, 64, false)).toBeGreaterThan(costs.dramNs);
});

test("a cache holds no more lines than it has", () => {
  const memory = machine(16);
  for (let line = 0; line < 32; line++) memory.touch(0, line * 64, false);
  expect(memory.touch(0, 31 * 64, false)).toBe(costs.cacheHitNs);
  expect(memory.touch(0, 0, false)).toBe(costs.dramNs);
});

test("whatever happens, an owned line has its owner as the only sharer", () => {
  const access = fc.tuple(fc.nat(3), fc.nat(63), fc.boolean());
  fc.assert(
    fc.property(fc.array(access, { maxLength: 300 }), (list) => {
      const memory = machine(8);
      list.forEach(([cpu, line, write]) => memory.touch(cpu, line * 64, write));
      memory.verify();
    }),
    { numRuns: 50 },
  );
});
