import type { KmemCache } from "./kmem-cache.ts";

const HEADER = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
`;

const right = (value: number, width: number): string => String(value).padStart(width);

function line(cache: KmemCache): string {
  const stats = cache.stats();
  const { geometry, layout } = cache.handle;
  const objects = `${right(stats.activeObjects, 6)} ${right(stats.totalObjects, 6)} ${right(stats.objectSize, 6)}`;
  const shape = `${right(stats.objectsPerSlab, 4)} ${right(2 ** geometry.order, 4)}`;
  const batch = Math.max(1, layout.magazineSize >> 1);
  const tunables = `${right(layout.magazineSize, 4)} ${right(batch, 4)} ${right(layout.depotMagazines, 4)}`;
  const slabs = `${right(stats.slabs - stats.emptySlabs, 6)} ${right(stats.slabs, 6)} ${right(stats.depotObjects, 6)}`;
  return `${stats.name.padEnd(17)} ${objects} ${shape} : tunables ${tunables} : slabdata ${slabs}\n`;
}

/**
 * The figures of caches as Linux prints them in `/proc/slabinfo` (version 2.1). `limit` is the size of a magazine,
 * `batchcount` the objects a CPU takes from slabs at once, `sharedfactor` the full magazines a depot may hold, `sharedavail`
 * the objects in depots.
 *
 * @public
 */
export function slabInfo(caches: Iterable<KmemCache>): string {
  let text = HEADER;
  for (const cache of caches) text += line(cache);
  return text;
}
