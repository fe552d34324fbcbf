/**
 * Bytes of a cache line on every host this project models.
 *
 * @public
 */
export const CACHE_LINE_BYTES = 64;

/**
 * Distance that keeps two CPUs' data apart: two lines, because current x86 parts prefetch lines in adjacent pairs
 * (Intel Optimization Reference Manual, "Spatial Prefetcher").
 *
 * @public
 */
export const PADDING_BYTES = 128;

/**
 * Largest number of CPUs any structure of this project is sized for.
 *
 * @public
 */
export const MAX_CPUS = 4096;

/** Rounds `value` up to a multiple of `alignment` (a power of two). */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
