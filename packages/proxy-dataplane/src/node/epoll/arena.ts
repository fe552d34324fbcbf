import type { Libc } from "./libc.ts";

/** Bytes of a piece start at multiples of this. */
const ALIGNMENT = 64;

/** A piece of an arena: bytes with an address. */
export interface Piece {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

/**
 * Memory that the kernel reads and writes. A number that is an address keeps nothing alive, so everything whose address is passed to a call lies
 * in an arena, which its loop holds for as long as it runs. The memory is not touched until it is used, and costs nothing before.
 */
export class Arena {
  readonly #buffer: ArrayBuffer;
  readonly #address: number;
  #used = 0;

  constructor(libc: Libc, bytes: number) {
    this.#buffer = new ArrayBuffer(bytes);
    this.#address = libc.addressOf(this.#buffer);
  }

  /** The next `size` bytes. */
  piece(size: number): Piece {
    const from = this.#used;
    this.#used += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    if (this.#used > this.#buffer.byteLength) throw new RangeError("the arena is too small for its pieces");
    return {
      address: this.#address + from,
      bytes: new Uint8Array(this.#buffer, from, size),
      words: new Int32Array(this.#buffer, from, size >> 2),
    };
  }
}
