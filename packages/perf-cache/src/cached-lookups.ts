import type { BucketIndex } from "./bucket-index.ts";
import { FLOW_KEY_IPV6 } from "./flow-key.ts";
import type { FlowReader } from "./flow-reader.ts";
import { BATCH_BYTES } from "./batch-layout.ts";
import type { TableLookups } from "./lookup-wasm.ts";
import { growWasmMemory } from "./wasm-code.ts";
import type { WasmMemory } from "./wasm-code.ts";

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const IPV6 = FLOW_KEY_IPV6;
const BATCH = BATCH_BYTES;

/** What {@link CachedLookups} works on, besides the functions and the memory of WebAssembly. */
interface CachedLookupsParts {
  readonly index: BucketIndex;
  readonly reader: FlowReader;
  /** The address of the batch of CPU 0, and of how many CPUs there are any. */
  readonly batchesAt: number;
  readonly cpus: number;
}

/**
 * One thread's look-ups through connection caches that lie in the memory of its table: each is one call of WebAssembly; see cache-code.ts. `line` is
 * the address of the line of the calling CPU. They are for keys of IPv4.
 */
export class CachedLookups {
  readonly cpus: number;
  readonly #wasm: TableLookups;
  readonly #memory: WasmMemory;
  readonly #index: BucketIndex;
  readonly #reader: FlowReader;
  readonly #batchesAt: number;

  constructor(wasm: TableLookups, memory: WasmMemory, parts: CachedLookupsParts) {
    this.cpus = parts.cpus;
    this.#wasm = wasm;
    this.#memory = memory;
    this.#index = parts.index;
    this.#reader = parts.reader;
    this.#batchesAt = parts.batchesAt;
  }

  /** Whether the key is one of those. */
  takes(key: Int32Array, at: number): boolean {
    return (key[at + 9] & IPV6) === 0;
  }

  /** Memory for a cache: `bytes` from `at` on; undefined when there is no room. */
  room(bytes: number): { readonly memory: SharedArrayBuffer; readonly at: number } | undefined {
    const at = growWasmMemory(this.#memory, bytes);
    return at === undefined ? undefined : { memory: this.#memory.buffer, at };
  }

  /** The entry of a key if the cache has it, else 0. */
  look(line: number, key: Int32Array, at: number): number {
    return this.#wasm.cached4(key[at], key[at + 4], key[at + 8], key[at + 9], line);
  }

  /** The entry of a key, by the cache or else by the table, 0 when neither has it. */
  lookup(cpu: number, line: number, key: Int32Array, at: number, hash: number): number {
    const batch = this.#batchesAt + cpu * BATCH;
    const { mask } = this.#index;
    const entry = this.#wasm.through4(key[at], key[at + 4], key[at + 8], key[at + 9], hash, mask, batch, line);
    return entry === 0 ? this.#walk(cpu, line, key, at, hash) : entry;
  }

  /** The same, hash computed. */
  find(cpu: number, line: number, key: Int32Array, at: number): number {
    const batch = this.#batchesAt + cpu * BATCH;
    const { mask } = this.#index;
    const entry = this.#wasm.findThrough4(key[at], key[at + 4], key[at + 8], key[at + 9], mask, batch, line);
    return entry === 0 ? this.#walk(cpu, line, key, at, this.#reader.hash(key, at)) : entry;
  }

  /** Have the cache remember an entry of the table, unless `generation` is even. */
  insert(line: number, hash: number, entry: number, generation: number): void {
    this.#wasm.remember(entry, generation, hash, line);
  }

  /** What WebAssembly did not find: growth may not have been noticed. */
  #walk(cpu: number, line: number, key: Int32Array, at: number, hash: number): number {
    const entry = this.#reader.walk(cpu, key, at, hash);
    if (entry !== 0) this.#wasm.remember(entry, this.#reader.generation(entry), hash, line);
    return entry;
  }
}

/** Those of each table of this thread that has any. */
const offered = new WeakMap<object, CachedLookups>();

/** Have connection caches look up in `table` by `wasm`, in `memory`, if it has these. */
export function offerCachedLookups(
  table: object,
  wasm: TableLookups | undefined,
  memory: object | undefined,
  parts: CachedLookupsParts,
): void {
  if (wasm === undefined) return;
  offered.set(table, new CachedLookups(wasm, memory as WasmMemory, parts));
}

/** Undefined where look-ups of the table are JavaScript's. */
export const cachedLookupsOf = (table: object): CachedLookups | undefined => offered.get(table);
