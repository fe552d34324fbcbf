/**
 * Object caches in shared memory with per-CPU magazines and no lock on the fast path.
 *
 * @packageDocumentation
 */
export { SlabError, type SlabErrorCode } from "./errors.ts";
export type { GracePeriods, PageSource } from "./page-source.ts";
export { SharedPages, sharedPages, type SharedPagesHandle, type SharedPagesOptions } from "./shared-pages.ts";
export { KmemCache } from "./kmem-cache.ts";
export { CpuCache } from "./cpu-cache.ts";
export { Sheaf } from "./sheaf.ts";
export type {
  AttachOptions,
  KmemCacheHandle,
  KmemCacheOptions,
  LeakedObject,
  SlabMemory,
  SlabObserver,
  SlabStats,
} from "./options.ts";
export type { DebugModes } from "./debug.ts";
export { SLAB_FLAGS } from "./flags.ts";
export { Kmalloc, type KmallocHandle, type KmallocOptions } from "./kmalloc.ts";
export { structLayout } from "./struct-layout.ts";
export type { FieldAccess, FieldKind, NumberKind, StructAccess, StructLayout } from "./struct-layout.ts";
export type { BytesField, NumberField, WordField } from "./struct-fields.ts";
export { slabInfo } from "./slab-info.ts";
export { slabTop } from "./slab-top.ts";
export type { SlabGeometry } from "./geometry.ts";
export type { ControlLayout } from "./control.ts";
