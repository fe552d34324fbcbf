import { DataplaneError } from "./errors.ts";
import type { PacketId } from "./packet-pool-types.ts";
import { MAX_BATCH } from "./parameters.ts";

/** What a batch asks of its data path. */
export interface BatchOwner {
  now(): number;
  /** `perf_batch_size`; 1 while batching is off. */
  batchSize(): number;
  roomFor(count: number): number;
  process(packets: Int32Array, count: number, out: Int32Array): number;
  drop(packet: PacketId): void;
}

/**
 * Options of {@link Dataplane.allocBatch}.
 *
 * @public
 */
export interface PacketBatchOptions {
  /**
   * Fit the size to the traffic, from 1 to `perf_batch_size`: twice as large when the batch fills before its time, half as large
   * when its time comes first. So packets that are few do not wait for others that do not come. Default false.
   */
  readonly adaptive?: boolean;
}

/**
 * Packets that go through a data path together. Made by {@link Dataplane.allocBatch}.
 *
 * Thread-safety: private to the CPU that fills it. Cost: no allocation once it is made.
 *
 * @public
 */
export class PacketBatch {
  readonly #owner: BatchOwner;
  readonly #isAdaptive: boolean;
  readonly #packets = new Int32Array(MAX_BATCH);
  #count = 0;
  #adapted = 1;
  #sinceNs = 0;

  /** @internal */
  constructor(owner: BatchOwner, options: PacketBatchOptions = {}) {
    this.#owner = owner;
    this.#isAdaptive = options.adaptive ?? false;
  }

  /** Packets that wait. */
  get count(): number {
    return this.#count;
  }

  /** Packets that make it full: `perf_batch_size` as it is now, 1 while batching is off, or what was adapted within that. */
  get size(): number {
    const most = this.#owner.batchSize();
    return this.#isAdaptive ? Math.min(most, this.#adapted) : most;
  }

  /**
   * Stores a packet, always; returns whether the batch is full now, and should be processed. Throws
   * `DATAPLANE_INVALID_ARGUMENT` when {@link PacketBatch.count} is 256 already.
   */
  add(packet: PacketId): boolean {
    if (this.#count === MAX_BATCH) {
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", "the batch is full; flush it into an out that has room");
    }
    if (this.#count === 0) this.#sinceNs = this.#owner.now();
    this.#packets[this.#count++] = packet;
    return this.#count >= this.size;
  }

  /**
   * Takes the packets through the data path; returns how many are in `out`, as {@link Dataplane.process} does. Throws
   * `DATAPLANE_INVALID_ARGUMENT`, and keeps the packets, when `out` has no room.
   */
  process(out: Int32Array): number {
    const count = this.#count;
    if (count === 0) return 0;
    if (this.#owner.roomFor(count) > out.length) {
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `out has no room for ${count} packets`);
    }
    if (this.#isAdaptive && count >= this.size) this.#adapted = Math.min(this.#owner.batchSize(), this.#adapted * 2);
    this.#count = 0;
    return this.#owner.process(this.#packets, count, out);
  }

  /** {@link PacketBatch.process}, full or not. */
  flush(out: Int32Array): number {
    return this.process(out);
  }

  /** {@link PacketBatch.flush} if the oldest packet has waited for `maxAgeNs`: call it from a timer, so that none waits for ever. */
  flushOlderThan(maxAgeNs: number, out: Int32Array): number {
    if (this.#count === 0 || this.#owner.now() - this.#sinceNs < maxAgeNs) return 0;
    const isPartial = this.#count < this.size;
    const sent = this.process(out);
    if (isPartial) this.#adapted = Math.max(1, this.#adapted >> 1);
    return sent;
  }

  /** Gives packets that wait back to the pool, unprocessed. */
  free(): void {
    for (let i = 0; i < this.#count; i++) this.#owner.drop(this.#packets[i]);
    this.#count = 0;
  }
}
