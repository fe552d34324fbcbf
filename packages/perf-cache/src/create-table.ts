import { soloHal, SpinLocks } from "@x/smp";
import { KmemCache, SharedPages } from "@x/slab";
import type { PageSource } from "@x/slab";
import { PerfCacheError } from "./errors.ts";
import { ENTRY, ENTRY_BYTES_MIN, ownArenaBytes, planTable, statsDoubles } from "./flow-table-layout.ts";
import type { FlowTableHandle, FlowTableOptions } from "./flow-table-layout.ts";

/** Allocate the shared memory of a table: buckets, entries, counts, locks. */
export function createTable(options: FlowTableOptions): {
  handle: FlowTableHandle;
  pages: PageSource;
  entries: KmemCache;
} {
  const hal = options.hal ?? soloHal();
  const plan = planTable(options);
  const own =
    options.pages === undefined
      ? SharedPages.create({ bytes: ownArenaBytes(plan, hal.possibleCpus), hal, lockObserver: options.lockObserver })
      : undefined;
  const pages = options.pages ?? own!;
  const bucketOrder = Math.max(0, Math.ceil(Math.log2((plan.buckets * 4) / pages.pageBytes)));
  const bucketOffset = pages.allocPages(bucketOrder, -1);
  if (bucketOffset === 0) {
    throw new PerfCacheError("PERF_CACHE_NO_MEMORY", `no block of ${plan.buckets * 4} bytes for the bucket array`);
  }
  new Int32Array(pages.buffer, bucketOffset, plan.buckets).fill(0);
  const entries = KmemCache.create({
    name: "flow-entry",
    objectSize: Math.max(ENTRY_BYTES_MIN, (ENTRY.key + plan.keyWords) * 4),
    align: ENTRY_BYTES_MIN,
    pages,
    hal,
    typeStable: true,
    ...(options.nodeOfCpu === undefined ? {} : { nodeOfCpu: options.nodeOfCpu }),
    lockObserver: options.lockObserver,
  });
  const handle: FlowTableHandle = {
    ...plan,
    bucketOffset,
    bucketOrder,
    control: new SharedArrayBuffer(statsDoubles(hal.possibleCpus) * 8),
    locks: SpinLocks.create({ name: "flow-table", count: plan.stripes, hal }).handle,
    entries: entries.handle,
    ...(own === undefined ? {} : { pages: own.handle }),
  };
  return { handle, pages, entries };
}
