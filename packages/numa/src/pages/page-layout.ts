import { NumaError } from "../errors.ts";
import { MAX_PAGE_ORDER } from "../limits.ts";

/**
 * A contiguous part of the arena that belongs to one node.
 *
 * @public
 */
export interface PageZone {
  readonly node: number;
  /** Page number from the start of the arena. */
  readonly firstPage: number;
  readonly pageCount: number;
}

/** Which zones are tried, in order, for memory that is wanted on `node`. */
export interface ZoneList {
  readonly node: number;
  readonly zones: readonly number[];
}

/** Lays the zones out one after the other, each aligned to the largest block it can hold. */
export function layOut(
  requests: readonly { readonly node: number; readonly bytes: number }[],
  pageBytes: number,
  maxOrder: number,
): { zones: PageZone[]; arenaPages: number } {
  checkGeometry(requests.length, pageBytes, maxOrder);
  // Page 0 is nobody's, so that offset 0 can mean «none».
  let page = 1;
  const zones = requests.map(({ node, bytes }) => {
    const pageCount = Math.floor(bytes / pageBytes);
    if (!Number.isInteger(node) || node < 0 || node >= 65536) {
      throw new NumaError("NUMA_INVALID_ARGUMENT", `${node} is no node id`);
    }
    if (!(pageCount >= 1)) {
      throw new NumaError("NUMA_INVALID_ARGUMENT", `a zone of ${bytes} bytes has no page of ${pageBytes} bytes`);
    }
    const alignment = 2 ** Math.min(maxOrder, Math.floor(Math.log2(pageCount)));
    const firstPage = Math.ceil(page / alignment) * alignment;
    page = firstPage + pageCount;
    return { node, firstPage, pageCount };
  });
  if (page > 2 ** 31 - 1) throw new NumaError("NUMA_INVALID_ARGUMENT", `${page} pages are more than 2^31 - 1`);
  return { zones, arenaPages: page };
}

function checkGeometry(zones: number, pageBytes: number, maxOrder: number): void {
  if (zones === 0) throw new NumaError("NUMA_INVALID_ARGUMENT", "an allocator needs at least one zone");
  if (
    !Number.isInteger(pageBytes) ||
    pageBytes < 64 ||
    pageBytes > 2 ** 30 ||
    !Number.isInteger(Math.log2(pageBytes))
  ) {
    throw new NumaError("NUMA_INVALID_ARGUMENT", `pageBytes is ${pageBytes}; a power of two from 64 to 2^30 is needed`);
  }
  if (!Number.isInteger(maxOrder) || maxOrder < 0 || maxOrder > MAX_PAGE_ORDER) {
    throw new NumaError("NUMA_INVALID_ARGUMENT", `maxOrder is ${maxOrder}; 0 to ${MAX_PAGE_ORDER} is possible`);
  }
}

/**
 * The zones to try for every node anyone can ask for. A node without a list of its own tries itself, then the nodes after
 * it by id, going round. Nodes in a list that have no zone are passed over; nodes with zones that a list leaves out are not
 * used for it.
 */
export function zoneLists(
  zones: readonly PageZone[],
  fallback: Readonly<Record<number, readonly number[]>>,
  cpuNodes: readonly number[],
): ZoneList[] {
  const withMemory = [...new Set(zones.map((zone) => zone.node))].sort((a, b) => a - b);
  const asked = new Set([...withMemory, ...Object.keys(fallback).map(Number), ...cpuNodes.filter((node) => node >= 0)]);
  return [...asked].map((node) => {
    const after = withMemory.filter((other) => other >= node);
    const order = fallback[node] ?? [...after, ...withMemory.filter((other) => other < node)];
    const list = [...new Set(order)].flatMap((from) => zones.flatMap((zone, i) => (zone.node === from ? [i] : [])));
    return { node, zones: list };
  });
}

/** Shared memory the host commits page by page as it is touched. */
export function reserve(bytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes);
  } catch (cause) {
    throw new NumaError("NUMA_INVALID_ARGUMENT", `this host cannot reserve ${bytes} bytes`, {}, { cause });
  }
}
