import { FLOW_KEY_IPV6, FLOW_KEY_WORDS, hashTuple } from "./flow-key.ts";
import { sipHash13Words } from "./siphash.ts";

/** The hash of a table's keys: SipHash-1-3 under a key, or jhash without one. One instance per thread. */
export class FlowHasher {
  readonly #secret: Int32Array;
  readonly #keyWords: number;
  /** The words of an IPv4 flow that are not always 0. */
  readonly #packed: Int32Array = new Int32Array(4);

  constructor(secret: readonly number[], keyWords: number) {
    this.#secret = Int32Array.from(secret);
    this.#keyWords = keyWords;
  }

  hash(key: Int32Array, offset: number): number {
    if (this.#secret.length === 0) return hashTuple(key, offset);
    if (this.#keyWords !== FLOW_KEY_WORDS || (key[offset + 9] & FLOW_KEY_IPV6) !== 0) {
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
