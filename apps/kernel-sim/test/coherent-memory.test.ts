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

/** Directory and caches as sets: no bits, no stale tags. CPUs come in two nodes of equal size. */
class Model {
  readonly holders = new Map<number, Set<number>>();
  readonly owned = new Map<number, number>();
  readonly lastLevel = new Map<number, number>();
  readonly cached = new Map<string, number>();

  readonly cpus: number;
  readonly sets: number;

  constructor(cpus: number, sets: number) {
    this.cpus = cpus;
    this.sets = sets;
  }

  node(cpu: number): number {
    return cpu < this.cpus / 2 ? 0 : 1;
  }

  scaled(cost: number, from: number, to: number): number {
    return from === to ? cost : Math.round((cost * 21) / 10);
  }

  touch(cpu: number, line: number, write: boolean): number {
    const holders = this.holders.get(line) ?? new Set();
    this.holders.set(line, holders);
    const owner = this.owned.get(line);
    if (holders.has(cpu) && (!write || owner === cpu)) return costs.cacheHitNs;
    const others = [...holders].filter((other) => other !== cpu);
    const own = this.node(cpu);
    const transfers = others.map((other) => this.scaled(costs.cacheTransferNs, own, this.node(other)));
    const lastLevel = this.lastLevel.get(line);
    let costNs = Math.max(costs.cacheHitNs, ...transfers);
    if (!holders.has(cpu)) {
      if (owner !== undefined) costNs = this.scaled(costs.cacheTransferNs, own, this.node(owner));
      else if (lastLevel === own) costNs = costs.lastLevelHitNs;
      else costNs = this.scaled(costs.dramNs, own, lastLevel ?? 0);
      this.evict(cpu, line);
    }
    this.owned.delete(line);
    if (write) holders.clear();
    if (holders.size === 0) {
      this.owned.set(line, cpu);
      this.lastLevel.delete(line);
    }
    holders.add(cpu);
    return costNs;
  }

  evict(cpu: number, line: number): void {
    const place = `${cpu} ${line % this.sets}`;
    const old = this.cached.get(place) ?? line;
    this.cached.set(place, line);
    if (old === line || this.holders.get(old)?.delete(cpu) !== true) return;
    if (this.owned.get(old) === cpu) this.owned.delete(old);
  }

  deviceWrite(node: number, line: number): void {
    this.holders.get(line)?.clear();
    this.owned.delete(line);
    this.lastLevel.set(line, node);
  }
}

test("any course of touches and device writes costs what a model of sets says, on few CPUs and on many", () => {
  const step = fc.record({ cpu: fc.nat(69), line: fc.nat(40), write: fc.boolean(), device: fc.boolean() });
  const steps = fc.array(step, { maxLength: 300 });
  fc.assert(
    fc.property(fc.constantFrom(2, 4, 24, 25, 56, 57, 70), steps, (cpus, list) => {
      const nodeOfCpu = Int32Array.from({ length: cpus }, (_, cpu) => (cpu < cpus / 2 ? 0 : 1));
      const clocks = new Float64Array(cpus);
      const distances = Float64Array.of(10, 21, 21, 10);
      const memory = new CoherentMemory({
        cpus,
        lines: 64,
        nodeOfCpu,
        distances,
        nodes: 2,
        cacheLines: 8,
        clocks,
        costs,
      });
      memory.setHome(0, 64 * 64, 0);
      const model = new Model(cpus, 8);
      list.forEach(({ cpu: any, line, write, device }, at) => {
        const cpu = any % cpus;
        // Transfers must not overlap, or they would wait for each other.
        clocks.fill(at * 10_000);
        if (device && write) {
          memory.deviceWrite(any % 2, line * 64, 64);
          model.deviceWrite(any % 2, line);
        } else expect(memory.touch(cpu, line * 64, write)).toBe(model.touch(cpu, line, write));
      });
      memory.verify();
    }),
  );
});

test("memory beyond what 32-bit addresses reach is refused, not wrapped to its beginning", () => {
  const nodeOfCpu = Int32Array.of(0);
  const options = { cpus: 1, nodeOfCpu, distances: Float64Array.of(10), nodes: 1, cacheLines: 64, costs };
  const create = (lines: number) => new CoherentMemory({ ...options, clocks: new Float64Array(1), lines });
  expect(() => create(2 ** 26 + 1)).toThrow(expect.objectContaining({ code: "SIM_MEMORY" }));
  expect(() => create(2 ** 26 + 1)).toThrow("4097 MiB of memory are asked for; 4096 MiB can be modelled");
  // The last line below is one of its own.
  const memory = create(2 ** 26);
  expect(memory.touch(0, 2 ** 32 - 64, true)).toBe(costs.dramNs);
  expect(memory.touch(0, 0, true)).toBe(costs.dramNs);
  expect(memory.touch(0, 2 ** 32 - 1, false)).toBe(costs.cacheHitNs);
});
