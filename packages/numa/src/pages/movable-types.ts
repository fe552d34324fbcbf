import type { PerCpuCountersHandle, SpinLocksHandle } from "@x/smp";

/**
 * Why a page changed its frame.
 *
 * @public
 */
export type MoveReason = "asked" | "balance" | "demotion";

/**
 * What happens to movable pages.
 *
 * @public
 */
export interface MovableObserver {
  onMove?(page: number, from: number, to: number, reason: MoveReason): void;
  onEvict?(page: number, node: number): void;
}

/**
 * Writes a page out before its frame is taken; false keeps the page. Must not call the {@link MovablePages} it is for.
 *
 * @public
 */
export type PageEvictor = (page: number, offset: number, bytes: number) => boolean;

/**
 * Counts of {@link MovablePages}, over all CPUs.
 *
 * @public
 */
export interface MovableStats {
  /** Pins from a CPU of the page's node. */
  readonly localAccesses: number;
  readonly remoteAccesses: number;
  /** Pages moved to the node that uses them. */
  readonly balanced: number;
  /** Pages moved away to make room. */
  readonly demoted: number;
  readonly evicted: number;
  /** Moves given up because the page was pinned. */
  readonly busy: number;
  /** Moves given up because the other node had no frame. */
  readonly noRoom: number;
  /** Misplaced pages not noted because the CPU's ring was full; the next accesses note them again. */
  readonly dropped: number;
}

/**
 * What joins {@link MovablePages} from another thread, besides the allocator.
 *
 * @public
 */
export interface MovablePagesHandle {
  readonly capacity: number;
  readonly order: number;
  readonly streak: number;
  readonly demotion: Readonly<Record<number, readonly number[]>>;
  readonly records: SharedArrayBuffer;
  readonly locks: SpinLocksHandle;
  readonly counters: PerCpuCountersHandle;
}

/** The counters in the order of their slots. */
export const COUNTER_NAMES: readonly (keyof MovableStats)[] = [
  "localAccesses",
  "remoteAccesses",
  "balanced",
  "demoted",
  "evicted",
  "busy",
  "noRoom",
  "dropped",
];

export const LOCAL_ACCESSES = 0;
export const REMOTE_ACCESSES = 1;
export const BALANCED = 2;
export const DEMOTED = 3;
export const EVICTED = 4;
export const BUSY = 5;
export const NO_ROOM = 6;
export const DROPPED = 7;
