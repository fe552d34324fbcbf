/**
 * A range of physical memory.
 *
 * @public
 */
export interface NumaMemoryRange {
  readonly base: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** May come and go at run time; not counted in a node's `memoryBytes`. */
  readonly hotPluggable: boolean;
}

/** A range and whose it is. */
export interface OwnedRange extends NumaMemoryRange {
  readonly node: number;
}

export const rangeEnd = (range: NumaMemoryRange): bigint => range.base + range.size;

const byBase = (a: NumaMemoryRange, b: NumaMemoryRange): number => (a.base < b.base ? -1 : a.base > b.base ? 1 : 0);

/** Bytes of memory that is there at boot, each counted once however often it is listed. */
export function bootMemoryBytes(ranges: readonly NumaMemoryRange[]): number {
  let total = 0n;
  let covered = 0n;
  for (const range of ranges.filter((range) => !range.hotPluggable).sort(byBase)) {
    const from = range.base > covered ? range.base : covered;
    const to = rangeEnd(range);
    if (to <= from) continue;
    total += to - from;
    covered = to;
  }
  return Number(total);
}

/**
 * Two overlapping ranges, or undefined: of different nodes if there are such, else of one. Ranges are cut off at the end of
 * the memory that is there at boot, because the firmware of several machines declares hot-plug areas that overlap beyond
 * it, and Linux trims those before it looks (`numa_cleanup_meminfo`).
 */
export function findOverlap(ranges: readonly OwnedRange[]): { first: OwnedRange; second: OwnedRange } | undefined {
  const bootEnd = ranges.reduce((end, r) => (!r.hotPluggable && rangeEnd(r) > end ? rangeEnd(r) : end), 0n);
  let sameNode: { first: OwnedRange; second: OwnedRange } | undefined;
  /** The range so far that reaches furthest. Those of other nodes ended before it began, or had been found. */
  let furthest: OwnedRange | undefined;
  for (const range of [...ranges].sort(byBase)) {
    if (range.base >= bootEnd) break;
    if (furthest !== undefined && rangeEnd(furthest) > range.base) {
      if (furthest.node !== range.node) return { first: furthest, second: range };
      sameNode ??= { first: furthest, second: range };
    }
    if (furthest === undefined || rangeEnd(range) > rangeEnd(furthest)) furthest = range;
  }
  return sameNode;
}
