import { Worker } from "node:worker_threads";
import { SharedPages } from "@x/slab";
import { WorkerHal } from "@x/smp";
import { describe, expect, it } from "vitest";
import { Rcu } from "@x/rcu";
import { FLOW_KEY_WORDS, FlowTable } from "../src/index.ts";
import { dieAfter, withDyingMemory } from "./dying-memory.ts";
import { SwitchingHal } from "./switching-hal.ts";

const CAPACITY = 14;
/** Flows 0 to 3 are CPU 0's, the others those of CPU 1, which dies. */
const OWN = 4;
/** Grace periods that end at once, and calls that are never refused. */
const rcu = {
  tryCall: (free: (object: number) => void, object: number): boolean => {
    free(object);
    return true;
  },
};

function keyOf(flow: number): Int32Array {
  const key = new Int32Array(FLOW_KEY_WORDS);
  key[0] = flow;
  return key;
}
/** Hashes that crowd and that differ in high bits, so that chains are long and buckets are divided. */
const hashOf = (flow: number): number => Math.imul(flow >> 1, 0x41);

const insert = (table: FlowTable, flow: number): number => table.insert(keyOf(flow), 0, hashOf(flow), flow);
const lookup = (table: FlowTable, flow: number): number => table.lookup(keyOf(flow), 0, hashOf(flow));

interface Scene {
  readonly hal: SwitchingHal;
  readonly pages: SharedPages;
  readonly table: FlowTable;
}

/** A table with the flows of CPU 0; CPU 1, which will die, runs. */
function scene(maxBuckets: number): Scene {
  const hal = new SwitchingHal(2);
  const pages = SharedPages.create({ bytes: 1 << 14, pageBytes: 256, hal });
  const table = FlowTable.create({
    capacity: CAPACITY,
    buckets: 2,
    maxBuckets,
    stripes: 2,
    hal,
    rcu,
    pages,
    hashKey: [1, 2, 3, 4],
  });
  for (let flow = 0; flow < OWN; flow++) insert(table, flow);
  hal.cpu = 1;
  return { hal, pages, table };
}

/** The flows of CPU 1 are there or not, each as a whole. Returns how many flows too many the size counts. */
function assertWhole({ hal, pages, table }: Scene, before: number): number {
  hal.cpu = 0;
  table.reportDead(1);
  const present = new Set<number>();
  table.forEach((entry) => {
    if ((table.generation(entry) & 1) === 0) expect.fail("an entry half deleted");
    present.add(table.value(entry));
  });
  for (let flow = 0; flow < 32; flow++) {
    const entry = lookup(table, flow);
    if (entry === 0 ? present.has(flow) || flow < OWN : table.value(entry) !== flow)
      expect.fail(`flow ${flow} is wrong`);
  }
  const excess = table.size - present.size;
  expect(excess === 0 || excess === 1).toBe(true);
  // It serves as before: other flows fit in, until it is full, and all can be deleted.
  const walked = (): number => {
    let count = 0;
    table.forEach(() => count++);
    return count;
  };
  let room = CAPACITY - table.size;
  for (let flow = 32; room > 0; flow++, room--) if (insert(table, flow) === 0) expect.fail("the table is full");
  expect(insert(table, 99)).toBe(0);
  expect(walked()).toBe(Math.max(present.size, CAPACITY - excess));
  for (let i = 0; i < 16; i++) {
    table.delete(lookup(table, 0));
    insert(table, 0);
  }
  // Every bucket can be entered.
  for (let hash = 0; hash < 64; hash++)
    if (table.lookup(keyOf(99), 0, hash) !== 0) expect.fail("found what is not there");
  expect(table.buckets).toBe(Math.min(table.handle.maxBuckets, 2 * CAPACITY + 4));
  for (let flow = 0; flow < 56; flow++) {
    const entry = lookup(table, flow);
    if (entry !== 0 && !table.delete(entry)) expect.fail(`flow ${flow} cannot be deleted`);
  }
  expect(table.size).toBe(excess);
  expect(walked()).toBe(0);
  expect(table.destroy()).toBeLessThanOrEqual(1);
  // A lost entry keeps its slab; buckets that were being added may be lost.
  expect(before - pages.freePageCount).toBeLessThanOrEqual(2 ** table.handle.entries.geometry.order + 1);
  return excess;
}

describe("the death of a thread at every write", () => {
  /** Between the count and the note of it in the CPU's hand lies one write in an insertion, one when it gives up, two in a deletion. */
  const works: [name: string, maxBuckets: number, tooHigh: number, work: (scene: Scene) => void][] = [
    [
      "inserts and deletes",
      2,
      2 + 4,
      ({ table }) => {
        for (let flow = OWN; flow < OWN + 2; flow++) insert(table, flow);
        for (let flow = OWN; flow < OWN + 2; flow++) table.delete(lookup(table, flow));
      },
    ],
    ["inserts what is there", 2, 2, ({ table }) => void insert(table, 3)],
    [
      "makes the table grow",
      64,
      10 + 10,
      ({ table }) => {
        for (let flow = OWN; flow < CAPACITY; flow++) insert(table, flow);
        for (let flow = OWN + 1; flow < CAPACITY; flow += 2) table.delete(lookup(table, flow));
      },
    ],
    [
      "inserts into a full table",
      2,
      10 + 2,
      ({ table }) => {
        for (let flow = OWN; flow < CAPACITY; flow++) insert(table, flow);
        insert(table, CAPACITY);
      },
    ],
  ];
  for (const [name, maxBuckets, tooHigh, work] of works) {
    it(`leaves the table whole when it ${name}`, () => {
      let died = 0;
      let excesses = 0;
      for (let steps = 0; ; steps++) {
        const finished = withDyingMemory(() => {
          const made = scene(maxBuckets);
          const free = made.pages.totalPages;
          if (!dieAfter(steps, () => work(made))) return true;
          excesses += assertWhole(made, free);
          return false;
        });
        if (finished) break;
        died++;
      }
      expect(died).toBeGreaterThan(10);
      expect(excesses).toBe(tooHigh);
    });
  }
});

it("goes on where a thread was killed inside an insertion, its stripe locked", async () => {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const shared = Rcu.create({ hal });
  const table = FlowTable.create({ capacity: 64, buckets: 1, maxBuckets: 1, stripes: 1, hal, rcu: shared });
  const locked = new SharedArrayBuffer(4);
  const worker = new Worker(new URL("fixtures/dies-inside.mjs", import.meta.url), {
    workerData: { hal: hal.handle, rcu: shared.handle, table: table.handle, locked },
  });
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  const word = new Int32Array(locked);
  while (Atomics.load(word, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(lookup(table, 1)).not.toBe(0);
  await worker.terminate();
  await ended;
  shared.reportDead(1);
  table.reportDead(1);
  expect(lookup(table, 1)).not.toBe(0);
  expect(lookup(table, 2)).toBe(0);
  expect(table.size).toBe(1);
  expect(insert(table, 2)).not.toBe(0);
  expect(table.delete(lookup(table, 1))).toBe(true);
  expect(table.size).toBe(1);
});
