import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { describe, expect, it } from "vitest";
import { KmemCache } from "../src/index.ts";

const CPUS = 3;
const ROUNDS = 4_000;
const SLOTS = 64;

interface Report {
  errors: number;
  sent: number;
  received: number;
}

function run(workerData: object): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("fixtures/handover.mjs", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

describe("KmemCache across threads", () => {
  for (const nodeOfCpu of [undefined, [0, 1, 1]]) {
    it(`keeps objects apart that one thread allocates and another frees, ${nodeOfCpu ? "two nodes" : "one node"}`, async () => {
      const hal = WorkerHal.create({ possibleCpus: CPUS });
      const cache = KmemCache.create({
        name: "handover",
        objectSize: 48,
        hal,
        magazineSize: 8,
        ...(nodeOfCpu === undefined ? {} : { nodeOfCpu }),
      });
      const shared = {
        halHandle: hal.handle,
        cacheHandle: cache.handle,
        rings: new SharedArrayBuffer(CPUS * SLOTS * 4),
        cpus: CPUS,
        rounds: ROUNDS,
        slots: SLOTS,
      };
      const reports = await Promise.all(Array.from({ length: CPUS }, (_, cpu) => run({ ...shared, cpu })));
      for (const report of reports) expect(report).toEqual({ errors: 0, sent: ROUNDS, received: ROUNDS });
      const stats = cache.stats();
      expect(stats.allocFast + stats.allocSlow).toBe(CPUS * ROUNDS);
      expect(stats.activeObjects).toBe(0);
      expect(stats.depotExchanges + stats.remoteFrees).toBeGreaterThan(0);
      expect(cache.destroy()).toBe(0);
      expect(cache.stats().slabs).toBe(0);
    });
  }
});
