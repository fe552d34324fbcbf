import { CACHE_LINE_BYTES } from "@x/smp";
import type { DebugModes } from "./debug.ts";
import { SlabError } from "./errors.ts";
import type { KmemCacheOptions } from "./options.ts";

/**
 * Flags of {@link KmemCacheOptions.flags}, with the names and values of Linux (include/linux/slab.h, before they became an
 * enumeration); or them together. Each says what an option with a name of its own says too.
 *
 * - `CONSISTENCY_CHECKS`: `debug: {}`, double frees are found at once.
 * - `RED_ZONE`, `POISON`: `debug: { redZones: true }`, `debug: { poison: true }`.
 * - `STORE_USER`: `debug: { sites: true }`, who allocated and freed each object, and where.
 * - `HWCACHE_ALIGN`: `align` of at least a cache line.
 * - `TYPESAFE_BY_RCU`: `typeStable`.
 *
 * @public
 */
export const SLAB_FLAGS: Readonly<
  Record<"CONSISTENCY_CHECKS" | "RED_ZONE" | "POISON" | "HWCACHE_ALIGN" | "STORE_USER" | "TYPESAFE_BY_RCU", number>
> = {
  CONSISTENCY_CHECKS: 0x100,
  RED_ZONE: 0x400,
  POISON: 0x800,
  HWCACHE_ALIGN: 0x2000,
  STORE_USER: 0x10000,
  TYPESAFE_BY_RCU: 0x80000,
};

const { CONSISTENCY_CHECKS, RED_ZONE, POISON, HWCACHE_ALIGN, STORE_USER, TYPESAFE_BY_RCU } = SLAB_FLAGS;
const DEBUG = CONSISTENCY_CHECKS | RED_ZONE | POISON | STORE_USER;
const ALL = DEBUG | HWCACHE_ALIGN | TYPESAFE_BY_RCU;

/** The options with what their flags say. Throws `SLAB_INVALID_ARGUMENT` for a flag that is none. */
export function applyFlags(options: KmemCacheOptions): KmemCacheOptions {
  const { flags = 0, align = 8, debug, typeStable = false } = options;
  if (!Number.isInteger(flags) || (flags & ~ALL) !== 0) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `flags 0x${flags.toString(16)}; 0x${ALL.toString(16)} are possible`);
  }
  return {
    ...options,
    align: (flags & HWCACHE_ALIGN) === 0 ? align : Math.max(align, CACHE_LINE_BYTES),
    typeStable: typeStable || (flags & TYPESAFE_BY_RCU) !== 0,
    ...((flags & DEBUG) === 0 ? {} : { debug: debugOf(flags, debug) }),
  };
}

function debugOf(flags: number, debug: KmemCacheOptions["debug"]): Partial<DebugModes> {
  const chosen: Partial<DebugModes> =
    debug === true
      ? { poison: true, redZones: true, owner: true }
      : debug === undefined || debug === false
        ? {}
        : debug;
  return {
    ...chosen,
    ...((flags & RED_ZONE) === 0 ? {} : { redZones: true }),
    ...((flags & POISON) === 0 ? {} : { poison: true }),
    ...((flags & STORE_USER) === 0 ? {} : { owner: true, sites: true }),
  };
}
