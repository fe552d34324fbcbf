import { CodedError } from "@x/smp";

/**
 * Codes of {@link SlabError}.
 *
 * - `SLAB_INVALID_ARGUMENT`: an option or argument is out of its range.
 * - `SLAB_PAGE_SOURCE`: a page source broke its promise (alignment, range), or is missing.
 * - `SLAB_FOREIGN_OBJECT`: an offset that no slab of this cache gave out.
 * - `SLAB_DOUBLE_FREE`: an object or block that is free already.
 * - `SLAB_CORRUPTED`: debug words around or inside an object were overwritten.
 * - `SLAB_DESTROYED`: the cache was destroyed.
 * - `SLAB_EXHAUSTED`: no memory is left, or a sheaf is used up, where the caller asked for an error.
 *
 * @public
 */
export type SlabErrorCode =
  | "SLAB_INVALID_ARGUMENT"
  | "SLAB_PAGE_SOURCE"
  | "SLAB_FOREIGN_OBJECT"
  | "SLAB_DOUBLE_FREE"
  | "SLAB_CORRUPTED"
  | "SLAB_DESTROYED"
  | "SLAB_EXHAUSTED";

/**
 * Errors of `@x/slab`.
 *
 * @public
 */
export class SlabError extends CodedError<SlabErrorCode> {}
