import { Worker } from "node:worker_threads";
import { Rcu } from "@x/rcu";
import { KmemCache, SharedPages } from "@x/slab";
import { WorkerHal } from "@x/smp";
import { expect, it } from "vitest";

const MAIN_CPU = 3;
const DURATION_MS = 300;
const MAGIC = 0x600d;

interface Report {
  readonly wrong: number;
  readonly reads: number;
  readonly updates: number;
  /** Those of the wrong words that debug mode has written into a freed object. */
  readonly poisoned: number;
}

function start(workerData: object): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("fixtures/reclaim.mjs", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** Two threads read what a third one publishes; `deferred`: it is given back by `rcu.free`, else at once. */
async function run(mode: "deferred" | "at once", kind: "poisoned" | "type-safe" | "constructed") {
  const hal = WorkerHal.create({ possibleCpus: 4, cpu: MAIN_CPU });
  const rcu = Rcu.create({ hal });
  const pages = SharedPages.create({ bytes: 1 << 20, hal });
  const before = pages.freePageCount;
  const words = new Int32Array(pages.buffer);
  const construct = (object: number): void => void (words[object >> 2] = MAGIC);
  const cache = KmemCache.create({
    name: "published",
    objectSize: 64,
    hal,
    pages,
    magazineSize: 8,
    ...(kind === "poisoned" ? { debug: { poison: true } } : { construct }),
    ...(kind === "type-safe" ? { typeStable: true, gracePeriods: rcu } : {}),
  });
  const other = KmemCache.create({ name: "other", objectSize: 128, hal, pages, magazineSize: 8 });
  const board = new SharedArrayBuffer(8);
  const handles = {
    halHandle: hal.handle,
    rcuHandle: rcu.handle,
    pagesHandle: pages.handle,
    cacheHandle: cache.handle,
    otherHandle: other.handle,
  };
  const cpus = [0, 1, 2];
  const common = { ...handles, board, threads: cpus.length, mode, durationMs: DURATION_MS, magic: MAGIC };
  const [writer, ...readers] = await Promise.all(cpus.map((cpu) => start({ ...common, cpu, writes: cpu === 0 })));
  return { writer, readers, cache, other, pages, before, rcu, published: new Int32Array(board)[0] };
}

const wrongOf = (readers: readonly Report[]): number => readers.reduce((sum, { wrong }) => sum + wrong, 0);

it("an object given back by rcu.free is poisoned and reused only when no thread can read it, and none is lost", async () => {
  const { writer, readers, cache, other, pages, before, rcu, published } = await run("deferred", "poisoned");
  expect(wrongOf([writer, ...readers])).toBe(0);
  for (const { reads } of readers) expect(reads).toBeGreaterThan(100);
  expect(writer.updates).toBeGreaterThan(100);
  expect(rcu.stats()).toMatchObject({ callbacksQueued: writer.updates - 1, callbacksPending: 0 });
  expect(cache.stats().activeObjects).toBe(1);
  cache.free(published);
  expect([cache.destroy(), other.destroy(), pages.freePageCount]).toEqual([0, 0, before]);
});

it("an object given back at once shows a reader its poison", async () => {
  let poisoned = 0;
  for (let round = 0; round < 20 && poisoned === 0; round++) {
    for (const reader of (await run("at once", "poisoned")).readers) poisoned += reader.poisoned;
  }
  expect(poisoned).toBeGreaterThan(0);
});

it("an object of a type-safe cache is one for as long as a thread may read it, though it is freed and reused at once", async () => {
  const { writer, readers, cache, other, pages, before } = await run("at once", "type-safe");
  expect(wrongOf(readers)).toBe(0);
  for (const { reads } of readers) expect(reads).toBeGreaterThan(100);
  expect(writer.updates).toBeGreaterThan(100);
  expect([cache.destroy(), other.destroy(), pages.freePageCount]).toEqual([0, 0, before]);
});

it("the same reader of a cache that is not type-safe finds the bytes of others", async () => {
  let wrong = 0;
  for (let round = 0; round < 20 && wrong === 0; round++)
    wrong = wrongOf((await run("at once", "constructed")).readers);
  expect(wrong).toBeGreaterThan(0);
});
