import { Worker } from "node:worker_threads";
import { Rcu } from "@x/rcu";
import { SharedPages } from "@x/slab";
import { WorkerHal } from "@x/smp";
import { expect, it } from "vitest";
import { ConnectionCache, FlowTable } from "../src/index.ts";

const CPUS = 3;
/** For minutes of it: PERF_CACHE_TORTURE_SECONDS=300. */
const SECONDS = Number(process.env["PERF_CACHE_TORTURE_SECONDS"] ?? 0.5);

interface Report {
  wrong: number;
  found: number;
  cached: number;
  kept: number;
}

function run(workerData: object): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("fixtures/flows.mjs", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

it.each(["WebAssembly", "JavaScript"])(
  "answers every thread by %s with the right flow while threads insert, delete, grow, flush and resize, and loses no entry",
  async (by) => {
    const hal = WorkerHal.create({ possibleCpus: CPUS });
    const rcu = Rcu.create({ hal });
    // Few buckets, so that chains are long and shared by the threads, and double once.
    const options = { capacity: 600, buckets: 64, maxBuckets: 128, stripes: 8, hal, rcu };
    const table = FlowTable.create({ ...options, webAssembly: by === "WebAssembly" });
    expect(table.handle.lookups !== undefined).toBe(by === "WebAssembly");
    const pages = SharedPages.attach(table.handle.pages!, { hal });
    const cache = ConnectionCache.create({ hal, entries: 256, table });
    expect(cache.handle.at > 0).toBe(by === "WebAssembly");
    const shared = {
      halHandle: hal.handle,
      rcuHandle: rcu.handle,
      tableHandle: table.handle,
      cacheHandle: cache.handle,
      done: new SharedArrayBuffer(4),
      cpus: CPUS,
      flows: 600,
      seconds: SECONDS,
    };
    const reports = await Promise.all(Array.from({ length: CPUS }, (_, cpu) => run({ ...shared, cpu })));
    for (const report of reports) {
      expect(report.wrong).toBe(0);
      expect(report.found).toBeGreaterThan(0);
      expect(report.cached).toBeGreaterThan(0);
    }
    const kept = reports.reduce((sum, report) => sum + report.kept, 0);
    expect(table.size).toBe(kept);
    let walked = 0;
    table.forEach(() => walked++);
    expect(walked).toBe(kept);
    const stats = table.stats();
    expect(stats.inserts - stats.deletes).toBe(kept);
    expect(table.destroy()).toBe(0);
    expect(pages.freePageCount).toBe(pages.totalPages);
  },
  SECONDS * 3000 + 30_000,
);
