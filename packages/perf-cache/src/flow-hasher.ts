import { FLOW_KEY_IPV6, FLOW_KEY_WORDS, hashTuple } from "./flow-key.ts";
import type { FlowTableHandle } from "./flow-table-layout.ts";
import { sipHash13Words } from "./siphash.ts";
import { sipHashFunctions } from "./siphash-wasm.ts";
import type { SipHashFunctions } from "./siphash-wasm.ts";

// Constants of this module, so that the engine makes them part of the code; see flow-reader.ts.
const IPV6 = FLOW_KEY_IPV6;
const WORDS = FLOW_KEY_WORDS;
const jhash = hashTuple;

/** The hash of a table's keys: SipHash-1-3 under a key, or jhash without one. One instance per thread. */
export class FlowHasher {
  readonly #secret: Int32Array;
  readonly #keyWords: number;
  readonly #flowKeys: boolean;
  readonly #keyed: boolean;
  /** For flow keys. */
  readonly #fast: SipHashFunctions | undefined;
  /** The words of an IPv4 flow that are not always 0. */
  readonly #packed: Int32Array = new Int32Array(4);

  constructor(table: Pick<FlowTableHandle, "hashKey" | "keyWords" | "flowKeys">) {
    this.#secret = Int32Array.from(table.hashKey);
    this.#keyed = table.hashKey.length > 0;
    this.#keyWords = table.keyWords;
    this.#flowKeys = table.flowKeys;
    this.#fast = this.#keyed && this.#flowKeys ? sipHashFunctions(this.#secret) : undefined;
  }

  hash(key: Int32Array, offset: number): number {
    if (!this.#keyed) return jhash(key, offset);
    const fast = this.#fast;
    if (fast === undefined) return this.#sipHash(key, offset);
    const last = key[offset + 9];
    if ((last & IPV6) === 0) return fast.hash4(key[offset], key[offset + 4], key[offset + 8], last);
    return fast.hash10(
      key[offset],
      key[offset + 1],
      key[offset + 2],
      key[offset + 3],
      key[offset + 4],
      key[offset + 5],
      key[offset + 6],
      key[offset + 7],
      key[offset + 8],
      last,
    );
  }

  #sipHash(key: Int32Array, offset: number): number {
    if (!this.#flowKeys || (key[offset + WORDS - 1] & IPV6) !== 0) {
      return sipHash13Words(this.#secret, key, offset, this.#keyWords);
    }
    const packed = this.#packed;
    packed[0] = key[offset];
    packed[1] = key[offset + 4];
    packed[2] = key[offset + 8];
    packed[3] = key[offset + 9];
    return sipHash13Words(this.#secret, packed, 0, 4);
  }
}
