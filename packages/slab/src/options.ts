import type { Hal, LockObserver, SpinLocksHandle } from "@x/smp";
import type { ControlLayout } from "./control.ts";
import { debugBytes, debugModes } from "./debug.ts";
import type { DebugModes } from "./debug.ts";
import { SlabError } from "./errors.ts";
import { planSlabs } from "./geometry.ts";
import type { SlabGeometry } from "./geometry.ts";
import type { KmemCache } from "./kmem-cache.ts";
import type { GracePeriods, PageSource } from "./page-source.ts";
import { SharedPages } from "./shared-pages.ts";
import type { SharedPagesHandle } from "./shared-pages.ts";

const DEFAULT_ARENA_BYTES = 16 * 2 ** 20;
const MAX_ARENA_BYTES = 2 ** 31 - 1;
const MAX_SLAB_ORDER = 14;
const MAX_MAGAZINE = 1024;
const MAX_NODES = 1024;

/**
 * What happens inside a cache. Called by the CPU that does it, with no lock held.
 *
 * @public
 */
export interface SlabObserver {
  /** `offset` was given out; `fast`: without a lock. */
  onAlloc?(cache: KmemCache, offset: number, fast: boolean): void;
  /** `offset` was taken back; `fast`: without a lock. */
  onFree?(cache: KmemCache, offset: number, fast: boolean): void;
  /** A slab was taken from the page source (`grown`) or returned to it. */
  onSlab?(cache: KmemCache, offset: number, grown: boolean): void;
}

/**
 * Options of {@link KmemCache.create}.
 *
 * @public
 */
