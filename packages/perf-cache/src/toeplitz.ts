import { PerfCacheError } from "./errors.ts";
import { FLOW_KEY_IPV6 } from "./flow-key.ts";

/*
 * The Toeplitz hash of receive-side scaling (Microsoft, «RSS Hashing Functions»; Krawczyk 1995): for every set bit i of the
 * input, counted from the first byte's highest, the 32 key bits from bit i are added modulo 2.
 */

/**
 * The secret key of Microsoft's verification suite, the default of many network cards: 40 bytes, enough for an input of 36.
 *
 * @public
 */
export const RSS_KEY: Uint8Array = Uint8Array.from(
  ["6d5a56da255b0ec2", "4167253d43a38fb0", "d0ca2bcbae7b30b4", "77cb2da38030f20c", "6a42b73bbeac01fa"].flatMap((text) =>
    Array.from({ length: 8 }, (_, i) => parseInt(text.slice(i * 2, i * 2 + 2), 16)),
  ),
);

/** Input bytes of a flow: two IPv6 addresses and two ports. */
const MAX_FLOW_BYTES = 36;

/** The 32 key bits from bit `bit`; bits past the end of the key are 0. */
function keyWindow(key: Uint8Array, bit: number): number {
  const byte = bit >> 3;
  const shift = bit & 7;
  const word =
    (key[byte] << 24) | ((key[byte + 1] ?? 0) << 16) | ((key[byte + 2] ?? 0) << 8) | (key[byte + 3] ?? 0) | 0;
  return shift === 0 ? word : (word << shift) | ((key[byte + 4] ?? 0) >>> (8 - shift));
}

function assertKey(key: Uint8Array, inputBytes: number): void {
  if (key.length >= inputBytes + 4) return;
  throw new PerfCacheError(
    "PERF_CACHE_INVALID_ARGUMENT",
    `a key of ${key.length} bytes hashes at most ${Math.max(0, key.length - 4)} bytes, not ${inputBytes}`,
  );
}

/**
 * The Toeplitz hash of `input[offset .. offset + length - 1]`, bit by bit: the definition, for checking and for inputs of
 * any length. Per packet use {@link ToeplitzTable}.
 *
 * Throws `PERF_CACHE_INVALID_ARGUMENT` when the key is shorter than the input and 4 bytes.
 *
 * @returns a signed 32-bit integer; `>>> 0` makes it unsigned.
 *
 * @public
 */
export function toeplitz(
  key: Uint8Array,
  input: Uint8Array,
  offset = 0,
  length: number = input.length - offset,
): number {
  assertKey(key, length);
  let hash = 0;
  for (let bit = 0; bit < length * 8; bit++) {
    if ((input[offset + (bit >> 3)] & (0x80 >> (bit & 7))) !== 0) hash ^= keyWindow(key, bit);
  }
  return hash;
}

/**
 * The Toeplitz hash of one key with a table of 256 words per input byte: one look-up and one exclusive-or a byte.
 *
 * @public
 */
export class ToeplitzTable {
  /** Longest input in bytes. */
  readonly maxBytes: number;
  readonly #table: Int32Array;

  /** Build the table: 1 KiB a byte of input. `maxBytes` defaults to what a flow needs, 36. */
  constructor(key: Uint8Array = RSS_KEY, maxBytes: number = MAX_FLOW_BYTES) {
    assertKey(key, maxBytes);
    this.maxBytes = maxBytes;
    this.#table = new Int32Array(maxBytes * 256);
    for (let position = 0; position < maxBytes; position++) {
      for (let value = 1; value < 256; value++) {
        const lowest = value & -value;
        const rest = this.#table[position * 256 + (value ^ lowest)];
        const bit = position * 8 + (7 - (31 - Math.clz32(lowest)));
        this.#table[position * 256 + value] = rest ^ keyWindow(key, bit);
      }
    }
  }

  /** The hash of `input[offset .. offset + length - 1]`, at most {@link ToeplitzTable.maxBytes} bytes. */
  hash(input: Uint8Array, offset = 0, length: number = input.length - offset): number {
    if (length > this.maxBytes) {
      throw new PerfCacheError(
        "PERF_CACHE_INVALID_ARGUMENT",
        `${length} bytes of input; the table holds ${this.maxBytes}`,
      );
    }
    let hash = 0;
    for (let i = 0; i < length; i++) hash ^= this.#table[(i << 8) | input[offset + i]];
    return hash;
  }

  /**
   * The RSS hash of a flow key: source and destination address, with `ports` also the ports; network order. What a card
   * computes for TCP and UDP (with ports) and for other packets (without).
   */
  hashFlow(key: Int32Array, offset: number, ports: boolean): number {
    const words = (key[offset + 9] & FLOW_KEY_IPV6) === 0 ? 1 : 4;
    let hash = 0;
    let position = 0;
    for (let i = 0; i < words; i++, position += 4) hash ^= this.#word(position, key[offset + i]);
    for (let i = 0; i < words; i++, position += 4) hash ^= this.#word(position, key[offset + 4 + i]);
    return ports ? hash ^ this.#word(position, key[offset + 8]) : hash;
  }

  #word(position: number, word: number): number {
    const table = this.#table;
    const at = position << 8;
    return (
      table[at + (word >>> 24)] ^
      table[at + 256 + ((word >>> 16) & 0xff)] ^
      table[at + 512 + ((word >>> 8) & 0xff)] ^
      table[at + 768 + (word & 0xff)]
    );
  }
}
