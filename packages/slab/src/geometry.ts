import { CACHE_LINE_BYTES } from "@x/smp";
import { SlabError } from "./errors.ts";

/*
 * A slab is one block of a page source, aligned to its own size:
 *
 *   | header | bitmap of objects in use | links | pad, colour | object 0 | object 1 | … | waste |
 *
 * links: a word per object, only where objects are freed from other nodes and keep their bytes while they are free; else
 * the link of a chain lies in the object. In debug mode words lie before and behind each object, see debug.ts.
 */
export const HEADER_BYTES = 32;
/** Enough objects per slab that one visit of the lock fills a good part of a magazine. */
const WANTED_OBJECTS = 16;
/** A slab wastes at most one part in this many when a larger order can avoid it. */
const WASTE_DIVISOR = 8;
/** Orders above this are taken only when an object does not fit otherwise (Linux: slub_max_order). */
const COSTLY_ORDER = 3;
const MAX_ORDER = 14;

/**
 * How objects lie in the slabs of one cache; part of its handle.
 *
 * @public
 */
export interface SlabGeometry {
  /** Bytes the user asked for, rounded up to 8. */
  readonly objectBytes: number;
  /** Distance of two objects. */
  readonly strideBytes: number;
  readonly alignBytes: number;
  readonly order: number;
  readonly slabBytes: number;
  readonly objectsPerSlab: number;
  /** Offset of object 0 of an uncoloured slab. */
  readonly firstBytes: number;
  /** Slabs start their objects at `firstBytes + colour * colourBytes`, colour from 0 to `colours - 1` (Bonwick 1994). */
  readonly colours: number;
  readonly colourBytes: number;
  /** Links of chained objects lie in the slab's header, not in the objects. */
  readonly links: boolean;
}

/** What lies around objects and in slabs besides them. */
export interface SlabExtras {
  /** Bytes before and behind each object. */
  readonly beforeBytes: number;
  readonly behindBytes: number;
  readonly links: boolean;
  /** Order of the slabs, instead of the smallest that fits well. */
  readonly order?: number | undefined;
}

/** Rounds `value` up to a multiple of `alignment`. */
export const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;

function fit(
  slabBytes: number,
  strideBytes: number,
  alignBytes: number,
  extras: SlabExtras,
): { objects: number; first: number } {
  let objects = Math.floor((slabBytes - HEADER_BYTES) / strideBytes);
  for (; objects > 0; objects--) {
    const links = extras.links ? objects * 4 : 0;
    const first = alignUp(HEADER_BYTES + alignUp(objects, 32) / 8 + links + extras.beforeBytes, alignBytes);
    if (first + objects * strideBytes <= slabBytes) return { objects, first };
  }
  return { objects: 0, first: 0 };
}

function acceptable(order: number, slabBytes: number, strideBytes: number, objects: number): boolean {
  if (objects === 0) return false;
  if (order >= COSTLY_ORDER) return true;
  return objects >= WANTED_OBJECTS && slabBytes - objects * strideBytes <= slabBytes / WASTE_DIVISOR;
}

/** Choose the slab size for an object. Throws `SLAB_INVALID_ARGUMENT` when no slab can hold it. */
export function planSlabs(objectSize: number, align: number, pageBytes: number, extras: SlabExtras): SlabGeometry {
  if (!Number.isInteger(objectSize) || objectSize < 1) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `an object of ${objectSize} bytes; a positive integer is needed`);
  }
  if (!Number.isInteger(align) || align < 8 || (align & (align - 1)) !== 0 || align > pageBytes) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `alignment ${align}; a power of two from 8 to ${pageBytes} is needed`);
  }
  const objectBytes = alignUp(objectSize, 8);
  const strideBytes = alignUp(extras.beforeBytes + objectBytes + extras.behindBytes, align);
  for (let order = extras.order ?? 0; order <= MAX_ORDER && pageBytes * 2 ** order < 2 ** 31; order++) {
    const slabBytes = pageBytes * 2 ** order;
    const { objects, first } = fit(slabBytes, strideBytes, align, extras);
    const wanted = extras.order !== undefined ? objects > 0 : acceptable(order, slabBytes, strideBytes, objects);
    if (!wanted) continue;
    const colourBytes = Math.max(align, CACHE_LINE_BYTES);
    const colours = Math.floor((slabBytes - first - objects * strideBytes) / colourBytes) + 1;
    return {
      objectBytes,
      strideBytes,
      alignBytes: align,
      order,
      slabBytes,
      objectsPerSlab: objects,
      firstBytes: first,
      colours,
      colourBytes,
      links: extras.links,
    };
  }
  throw new SlabError(
    "SLAB_INVALID_ARGUMENT",
    `an object of ${objectSize} bytes fits no slab of pages of ${pageBytes}`,
  );
}
