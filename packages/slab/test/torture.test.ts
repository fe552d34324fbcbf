import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { describe, expect, it } from "vitest";
import { KmemCache, SharedPages } from "../src/index.ts";

/** Seconds of each torture run. SLAB_TORTURE_SECONDS=120 for the long form. */
const SECONDS = Number(process.env.SLAB_TORTURE_SECONDS ?? 1);
const CPUS = 4;

interface Report {
  readonly errors: number;
  readonly operations: number;
}

interface Stand {
  readonly hal: WorkerHal;
  readonly pages: SharedPages;
  readonly cache: KmemCache;
  readonly slots: Int32Array;
  /** Word 0: stop; word n: CPU n is at work. */
  readonly stop: Int32Array;
}

function stand(nodeOfCpu: readonly number[] | undefined): Stand {
  // CPU 0 is this thread.
  const hal = WorkerHal.create({ possibleCpus: CPUS });
  const pages = SharedPages.create({ bytes: 1 << 20, hal });
  const options = { name: "torture", objectSize: 72, pages, hal, magazineSize: 7, depotMagazines: 3 };
  const cache = KmemCache.create(nodeOfCpu === undefined ? options : { ...options, nodeOfCpu });
  const slots = new Int32Array(new SharedArrayBuffer(64 * 4));
  return { hal, pages, cache, slots, stop: new Int32Array(new SharedArrayBuffer(CPUS * 4)) };
}

function start({ hal, pages, cache, slots, stop }: Stand, cpu: number, most = 400): Worker {
  const memory = { slotsMemory: slots.buffer, stopMemory: stop.buffer };
  const cacheHandle = { ...cache.handle, pages: pages.handle };
  const workerData = { halHandle: hal.handle, cacheHandle, ...memory, cpu, most };
  return new Worker(new URL("fixtures/torture.mjs", import.meta.url), { workerData });
}

const report = (worker: Worker): Promise<Report> =>
  new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });

describe("torture on threads", () => {
  for (const nodeOfCpu of [undefined, [0, 0, 1, 1]]) {
    const nodes = nodeOfCpu === undefined ? "one node" : "two nodes";
    it(`ends with as many objects and pages as before, ${nodes}`, { timeout: (SECONDS + 60) * 1000 }, async () => {
      const made = stand(nodeOfCpu);
      const before = made.pages.freePageCount;
      const reports = [1, 2, 3].map((cpu) => report(start(made, cpu)));
      for (const cpu of [1, 2, 3]) while (Atomics.load(made.stop, cpu) === 0) await setTimeout(1);
      await setTimeout(SECONDS * 1000);
      Atomics.store(made.stop, 0, 1);
      let operations = 0;
      for (const result of await Promise.all(reports)) {
        expect(result.errors).toBe(0);
        operations += result.operations;
      }
      expect(operations).toBeGreaterThan(1000);
      for (const object of made.slots) if (object !== 0) made.cache.free(object);
      expect(made.cache.stats().activeObjects).toBe(0);
      expect(made.cache.destroy()).toBe(0);
      expect(made.pages.freePageCount).toBe(before);
      if (SECONDS > 1) process.stdout.write(`${nodes}: ${operations} operations in ${SECONDS} s\n`);
    });

    it(`goes on when threads are killed again and again, ${nodes}`, { timeout: (SECONDS + 60) * 1000 }, async () => {
      const made = stand(nodeOfCpu);
      const before = made.pages.freePageCount;
      const steady = report(start(made, 1));
      const end = Date.now() + SECONDS * 1000;
      let deaths = 0;
      while (deaths < 3 || Date.now() < end) {
        const cpu = 2 + (deaths % 2);
        Atomics.store(made.stop, cpu, 0);
        const victim = start(made, cpu, 16);
        while (Atomics.load(made.stop, cpu) === 0) await setTimeout(1);
        await setTimeout(deaths % 7);
        await victim.terminate();
        made.cache.reportDead(cpu);
        deaths++;
        // What the dead held stays allocated until the end.
        if (made.cache.stats().activeObjects > 10_000) break;
      }
      Atomics.store(made.stop, 0, 1);
      expect((await steady).errors).toBe(0);
      for (const object of made.slots) if (object !== 0) made.cache.free(object);
      for (let cpu = 0; cpu < CPUS; cpu++) made.cache.flushCpu(cpu);
      made.cache.shrink();
      const lost = new Set<number>();
      made.cache.forEachOutstanding((object) => lost.add(object));
      expect(made.cache.stats().activeObjects).toBe(lost.size);
      expect(lost.size).toBeLessThanOrEqual(deaths * 18);
      expect(lost.size).toBeGreaterThan(0);
      for (const object of lost) made.cache.free(object);
      expect(made.cache.destroy()).toBe(0);
      // Each death may cost one slab that was on its way from or to the page source.
      expect(before - made.pages.freePageCount).toBeLessThanOrEqual(deaths);
      if (SECONDS > 1)
        process.stdout.write(
          `${nodes}: ${deaths} deaths, ${lost.size} objects left, ${before - made.pages.freePageCount} pages lost\n`,
        );
    });
  }
});
