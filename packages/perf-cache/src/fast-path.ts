import type { KmemCache } from "@x/slab";
import type { ConnectionCache } from "./connection-cache.ts";
import type { FlowTable } from "./flow-table.ts";

/**
 * The entry of a key by way of the calling CPU's cache: cache, then table, then remember. 0 when the table has none.
 * One hit or one miss is counted in the cache, and one look-up in the table on a miss.
 *
 * @public
 */
export function fastLookup(cache: ConnectionCache, table: FlowTable, key: Int32Array, keyOffset: number): number {
  return cache.findThrough(table, key, keyOffset);
}

/**
 * What {@link fastCreate} is told.
 *
 * @public
 */
export interface FastCreateOptions {
  /** Called with the object of the new flow, all bytes 0, before anybody can see it. */
  readonly initialize?: (object: number) => void;
  /** With a table that has `expiry`: the flow's first state, and the time in milliseconds. */
  readonly state?: number;
  readonly nowMs?: number;
}

/**
 * A new flow with an object of its own: object from the pool, flow into the table with the object as its value, entry into
 * the calling CPU's cache. When the flow is there already the entry is the one that is there, and the object goes back;
 * `table.inserted` tells which. Counts no hit and no miss. To be called where {@link fastLookup} found nothing.
 *
 * @returns the entry; 0 when the pool or the table is full: then nothing has changed.
 *
 * @public
 */
export function fastCreate(
  cache: ConnectionCache,
  table: FlowTable,
  pool: Pick<KmemCache, "zalloc" | "free">,
  key: Int32Array,
  keyOffset: number,
  options: FastCreateOptions = {},
): number {
  const object = pool.zalloc();
  if (object === 0) return 0;
  options.initialize?.(object);
  const hash = table.hash(key, keyOffset);
  const entry = table.insert(key, keyOffset, hash, object, options.state, options.nowMs);
  if (!table.inserted) pool.free(object);
  if (entry !== 0) cache.insert(hash, entry, table.generation(entry));
  return entry;
}
