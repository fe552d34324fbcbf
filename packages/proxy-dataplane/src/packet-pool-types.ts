import type { KmemCacheHandle, PageSource } from "@x/slab";
import type { Hal, LockObserver, PerCpuCountersHandle } from "@x/smp";

/**
 * A packet of a {@link PacketPool}: an integer from 1.
 *
 * @public
 */
export type PacketId = number;

/**
 * What happens in a pool, told by the CPU that does it.
 *
 * @public
 */
export interface PacketPoolObserver {
  /** `packet` was given out with a buffer; 0 when there was none. */
  onAlloc?(packet: PacketId): void;
  /** `packet` was taken back. */
  onFree?(packet: PacketId): void;
  /** `clone` shares the bytes of `packet`. */
  onClone?(packet: PacketId, clone: PacketId): void;
  /** `bytes` bytes were written to offset `to` of the pool; `from` is the offset they came from, -1 from outside. */
  onCopy?(from: number, to: number, bytes: number): void;
}

/**
 * What joins a {@link PacketPool} from another thread.
 *
 * @public
 */
export interface PacketPoolHandle {
  readonly buffers: number;
  readonly clones: number;
  readonly bufferBytes: number;
  readonly checked: boolean;
  readonly columns: SharedArrayBuffer;
  readonly cache: KmemCacheHandle;
  readonly owners: object;
  readonly clonesIds: object;
  readonly counters: PerCpuCountersHandle;
}

/**
 * Options of {@link PacketPool.create}.
 *
 * @public
 */
export interface PacketPoolOptions {
  /** Packets with bytes of their own that can be out at once, 1 to 2^20. */
  readonly buffers: number;
  /** Clones that can be out at once. Default as many as buffers. */
  readonly clones?: number;
  /** Bytes of a buffer, 64 to 65536. Default 2048. */
  readonly bufferBytes?: number;
  /**
   * Every packet belongs to the CPU that allocated or marked it until it is handed over; who uses another CPU's packet gets
   * `DATAPLANE_WRONG_OWNER` at once. For tests and debugging: costs a load for each use. Default false.
   */
  readonly checked?: boolean;
  readonly hal?: Hal;
  /** Where buffers come from. Default: an arena of the pool's own. */
  readonly pages?: PageSource;
  readonly observer?: PacketPoolObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * Figures of a pool. Exact while no CPU uses it, else a moment old.
 *
 * @public
 */
export interface PacketPoolStats {
  readonly allocated: number;
  readonly freed: number;
  readonly cloned: number;
  /** Copies from buffer to buffer; what `write` brings in from outside is not counted. */
  readonly copied: number;
  readonly copiedBytes: number;
  /** Requests that got nothing. */
  readonly exhausted: number;
}

/**
 * Observers of a {@link PacketPool}.
 *
 * @public
 */
export interface PoolObservers {
  readonly observer?: PacketPoolObserver | undefined;
  readonly lockObserver?: LockObserver | undefined;
}