export interface KmemCacheOptions {
  /** Name in reports. */
  readonly name: string;
  /** Bytes of an object; rounded up to 8. */
  readonly objectSize: number;
  /** Alignment of objects in bytes, a power of two from 8 to a page. Default 8; 64 keeps objects on lines of their own. */
  readonly align?: number;
  /** Where slabs come from. Default: {@link SharedPages} of `memoryLimit` (16 MiB when there is none). */
  readonly pages?: PageSource;
  readonly hal?: Hal;
  /** Bytes of slabs the cache may hold. Default: what the page source gives. */
  readonly memoryLimit?: number;
  /** Objects in a magazine, 1 to 1024. Default by size: 64 up to 256 bytes, 32 up to 1 KiB, 16 up to 4 KiB, else 8. */
  readonly magazineSize?: number;
  /** Full magazines a node keeps for its CPUs. Default: two per CPU, at least 4. */
  readonly depotMagazines?: number;
  /** Memory node of each CPU. Default: what the page source says, else all on node 0. */
  readonly nodeOfCpu?: readonly number[];
  /**
   * Called once for each object of a new slab, with no lock held; objects are freed in the state it left them in and keep
   * it (Bonwick 1994). Not part of the handle: give the same function to `attach`. Excludes `zalloc`.
   */
  readonly construct?: (object: number) => void;
  /**
   * Free objects keep their bytes and slabs serve nothing else, so that a reader that holds a stale offset still sees an
   * object of this kind (Linux: `SLAB_TYPESAFE_BY_RCU`): until the cache is destroyed, or a grace period after the last
   * object of a slab was freed if there are `gracePeriods`.
   */
  readonly typeStable?: boolean;
  /** Grace periods of the readers of a type-stable cache, an `Rcu` of `@x/rcu` for example; give them to `attach` too. */
  readonly gracePeriods?: GracePeriods;
  /** What to check; `true`: poison, red zones and owner. Costs time and 8 to 32 bytes an object. */
  readonly debug?: boolean | Partial<DebugModes>;
  /** {@link SLAB_FLAGS}, or-ed: Linux's words for `align`, `typeStable` and `debug`; added to what those say. */
  readonly flags?: number;
  /** Slabs have `2 ** slabOrder` pages, 0 to 14. Default: the smallest that fits well. */
  readonly slabOrder?: number;
  readonly observer?: SlabObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * What joins a {@link KmemCache} from another thread.
 *
 * @public
 */
export interface KmemCacheHandle {
  readonly name: string;
  readonly geometry: SlabGeometry;
  readonly layout: ControlLayout;
  readonly control: SharedArrayBuffer;
  readonly locks: SpinLocksHandle;
  readonly nodeOfCpu: readonly number[];
  readonly slabLimit: number;
  readonly typeStable: boolean;
  /** Empty slabs wait for a grace period before they go back. */
  readonly deferred: boolean;
  /** Objects have a constructor. */
  readonly constructed: boolean;
  /** What a set of caches tells its members apart by; else 0. */
  readonly tag: number;
  readonly debug?: DebugModes;
  /** Texts of call sites, in the debug mode that notes them. */
  readonly sites?: SharedArrayBuffer;
  /** Present when the cache made its own arena: then `attach` needs no `pages`. */
  readonly pages?: SharedPagesHandle;
}

/**
 * Figures of a cache, summed over its CPUs. Exact while no CPU uses the cache, else a moment old.
 *
 * @public
 */
export interface SlabStats {
  readonly name: string;
  readonly objectSize: number;
  readonly objectsPerSlab: number;
  readonly slabBytes: number;
  readonly slabs: number;
  /** Slabs without an object that is out, those that wait for a grace period included. */
  readonly emptySlabs: number;
  /** Slabs that wait for a grace period. */
  readonly deferredSlabs: number;
  /** Objects the slabs can hold. */
  readonly totalObjects: number;
  /** Objects with the user. */
  readonly activeObjects: number;
  /** Free objects that are not in their slabs: in magazines of CPUs and depots, or on their way home to another node. */
  readonly cachedObjects: number;
  /** Free objects that rest in the depots' magazines. */
  readonly depotObjects: number;
  /** Most objects that were out of their slabs at once: with the user or in magazines. */
  readonly peak: number;
  /** Allocations served without a lock. */
  readonly allocFast: number;
  readonly allocSlow: number;
  /** Frees without a lock: what was allocated and is neither out nor freed slowly. A death between two steps may be off by one. */
  readonly freeFast: number;
  readonly freeSlow: number;
  /** Objects freed by a CPU of another node than theirs. */
  readonly remoteFrees: number;
  /** Allocations that got nothing. */
  readonly failures: number;
  /** Magazines exchanged with a depot. */
  readonly depotExchanges: number;
}

/**
 * Bytes that a cache takes, by purpose.
 *
 * @public
 */
export interface SlabMemory {
  /** Objects, free or not. */
  readonly objectBytes: number;
  /** Headers, bitmaps, debug words and unused ends of slabs. */
  readonly slabOverheadBytes: number;
  /** Map of slabs: a bit per block of the page source. */
  readonly mapBytes: number;
  /** Magazines of all CPUs and depots. */
  readonly magazineBytes: number;
  /** Words of nodes and CPUs. */
  readonly controlBytes: number;
}

/**
 * An object that was not freed when its cache was destroyed.
 *
 * @public
 */
export interface LeakedObject {
  readonly object: number;
  /** The CPU that allocated it; in debug mode with `owner`. */
  readonly cpu?: number;
  /** Where it was allocated; in debug mode with `sites`. */
  readonly site?: string;
}

/**
 * Options of {@link KmemCache.attach}.
 *
 * @public
 */
export interface AttachOptions {
  readonly hal?: Hal;
  readonly pages?: PageSource;
  /** The constructor of the objects, where they have one. */
  readonly construct?: (object: number) => void;
  /** Needed where the cache was made with them. */
  readonly gracePeriods?: GracePeriods;
  readonly observer?: SlabObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/** The arena of a cache that was given none. */
export function ownPages(options: KmemCacheOptions, hal: Hal): SharedPages {
  const limit = options.memoryLimit;
  // The reserved first page and the alignment of slabs cost at most as much again as the largest slab.
  const bytes = limit === undefined ? DEFAULT_ARENA_BYTES : Math.min(limit * 2, MAX_ARENA_BYTES);
  return SharedPages.create({ bytes: Math.max(bytes, 8192), hal, lockObserver: options.lockObserver });
}

/** Lay out the slabs of a cache. Throws `SLAB_INVALID_ARGUMENT`. */
export function planGeometry(options: KmemCacheOptions, pages: PageSource, nodes: number): SlabGeometry {
  const { typeStable = false, construct, slabOrder } = options;
  if (slabOrder !== undefined && !(Number.isInteger(slabOrder) && slabOrder >= 0 && slabOrder <= MAX_SLAB_ORDER)) {
    throw new SlabError("SLAB_INVALID_ARGUMENT", `slabs of order ${slabOrder}; 0 to ${MAX_SLAB_ORDER} are possible`);
  }
  const debug = debugModes(options.debug);
  const keepsBytes = typeStable || construct !== undefined || debug !== undefined;
  const extras = { ...debugBytes(debug), links: keepsBytes && nodes > 1, order: slabOrder };
  return planSlabs(options.objectSize, options.align ?? 8, pages.pageBytes, extras);
}

/** Size the magazines and depots of a cache. Throws `SLAB_INVALID_ARGUMENT`. */
export function planControl(
  options: KmemCacheOptions,
  hal: Hal,
  geometry: SlabGeometry,
  nodeOfCpu: readonly number[],
  limitBytes: number,
): ControlLayout {
  const bytes = geometry.objectBytes;
  const magazineSize = options.magazineSize ?? (bytes <= 256 ? 64 : bytes <= 1024 ? 32 : bytes <= 4096 ? 16 : 8);
  if (!Number.isInteger(magazineSize) || magazineSize < 1 || magazineSize > MAX_MAGAZINE) {
    throw new SlabError(
      "SLAB_INVALID_ARGUMENT",
      `a magazine of ${magazineSize} objects; 1 to ${MAX_MAGAZINE} are possible`,
    );
  }
  if (options.memoryLimit !== undefined && options.memoryLimit < geometry.slabBytes) {
    throw new SlabError(
      "SLAB_INVALID_ARGUMENT",
      `a limit of ${options.memoryLimit} bytes; a slab takes ${geometry.slabBytes}`,
    );
  }
  return {
    nodes: 1 + Math.max(0, ...nodeOfCpu),
    cpus: hal.possibleCpus,
    magazineSize,
    depotMagazines: options.depotMagazines ?? Math.max(4, 2 * hal.possibleCpus),
    blocks: Math.floor(limitBytes / geometry.slabBytes),
  };
}

/** The memory node of each CPU; empty when there is one node. Throws `SLAB_INVALID_ARGUMENT`. */
export function nodesOfCpus(options: KmemCacheOptions, hal: Hal, pages: PageSource): readonly number[] {
  const { nodeOfCpu } = options;
  const nodes = Array.from({ length: hal.possibleCpus }, (_, cpu) => {
    const node = nodeOfCpu === undefined ? (pages.nodeOfCpu?.(cpu) ?? 0) : nodeOfCpu[cpu];
    if (Number.isInteger(node) && node >= 0 && node < MAX_NODES) return node;
    throw new SlabError("SLAB_INVALID_ARGUMENT", `CPU ${cpu} is on node ${node}; 0 to ${MAX_NODES - 1} are possible`);
  });
  return nodes.some((node) => node !== 0) ? nodes : [];
}
