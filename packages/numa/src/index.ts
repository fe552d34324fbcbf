/**
 * NUMA topology from ACPI and sysfs, a per-node buddy page allocator and memory policies.
 *
 * @packageDocumentation
 */
export { NumaError, type NumaErrorCode } from "./errors.ts";
export { LOCAL_DISTANCE, MAX_NUMA_NODES, MAX_PAGE_ORDER, REMOTE_DISTANCE, UNREACHABLE_DISTANCE } from "./limits.ts";
export {
  parseSrat,
  type Srat,
  type SratEntry,
  type SratGenericInitiator,
  type SratGicc,
  type SratGicIts,
  type SratMemory,
  type SratOther,
  type SratProcessor,
  type SratX2apic,
} from "./acpi/srat.ts";
export { parseSlit, slitFault, type Slit } from "./acpi/slit.ts";
export {
  parseHmat,
  type Hmat,
  type HmatEntry,
  type HmatLocality,
  type HmatMemorySideCache,
  type HmatOther,
  type HmatProximity,
} from "./acpi/hmat.ts";
export { topologyFromAcpi, type AcpiTopologySources } from "./topology/from-acpi.ts";
export { topologyFromTables } from "./topology/from-tables.ts";
export type { MadtLike, MadtProcessorLike } from "./topology/madt-cpus.ts";
export type { MemoryAccess } from "./topology/memory-access.ts";
export type { NumaMemoryRange } from "./topology/memory-ranges.ts";
export {
  NumaTopology,
  type NumaCpu,
  type NumaNode,
  type NumaTopologyJson,
  type NumaTopologyParts,
} from "./topology/numa-topology.ts";
export { AllocHint } from "./pages/alloc-hint.ts";
export { NumaMemoryPolicy, type NumaMemoryPolicyJson, type NumaPolicyKind } from "./pages/memory-policy.ts";
export { PageAllocator, type PageAllocatorHandle, type PageAllocatorOptions } from "./pages/page-allocator.ts";
export type { PageZone } from "./pages/page-layout.ts";
export type { NumaStats, PageObserver } from "./pages/page-observer.ts";
export { MovablePages } from "./pages/movable-pages.ts";
export type {
  MovableObserver,
  MovablePagesHandle,
  MovableStats,
  MoveReason,
  PageEvictor,
} from "./pages/movable-types.ts";
