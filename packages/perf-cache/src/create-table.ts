import { soloHal, SpinLocks } from "@x/smp";
import type { Hal } from "@x/smp";
import { KmemCache, SharedPages } from "@x/slab";
import type { PageSource } from "@x/slab";
import { PerfCacheError } from "./errors.ts";
import { FLOW_KEY_WORDS } from "./flow-key.ts";
import { randomHashKey, SIPHASH_KEY_WORDS } from "./siphash.ts";
import { segmentOrder } from "./bucket-index.ts";
import { createPublications } from "./publications.ts";
import { planExpiry } from "./flow-expiry.ts";
import { BASES_BYTES, BATCH_BYTES } from "./batch-layout.ts";
import { createWasmMemory, WASM_PAGE_BYTES } from "./wasm-code.ts";
import { CONTROL, END, ENTRY, ENTRY_BYTES_MIN, ownArenaBytes, planTable, statsDoubles } from "./flow-table-layout.ts";
import type { FlowLookupsHandle, FlowTableHandle, FlowTableOptions, TablePlan } from "./flow-table-layout.ts";

/** The key of the table's hash; empty for the one without. */
function hashKeyOf(options: FlowTableOptions): readonly number[] {
  const { hash = "siphash-1-3", hashKey } = options;
  if (hash === "jhash") {
    if ((options.keyWords ?? FLOW_KEY_WORDS) === FLOW_KEY_WORDS && hashKey === undefined) return [];
    throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "jhash is for flow keys and takes no hashKey");
  }
  if (hash !== "siphash-1-3") throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `no hash ${String(hash)}`);
  if (hashKey === undefined) return randomHashKey();
  if (hashKey.length === SIPHASH_KEY_WORDS && hashKey.every(Number.isInteger)) return hashKey.map((word) => word | 0);
  throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", `hashKey has not ${SIPHASH_KEY_WORDS} whole numbers`);
}

/** The table's own memory, and in it room for look-ups by WebAssembly if it is one of WebAssembly. */
function createArena(
  options: FlowTableOptions,
  plan: TablePlan,
  hal: Hal,
): { pages: SharedPages; lookups: FlowLookupsHandle | undefined } {
  const batches = BASES_BYTES + hal.possibleCpus * BATCH_BYTES;
  const bytes = Math.ceil((ownArenaBytes(plan, hal.possibleCpus) + 2 * batches) / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
  const wanted = plan.flowKeys && options.webAssembly !== false && options.observer === undefined;
  const memory = wanted ? createWasmMemory(bytes) : undefined;
  const { lockObserver } = options;
  if (memory === undefined) return { pages: SharedPages.create({ bytes, hal, lockObserver }), lookups: undefined };
  const pages = SharedPages.create({ bytes, buffer: memory.buffer, hal, lockObserver });
  const order = Math.max(0, Math.ceil(Math.log2(batches / pages.pageBytes)));
  return { pages, lookups: { memory, at: pages.allocPages(order), order } };
}

/** Allocate the shared memory of a table: buckets, entries, counts, locks. */
export function createTable(options: FlowTableOptions): {
  handle: FlowTableHandle;
  pages: PageSource;
  entries: KmemCache;
} {
  const hal = options.hal ?? soloHal();
  const plan = planTable(options);
  if (options.whenFull === "drop-oldest-unreplied" && options.expiry === undefined) {
    throw new PerfCacheError("PERF_CACHE_INVALID_ARGUMENT", "drop-oldest-unreplied needs expiry");
  }
  const own = options.pages === undefined ? createArena(options, plan, hal) : undefined;
  const pages = options.pages ?? own!.pages;
  const bytes = plan.buckets * 4;
  const heads = pages.allocPages(segmentOrder(plan.buckets, 0, pages.pageBytes), -1);
  if (heads === 0) throw new PerfCacheError("PERF_CACHE_NO_MEMORY", `no block of ${bytes} bytes for the bucket array`);
  new Int32Array(pages.buffer, heads, plan.buckets).fill(END);
  const control = new SharedArrayBuffer(statsDoubles(hal.possibleCpus) * 8);
  const words = new Int32Array(control);
  words[CONTROL.segments] = heads;
  words[CONTROL.mask] = plan.buckets - 1;
  words[CONTROL.cursor] = plan.buckets;
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
    hashKey: hashKeyOf(options),
    control,
    publications: createPublications(plan.stripes),
    locks: SpinLocks.create({ name: "flow-table", count: plan.stripes, hal }).handle,
    entries: entries.handle,
    ...(options.expiry === undefined ? {} : { expiry: planExpiry(options.expiry, options.whenFull) }),
    ...(own === undefined ? {} : { pages: own.pages.handle }),
    ...(own?.lookups === undefined ? {} : { lookups: own.lookups }),
  };
  return { handle, pages, entries };
}
